"""The pose of one person in every frame."""

import logging
from collections.abc import Callable

import numpy as np
import torch

from ...media.frames import frame_ranges, stepped
from .follow import follow_person
from .keypoints import Pose

logger = logging.getLogger(__name__)


def extract_poses(
    detector: Callable[[np.ndarray], Pose],
    images: torch.Tensor,
    person: int = 0,
    on_step: Callable[[int, int], None] | None = None,
    click: tuple[float, float] | None = None,
    detect_every: int = 1,
) -> list[Pose]:
    """The `person`-th largest person of the clip, or who is at `click` (x, y in pixels), as `follow_person` finds them.

    images: float [F, H, W, 3] in 0…1; detector: uint8 image → Pose, as `DWPose`, which alone can do with its person
    detector on every `detect_every`-th frame (`DWPose.follow`). A frame without the person is kept
    empty, and a warning names it. Raises ValueError when no frame shows one.
    """
    height, width = images.shape[1:3]
    pictures = ((image[..., :3] * 255).round().byte().cpu().numpy() for image in stepped(images, on_step))
    found = list(map(detector, pictures) if detect_every == 1 else detector.follow(pictures, detect_every))
    seen = follow_person(found, person, None if click is None else (click[0] / width, click[1] / height))
    missing = [frame for frame, pose in enumerate(seen) if not pose.people]
    who = "person" if person == 0 or click is not None else f"person number {person + 1}"
    if len(missing) == len(seen):
        where = "frame 0" if len(seen) == 1 else f"any of the frames 0 to {len(seen) - 1}"
        raise ValueError(f"No {who} was found in {where}: use a picture that shows head and torso clearly.")
    if missing:
        logger.warning("Extract Pose: no %s in frames %s; they stay without a pose.", who, frame_ranges(missing))
    return seen
