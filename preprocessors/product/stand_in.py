"""A stand-in held in the driving clip: its track, brought to the proportions of the product that is shown instead."""

from collections.abc import Callable

import numpy as np
import torch

from ...media.box import box_of
from ...media.frames import black, put, stepped

LIMITS = 0.2, 5.0  # of a side's scale; beyond them the stand-in is no stand-in


def proportions(masks: torch.Tensor) -> float:
    """Width over height of what masks [T, H, W] show, the middle one of all frames that show it."""
    shown = (mask >= 0.5 for mask in masks)
    found = [box_of(mask) for mask in shown if mask.any()]
    if not found:
        raise ValueError("The mask shows the product in no frame, so its proportions are unknown.")
    return float(np.median([(right - left) / (bottom - top) for left, top, right, bottom in found]))


def fit_stand_in(
    condition: torch.Tensor,
    mask: torch.Tensor,
    aspect: float,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The object-depth condition [T, H, W, 3] and its mask [T, H, W], as if the real product were held.

    aspect: width over height of the real product (see `proportions`); it covers the same area. scale: larger or
    smaller than that. shift: in widths and heights of the object, right and down. Every frame is stretched alike about
    the middle of what it shows, so that nothing trembles; what was 0 stays 0. Raises ValueError for sizes that differ
    or a stretch beyond `LIMITS`.
    """
    import cv2

    if condition.shape[:3] != mask.shape:
        raise ValueError(f"The depth video is {list(condition.shape[:3])} but the mask {list(mask.shape)}.")
    wider = aspect / proportions(mask)
    across, along = scale * wider**0.5, scale / wider**0.5
    if not all(LIMITS[0] <= side <= LIMITS[1] for side in (across, along)):
        raise ValueError(
            f"The stand-in would be stretched {across:.2f} times in width and {along:.2f} times in height: choose one "
            "that is more like the product, or another scale."
        )
    height, width = mask.shape[1:]
    fitted, shape = (black(of.shape, of.dtype) for of in (condition, mask))

    for frame in stepped(range(len(mask)), on_step):
        if not (mask[frame] >= 0.5).any():
            continue
        left, top, right, bottom = box_of(mask[frame] >= 0.5)
        middle = np.array([(left + right) / 2, (top + bottom) / 2])
        factor = np.array([across, along])
        moved = middle + np.array(shift) * (right - left, bottom - top)
        way = np.column_stack([np.diag(factor), moved - factor * middle])
        for source, target in ((condition, fitted), (mask, shape)):
            picture = source[frame].to(condition.dtype).cpu().numpy()
            warped = cv2.warpAffine(picture, way, (width, height), flags=cv2.INTER_NEAREST)
            put(target, frame, torch.from_numpy(warped))
    return fitted, shape
