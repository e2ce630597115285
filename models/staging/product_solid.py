"""A product as a solid of its real size: the outline of its front view, and a depth that its kind has."""

from typing import NamedTuple

import numpy as np
import torch

from ..drawing.solids import Solid, closed, loft
from .holding import Size

_RINGS = 40  # of a solid, from top to bottom
_ROUND, _SOFT, _BOXY = 2.0, 4.0, 14.0  # exponents of superellipses


class Kind(NamedTuple):
    """What is usual: height m, depth as part of the width, and the cross-section's exponent (see `loft`)."""

    height: float
    depth: float
    power: float


KINDS = {
    "box": Kind(0.20, 0.45, _BOXY),
    "bottle": Kind(0.24, 1.0, _ROUND),
    "can": Kind(0.13, 1.0, _ROUND),
    "mug": Kind(0.10, 0.75, _ROUND),  # its width is with the handle
    "tube": Kind(0.18, 0.7, _ROUND),
    "bag": Kind(0.22, 0.4, _SOFT),
    "flat": Kind(0.18, 0.06, _BOXY),
}


def real_size(kind: str, aspect: float, width: float = 0.0, height: float = 0.0, depth: float = 0.0) -> Size:
    """(width, height, depth) m. What is 0 is guessed: from `aspect`, the front view's width over its height, and from
    what is usual for `kind` of KINDS. Raises ValueError for another kind."""
    if kind not in KINDS:
        raise ValueError(f'There is no kind of product "{kind}": choose among {", ".join(KINDS)}.')
    usual = KINDS[kind]
    height = height or (width / aspect if width else usual.height)
    width = width or height * aspect
    return width, height, depth or width * usual.depth


def product_solid(outline: torch.Tensor, size: Size, kind: str) -> Solid:
    """A product of `kind` and `size` (w, h, d) m about its own centre: x right, y down, front towards −z.

    outline: [S,S], 0.5 or more on the product seen from the front, stretched to `size`. Between a row's first and last
    pixel it is solid: a handle's hole is filled. Raises ValueError for an outline that shows nothing.
    """
    shown = outline.cpu().numpy() >= 0.5
    rows = np.nonzero(shown.any(1))[0]
    if not len(rows):
        raise ValueError("The product's front view shows nothing: check the mask in Product Views.")
    chosen = rows[np.linspace(0, len(rows) - 1, _RINGS).round().astype(int)]
    first, end = shown[chosen].argmax(1), shown.shape[1] - shown[chosen, ::-1].argmax(1)
    width, height, depth = size
    scale = width / (end.max() - first.min())
    middle, half = ((first + end) / 2 - (first.min() + end.max()) / 2) * scale, (end - first) / 2 * scale
    power = KINDS[kind].power
    deep = np.full_like(half, depth / 2)
    if power == _ROUND:  # as deep as it is wide, but for handles
        narrow = min(width, depth)
        deep = np.minimum(half, narrow / 2) * depth / narrow
    y = np.linspace(-height / 2, height / 2, _RINGS)
    solid = loft(np.array(closed([(*ring, power) for ring in zip(y, half, deep, strict=True)])))
    solid.vertices[:, 0] += np.interp(solid.vertices[:, 1], y, middle)
    return solid
