"""LMD: how far hands and body are from where they should be (AnchorCrafter, evaluation)."""

from typing import Protocol

import numpy as np

LIMIT = 100.0  # pixels; what is farther counts as a false detection and is left out, as published
SEEN = 0.3  # DWPose's score from which a point counts as found
MOST_HANDS = 2


class People(Protocol):
    """The people of a frame, as `preprocessors.pose.keypoints.Pose` holds them.

    Each [P, points, 3]: x and y divided by the frame's width and height, and the score.
    """

    body: np.ndarray
    face: np.ndarray
    left_hand: np.ndarray
    right_hand: np.ndarray


def hands(people: People, width: int, height: int) -> np.ndarray:
    """The hands seen in a frame, float [n,21,2] in pixels; a joint that was not found is (0, 0)."""
    points = np.concatenate([people.left_hand, people.right_hand])
    found = points[..., 2] > SEEN
    return np.where(found[..., None], points[..., :2] * (width, height), 0.0)[found.any(axis=1)]


def body(people: People, width: int, height: int) -> np.ndarray:
    """The 18 joints of the first person, float [18,2] in pixels; a joint that was not found is NaN."""
    if not len(people.body):
        return np.full((18, 2), np.nan)
    joints = people.body[0]
    return np.where(joints[:, 2:] > SEEN, joints[:, :2] * (width, height), np.nan)


def hand_distance(truth: np.ndarray, result: np.ndarray) -> float:
    """Mean distance in pixels of the hand joints of a frame, each [n,21,2]; NaN for a frame that is not counted.

    As published: where either side shows no hand or more than two, the truth is replaced by zeros, or, if the result
    shows none, the result is; one hand is compared with both of two. Distances of LIMIT and more are left out, and
    joints missing on both sides count as 0.
    """
    if not all(1 <= len(side) <= MOST_HANDS for side in (truth, result)):
        if not len(truth) and not len(result):
            return float("nan")
        truth, result = (np.zeros_like(result), result) if len(result) else (truth, np.zeros_like(truth))
    return _mean_below_limit(np.linalg.norm(truth - result, axis=-1))


def body_distance(truth: np.ndarray, result: np.ndarray) -> float:
    """Mean distance in pixels of the joints seen on both sides, each [18,2]; NaN if there are none.

    The paper's code has no body LMD; LIMIT is taken over from the hands.
    """
    return _mean_below_limit(np.linalg.norm(truth - result, axis=-1))


def _mean_below_limit(distance: np.ndarray) -> float:
    near = distance[distance < LIMIT]  # false for NaN
    return float(near.mean()) if near.size else float("nan")
