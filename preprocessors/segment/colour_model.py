"""Tells one thing from what is around it by its colours, in several pictures of a clip at once.

What is learned in one picture decides in the others: the outline gives colour histograms, whose log odds give a better
outline.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from .colours import colour_bins, histogram, share
from .masks import disc, grow, pieces, shrink

CLEAR = 3.0  # log odds of a colour, at most
RARE = 2e-5  # share below which a colour counts as not seen
ROUNDS = 4  # of outline to colours to outline
FEWEST = 30  # px of the thing a picture, to learn from
ROOMY = 1.0  # the same for the room
HULL, OUTSIDE = 1.5, -0.5  # log odds of lying within what the parts of the thing span, and outside
SMOOTH, FLAT = 0.03, 1.6e-3  # reach in units; variance of grey (0…1) below which smoothing goes on
PIECE = 0.15  # of the strongest piece's evidence: weaker ones are something else of the same colour
CLOSE, CERTAIN = 0.1, 1.0  # units from the rest, and mean log odds, of a smaller piece that belongs to it all the same
TOUCH = 3.0  # times the share of a piece that lies `near`: below 1 its evidence counts less
MIXED = 0.05  # units around the thing whose colours are mixed: not learned from
SPARE, CORE = 0.12, 0.03  # units beyond its hull that a thing may reach; inside its outline that is surely it


@dataclass(eq=False)
class View:
    """A picture uint8 [h, w, 3] and what is known of places in it, bool [h, w].

    near: where mostly the thing is. prior: float [h, w], log odds of the place. never: surely not it. skin: where its
    colours are not learned. around: its surroundings. What its colours must outdo: by number of pixels `beside`, by
    share `elsewhere`, and except where `front` covers it, in the `room`. Found are mask and hull, and odds [h, w].
    """

    picture: np.ndarray
    near: np.ndarray
    prior: np.ndarray
    never: np.ndarray
    skin: np.ndarray
    around: np.ndarray
    beside: Sequence[np.ndarray] = ()
    elsewhere: Sequence[np.ndarray] = ()
    room: np.ndarray | None = None
    front: np.ndarray | None = None
    mask: np.ndarray = field(init=False)
    hull: np.ndarray = field(init=False)
    odds: np.ndarray = field(init=False)

    def __post_init__(self):
        self.bins = colour_bins(self.picture)
        self.mask, self.hull = self.near & ~self.never & ~self.skin, np.zeros(self.near.shape, bool)

    @property
    def spanned(self) -> np.ndarray:
        """The thing and what lies between its parts."""
        return self.mask | self.hull


def segment_by_colour(views: Sequence[View], unit: float, more: float = 2.0) -> bool:
    """Sets mask, hull and odds of every view; False where no colour is the thing's.

    unit: its size in pixels, about. more: times as many pixels as `beside` that have a colour of the thing are on it.
    """
    for turn in range(ROUNDS):
        own = histogram(np.concatenate([view.bins[view.mask & ~view.skin] for view in views]))
        if own.sum() < FEWEST * len(views):
            return False
        clear = [~grow(view.spanned, disc(MIXED * unit)) if turn else np.ones(view.near.shape, bool) for view in views]

        def seen(places: Sequence[np.ndarray | None], clear: Sequence[np.ndarray] = clear) -> np.ndarray:
            counted = zip(views, places, clear, strict=True)
            return histogram(np.concatenate([view.bins[place & free] for view, place, free in counted]))

        rivals = [more * seen(places) / own.sum() for places in zip(*(view.beside for view in views), strict=True)]
        rivals += [share(seen(places)) for places in zip(*(view.elsewhere for view in views), strict=True)]
        if turn:
            rivals.append(share(seen([view.around & ~view.skin for view in views])))
        person = np.max(rivals, axis=0)
        room = None
        if views[0].room is not None:
            walls = seen([view.room for view in views])
            room = np.max([person, share(walls), ROOMY * walls / own.sum()], axis=0)
        for view in views:
            odds = log_odds(own, person)[view.bins]
            if room is not None:
                odds = np.where(view.front, odds, log_odds(own, room)[view.bins])
            place = np.minimum(view.prior, 0) + np.where(view.hull, HULL, OUTSIDE) if turn else view.prior
            _outline(view, np.where(view.never, -CLEAR, odds + place), unit)
    return True


def to_labels(view: View, unit: float) -> np.ndarray:
    """GrabCut's labels uint8 [h, w] for the last word on the outline."""
    labels = np.full(view.mask.shape, cv2.GC_BGD, np.uint8)
    labels[grow(view.spanned, disc(SPARE * unit))] = cv2.GC_PR_BGD
    labels[view.spanned] = cv2.GC_PR_FGD
    labels[shrink(view.mask, disc(CORE * unit))] = cv2.GC_FGD
    labels[view.never] = cv2.GC_BGD
    return labels


def log_odds(own: np.ndarray, rival: np.ndarray) -> np.ndarray:
    """By colour: of the thing's counts against a share."""
    return np.log((share(own) + RARE) / (rival + RARE)).clip(-CLEAR, CLEAR)


def hull_of(mask: np.ndarray) -> np.ndarray:
    """What its pixels span, bool [h, w]."""
    points, hull = cv2.findNonZero(mask.astype(np.uint8)), np.zeros(mask.shape, np.uint8)
    if points is not None:
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return hull > 0


def smooth(odds: np.ndarray, picture: np.ndarray, reach: float) -> np.ndarray:
    """Odds smoothed up to the picture's edges: a guided filter (He et al., 2010)."""
    size = (2 * max(1, round(reach)) + 1,) * 2
    guide, odds = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255, odds.astype(np.float32)
    mean, level = cv2.blur(guide, size), cv2.blur(odds, size)
    slope = (cv2.blur(guide * odds, size) - mean * level) / (cv2.blur(guide * guide, size) - mean * mean + FLAT)
    return cv2.blur(slope, size) * guide + cv2.blur(level - slope * mean, size)


def _outline(view: View, odds: np.ndarray, unit: float) -> None:
    """The view's odds smoothed, and of where they are for the thing the pieces that belong to it, with their hull."""
    view.odds = smooth(odds, view.picture, SMOOTH * unit)
    piece, areas = pieces((view.odds > 0) & ~view.never)
    evidence = np.bincount(piece.ravel(), np.maximum(view.odds, 0).ravel(), len(areas))
    inside = np.bincount(piece[view.near], minlength=len(areas)) / np.maximum(areas, 1)
    evidence *= np.minimum(TOUCH * inside, 1)
    evidence[0] = 0
    kept = (evidence > 0) & (evidence >= PIECE * evidence.max())
    beside = np.unique(piece[grow(hull_of(kept[piece]), disc(CLOSE * unit))])
    kept[beside] |= (evidence > CERTAIN * areas)[beside]
    view.mask = kept[piece]
    view.hull = hull_of(shrink(view.mask, np.ones((3, 3), np.uint8)))
