"""The pose of one person in every frame."""

import logging
from collections.abc import Callable

import numpy as np
import torch

from .frames import each_frame
from .keypoints import VISIBLE, Pose, select_person

logger = logging.getLogger(__name__)


def extract_poses(
    detector: Callable[[np.ndarray], Pose],
    images: torch.Tensor,
    person: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Pose]:
    """The `person`-th largest person of each image (0 = largest), without people where no joint of it is seen.

    images: float [F, H, W, 3] in 0…1; detector: uint8 image → Pose, as `DWPose`. A frame without the person is kept
    empty, and a warning names it. Raises ValueError when no frame shows one.
    """
    found = each_frame(images, lambda image: detector((image[..., :3] * 255).round().byte().cpu().numpy()), on_step)
    seen = [pose if (pose.body[..., 2] > VISIBLE).any() else Pose.empty() for pose in select_person(found, person)]
    missing = [frame for frame, pose in enumerate(seen) if not pose.people]
    who = "person" if person == 0 else f"person number {person + 1}"
    if len(missing) == len(seen):
        where = "frame 0" if len(seen) == 1 else f"any of the frames 0 to {len(seen) - 1}"
        raise ValueError(f"No {who} was found in {where}: use a picture that shows head and torso clearly.")
    if missing:
        logger.warning("Extract Pose: no %s in frames %s; they stay without a pose.", who, ", ".join(map(str, missing)))
    return seen
