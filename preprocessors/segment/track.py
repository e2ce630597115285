"""One object followed through a clip: GrabCut where a prompt is, then carried from frame to frame by optical flow.

Every frame is cut anew in a band around the carried outline, so that errors do not add up; colours seen on the object
in the prompted frames decide what inside the outline may be something in front of it, such as a finger.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from .colours import BINS, colour_bins, histogram, share
from .grabcut import AGAIN, CLOSE, LONGEST, ROUNDS, WIDE, band, carry, cut
from .masks import disc, downscale, fill_box, grow, shrink, square, upscale
from .prompts import Prompt

POINT = 0.012  # of the longer side: radius of what a point stands for
DROP = 0.2  # of its last area: an object that shrinks to less within one frame is lost there
PURE = 2.0  # how many times likelier on the object a colour is that is taken for it


class Track:
    """One object. Pictures are frames at `small` (width, height), px; prompts are kept by frame."""

    def __init__(self, frames: Sequence[np.ndarray], prompts: Sequence[Prompt]):
        self.frames = frames
        self.height, self.width = frames[0].shape[:2]
        self.zoom = min(1, LONGEST / max(self.height, self.width))
        self.small = max(1, round(self.width * self.zoom)), max(1, round(self.height * self.zoom))
        self.prompts = {}
        for prompt in prompts:
            self.prompts.setdefault(prompt.frame, []).append(prompt)
        self.colours = np.zeros((2, BINS**3))  # of the surroundings and of the object, as counted

    def run(self, on_step: Callable[[int, int], None]) -> np.ndarray:
        """The masks bool [T, H, W], from the first prompted frame to the end, then back to the beginning."""
        count, first = len(self.frames), min(self.prompts)
        masks = np.zeros((count, self.height, self.width), bool)
        seed = self._picture(first)
        start = self._prompted(first, seed, np.zeros(seed.shape[:2], bool))
        done = 0
        for order in (range(first, count), range(first - 1, -1, -1)):
            picture, mask = seed, start
            for t in order:
                if t != first:
                    after = self._picture(t)
                    mask = self._next(t, picture, after, mask)
                    picture = after
                masks[t] = upscale(mask, (self.width, self.height))
                done += 1
                on_step(done, count)
        return masks

    def corrected(self, t: int, mask: np.ndarray) -> np.ndarray:
        """The mask bool [H, W] of frame t as its prompts want it."""
        small = cv2.resize(mask.astype(np.float32), self.small, interpolation=cv2.INTER_AREA) > 0.5
        return upscale(self._prompted(t, self._picture(t), small), (self.width, self.height))

    def _picture(self, t: int) -> np.ndarray:
        return cv2.resize(np.ascontiguousarray(self.frames[t]), self.small, interpolation=cv2.INTER_AREA)

    def _next(self, t: int, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
        mask = self._carried(before, after, mask)
        return self._prompted(t, after, mask) if t in self.prompts else mask

    def _prompted(self, t: int, picture: np.ndarray, carried: np.ndarray) -> np.ndarray:
        """The mask of a prompted frame; its colours are remembered."""
        labels = np.where(carried, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        radius = max(1, round(POINT * max(carried.shape)))
        for prompt in self.prompts[t]:
            if prompt.mask is not None:
                mask = downscale(prompt.mask, self.small)
                self._remember(picture, mask)
                return mask
            if prompt.box is not None:
                inside = fill_box(carried.shape, [side * self.zoom for side in prompt.box])
                labels[~inside] = cv2.GC_BGD
                if not carried.any():
                    labels[inside] = cv2.GC_PR_FGD
            for points, label in ((prompt.inside, cv2.GC_FGD), (prompt.outside, cv2.GC_BGD)):
                for point in points:
                    cv2.circle(labels, self._at(point), radius, label, -1)
        mask = cut(picture, labels, ROUNDS, WIDE)
        self._remember(picture, mask)
        return mask

    def _at(self, point: tuple[float, float]) -> tuple[int, int]:
        """Where a point of the clip lies in its pictures."""
        return int(point[0] * self.zoom), int(point[1] * self.zoom)

    def _remember(self, picture: np.ndarray, mask: np.ndarray) -> None:
        near, bins = grow(mask, square(max(3, band(mask, CLOSE)))), colour_bins(picture)
        self.colours += counted(bins[near & ~mask]), counted(bins[mask])

    def _likelihoods(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How frequent each pixel's colour is in the surroundings and on the object, [h, w] each."""
        bins = colour_bins(picture)
        return share(self.colours[0])[bins], share(self.colours[1])[bins]

    def _carried(self, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The mask of the next picture."""
        if not mask.any():
            return mask
        moved = carry(before, after, mask)
        if not moved.any():
            return moved
        edge = disc(band(moved))
        reach, core = grow(moved, edge), shrink(moved, edge)
        labels = np.where(reach, np.where(moved, cv2.GC_PR_FGD, cv2.GC_PR_BGD), cv2.GC_BGD).astype(np.uint8)
        surroundings, thing = self._likelihoods(after)
        likely = thing > PURE * surroundings
        labels[core & likely] = cv2.GC_FGD
        if not core.any() or not likely[core].any():
            return moved
        found = cut(after, labels, AGAIN, CLOSE)
        return found if found.sum() >= DROP * mask.sum() else moved & likely


def counted(bins: np.ndarray) -> np.ndarray:
    """Counts of colours, blurred round from the brightest to the darkest, as the limits above were found with."""
    return histogram(bins, "wrap")
