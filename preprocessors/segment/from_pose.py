"""Prompts from the pose: the person."""

from collections.abc import Callable, Sequence

import numpy as np

from ..keypoints import VISIBLE, Pose
from .prompts import Prompt

LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (1, 11), (2, 8), (5, 11), (8, 9), (9, 10), (11, 12),
         (12, 13), (0, 1))  # fmt: skip
NOSE, NECK, TRUNK, KNEES, ANKLES = 0, 1, [2, 5, 8, 11], [9, 12], [10, 13]
FOREHEAD, CHEEK = 0.6, 0.25  # of the way from neck to nose: above the nose, and beside it
WIDTH = 0.3  # of a limb's length: from its middle to its edge, clothes included


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
    """Points along the limbs and a box around the person; None where too little of one is seen."""
    body = pose.body[0]
    seen = body[:, 2] > VISIBLE
    at = body[:, :2] * pixels
    limbs = [(a, b) for a, b in LIMBS if seen[a] and seen[b]]
    if len(limbs) < 3:
        return None
    inside = [at[a] + (at[b] - at[a]) * share for a, b in limbs for share in (0.25, 0.5, 0.75)]
    if seen[TRUNK].all():
        (right, left), (right_hip, left_hip) = at[TRUNK[:2]], at[TRUNK[2:]]
        ends = not seen[KNEES].any()  # the picture ends above them, and clothes go on to its edge
        for across in (-0.25, 0.25, 0.5, 0.75, 1.25) if ends else (0.25, 0.5, 0.75):
            top, hip = right + across * (left - right), right_hip + across * (left_hip - right_hip)
            if 0 < across < 1:
                inside += [top + down * (hip - top) for down in (0.2, 0.5, 0.8)]
            if ends:
                inside += [hip + down * (hip - top) for down in (0.1, 0.25, 0.4, 0.55)]
    if seen[NOSE] and seen[NECK]:
        up = at[NOSE] - at[NECK]
        aside = np.array([-up[1], up[0]])
        inside += [at[NOSE] + FOREHEAD * up]
        inside += [at[NOSE] + side * CHEEK * aside + height * up for side in (-1, 1) for height in (0.0, 0.35)]
    every = np.concatenate([part[0][part[0][:, 2] > VISIBLE, :2] * pixels for part in pose.parts])
    (left, top), (right, bottom) = every.min(0), every.max(0)
    unit = np.median([np.linalg.norm(at[a] - at[b]) for a, b in limbs])
    bottom = bottom + 0.3 * unit if seen[ANKLES].all() else pixels[1]
    box = (left - 0.5 * unit, top - 0.8 * unit, right + 0.5 * unit, bottom)
    sureness = float(body[seen, 2].sum())
    return {"inside": tuple(map(tuple, inside)), "box": box, "reach": WIDTH * float(unit), "sureness": sureness}


def _within(hint: dict, pixels: np.ndarray) -> dict:
    """The hint without what lies outside the picture."""
    width, height = pixels

    def kept(points: tuple) -> tuple:
        return tuple((float(x), float(y)) for x, y in points if 0 <= x < width and 0 <= y < height)

    left, top, right, bottom = (float(side) for side in hint["box"])
    box = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    return hint | {"inside": kept(hint["inside"]), "outside": kept(hint.get("outside", ())), "box": box}
