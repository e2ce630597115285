"""Colours of pixels, counted: how frequent one is on an object, and beside it."""

import numpy as np

BINS = 16  # of a colour channel


def colour_bins(picture: np.ndarray) -> np.ndarray:
    """The number of each pixel's colour in `histogram`, [...], of uint8 [..., 3]."""
    red, green, blue = (picture[..., channel].astype(np.int32) * BINS // 256 for channel in range(3))
    return (red * BINS + green) * BINS + blue


def histogram(bins: np.ndarray, beyond: str = "edge") -> np.ndarray:
    """Counts [BINS³] of colours, blurred over neighbouring ones. beyond: what follows the darkest and the brightest
    level of a channel, a mode of `np.pad`."""
    counts = np.bincount(bins.ravel(), minlength=BINS**3).reshape((BINS,) * 3).astype(float)
    for axis in range(3):
        wide = np.pad(counts, [(int(axis == other),) * 2 for other in range(3)], beyond)
        wide = np.moveaxis(wide, axis, 0)
        counts = np.moveaxis((wide[:-2] + 2 * wide[1:-1] + wide[2:]) / 4, 0, axis)
    return counts.ravel()


def share(counts: np.ndarray) -> np.ndarray:
    """Of all that was counted."""
    return counts / max(counts.sum(), 1)
