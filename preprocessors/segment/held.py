"""What the hands hold, found over the whole clip: near the hands, and neither skin nor clothes nor room by its colours.

Which hands hold it and how large it is are tried; the answer that stands out most is taken for all frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..keypoints import VISIBLE, Pose
from .apart import View, tell_apart, to_labels
from .flow import cut
from .prompts import Prompt

PALM, TIPS, THUMB, MIDDLE_ROOT, BACK = [0, 5, 9, 13, 17], [8, 12, 16, 20], 4, 9, [0, 1, 5, 9, 13, 17]
FINGERS = [(0, 1), (0, 5), (0, 17), (5, 9), (9, 13), (13, 17)]
FINGERS += [(joint, joint + 1) for root in (1, 5, 9, 13, 17) for joint in range(root, root + 3)]
SHOULDERS, ARMS, FOREARMS = [2, 5], ((2, 3), (5, 6)), ((3, 4), (6, 7))
FEWEST = 8  # points of a hand, or of a face, that must be seen
FRONT = 0.6  # score of a point of the hand that is seen, not guessed: it is in front of what the hand holds
LONGEST = 256  # px of the longer side that is looked at
TRIED = 12  # frames on which it is found out which hands hold how large a thing
HOLDING = ("left",), ("right",), ("left", "right")
SIZES = 0.6, 1.0, 1.6  # of a thing, in hand lengths
LONG, BROAD = 75, 0.6  # percentile of the hands' lengths that counts; of the shoulders' distance, at least
TOGETHER = 3.0  # hand lengths between two palms that hold one thing
OFTEN = 0.3  # of the frames with hands in which those that hold it must be seen
CLOTHES = 3.0  # times as many pixels as on the clothes that a colour has on the thing
NEAR, BESIDE, FAR = 0.45, 0.8, 1.3  # sizes from the grip: mostly the thing; clothes begin; nothing of the thing
PLACES = (0, 0.4, 0.8, FAR), (0.7, 0.3, -0.7, -3.0)  # sizes from the grip; log odds of the place
FLESH, BONE, SLEEVE, ARM = 0.1, 0.07, 0.25, 0.8  # hand lengths: width of fingers, of what surely is one, of arms;
# and how much of a forearm is not yet the hand
FLECK, USUAL, HUGE = 0.1, 0.6, 1.0  # of a hand length's square: areas too small, usual and large for a held thing
NEARLY = 0.9  # of the best score: the largest thing that stands out so much is meant, not a part of it
NOTHING, DOUBT = 0.3, 1.0  # scores below which nothing is held, and below which it may be something else
ALIKE = 0.3  # overlap (IoU) with a box or mask that shows the same thing
ODD = 2.5  # times the thing's usual area in a frame, or less than 1/ODD: not followed from there


@dataclass(frozen=True)
class _Frame:
    """Small picture of a frame, and points [21, 2] and scores of the hands that are seen in it, in its pixels."""

    number: int
    picture: np.ndarray
    pose: Pose
    hands: dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class _Answer:
    score: float
    area: float
    views: dict[int, View]
    size: float


def prompts_from_hands(
    frames: Sequence[np.ndarray], poses: Sequence[Pose], spacing: int, shown: Sequence[Prompt] = ()
) -> tuple[list[Prompt], str]:
    """A mask of what the hands hold, for every `spacing` frames, with points of the fingers outside; and a sentence
    where it is in doubt, or "".

    frames: T of uint8 [H, W, 3]. poses: each with one person or none. shown: prompts that it must agree with; there are
    none of the hands' if it cannot. Raises ValueError when no hand is seen, or nothing in it.
    """
    height, width = frames[0].shape[:2]
    zoom = min(1, LONGEST / max(height, width))
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    sure = {t: _sureness(pose) for t, pose in enumerate(poses)}
    chosen = [
        max(range(first, min(first + spacing, len(poses))), key=lambda t: (sure[t], -t))
        for first in range(0, len(poses), spacing)
    ]
    chosen = sorted({t for t in [*chosen, *(prompt.frame for prompt in shown)] if sure[t]})
    if not chosen and shown:
        return [], ""
    if not chosen:
        raise ValueError("The pose shows no hands in any frame: check the clip, or give a point or a box instead.")
    length = _hand_length([poses[t] for t in chosen], np.array(size, float))
    able = [t for t in sure if sure[t]]
    few = sorted({*able[:: -(-len(able) // TRIED)], *(prompt.frame for prompt in shown if sure[prompt.frame])})
    seen = {t: _look(frames[t], poses[t], size, t) for t in {*chosen, *few}}
    tried = [_answer([seen[t] for t in few], length, holding, times) for times in SIZES for holding in HOLDING]
    scores = [answer.score * _agreement(answer, shown, zoom) for answer in tried]
    if shown and max(scores) < NOTHING:
        return [], ""
    good = [number for number, score in enumerate(scores) if score >= NEARLY * max(scores)]
    best = max(good, key=lambda number: tried[number].area)
    holding, times = HOLDING[best % len(HOLDING)], SIZES[best // len(HOLDING)]
    answer = _answer(list(seen.values()), length, holding, times)
    if answer.score < NOTHING and shown:
        return [], ""
    if answer.score < NOTHING:
        raise ValueError("The hands hold nothing that stands out by its colours: give a point or a box on it instead.")
    areas = {t: float(view.mask.sum()) for t, view in answer.views.items()}
    usual = float(np.median([area for area in areas.values() if area]))
    prompts = []
    for t, view in answer.views.items():
        if t in chosen and usual / ODD < areas[t] < usual * ODD:
            mask = _full(frames[t], view, answer.size)
            if mask.any():
                fingers = [at for at, score in seen[t].hands.values() for at in at[score > FRONT] / size]
                outside = [(x * width, y * height) for x, y in fingers if 0 <= x < 1 and 0 <= y < 1]
                outside = [(x, y) for x, y in outside if not mask[int(y), int(x)]]
                prompts.append(Prompt(t, outside=tuple(outside), mask=mask))
    doubt = ""
    if not shown and (answer.score < DOUBT or len(prompts) < len(chosen) / 2):
        doubt = "what the hands hold hardly stands out: look at the mask, and if it is wrong, give a point or a box"
    return prompts, doubt


def _sureness(pose: Pose) -> float:
    hands = [hand[0, :, 2] for hand in (pose.left_hand, pose.right_hand) if pose.people]
    return float(sum(score.mean() for score in hands if (score > VISIBLE).sum() >= FEWEST))


def _look(frame: np.ndarray, pose: Pose, size: tuple[int, int], number: int) -> _Frame:
    import cv2

    hands = {}
    for side, hand in (("left", pose.left_hand[0]), ("right", pose.right_hand[0])):
        if (hand[:, 2] > VISIBLE).sum() >= FEWEST:
            hands[side] = np.nan_to_num(hand[:, :2]) * size, hand[:, 2]
    return _Frame(number, cv2.resize(frame, size, interpolation=cv2.INTER_AREA), pose, hands)


def _hand_length(poses: Sequence[Pose], pixels: np.ndarray) -> float:
    lengths, shoulders = [], []
    for pose in poses:
        for hand in (pose.left_hand[0], pose.right_hand[0]):
            if (hand[:, 2] > VISIBLE).sum() >= FEWEST and (hand[[0, MIDDLE_ROOT], 2] > 0).all():
                lengths.append(2 * np.linalg.norm((hand[MIDDLE_ROOT, :2] - hand[0, :2]) * pixels))
        left, right = pose.body[0, SHOULDERS]
        if min(left[2], right[2]) > VISIBLE:
            shoulders.append(np.linalg.norm((left - right)[:2] * pixels))
    length = np.percentile(lengths, LONG) if lengths else 1.0
    return float(max(length, BROAD * np.median(shoulders) if shoulders else 1.0, 1.0))


def _answer(frames: Sequence[_Frame], length: float, holding: Sequence[str], times: float) -> _Answer:
    views = {frame.number: _view(frame, length, holding, times) for frame in frames}
    views = {number: view for number, view in views.items() if view is not None}
    if len(views) < max(1, OFTEN * len(frames)) or not tell_apart(list(views.values()), times * length, CLOTHES):
        return _Answer(0.0, 0.0, views, times * length)
    score, area = np.median([(_score(view, length), view.mask.sum()) for view in views.values()], axis=0)
    return _Answer(float(score), float(area), views, times * length)


def _agreement(answer: _Answer, shown: Sequence[Prompt], zoom: float) -> float:
    """The share of prompts that the answer agrees with; 1 without any."""
    import cv2

    agree = []
    for prompt in shown:
        view = answer.views.get(prompt.frame)
        mask = np.zeros((1, 1), bool) if view is None else view.mask | view.hull & ~view.never
        other = np.zeros(mask.shape, bool)
        if not mask.any():
            agree.append(False)
            continue
        on = [[mask[int(y * zoom), int(x * zoom)] for x, y in points] for points in (prompt.inside, prompt.outside)]
        if prompt.box is not None:
            left, top, right, bottom = (max(round(side * zoom), 0) for side in prompt.box)
            other[top:bottom, left:right] = True
        elif prompt.mask is not None:
            other = cv2.resize(prompt.mask.astype(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_AREA) > 0
        alike = not other.any() or (mask & other).sum() > ALIKE * (mask | other).sum()
        agree.append(all(on[0]) and not any(on[1]) and alike)
    return float(np.mean(agree)) if agree else 1.0


def _score(view: View, length: float) -> float:
    """How well the thing of a view stands out: its colours, its size and its shape."""
    area = view.mask.sum()
    if not area:
        return 0.0
    hands = area / length**2
    solid = min(1, area / max((view.hull & ~view.never).sum(), 1))
    away = (view.mask & (view.prior < PLACES[1][2])).sum() / area
    fit = np.sqrt(min(hands, USUAL)) * min(1, hands / FLECK) * np.exp(-2 * max(hands - HUGE, 0) ** 2)
    return float(fit * solid**4 * (1 - away) ** 2 * view.odds[view.mask].mean())


def _view(frame: _Frame, length: float, holding: Sequence[str], times: float) -> View | None:
    """Where the thing, and where skin, clothes and room are; None where not all of these hands are seen together."""
    import cv2

    hands = [frame.hands[side][0] for side in holding if side in frame.hands]
    palms = [hand[PALM].mean(0) for hand in hands]
    if len(hands) < len(holding) or np.linalg.norm(palms[0] - palms[-1]) > TOGETHER * length:
        return None
    grips = [(hand[THUMB] + hand[TIPS].mean(0)) / 2 for hand in hands]
    shape = frame.picture.shape[:2]
    away = np.ones(shape, np.uint8)
    for start, end in [*zip(palms, grips, strict=True), (grips[0], grips[-1]), (palms[0], palms[-1])]:
        _line(away, start, end, 2, 0)
    away = cv2.distanceTransform(away, cv2.DIST_L2, 5) / (times * length)
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
    for part, share in ((ARMS, 1.0), (FOREARMS, ARM)):
        for a, b in part:
            if seen[a] and seen[b]:
                _line(sleeves, at[a], at[a] + share * (at[b] - at[a]), SLEEVE * length)
    looks = frame.pose.face[0]
    looks = looks[looks[:, 2] > VISIBLE, :2] * pixels
    if len(looks) >= FEWEST:
        cv2.fillConvexPoly(face, cv2.convexHull(looks.astype(np.int32)), 1)
    if seen[SHOULDERS].all():
        (right, left), bottom = at[SHOULDERS], shape[0]
        corners = [right, left, (left[0], bottom), (right[0], bottom)]
        cv2.fillConvexPoly(body, np.array(corners).astype(np.int32), 1)
    flesh, bones, face, body, sleeves = (part > 0 for part in (flesh, bones, face, body, sleeves))
    return View(
        frame.picture, (away < NEAR) & ~flesh, np.interp(away, *PLACES), bones, flesh, away < FAR,
        beside=(body & ~face & (away > BESIDE), sleeves & (away > NEAR)), elsewhere=(bones | face,),
        room=(away > FAR) & ~body & ~face, front=body,
    )  # fmt: skip


def _line(picture: np.ndarray, start: np.ndarray, end: np.ndarray, width: float, value: int = 1) -> None:
    import cv2

    points = [tuple(int(v) for v in np.clip(point, -10_000, 10_000)) for point in (start, end)]
    cv2.line(picture, *points, value, max(2, round(width)))


def _full(frame: np.ndarray, view: View, size: float) -> np.ndarray:
    """The view's mask at the frame's own size, its outline cut anew."""
    import cv2

    large = min(1, 480 / max(frame.shape[:2]))
    middle = cv2.resize(frame, None, fx=large, fy=large, interpolation=cv2.INTER_AREA) if large < 1 else frame
    labels = cv2.resize(to_labels(view, size), middle.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    mask = cut(middle, labels, 3, 8.0).astype(np.float32)
    return cv2.resize(mask, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
