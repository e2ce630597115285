"""What the hands hold, found over the whole clip: near the hands, and neither skin nor clothes nor room by its colours.

Which hands hold it, how large it is and whether it stands on them are tried; the answer that stands out most, and moves
with the hands if they move, is taken for all frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..pose.keypoints import Pose
from .colour_model import View, segment_by_colour, to_labels
from .grabcut import FEWER, LONGEST, NEAR, cut
from .hand_motion import motion_agreement
from .hand_region import FRONT, PLACES, HandFrame, Hypothesis, confidence, hand_length, read_frame, view_of
from .masks import disc, downscale, fill_box, grow, upscale
from .prompts import Prompt

LOOKED_AT = 256  # px of the longer side that colours are learned from
TRIED = 12  # frames on which it is found out which hands hold how large a thing
HOLDING = ("left",), ("right",), ("left", "right")
SIZES, UPRIGHT = (0.6, 1.0, 1.6), (0.6, 1.0)  # of a thing, in hand lengths; of one that stands up from the grip
HYPOTHESES = [Hypothesis(hands, size) for size in SIZES for hands in HOLDING]
HYPOTHESES += [Hypothesis(hands, size, upright=True) for size in UPRIGHT for hands in HOLDING]
OFTEN = 0.3  # of the frames with hands in which those that hold it must be seen
CLOTHES = 3.0  # times as many pixels as on the clothes that a colour has on the thing
FLECK, USUAL, HUGE = 0.1, 0.6, 1.0  # of a hand length's square: areas too small, usual and large for a held thing
NEARLY = 0.9  # of the best score: the largest thing that stands out so much is meant, not a part of it
NOTHING, DOUBT = 0.3, 1.4  # scores below which nothing is held, and below which it may be something else
TOUCH, BARELY = 0.08, 0.05  # hand lengths from what a thing spans; share of the hand's points there that hold nothing
STAYS = -0.1  # motion agreement below which it does not move with the hands
ALIKE = 0.3  # overlap (IoU) with a box or mask that shows the same thing
ODD = 2.5  # times the thing's usual area in a frame, or less than 1/ODD: not followed from there


@dataclass(frozen=True)
class _Result:
    """Of a hypothesis: how well the thing stands out, its motion agreement with the hands, the share of a hand that
    touches it, its usual area and its size, px."""

    score: float
    motion: float
    touch: float
    area: float
    views: dict[int, View]
    size: float

    @property
    def worth(self) -> float:
        return self.score * float(np.exp(self.motion))

    @property
    def doubtful(self) -> bool:
        return self.score < DOUBT or self.motion < STAYS or self.touch < BARELY


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
    zoom = min(1, LOOKED_AT / max(height, width))
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    sure = {t: confidence(pose) for t, pose in enumerate(poses)}
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
    looked = {t: read_frame(frames[t], poses[t], size, t) for t in {*chosen, *few}}
    results = [_try([looked[t] for t in few], length, hypothesis) for hypothesis in HYPOTHESES]
    worth = [result.worth * _agreement(result, shown, zoom) for result in results]
    good = [number for number, value in enumerate(worth) if value >= NEARLY * max(worth)]
    best = max(good, key=lambda number: results[number].area)
    result = _try(list(looked.values()), length, HYPOTHESES[best])
    found = any(prompt.inside or prompt.box or prompt.mask is not None for prompt in shown)
    if shown and worth[best] < NOTHING or found and result.doubtful:
        return [], ""
    if result.score < NOTHING:
        raise ValueError("The hands hold nothing that stands out by its colours: give a point or a box on it instead.")
    areas = {t: float(view.mask.sum()) for t, view in result.views.items()}
    usual = float(np.median([area for area in areas.values() if area]))
    steady = [t for t in result.views if t in chosen and usual / ODD < areas[t] < usual * ODD]
    prompts = [_prompt(frames[t], looked[t], result.views[t], result.size) for t in steady]
    prompts = [prompt for prompt in prompts if prompt.mask.any()]
    return prompts, "" if shown else _doubt(result, len(prompts) < len(chosen) / 2)


def _prompt(frame: np.ndarray, looked: HandFrame, view: View, size: float) -> Prompt:
    """The thing's mask at the frame's own size, and the fingers in front of it."""
    height, width = frame.shape[:2]
    mask, scale = _at_full_size(frame, view, size), looked.picture.shape[1::-1]
    fingers = [at for points, score in looked.hands.values() for at in points[score > FRONT] / scale]
    outside = [(x * width, y * height) for x, y in fingers if 0 <= x < 1 and 0 <= y < 1]
    return Prompt(looked.number, outside=tuple(xy for xy in outside if not mask[int(xy[1]), int(xy[0])]), mask=mask)


def _doubt(result: _Result, seldom: bool) -> str:
    """A sentence on what is in doubt, or "". seldom: it is found in few of the frames it was looked for in."""
    if result.motion < STAYS:
        why = "what seems to be in the hands does not move with them"
    elif result.touch < BARELY:
        why = "the hands hardly touch what they seem to hold"
    elif result.doubtful or seldom:
        why = "what the hands hold hardly stands out"
    else:
        return ""
    return f"{why}: look at the mask, and if it is wrong, give a point or a box"


def _try(frames: Sequence[HandFrame], length: float, hypothesis: Hypothesis) -> _Result:
    size = hypothesis.size * length
    views = {frame.number: view_of(frame, length, hypothesis) for frame in frames}
    views = {number: view for number, view in views.items() if view is not None}
    if len(views) < max(1, OFTEN * len(frames)) or not segment_by_colour(list(views.values()), size, CLOTHES):
        return _Result(0.0, 0.0, 0.0, 0.0, views, size)
    score, area = np.median([(_score(view, length), view.mask.sum()) for view in views.values()], axis=0)
    motion = touch = 0.0
    if score >= NOTHING:
        motion = motion_agreement(frames, views, hypothesis.hands, length)
        touch = float(np.median([_touch(f, views[f.number], length) for f in frames if f.number in views]))
    return _Result(float(score), motion, touch, float(area), views, size)


def _touch(frame: HandFrame, view: View, length: float) -> float:
    """The share of a hand's points that lie within what the thing spans, or at its edge; of the hand with most."""
    reach = grow(view.spanned, disc(TOUCH * length))
    height, width = reach.shape
    shares = [0.0]
    for points, _ in frame.hands.values():
        x, y = points.astype(int).T
        within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        shares.append(reach[y[within], x[within]].sum() / len(points))
    return float(max(shares))


def _agreement(result: _Result, shown: Sequence[Prompt], zoom: float) -> float:
    """The share of prompts that the result agrees with; 1 without any."""
    agree = []
    for prompt in shown:
        view = result.views.get(prompt.frame)
        mask = np.zeros((1, 1), bool) if view is None else view.mask | view.hull & ~view.never
        if not mask.any():
            agree.append(False)
            continue
        on = [[mask[int(y * zoom), int(x * zoom)] for x, y in points] for points in (prompt.inside, prompt.outside)]
        other = np.zeros(mask.shape, bool)
        if prompt.box is not None:
            other = fill_box(mask.shape, [side * zoom for side in prompt.box])
        elif prompt.mask is not None:
            other = downscale(prompt.mask, mask.shape[::-1])
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


def _at_full_size(frame: np.ndarray, view: View, size: float) -> np.ndarray:
    """The view's mask at the frame's own size, its outline cut anew."""
    zoom = min(1, LONGEST / max(frame.shape[:2]))
    middle = cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA) if zoom < 1 else frame
    labels = cv2.resize(to_labels(view, size), middle.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return upscale(cut(middle, labels, FEWER, NEAR), frame.shape[1::-1])
