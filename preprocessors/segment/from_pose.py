"""Prompts from the pose: the person, or what the hands hold."""

from collections.abc import Callable, Sequence

import numpy as np

from ..keypoints import VISIBLE, Pose
from .body import ANKLES, find_parts
from .prompts import Prompt

PALM, TIPS, THUMB, MIDDLE_ROOT, MIDDLE_TIP = [0, 5, 9, 13, 17], [8, 12, 16, 20], 4, 9, 12
FEWEST = 8  # points of a hand that must be seen
OPEN = 0.3  # hand lengths between thumb and middle finger of a hand that holds something
REACH = 0.8  # hand lengths (or distances of the palms) around the grip where the thing is looked for
TOGETHER = 1.8  # hand lengths between two palms that hold one thing
SURE = 0.6  # score of a point of the hand that is seen, not guessed: it is in front of what the hand holds


def prompts_from_pose(
    poses: Sequence[Pose], size: tuple[int, int], find: Callable[[Pose, np.ndarray], dict | None], spacing: int
) -> list[Prompt]:
    """One prompt for every `spacing` frames, on the frame in which most of what matters is seen.

    poses: each with one person or none; size: (width, height) of the clip. find: `person` or `held`. Raises
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
        what = "hands" if find is held else "person"
        raise ValueError(f"The pose shows no {what} in any frame: check the clip, or give a point or a box instead.")
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


def held(pose: Pose, pixels: np.ndarray) -> dict | None:
    """A point between thumb and fingers, or between two palms that face each other, and a box around the grip.

    A hand whose thumb meets its fingers points or rests; only if both do, the more open one is taken.
    """
    hands = [_Hand(part[0], pixels) for part in (pose.left_hand, pose.right_hand) if _is_seen(part[0])]
    if not hands:
        return None
    widest = max(hands, key=lambda hand: hand.opening)
    hands = [hand for hand in hands if hand.opening > OPEN] or [widest]
    length = max(hand.length for hand in hands)
    apart = float(np.linalg.norm(hands[0].palm - hands[-1].palm))
    if apart > TOGETHER * length:
        hands, apart = [min(hands, key=lambda hand: hand.palm[1])], 0.0  # the raised one presents
    centre = np.mean([hand.palm for hand in hands], axis=0) if len(hands) == 2 else hands[0].grip
    reach = REACH * max(length, apart)
    return {
        "inside": (tuple(centre),),
        "outside": tuple(tuple(point) for hand in hands for point in hand.at[hand.score > SURE]),
        "box": (*(centre - reach), *(centre + reach)),
        "sureness": float(sum(hand.score.mean() for hand in hands)),
    }


class _Hand:
    def __init__(self, points: np.ndarray, pixels: np.ndarray):
        self.at, self.score = np.nan_to_num(points[:, :2]) * pixels, points[:, 2]
        self.palm = self.at[PALM].mean(0)
        self.grip = (self.at[THUMB] + self.at[TIPS].mean(0)) / 2
        self.length = max(float(np.linalg.norm(self.at[MIDDLE_ROOT] - self.at[0])) * 2, 1.0)
        self.opening = float(np.linalg.norm(self.at[THUMB] - self.at[MIDDLE_TIP])) / self.length


def _is_seen(hand: np.ndarray) -> bool:
    return int((hand[:, 2] > VISIBLE).sum()) >= FEWEST


def _within(hint: dict, pixels: np.ndarray) -> dict:
    """The hint without what lies outside the picture."""
    width, height = pixels

    def kept(points: tuple) -> tuple:
        return tuple((float(x), float(y)) for x, y in points if 0 <= x < width and 0 <= y < height)

    left, top, right, bottom = (float(side) for side in hint["box"])
    box = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    return hint | {"inside": kept(hint["inside"]), "outside": kept(hint.get("outside", ())), "box": box}
