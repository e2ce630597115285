"""What the hands hold, found over the whole clip: near the hands, and neither skin nor clothes nor room by its colours.

Which hands hold it, how large it is and whether it stands on them are tried; the answer that stands out most, and moves
with the hands if they move, is taken for all frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..pose.keypoints import Pose
from .apart import View, brush, tell_apart, to_labels
from .carried import carried
from .flow import cut
from .grip import FRONT, PLACES, Guess, Seen, hand_length, look, sureness, view_of
from .prompts import Prompt

LONGEST = 256  # px of the longer side that is looked at
TRIED = 12  # frames on which it is found out which hands hold how large a thing
HOLDING = ("left",), ("right",), ("left", "right")
SIZES, UPRIGHT = (0.6, 1.0, 1.6), (0.6, 1.0)  # of a thing, in hand lengths; of one that stands up from the grip
GUESSES = [Guess(hands, size) for size in SIZES for hands in HOLDING]
GUESSES += [Guess(hands, size, upright=True) for size in UPRIGHT for hands in HOLDING]
OFTEN = 0.3  # of the frames with hands in which those that hold it must be seen
CLOTHES = 3.0  # times as many pixels as on the clothes that a colour has on the thing
FLECK, USUAL, HUGE = 0.1, 0.6, 1.0  # of a hand length's square: areas too small, usual and large for a held thing
NEARLY = 0.9  # of the best score: the largest thing that stands out so much is meant, not a part of it
NOTHING, DOUBT = 0.3, 1.4  # scores below which nothing is held, and below which it may be something else
TOUCH, BARELY = 0.08, 0.05  # hand lengths from what a thing spans; share of the hand's points there that hold nothing
STAYS = -0.2  # along less: it does not move with the hands
ALIKE = 0.3  # overlap (IoU) with a box or mask that shows the same thing
ODD = 2.5  # times the thing's usual area in a frame, or less than 1/ODD: not followed from there


@dataclass(frozen=True)
class _Answer:
    """How well the thing stands out, whether it moves `along` (see `carried`), the share of a hand that touches it, its
    usual area and its size, px."""

    score: float
    along: float
    touch: float
    area: float
    views: dict[int, View]
    size: float

    @property
    def worth(self) -> float:
        return self.score * float(np.exp(self.along))

    @property
    def doubtful(self) -> bool:
        return self.score < DOUBT or self.along < STAYS or self.touch < BARELY


def prompts_from_hands(
    frames: Sequence[np.ndarray], poses: Sequence[Pose], spacing: int, shown: Sequence[Prompt] = ()
) -> tuple[list[Prompt], str]:
    """A mask of what the hands hold, for every `spacing` frames, with points of the fingers outside; and a sentence
    where it is in doubt, or "".

    frames: T of uint8 [H, W, 3]. poses: each with one person or none. shown: prompts that it must agree with; there are
    none of the hands' if it cannot, or if it is in doubt and they show the thing themselves. Raises ValueError when no
    hand is seen, or nothing in it.
    """
    height, width = frames[0].shape[:2]
    zoom = min(1, LONGEST / max(height, width))
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    sure = {t: sureness(pose) for t, pose in enumerate(poses)}
    chosen = [
        max(range(first, min(first + spacing, len(poses))), key=lambda t: (sure[t], -t))
        for first in range(0, len(poses), spacing)
    ]
    chosen = sorted({t for t in [*chosen, *(prompt.frame for prompt in shown)] if sure[t]})
    if not chosen and shown:
        return [], ""
    if not chosen:
        raise ValueError("The pose shows no hands in any frame: check the clip, or give a point or a box instead.")
    able = [t for t in sure if sure[t]]
    length = hand_length([poses[t] for t in able], np.array(size, float))
    few = sorted({*able[:: -(-len(able) // TRIED)], *(prompt.frame for prompt in shown if sure[prompt.frame])})
    seen = {t: look(frames[t], poses[t], size, t) for t in {*chosen, *few}}
    tried = [_answer([seen[t] for t in few], length, guess) for guess in GUESSES]
    worth = [answer.worth * _agreement(answer, shown, zoom) for answer in tried]
    good = [number for number, value in enumerate(worth) if value >= NEARLY * max(worth)]
    best = max(good, key=lambda number: tried[number].area)
    answer = _answer(list(seen.values()), length, GUESSES[best])
    found = any(prompt.inside or prompt.box or prompt.mask is not None for prompt in shown)
    if shown and worth[best] < NOTHING or found and answer.doubtful:
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
    why = ""
    if answer.along < STAYS:
        why = "what seems to be in the hands does not move with them"
    elif answer.touch < BARELY:
        why = "the hands hardly touch what they seem to hold"
    elif answer.doubtful or len(prompts) < len(chosen) / 2:
        why = "what the hands hold hardly stands out"
    return prompts, f"{why}: look at the mask, and if it is wrong, give a point or a box" if why and not shown else ""


def _answer(frames: Sequence[Seen], length: float, guess: Guess) -> _Answer:
    size = guess.size * length
    views = {frame.number: view_of(frame, length, guess) for frame in frames}
    views = {number: view for number, view in views.items() if view is not None}
    if len(views) < max(1, OFTEN * len(frames)) or not tell_apart(list(views.values()), size, CLOTHES):
        return _Answer(0.0, 0.0, 0.0, 0.0, views, size)
    score, area = np.median([(_score(view, length), view.mask.sum()) for view in views.values()], axis=0)
    along = touch = 0.0
    if score >= NOTHING:
        along = carried(frames, views, guess.hands, length)
        touch = float(np.median([_touch(f, views[f.number], length) for f in frames if f.number in views]))
    return _Answer(float(score), along, touch, float(area), views, size)


def _touch(frame: Seen, view: View, length: float) -> float:
    """The share of a hand's points that lie within what the thing spans, or at its edge; of the hand with most."""
    import cv2

    reach = cv2.dilate((view.hull | view.mask).astype(np.uint8), brush(TOUCH * length))
    height, width = reach.shape
    shares = [0.0]
    for points, _ in frame.hands.values():
        x, y = points.astype(int).T
        within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        shares.append(reach[y[within], x[within]].sum() / len(points))
    return float(max(shares))


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


def _full(frame: np.ndarray, view: View, size: float) -> np.ndarray:
    """The view's mask at the frame's own size, its outline cut anew."""
    import cv2

    large = min(1, 480 / max(frame.shape[:2]))
    middle = cv2.resize(frame, None, fx=large, fy=large, interpolation=cv2.INTER_AREA) if large < 1 else frame
    labels = cv2.resize(to_labels(view, size), middle.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    mask = cut(middle, labels, 3, 8.0).astype(np.float32)
    return cv2.resize(mask, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
