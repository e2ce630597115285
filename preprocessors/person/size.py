"""The reference photo's size, which is the size of the video (AnchorCrafter, section 4)."""

import logging
import math
from itertools import product

import torch

from ...media.frames import resize

SHAPES = ("nearest", "published")
GRID = 64  # both sides are multiples: eight of the latents' pixels, which the network halves three times
HEIGHT_LOST = 0.1  # of the photo, at most
WIDTH_LOST = 0.26  # a 3:4 photo becomes 9:16 as published
TOLD = 0.2  # of either side; so much cut off is worth a word

logger = logging.getLogger(__name__)


def fit_person(image: torch.Tensor, short_side: int = 576, shape: str = "nearest") -> torch.Tensor:
    """[B, H, W, 3 or 4] in 0…1 → the first image at a size that the model can make, [1, H', W', 3].

    published: 9:16, or 16:9 if it is wider than tall. The short side is `short_side`, a multiple of 64; the long one
    16/9 of it rounded down to one. The photo covers that, and what sticks out is cut off evenly. nearest: the same,
    unless more than a tenth of its height or about a quarter of its width would be cut off: then the multiples of 64
    that show most of the photo with no more pixels; what sticks out below is cut off, never the head.

    Raises ValueError for another short side.
    """
    if short_side < GRID or short_side % GRID:
        raise ValueError(f"short_side is {short_side}; it must be a multiple of {GRID}.")
    photo = image[0, ..., :3]
    height, width = photo.shape[:2]
    long_side = short_side * 16 // 9 // GRID * GRID
    published = (short_side, long_side) if height > width else (long_side, short_side)
    size = published if shape == "published" else _nearest(width / height, published)
    lost = _lost(width / height, size)
    if size != published:
        logger.warning(
            "The video becomes %d×%d, in the photo's shape; the model learned %d×%d, which shape published gives.",
            *size, *published,
        )
    for share, side in zip(lost, ("width", "height"), strict=True):
        if share > TOLD:
            logger.warning("%d %% of the photo's %s is cut off.", round(100 * share), side)
    scale = max(size[0] / width, size[1] / height)
    covered_w, covered_h = (max(a, math.ceil(b * scale - 1e-6)) for a, b in zip(size, (width, height), strict=True))
    photo = resize(photo, covered_w, covered_h)
    left, top = (covered_w - size[0]) // 2, (covered_h - size[1]) // 2 if shape == "published" else 0
    return photo[None, top : top + size[1], left : left + size[0]]


def _nearest(ratio: float, published: tuple[int, int]) -> tuple[int, int]:
    """(width, height) for a photo of that width over height."""

    def fits(size: tuple[int, int]) -> bool:
        return _lost(ratio, size)[1] <= HEIGHT_LOST + 1e-6

    if fits(published) and _lost(ratio, published)[0] <= WIDTH_LOST:
        return published
    most = published[0] * published[1]
    sides = range(GRID, most // GRID + 1, GRID)
    sizes = [(w, h) for w, h in product(sides, sides) if w * h <= most and fits((w, h))]

    def shown(size: tuple[int, int]) -> tuple[float, float]:
        kept = 1 - sum(_lost(ratio, size))
        return round(kept * size[0] * size[1]), kept

    return max(sizes, key=shown, default=published)


def _lost(ratio: float, size: tuple[int, int]) -> tuple[float, float]:
    """The shares of a photo's width and height that are cut off where it covers `size`."""
    shape = size[0] / size[1]
    return max(0.0, 1 - shape / ratio), max(0.0, 1 - ratio / shape)
