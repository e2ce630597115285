"""The hole filled without weights: from other frames, as the background moved, and smoothly where none shows it."""

import logging
from collections.abc import Callable

import numpy as np

from ...media.box import around
from ...media.frames import stepped
from .camera import Camera
from .carry import Motion, between, carry, inside, pixels

STILL_SOURCES = 31  # of a still camera, over the whole clip
AGREEING = 3  # the most alike sources of a pixel that its median is taken of
MARGIN = 24  # px around the hole, where exposure is judged
FEWEST = 500  # pixels there that must be in sight
GAIN = 1.3  # the most that a source's exposure is corrected
MADE_UP = 0.1  # of the holes, seen in no frame: more is worth a word
INPAINT_RADIUS = 5
COARSE = 160  # px: the longer side at which never seen pixels are inpainted, as they are smooth anyway

logger = logging.getLogger(__name__)


def plate(frames: np.ndarray, masks: np.ndarray, on_step: Callable[[int, int], None] | None = None) -> np.ndarray:
    """The frames, uint8 RGB [T,H,W,3], with their holes filled in place; masks: bool [T,H,W], True in the hole.

    Before a still camera each pixel is the median of what frames from all over the clip show there, in the frame's own
    exposure; before a moving one it is followed along the background's motion until a frame shows it. What no frame
    shows is filled smoothly from its surroundings, once, and moves with the background. A warning says how much that
    is, where it is much.
    """
    count = len(frames)
    if Camera(frames, masks).still:
        unseen = np.zeros_like(masks)
        for t in stepped(range(count), on_step):
            unseen[t] = _fill(frames, masks, t)
        follow = _Still()
    else:
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            if on_step is not None:
                on_step(done, 3 * count)

        follow = Motion(frames, masks, step)
        unseen = carry(frames, masks, follow, step)
    made_up = unseen.sum() / max(1, masks.sum())
    if made_up > MADE_UP:
        logger.warning(
            "Remove Person: %.0f %% of what is hidden is seen in no frame and was filled smoothly; ProPainter (Load "
            "ProPainter), or another model by Cut Hole, paints it.", 100 * made_up,
        )
    return _make_up(frames, unseen, follow)


class _Still:
    """`Motion` of a camera that stands still."""

    def follow(self, points: np.ndarray, t: int, other: int) -> np.ndarray:
        return points

    def gain(self, source: np.ndarray, t: int) -> float:
        return 1.0


def _make_up(frames: np.ndarray, unseen: np.ndarray, motion: Motion | _Still) -> np.ndarray:
    """The frames, in place: what none shows is made up in the one that lacks most and goes on from there to others."""
    first = int(unseen.sum((1, 2)).argmax())
    if unseen[first].any():
        frames[first] = inpaint_smoothly(frames[first], unseen[first])
    for order, step in ((range(first + 1, len(frames)), -1), (range(first - 1, -1, -1), 1)):
        for t in order:
            if not unseen[t].any():
                continue
            at = pixels(unseen[t])
            moved = motion.follow(at, t, t + step)
            there = inside(moved, unseen[t].shape)
            source = np.full(int(there.sum()), t + step)
            colours = between(frames, source, moved[there]) * motion.gain(source, t)
            x, y = at[there].astype(int).T
            frames[t][y, x] = colours.round().clip(0, 255)
            rest = unseen[t].copy()
            rest[y, x] = False
            if rest.any():
                frames[t] = inpaint_smoothly(frames[t], rest)
    return frames


def _fill(frames: np.ndarray, masks: np.ndarray, t: int) -> np.ndarray:
    """Frame t of a still camera gets what others show in its hole; where none does, bool [H,W]. Of holes nothing is
    read, filled or not."""
    unseen = masks[t].copy()
    if not unseen.any():
        return unseen
    here = around(masks[t], MARGIN)
    frame, hole = frames[t][here], masks[t][here]

    def look(s: int) -> tuple[float, np.ndarray, np.ndarray] | None:
        """How unlike frame s is around the hole, in levels; its colours in it [N,3], and which of them it sees."""
        seen, known = frames[s][here], ~masks[s][here]
        common = known & ~hole
        if common.sum() < FEWEST:
            return None
        gain = frame[common].mean(0) / np.maximum(seen[common].mean(0), 1)
        seen = np.clip(seen * np.clip(gain, 1 / GAIN, GAIN), 0, 255)
        return np.abs(seen[common] - frame[common]).mean(), seen[hole].round().astype(np.uint8), known[hole]

    count = len(frames)
    sources = {round(i * (count - 1) / (STILL_SOURCES - 1)) for i in range(STILL_SOURCES)} - {t}
    found = sorted((view for s in sorted(sources) if (view := look(s))), key=lambda view: view[0])
    colours, known = _median([view for _, *view in found], int(hole.sum()))
    frames[t][masks[t]] = colours.round().astype(np.uint8)
    unseen[masks[t]] = ~known
    return unseen


def _median(views: list[tuple[np.ndarray, np.ndarray]], pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Median of the first `AGREEING` views that know a pixel, [N,3], and which of the N any view knows.

    views: colours uint8 [N,3] and known bool [N], the best first.
    """
    picked, count = np.full((AGREEING, pixels, 3), np.inf, np.float32), np.zeros(pixels, int)
    for colours, known in views:
        wanted = np.flatnonzero(known & (count < AGREEING))
        picked[count[wanted], wanted] = colours[wanted]
        count[wanted] += 1
    picked.sort(axis=0)
    every = np.arange(pixels)
    known = count > 0
    # The middle one, or the mean of the two in the middle.
    middle = (picked[np.maximum(count - 1, 0) // 2, every] + picked[np.minimum(count // 2, AGREEING - 1), every]) / 2
    return np.where(known[:, None], middle, 0), known


def inpaint_smoothly(frame: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """uint8 [H,W,3] with the hole bool [H,W] filled from its edge inwards, by cv2's TELEA on a small picture."""
    import cv2

    height, width = hole.shape
    zoom = min(1, COARSE / max(height, width))
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    weight = (~hole).astype(np.float32)
    # The mean of what is known under each small pixel: nothing of the hole may bleed in.
    small_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(frame * weight[..., None], size, interpolation=cv2.INTER_AREA)
    small = (small / np.maximum(small_weight, 1e-3)[..., None]).round().clip(0, 255).astype(np.uint8)
    filled = cv2.inpaint(small, (small_weight < 0.5).astype(np.uint8), INPAINT_RADIUS, cv2.INPAINT_TELEA)
    result = frame.copy()
    result[hole] = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)[hole]
    return result
