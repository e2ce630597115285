"""A thing that a box or a point shows in one frame, followed by the colours that tell it from what is around it."""

from collections.abc import Sequence

import cv2
import numpy as np

from ...media.box import box_of
from .colour_model import View, hull_of, segment_by_colour, smooth, to_labels
from .colours import colour_bins, histogram, share
from .grabcut import CLOSE, FEWER, NEAR, carry, cut, large_pieces
from .masks import disc, fill_box, shrink
from .prompts import Prompt
from .track import POINT, Track

GAP = 0.12  # of a box's side: a thing that stays further away from it has not been found whole
MARGIN, AROUND = 0.02, 0.3  # sizes beside a box: edges; what the thing is told from
LIKELY = 0.3  # log odds of the place within the ellipse that fills a box
SCALES = 0.045 * 1.3 ** np.arange(8)  # of the longer side: sizes that a thing under a point is tried at
INNER, RING, FAR = 0.6, 1.4, 2.6  # sizes from the point: mostly the thing; its surroundings begin and end
PLACES = (0, INNER, 1, RING), (1.0, 0.5, -0.5, -3.0)  # sizes from the point; log odds of the place
LIMIT = 1.6  # sizes from the point: surely no more of the thing
NEARLY = 0.45  # of the best score: the largest thing that stands out so much is meant, not a part of it
SMALLEST = 0.1  # of a size's square: less is a part of the thing
LEAST = 20  # px of a carried mask, to be cut anew
ROOM = 0.5  # sizes of the thing around it, where its rivals' colours are learned
UNSEEN, RIVALS = 2e-4, 1.5  # share of colours not seen; weight of the surroundings
OFF = (-0.15, -0.06, 0, 0.06, 0.2), (-4.0, -1.5, 0, 1.0, 2.0)  # sizes inside the carried outline; log odds
SPANNED = 1.2  # log odds of lying between parts of it
SLACK, SURE, AGAINST = 0.08, 0.04, -2.0  # sizes; log odds of what is in front of it
SMOOTH = 0.02  # sizes


class ObjectTrack(Track):
    """One thing, and its colours beside those around it, as its prompts show them."""

    def __init__(self, frames: Sequence[np.ndarray], prompts: Sequence[Prompt]):
        super().__init__(frames, prompts)
        self.own = self.rest = 0.0

    def _prompted(self, t: int, picture: np.ndarray, carried: np.ndarray) -> np.ndarray:
        mask = super()._prompted(t, picture, carried)
        if not carried.any() and all(prompt.mask is None for prompt in self.prompts[t]):
            mask = self._shown(t, picture, mask)
            self._remember(picture, mask)
        return mask

    def _shown(self, t: int, picture: np.ndarray, first: np.ndarray) -> np.ndarray:
        """The thing that the points and boxes of one frame show, if it is not what was found at first."""
        inside, outside = ([self._at(xy) for p in self.prompts[t] for xy in getattr(p, side)]
                           for side in ("inside", "outside"))
        boxes = [np.array(prompt.box) * self.zoom for prompt in self.prompts[t] if prompt.box is not None]
        if not boxes:
            found = at_point(picture, _distance(inside, first.shape), _distance(outside, first.shape))
            if found is None:
                raise ValueError(
                    f"Nothing stands out around the point on frame {t}, so perhaps the background was pointed at: "
                    "place it on the thing, or give a box or a mask instead."
                )
            return found
        box = np.concatenate([np.min(boxes, axis=0)[:2], np.max(boxes, axis=0)[2:]])
        if _gap(first, box) <= GAP:
            return first
        found = in_box(picture, box, _distance(outside, first.shape))
        return found if _gap(found, box) < _gap(first, box) else first

    def _remember(self, picture: np.ndarray, mask: np.ndarray) -> None:
        super()._remember(picture, mask)
        bins, inside = colour_bins(picture), _inside(mask)
        self.own = self.own + share(histogram(bins[mask]))
        self.rest = self.rest + share(histogram(bins[(inside < -MARGIN) & (inside > -ROOM)]))

    def _carried(self, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """What lies about where the motion took the thing and has its colours."""
        if not mask.any():
            return mask
        moved = carry(before, after, mask)
        if moved.sum() < LEAST:
            return moved
        inside, size = _inside(moved), float(np.sqrt(moved.sum()))
        colour = np.log((self.own + UNSEEN) / (RIVALS * self.rest + UNSEEN)).clip(-2.5, 2.5)[colour_bins(after)]
        place = np.interp(inside, *OFF) + np.where((inside < 0) & hull_of(moved), SPANNED, 0)
        piece, kept = large_pieces(smooth(colour + place, after, SMOOTH * size) > 0)
        likely = kept[piece]
        labels = np.where(inside > -SLACK, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
        labels[likely] = cv2.GC_PR_FGD
        labels[shrink(likely, disc(SURE * size)) & (colour > -1)] = cv2.GC_FGD
        labels[(inside < 0) & (colour < AGAINST)] = cv2.GC_BGD
        return cut(after, labels, 1, CLOSE)


def in_box(picture: np.ndarray, box: np.ndarray, away: np.ndarray) -> np.ndarray:
    """What fills a box (left, top, right, bottom) and is not of the colours beside it, bool [h, w].

    away: px from points that are not the thing.
    """
    left, top, right, bottom = box.round().astype(int)
    size = float(np.sqrt(max((right - left) * (bottom - top), 1)))
    inside, ellipse = fill_box(away.shape, box), np.zeros(away.shape, np.uint8)
    centre, half = ((left + right) // 2, (top + bottom) // 2), ((right - left) // 2, (bottom - top) // 2)
    cv2.ellipse(ellipse, centre, half, 0, 0, 360, 1, -1)
    beside = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5) / size
    ring = beside < AROUND
    prior = np.where(inside, np.where(ellipse > 0, LIKELY, 0), -6)
    never = ~inside | _at_points(away)
    view = View(picture, ellipse > 0, prior, never, never & False, ring, (ring & (beside > MARGIN),))
    if not segment_by_colour([view], size):
        return view.mask & False
    labels = to_labels(view, size)
    labels[~never & (labels == cv2.GC_BGD)] = cv2.GC_PR_BGD
    return cut(picture, labels, FEWER, NEAR)


def at_point(picture: np.ndarray, distance: np.ndarray, away: np.ndarray) -> np.ndarray | None:
    """What stands out around a point, of the size at which it stands out most, bool [h, w]; None if nothing does.

    distance, away: px from points on the thing, and beside it.
    """
    found, last = [], None
    nothing = np.zeros(distance.shape, bool)
    for scale in SCALES:
        size = float(scale * max(distance.shape))
        sizes = distance / size
        never = (sizes > LIMIT) | _at_points(away)
        view = View(
            picture, sizes < INNER, np.interp(sizes, *PLACES), never, nothing, sizes < 2.2,
            ((sizes > RING) & (sizes < FAR),), (sizes > FAR,),
        )
        if not segment_by_colour([view], size) or not view.mask.any():
            last = None
            continue
        area = view.mask.sum()
        if last is not None and area > SMALLEST * size**2 and view.spanned[distance == 0].all():
            steady = (view.mask & last).sum() / (view.mask | last).sum()
            solid = min(1, area / max((view.hull & ~never).sum(), 1))
            inner = 1 - (view.mask & (sizes > 1)).sum() / area
            score = view.odds[view.mask].mean() * solid * steady**2 * inner * np.sqrt(min(area / size**2, 1))
            found.append((score, view, size))
        last = view.mask
    if not found:
        return None
    good = NEARLY * max(score for score, _, _ in found)
    view, size = next((view, size) for score, view, size in reversed(found) if score >= good)
    return cut(picture, to_labels(view, size), FEWER, NEAR)


def _gap(mask: np.ndarray, box: np.ndarray) -> float:
    """The widest gap between the mask and a side of the box, of the box's width or height."""
    if not mask.any():
        return 1.0
    x0, y0, x1, y1 = box_of(mask)
    left, top, right, bottom = box
    wide, high = max(right - left, 1), max(bottom - top, 1)
    return float(max((x0 - left) / wide, (right - x1) / wide, (y0 - top) / high, (bottom - y1) / high))


def _distance(points: Sequence[tuple[int, int]], shape: tuple[int, int]) -> np.ndarray:
    """Of every pixel [h, w] from the nearest of the points; infinite without any."""
    others = np.ones(shape, np.uint8)
    for x, y in points:
        others[y, x] = 0
    return cv2.distanceTransform(others, cv2.DIST_L2, 5) if points else np.full(shape, np.inf)


def _at_points(distance: np.ndarray) -> np.ndarray:
    """What points stand for, bool [h, w]."""
    return distance < max(1, POINT * max(distance.shape))


def _inside(mask: np.ndarray) -> np.ndarray:
    """How far inside the outline every pixel lies, in the mask's size (root of its area); negative outside."""
    padded = np.pad(mask.astype(np.uint8), 1)
    within, beyond = (cv2.distanceTransform(part, cv2.DIST_L2, 5)[1:-1, 1:-1] for part in (padded, 1 - padded))
    return (within - beyond) / max(float(np.sqrt(mask.sum())), 1)
