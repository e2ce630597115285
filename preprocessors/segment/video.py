"""A clip's masks: prompts from the user and from the pose, a tracker, cleaning."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from ..background.hole import levels
from ..keypoints import Pose
from .clean import Report, clean_masks
from .from_pose import person, prompts_from_pose
from .held import prompts_from_hands
from .prompts import Prompt, check_prompts

HELD = "what the hands hold"
FINDERS = ("person", HELD)


class Tracker(Protocol):
    """`FlowTracker` and `SAM`."""

    spacing: int

    def track(
        self, frames: Sequence[np.ndarray], prompts: Sequence[Prompt], on_step: Callable[[int, int], None] | None
    ) -> dict[int, np.ndarray]: ...


def segment_video(
    tracker: Tracker,
    images: torch.Tensor,
    prompts: Sequence[Prompt] = (),
    poses: Sequence[Pose] | None = None,
    find: str | None = None,
    grow: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[dict[int, torch.Tensor], dict[int, Report]]:
    """Masks bool [T, H, W] of every prompted object, by its number, and what was cleaned in them.

    images: float [T, H, W, 3] in 0…1. find: a key of `FINDERS`, which object 1 is looked for by in `poses` (one per
    frame, with one person or none); `prompts` for object 1 then correct it. grow: pixels. on_step(done, total) may
    raise to cancel. Raises ValueError for a prompt that cannot be followed and for an object that is never visible.
    """
    count, height, width = images.shape[:3]
    prompts = list(prompts)
    if find is not None:
        if poses is None:
            raise ValueError(f"To find {find!r}, connect the keypoints of this clip, from Extract Pose.")
        if len(poses) != count:
            raise ValueError(f"There are poses of {len(poses)} frames but {count} frames: both must be of one clip.")
        spoken_for = {prompt.frame for prompt in prompts if prompt.object == 1}
        if find == HELD:
            found, stands_out = prompts_from_hands(_Levels(images), poses, tracker.spacing)
            print("SCORE",stands_out,len(found))
        else:
            found = prompts_from_pose(poses, (width, height), person, tracker.spacing)
        prompts += [prompt for prompt in found if prompt.frame not in spoken_for]
    check_prompts(prompts, count, height, width)
    masks, reports = {}, {}
    for number, mask in tracker.track(_Levels(images), prompts, on_step).items():
        if not mask.any():
            raise ValueError(
                f"Object {number} was found in no frame: place the point or box on the object, "
                "not on what is beside or behind it."
            )
        cleaned, reports[number] = clean_masks(mask, grow)
        masks[number] = torch.from_numpy(cleaned)
    return masks, reports


class _Levels(Sequence):
    """IMAGE frames as uint8 [H, W, 3], converted when asked for."""

    def __init__(self, images: torch.Tensor):
        self.images = images

    def __getitem__(self, frame: int) -> np.ndarray:
        return levels(self.images[frame])

    def __len__(self) -> int:
        return len(self.images)
