"""A clip's masks: prompts from the user and from the pose, a tracker, cleaning."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import torch

from ...media.frames import Levels, frame_ranges, gathered
from ..pose.keypoints import Pose
from .clean import Report, clean_masks
from .flow import FlowTracker
from .from_pose import prompts_from_pose
from .held_object import prompts_from_hands
from .person_track import cut_person
from .prompts import HELD, PERSON, Prompt, as_points, check_prompts
from .tracker import Tracker

TINT = (1.0, 0.0, 1.0)

logger = logging.getLogger(__name__)


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

    images: float [T, H, W, 3] in 0…1. find: PERSON or HELD, which object 1 is looked for by in `poses` (one per frame,
    with one person or none); `prompts` for object 1 then correct it. A click on what the hands hold finds it by the
    poses too, if there are any. grow: pixels. on_step(done, total) may raise to cancel. Raises ValueError for a prompt
    that cannot be followed and for an object that is never visible.
    """
    count, height, width = images.shape[:3]
    given, prompts, doubt = tuple(prompts), list(prompts), ""
    if find is not None and poses is None:
        raise ValueError(f"To find {find!r}, connect the keypoints of this clip, from Extract Pose.")
    if find is not None and len(poses) != count:
        raise ValueError(f"There are poses of {len(poses)} frames but {count} frames: both must be of one clip.")
    if find == HELD:
        prompts, doubt = _held(tracker, images, poses, prompts)
    elif find is not None:
        spoken_for = {prompt.frame for prompt in prompts if prompt.object == 1}
        found = prompts_from_pose(poses, (width, height), tracker.spacing)
        prompts += [prompt for prompt in found if prompt.frame not in spoken_for]
    elif prompts and poses is not None and len(poses) == count and all(map(_is_click, prompts)):
        prompts, _ = _held(tracker, images, poses, prompts)
    check_prompts(prompts, count, height, width)
    masks, reports = {}, {}
    if find == PERSON and isinstance(tracker, FlowTracker):
        tracked, doubt = _by_body(tracker, Levels(images[..., :3]), poses, given, on_step)
    else:
        tracked = tracker.track(Levels(images[..., :3]), prompts, on_step)
    for number, mask in tracked.items():
        if not mask.any():
            raise ValueError(
                f"Object {number} was found in no frame: place the point or box on the object, "
                "not on what is beside or behind it."
            )
        cleaned, reports[number] = clean_masks(mask, grow)
        masks[number] = torch.from_numpy(cleaned)
    if doubt:
        reports[1] = replace(reports[1], doubt=doubt)
        logger.warning("Segment Video: %s.", doubt)
    return masks, reports


def all_objects(masks: dict[int, torch.Tensor]) -> torch.Tensor:
    """Where any of the objects is seen, bool [T, H, W]."""
    return reduce(torch.logical_or, masks.values())


def tinted(images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """IMAGE frames with a mask bool [T, H, W] laid over them, to look at."""

    def laid(image: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        return torch.where(shown[..., None], (image + image.new_tensor(TINT)) / 2, image)

    return gathered(map(laid, images[..., :3], mask.to(images.device)), len(images))


def _by_body(
    tracker: FlowTracker,
    frames: Sequence[np.ndarray],
    poses: Sequence[Pose],
    prompts: Sequence[Prompt],
    on_step: Callable[[int, int], None] | None,
) -> tuple[dict[int, np.ndarray], str]:
    """The person as object 1, which prompts correct, and the other prompted objects; and the doubt there is."""
    others = [prompt for prompt in prompts if prompt.object != 1]
    work = 2 * len(frames)  # a person takes two rounds
    total = work + len({prompt.object for prompt in others}) * len(frames)

    def step(before: int) -> Callable[[int, int], None]:
        return lambda done, _: on_step(before + done, total) if on_step is not None else None

    mask, doubtful = cut_person(frames, poses, [prompt for prompt in prompts if prompt.object == 1], step(0))
    doubt = (
        f"in {len(doubtful)} of {len(frames)} frames the mask is far from the body that the pose shows "
        f"({frame_ranges(doubtful)}): look at them; correct one with Segment Prompt, or use Load SAM"
    )
    return {1: mask} | (tracker.track(frames, others, step(work)) if others else {}), doubt if doubtful else ""


def _held(
    tracker: Tracker, images: torch.Tensor, poses: Sequence[Pose], prompts: Sequence[Prompt]
) -> tuple[list[Prompt], str]:
    """The prompts with those of what the hands hold, if it is what they show; and the doubt there is."""
    if prompts:
        check_prompts(prompts, *images.shape[:3])
    shown = [prompt for prompt in prompts if prompt.object == 1]
    found, doubt = prompts_from_hands(Levels(images[..., :3]), poses, tracker.spacing, shown)
    masks = {prompt.frame: prompt.mask for prompt in found}
    kept = [p for p in prompts if p.frame not in masks or not _is_click(p)]
    spoken_for = {prompt.frame for prompt in kept if prompt.object == 1}
    found = [prompt for prompt in found if prompt.frame not in spoken_for]
    return kept + ([as_points(prompt) for prompt in found] if tracker.outlines else found), doubt


def _is_click(prompt: Prompt) -> bool:
    return prompt.object == 1 and bool(prompt.inside) and prompt.box is None and prompt.mask is None
