"""The reference photo's size, which is the size of the video (AnchorCrafter, section 4)."""

import math

import torch

from .frames import resize


def fit_person(image: torch.Tensor, short_side: int = 576) -> torch.Tensor:
    """[B, H, W, 3 or 4] in 0…1 → the first image, 9:16 (16:9 if it is wider than tall), [1, H', W', 3].

    It covers the target, and what sticks out is cut off evenly. The short side is `short_side`, a multiple of 64; the
    long one 16/9 of it rounded down to one. Raises ValueError for another short side.
    """
    if short_side < 64 or short_side % 64:
        raise ValueError(f"short_side is {short_side}; it must be a multiple of 64.")
    photo = image[0, ..., :3]
    height, width = photo.shape[:2]
    long_side = short_side * 16 // 9 // 64 * 64
    target_h, target_w = (long_side, short_side) if height > width else (short_side, long_side)
    scale = max(target_h / height, target_w / width)
    covered_w, covered_h = (
        max(target_w, math.ceil(width * scale - 1e-6)),
        max(target_h, math.ceil(height * scale - 1e-6)),
    )
    photo = resize(photo, covered_w, covered_h)
    top, left = (photo.shape[0] - target_h) // 2, (photo.shape[1] - target_w) // 2
    return photo[None, top : top + target_h, left : left + target_w]
