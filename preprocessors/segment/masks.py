"""Masks bool [h, w]: grown and shrunk, scaled, in pieces, and of boxes."""

from collections.abc import Sequence

import cv2
import numpy as np


def disc(radius: float) -> np.ndarray:
    """What `grow` and `shrink` go by: at least 1 px."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, int(radius)) + 1,) * 2)


def square(radius: int) -> np.ndarray:
    return np.ones((2 * radius + 1,) * 2, np.uint8)


def grow(mask: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def shrink(mask: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.erode(mask.astype(np.uint8), kernel) > 0


def upscale(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask at `size` (width, height), its outline smooth."""
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5


def downscale(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask at a smaller `size` (width, height)."""
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0


def fill_box(shape: tuple[int, int], box: Sequence[float]) -> np.ndarray:
    """The mask of a box (left, top, right, bottom), px; at least a pixel."""
    mask = np.zeros(shape, bool)
    left, top, right, bottom = (round(float(side)) for side in box)
    mask[max(top, 0) : max(bottom, top + 1), max(left, 0) : max(right, left + 1)] = True
    return mask


def pieces(mask: np.ndarray, connectivity: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Of every pixel the number of its connected piece, [h, w], 0 outside; and by number their areas, px, that of the
    outside as 0."""
    _, piece, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return piece, areas
