"""Prompts for the person, from the pose."""

from collections.abc import Sequence

import numpy as np

from ..pose.keypoints import VISIBLE, Pose
from .body import ANKLES, find_parts
from .prompts import Prompt


def prompts_from_pose(poses: Sequence[Pose], size: tuple[int, int], spacing: int) -> list[Prompt]:
    """One prompt for every `spacing` frames, on the frame in which most of the person is seen: points all over the body
    and a box around it.

    poses: each with one person or none; size: (width, height) of the clip. Raises ValueError when no frame gives a
    prompt.
    """
    prompts = []
    for first in range(0, len(poses), spacing):
        frames = range(first, min(first + spacing, len(poses)))
        found = [prompt for frame in frames if poses[frame].people and (prompt := _prompt(frame, poses[frame], size))]
        if found:
            prompts.append(max(found, key=lambda prompt: _confidence(poses[prompt.frame])))
    if not prompts:
        raise ValueError("The pose shows no person in any frame: check the clip, or give a point or a box instead.")
    return prompts


def _confidence(pose: Pose) -> float:
    scores = pose.body[0, :, 2]
    return float(scores[scores > VISIBLE].sum())


def _prompt(frame: int, pose: Pose, size: tuple[int, int]) -> Prompt | None:
    """What lies in the picture; None where too little of a person is seen."""
    found = find_parts(pose, size)
    if found is None:
        return None
    parts, _ = found
    width, height = map(float, size)
    inside = [tuple(map(float, point)) for part in parts if part.sure for point in part.within()]
    left, top = np.min([part.points.min(0) - part.radius for part in parts], axis=0)
    right, bottom = np.max([part.points.max(0) + part.radius for part in parts], axis=0)
    if not (pose.body[0, ANKLES, 2] > VISIBLE).all():
        bottom = height
    box = max(float(left), 0.0), max(float(top), 0.0), min(float(right), width), min(float(bottom), height)
    return Prompt(frame, tuple((x, y) for x, y in inside if 0 <= x < width and 0 <= y < height), box=box)
