"""Where what hands hold may be in a picture: about their grip, on one side of fingers, face, sleeves and body."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..pose.keypoints import VISIBLE, Pose
from .body import ARMS, SHOULDERS, is_seen
from .colour_model import View

PALM, TIPS, THUMB, MIDDLE_ROOT, BACK = [0, 5, 9, 13, 17], [8, 12, 16, 20], 4, 9, [0, 1, 5, 9, 13, 17]
FINGERS = [(0, 1), (0, 5), (0, 17), (5, 9), (9, 13), (13, 17)]
FINGERS += [(joint, joint + 1) for root in (1, 5, 9, 13, 17) for joint in range(root, root + 3)]
FRONT = 0.6  # score of a point of the hand that is seen, not guessed: it is in front of what the hand holds
LONG, BROAD = 75, 0.6  # percentile of the hands' lengths that counts; of the shoulders' distance, at least
TOGETHER = 3.0  # hand lengths between two palms that hold one thing
ABOVE = 0.7  # sizes that a thing reaches up from the grip when it stands on the hand
NEAR, BESIDE, FAR = 0.45, 0.8, 1.3  # sizes from the grip: mostly the thing; clothes begin; nothing of the thing
PLACES = (0, 0.4, 0.8, FAR), (0.7, 0.3, -0.7, -3.0)  # sizes from the grip; log odds of the place
FLESH, BONE, SLEEVE, FOREARM = 0.1, 0.07, 0.25, 0.8  # hand lengths: width of fingers, of what surely is one, of arms;
# and how much of a forearm is not yet the hand


@dataclass(frozen=True)
class HandFrame:
    """Small picture of a frame, and points [21, 2] and scores of the hands that are seen in it, in its pixels."""

    number: int
    picture: np.ndarray
    pose: Pose
    hands: dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Hypothesis:
    """Which hands hold it, its size in hand lengths, and whether it stands up from the grip."""

    hands: tuple[str, ...]
    size: float
    upright: bool = False


def confidence(pose: Pose) -> float:
    """The mean scores of the hands that are seen, summed; 0 without any."""
    hands = [hand[0] for hand in (pose.left_hand, pose.right_hand) if pose.people]
    return float(sum(hand[:, 2].mean() for hand in hands if is_seen(hand)))


def read_frame(frame: np.ndarray, pose: Pose, size: tuple[int, int], number: int) -> HandFrame:
    """A frame at `size` (width, height), px."""
    hands = {}
    for side, hand in (("left", pose.left_hand[0]), ("right", pose.right_hand[0])):
        if is_seen(hand):
            hands[side] = np.nan_to_num(hand[:, :2]) * size, hand[:, 2]
    return HandFrame(number, cv2.resize(frame, size, interpolation=cv2.INTER_AREA), pose, hands)


def hand_length(poses: Sequence[Pose], pixels: np.ndarray) -> float:
    """Of the clip's hands, px: of those that are not foreshortened, and in proportion to the shoulders at least.

    poses: some that show a hand. pixels: width and height of the picture.
    """
    lengths, shoulders = [], []
    for pose in poses:
        for hand in (pose.left_hand[0], pose.right_hand[0]):
            if is_seen(hand) and (hand[[0, MIDDLE_ROOT], 2] > 0).all():
                lengths.append(2 * np.linalg.norm((hand[MIDDLE_ROOT, :2] - hand[0, :2]) * pixels))
        left, right = pose.body[0, SHOULDERS]
        if min(left[2], right[2]) > VISIBLE:
            shoulders.append(np.linalg.norm((left - right)[:2] * pixels))
    length = np.percentile(lengths, LONG) if lengths else 1.0
    return float(max(length, BROAD * np.median(shoulders) if shoulders else 1.0, 1.0))


def view_of(frame: HandFrame, length: float, tried: Hypothesis) -> View | None:
    """Where the thing, and where skin, clothes and room are; None where not all of these hands are seen together."""
    hands = [frame.hands[side][0] for side in tried.hands if side in frame.hands]
    palms = [hand[PALM].mean(0) for hand in hands]
    if len(hands) < len(tried.hands) or np.linalg.norm(palms[0] - palms[-1]) > TOGETHER * length:
        return None
    grips = [(hand[THUMB] + hand[TIPS].mean(0)) / 2 for hand in hands]
    shape = frame.picture.shape[:2]
    away = np.ones(shape, np.uint8)
    spans = [*zip(palms, grips, strict=True), (grips[0], grips[-1]), (palms[0], palms[-1])]
    if tried.upright:
        spans = [(grip, grip - (0, ABOVE * tried.size * length)) for grip in grips]
    for start, end in spans:
        _line(away, start, end, 2, 0)
    away = cv2.distanceTransform(away, cv2.DIST_L2, 5) / (tried.size * length)
    flesh, bones, face, body, sleeves = (np.zeros(shape, np.uint8) for _ in range(5))
    for points, score in frame.hands.values():
        for a, b in FINGERS:
            if min(score[a], score[b]) > FRONT:
                _line(flesh, points[a], points[b], FLESH * length)
                _line(bones, points[a], points[b], BONE * length)
        if (score[BACK] > FRONT).all():
            cv2.fillConvexPoly(flesh, cv2.convexHull(points[BACK].astype(np.int32)), 1)
    pixels = np.array(shape[::-1], float)
    at, seen = np.nan_to_num(frame.pose.body[0, :, :2]) * pixels, frame.pose.body[0, :, 2] > VISIBLE
    for shoulder, elbow, wrist in ARMS:
        for start, end, share in ((shoulder, elbow, 1.0), (elbow, wrist, FOREARM)):
            if seen[start] and seen[end]:
                _line(sleeves, at[start], at[start] + share * (at[end] - at[start]), SLEEVE * length)
    if is_seen(frame.pose.face[0]):
        points = frame.pose.face[0, frame.pose.face[0, :, 2] > VISIBLE, :2] * pixels
        cv2.fillConvexPoly(face, cv2.convexHull(points.astype(np.int32)), 1)
    if seen[SHOULDERS].all():
        (right, left), bottom = at[SHOULDERS], shape[0]
        corners = [right, left, (left[0], bottom), (right[0], bottom)]
        cv2.fillConvexPoly(body, np.array(corners).astype(np.int32), 1)
    flesh, bones, face, body, sleeves = (part > 0 for part in (flesh, bones, face, body, sleeves))
    return View(
        frame.picture, (away < NEAR) & ~flesh, np.interp(away, *PLACES), bones, flesh, away < FAR,
        beside=(body & ~face & (away > BESIDE), sleeves & (away > NEAR)), elsewhere=(bones | face,),
        room=(away > FAR) & ~body & ~face, front=body,
    )


def _line(picture: np.ndarray, start: np.ndarray, end: np.ndarray, width: float, value: int = 1) -> None:
    points = [tuple(int(v) for v in np.clip(point, -10_000, 10_000)) for point in (start, end)]
    cv2.line(picture, *points, value, max(2, round(width)))
