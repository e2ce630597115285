"""The hole filled without weights: from other frames as the camera moved, and smoothly where none shows it."""

from collections.abc import Callable

import numpy as np

from ..frames import each_frame
from .camera import Camera

NEAR, FAR = (20, 2), (80, 6)  # how many frames to either side are looked at, and every how manieth
STILL_SOURCES = 31  # of a still camera, over the whole clip
AGREEING = 3  # the best aligned sources of a pixel that its median is taken of
ALIKE = 1.3  # times a near frame's misalignment: a far one that lies worse is left out
MARGIN = 24  # px around the hole, where exposure and alignment are judged
FEWEST = 500  # pixels there that must be in sight
GAIN = 1.3  # the most that a source's exposure is corrected
INPAINT_RADIUS = 5
COARSE = 160  # px: the longer side at which never seen pixels are inpainted, as they are smooth anyway


def plate(frames: np.ndarray, masks: np.ndarray, on_step: Callable[[int, int], None] | None = None) -> np.ndarray:
    """The frames with their holes filled, uint8 [T,H,W,3].

    frames: uint8 RGB; masks: bool [T,H,W], True in the hole. Each pixel is the median of what the best aligned frames
    that see it show there, in the frame's own exposure; a pixel no frame sees is filled smoothly from its surroundings.
    Right for a still, turning or zooming camera, or a flat background; where a camera travels past something near, that
    is seen too differently from far frames and becomes smooth too.
    """
    camera = Camera(frames, masks)
    return np.stack(each_frame(range(len(frames)), lambda t: _fill(frames, masks, camera, t), on_step))


def sources(count: int, t: int, still: bool) -> tuple[list[int], list[int]]:
    """The frames that frame t is filled from, and those for what they do not see.

    A still camera's are all over the clip. A moving one's are near, since what is close shifts against what is far.
    """
    if still:
        return sorted({round(i * (count - 1) / (STILL_SOURCES - 1)) for i in range(STILL_SOURCES)} - {t}), []
    reach, step = NEAR
    near = [s for s in range(count) if 0 < abs(s - t) <= reach and (s - t) % step == 0]
    reach_far, step = FAR
    return near, [s for s in range(count) if reach < abs(s - t) <= reach_far and (s - t) % step == 0]


def _fill(frames: np.ndarray, masks: np.ndarray, camera: Camera, t: int) -> np.ndarray:
    import cv2

    if not masks[t].any():
        return frames[t]
    height, width = masks.shape[1:]
    rows, columns = (np.flatnonzero(masks[t].any(axis)) for axis in (1, 0))
    top, bottom = max(0, rows[0] - MARGIN), min(height, rows[-1] + 1 + MARGIN)
    left, right = max(0, columns[0] - MARGIN), min(width, columns[-1] + 1 + MARGIN)
    here = (slice(top, bottom), slice(left, right))
    frame, hole = frames[t][here], masks[t][here]
    size = (right - left, bottom - top)
    to_corner = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)

    def look(s: int) -> tuple[float, np.ndarray, np.ndarray] | None:
        """How badly frame s lies on this one, in levels; its colours in the hole [N,3], and which of them it sees."""
        way = camera.between(s, t)
        if way is None:
            return None
        way = to_corner @ way
        seen = cv2.warpPerspective(frames[s], way, size, flags=cv2.INTER_LINEAR)
        # Whatever a pixel of the mask, or of the outside, took part in is not seen.
        blocked = cv2.warpPerspective(masks[s].astype(np.float32), way, size, borderValue=1)
        known = blocked < 1e-3
        common = known & ~hole
        if common.sum() < FEWEST:
            return None
        gain = frame[common].mean(0) / np.maximum(seen[common].mean(0), 1)
        seen = np.clip(seen * np.clip(gain, 1 / GAIN, GAIN), 0, 255)
        return np.abs(seen[common] - frame[common]).mean(), seen[hole].round().astype(np.uint8), known[hole]

    near, far = sources(len(frames), t, camera.still)
    found = [view for s in near if (view := look(s))]
    if far and not (found and np.any([known for *_, known in found], axis=0).all()):
        worst = ALIKE * np.median([error for error, *_ in found]) if found else np.inf
        found += [view for s in far if (view := look(s)) and view[0] <= worst]
    found.sort(key=lambda view: view[0])

    crop, unseen = frame.copy(), hole.copy()
    colours, known = _median([view for _, *view in found], hole.sum())
    crop[hole] = colours.round().astype(np.uint8)
    unseen[hole] = ~known
    result = frames[t].copy()
    result[here] = crop
    if unseen.any():
        whole = np.zeros_like(masks[t])
        whole[here] = unseen
        result = inpaint_smoothly(result, whole)
    return result


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
