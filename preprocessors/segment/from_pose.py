"""Prompts from the pose: the person."""

from collections.abc import Callable, Sequence

import numpy as np

from ..pose.keypoints import VISIBLE, Pose
from .body import ANKLES, find_parts
from .prompts import Prompt


def prompts_from_pose(
    poses: Sequence[Pose], size: tuple[int, int], find: Callable[[Pose, np.ndarray], dict | None], spacing: int
) -> list[Prompt]:
    """One prompt for every `spacing` frames, on the frame in which most of what matters is seen.

    poses: each with one person or none; size: (width, height) of the clip. find: `person`. Raises
    ValueError when no frame gives a prompt.
    """
    pixels = np.array(size, dtype=float)
    prompts = []
    for first in range(0, len(poses), spacing):
        found = []
        for frame in range(first, min(first + spacing, len(poses))):
            hint = find(poses[frame], pixels) if poses[frame].people else None
            if hint is not None:
                found.append((hint.pop("sureness"), -frame, hint))
        if found:
            _, frame, hint = max(found, key=lambda entry: entry[:2])
            prompts.append(Prompt(-frame, **_within(hint, pixels)))
    if not prompts:
        raise ValueError("The pose shows no person in any frame: check the clip, or give a point or a box instead.")
    return prompts


def person(pose: Pose, pixels: np.ndarray) -> dict | None:
    """Points all over the body and a box around it; None where too little of one is seen."""
    found = find_parts(pose, tuple(pixels))
    if found is None:
        return None
    parts, _ = found
    inside = [point for part in parts if part.sure for point in part.within()]
    low = np.min([part.points.min(0) - part.radius for part in parts], axis=0)
    high = np.max([part.points.max(0) + part.radius for part in parts], axis=0)
    seen = pose.body[0, :, 2] > VISIBLE
    bottom = high[1] if seen[ANKLES].all() else pixels[1]
    sureness = float(pose.body[0, seen, 2].sum())
    return {"inside": tuple(map(tuple, inside)), "box": (*low, high[0], bottom), "sureness": sureness}


def _within(hint: dict, pixels: np.ndarray) -> dict:
    """The hint without what lies outside the picture."""
    width, height = pixels

    def kept(points: tuple) -> tuple:
        return tuple((float(x), float(y)) for x, y in points if 0 <= x < width and 0 <= y < height)

    left, top, right, bottom = (float(side) for side in hint["box"])
    box = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    return hint | {"inside": kept(hint["inside"]), "outside": kept(hint.get("outside", ())), "box": box}
