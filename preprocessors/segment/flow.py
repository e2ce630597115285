"""Segmentation without weights: GrabCut where the prompt is, then carried from frame to frame by optical flow.

Every frame is cut anew in a band around the carried outline, so that errors do not add up; colours seen on the object
in the prompted frames decide what inside the outline may be something in front of it, such as a finger.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .prompts import Prompt

LONGEST = 480  # px of the longer side that is worked at
BINS = 16  # of a colour channel
BAND = 0.06  # of the object's size (root of its area): how far its outline may be off
DISC = 0.012  # of the longer side: radius of what a point stands for
ROUNDS, AGAIN = 5, 2  # of GrabCut: from a prompt; in a frame it was carried to
DROP = 0.2  # of its last area: an object that shrinks to less within one frame is lost there
WIDE, CONTEXT = 12.0, 3.0  # bands of surroundings that GrabCut sees: from a prompt; in a frame it was carried to
PIECE = 0.1  # of the largest piece: smaller ones are something else of the same colour
PURE = 2.0  # how many times likelier on the object a colour is that is taken for it


class FlowTracker:
    """Follows objects by colour and motion, on a CPU."""

    spacing = 4  # frames between prompts made from the pose: flow alone drifts
    outlines = False

    def track(
        self,
        frames: Sequence[np.ndarray],
        prompts: Sequence[Prompt],
        on_step: Callable[[int, int], None] | None = None,
    ) -> dict[int, np.ndarray]:
        """Masks bool [T, H, W] of every object, by its number.

        frames: T of uint8 [H, W, 3], read one at a time. prompts: checked ones. on_step(done, total) is called after
        every frame of every object, and may raise to cancel.
        """
        from .thing import Thing

        numbers = sorted({prompt.object for prompt in prompts})
        total = len(numbers) * len(frames)
        masks = {}
        for place, number in enumerate(numbers):

            def step(done: int, _total: int, before: int = place * len(frames)) -> None:
                if on_step is not None:
                    on_step(before + done, total)

            masks[number] = Thing(frames, [p for p in prompts if p.object == number]).run(step)
        return masks


class Track:
    """One object."""

    def __init__(self, frames: Sequence[np.ndarray], prompts: Sequence[Prompt]):
        self.frames = frames
        self.height, self.width = frames[0].shape[:2]
        self.zoom = min(1, LONGEST / max(self.height, self.width))
        self.small = max(1, round(self.width * self.zoom)), max(1, round(self.height * self.zoom))
        self.prompts = {}
        for prompt in prompts:
            self.prompts.setdefault(prompt.frame, []).append(prompt)
        self.colours = np.zeros((2, BINS, BINS, BINS))  # of the surroundings and of the object, as counted

    def run(self, on_step: Callable[[int, int], None]) -> np.ndarray:
        """The masks, from the first prompted frame to the end, then back to the beginning."""
        import cv2

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
                large = cv2.resize(mask.astype(np.float32), (self.width, self.height), interpolation=cv2.INTER_LINEAR)
                masks[t] = large > 0.5
                done += 1
                on_step(done, count)
        return masks

    def _picture(self, t: int) -> np.ndarray:
        import cv2

        return cv2.resize(np.ascontiguousarray(self.frames[t]), self.small, interpolation=cv2.INTER_AREA)

    def _next(self, t: int, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
        mask = self._carry(before, after, mask)
        return self._prompted(t, after, mask) if t in self.prompts else mask

    def corrected(self, t: int, mask: np.ndarray) -> np.ndarray:
        """The mask bool [H, W] of frame t as its prompts want it."""
        import cv2

        small = cv2.resize(mask.astype(np.float32), self.small, interpolation=cv2.INTER_AREA) > 0.5
        wanted = self._prompted(t, self._picture(t), small).astype(np.float32)
        return cv2.resize(wanted, (self.width, self.height), interpolation=cv2.INTER_LINEAR) > 0.5

    def _prompted(self, t: int, picture: np.ndarray, carried: np.ndarray) -> np.ndarray:
        """The mask of a prompted frame; its colours are remembered."""
        import cv2

        height, width = carried.shape
        labels = np.where(carried, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        radius = max(1, round(DISC * max(height, width)))
        for prompt in self.prompts[t]:
            if prompt.mask is not None:
                mask = cv2.resize(prompt.mask.astype(np.uint8), self.small, interpolation=cv2.INTER_AREA) > 0
                self._remember(picture, mask)
                return mask
            if prompt.box is not None:
                left, top, right, bottom = (round(side * self.zoom) for side in prompt.box)
                inside = np.zeros_like(carried)
                inside[max(top, 0) : max(bottom, top + 1), max(left, 0) : max(right, left + 1)] = True
                labels[~inside] = cv2.GC_BGD
                if not carried.any():
                    labels[inside] = cv2.GC_PR_FGD
            for x, y in prompt.inside:
                cv2.circle(labels, (int(x * self.zoom), int(y * self.zoom)), radius, cv2.GC_FGD, -1)
            for x, y in prompt.outside:
                cv2.circle(labels, (int(x * self.zoom), int(y * self.zoom)), radius, cv2.GC_BGD, -1)
        mask = cut(picture, labels, ROUNDS, WIDE)
        self._remember(picture, mask)
        return mask

    def _remember(self, picture: np.ndarray, mask: np.ndarray) -> None:
        import cv2

        near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * max(3, _band(mask, CONTEXT)) + 1,) * 2, np.uint8)) > 0
        self.colours[1] += histogram(picture[mask])
        self.colours[0] += histogram(picture[near & ~mask])

    def _carry(self, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The mask of the next picture."""
        import cv2

        if not mask.any():
            return mask
        moved = move(before, after, mask)
        if not moved.any():
            return moved
        band = _band(moved, 1.0)
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1,) * 2)
        reach = cv2.dilate(moved.astype(np.uint8), brush) > 0
        core = cv2.erode(moved.astype(np.uint8), brush) > 0
        labels = np.where(reach, np.where(moved, cv2.GC_PR_FGD, cv2.GC_PR_BGD), cv2.GC_BGD).astype(np.uint8)
        surroundings, thing = (of_colours(after, counts) for counts in self.colours)
        likely = thing > PURE * surroundings
        labels[core & likely] = cv2.GC_FGD
        if not core.any() or not likely[core].any():
            return moved
        found = cut(after, labels, AGAIN, CONTEXT)
        return found if found.sum() >= DROP * mask.sum() else moved & likely


def move(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask as the picture's motion takes it along."""
    import cv2

    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (after, before)]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(*grey, None)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
    return cv2.remap(mask.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR) > 0.5


def cut(picture: np.ndarray, labels: np.ndarray, rounds: int, context: float) -> np.ndarray:
    """GrabCut within what is not surely background, with some of its surroundings."""
    import cv2

    possible = np.argwhere(labels != cv2.GC_BGD)
    if not len(possible):
        return np.zeros(labels.shape, bool)
    margin = max(8, _band(labels != cv2.GC_BGD, context))
    (top, left), (bottom, right) = np.maximum(possible.min(0) - margin, 0), possible.max(0) + 1 + margin
    part = slice(top, bottom), slice(left, right)
    cut = labels[part].copy()
    found = np.zeros(labels.shape, bool)
    thing = np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if thing.any() and not thing.all():
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(np.ascontiguousarray(picture[part]), cut, None, *models, rounds, cv2.GC_INIT_WITH_MASK)
    _, piece, stats, _ = cv2.connectedComponentsWithStats(np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8))
    area = stats[:, cv2.CC_STAT_AREA]
    area[0] = 0
    kept = (area > 0) & (area >= PIECE * area.max())
    kept[np.unique(piece[labels[part] == cv2.GC_FGD])] = True  # a head above a collar is no stray piece
    kept[0] = False
    found[part] = kept[piece]
    return found


def _band(mask: np.ndarray, factor: float) -> int:
    return max(2, round(factor * BAND * float(np.sqrt(mask.sum()))))


def histogram(pixels: np.ndarray) -> np.ndarray:
    """Counts of colours uint8 [N, 3], blurred over neighbouring bins."""
    counts, _ = np.histogramdd(pixels, bins=(BINS,) * 3, range=((0, 256),) * 3)
    for axis in range(3):
        counts = (np.roll(counts, 1, axis) + 2 * counts + np.roll(counts, -1, axis)) / 4
    return counts


def of_colours(picture: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How frequent each pixel's colour is among counted ones, [H, W]."""
    bins = tuple((picture // (256 // BINS)).reshape(-1, 3).T)
    return counts[bins].reshape(picture.shape[:2]) / max(counts.sum(), 1)
