"""Whether a thing moves with the hands: its colours are found again where the hands went, or where they were before."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ..pose.keypoints import VISIBLE
from .body import SHOULDERS
from .colour_model import View
from .hand_region import PALM, HandFrame

STILL = 0.07  # hand lengths: hands that move less between two frames tell nothing
FEWEST = 3  # points of the palms that must be known in both
BLUR = 1.0  # px
MOST, LEAST = 50.0, 4.0  # levels by which colours differ at most, and always do


def motion_agreement(
    frames: Sequence[HandFrame], views: Mapping[int, View], sides: Sequence[str], length: float
) -> float:
    """From 1 (it goes along with these hands) to −1 (it stays on the body, or in the room); 0 where they keep still.

    Each frame is compared with that to which the hands have gone furthest. length: of a hand, px.
    """
    frames = [f for f in frames if f.number in views and views[f.number].mask.any() and f.hands.keys() >= set(sides)]
    pictures = [cv2.GaussianBlur(frame.picture.astype(np.float32), (0, 0), BLUR) for frame in frames]
    palms = [_palms(frame, sides) for frame in frames]
    bodies = [_shoulders(frame) for frame in frames]
    bodies = bodies if all(np.isfinite(body).all() for body in bodies) else [np.zeros(2)] * len(frames)
    along = kept = 0.0
    for frame, picture, palm, body in zip(frames, pictures, palms, bodies, strict=True):
        gone = [_displacement(palm, after, shoulders - body) for after, shoulders in zip(palms, bodies, strict=True)]
        there, view = int(np.argmax(gone)), views[frame.number]
        seen = view.mask & ~view.skin
        if gone[there] < STILL * length or not seen.any():
            continue
        ways = np.eye(2, 3), np.column_stack([np.eye(2), bodies[there] - body]), _similarity(palm, palms[there])
        in_room, on_body, in_hands = (_difference(picture, pictures[there], way)[seen] for way in ways)
        stayed = np.minimum(in_room, on_body)
        along += (stayed - in_hands).mean()
        kept += (stayed + in_hands).mean() + LEAST
    return float(along / kept) if kept else 0.0


def _palms(frame: HandFrame, sides: Sequence[str]) -> np.ndarray:
    """Their points [N, 2], px; NaN where nothing is known of one."""
    hands = [frame.hands[side] for side in sides]
    return np.concatenate([np.where(score[PALM, None] > 0, points[PALM], np.nan) for points, score in hands])


def _shoulders(frame: HandFrame) -> np.ndarray:
    """Their middle, px; NaN where they are not seen."""
    points = frame.pose.body[0, SHOULDERS]
    return points[:, :2].mean(0) * frame.picture.shape[1::-1] if (points[:, 2] > VISIBLE).all() else np.full(2, np.nan)


def _displacement(before: np.ndarray, after: np.ndarray, body: np.ndarray) -> float:
    """How far the points went that are known of both, in the room or on the body that moved, whichever is less; px."""
    steps = (after - before)[np.isfinite(after - before).all(1)]
    if len(steps) < FEWEST:
        return 0.0
    return float(min(np.linalg.norm(steps.mean(0)), np.linalg.norm(steps.mean(0) - body)))


def _similarity(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The turn, scale and shift [2, 3] that takes points [N, 2] closest to others."""
    known = np.isfinite(before + after).all(1)
    here, there = before[known] @ (1, 1j), after[known] @ (1, 1j)
    turn = np.vdot(here - here.mean(), there - there.mean()) / max(np.sum(np.abs(here - here.mean()) ** 2), 1e-6)
    shift = there.mean() - turn * here.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _difference(here: np.ndarray, there: np.ndarray, way: np.ndarray) -> np.ndarray:
    """By how many levels [h, w] a picture differs from another at the place that each of its pixels went to."""
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    taken = cv2.warpAffine(there, np.float32(way), here.shape[1::-1], flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.minimum(np.abs(here - taken).mean(-1), MOST)
