"""The hole: from a clip and its mask to what a method fills in, and back into the clip."""

import numpy as np
import torch

from ...media.frames import levels

THRESHOLD = 0.5  # of a mask; traces of video compression are no mask
LEVELS = {"grey": 128, "black": 0}  # that VACE and Wan-Animate know as to be painted
MULTIPLE, SHORTEST, LONGEST = 8, 128, 1280  # px of a side; RAFT knows no shorter, its memory grows with area squared


def check_clip(images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mask as bool [T,H,W], of every frame of images [T,H,W,3]; mask: [T,H,W], or [1,H,W] for all of them.

    Raises ValueError for another number of masks, another size, or masks that leave nothing to see.
    """
    count, height, width = images.shape[:3]
    if mask.ndim != 3 or len(mask) not in (1, count):
        raise ValueError(
            f"There are {len(mask)} masks for {count} frames: give one per frame, or one that holds for all of them."
        )
    if mask.shape[1:] != (height, width):
        raise ValueError(
            f"The mask is {mask.shape[2]}x{mask.shape[1]} pixels and the clip {width}x{height}: "
            "make the mask from this clip, or resize it."
        )
    hole = (mask > THRESHOLD).cpu()
    if hole.all():
        raise ValueError(
            "The mask covers every frame wholly, so there is no background to fill it from; "
            "if it marks the background, invert it."
        )
    return hole.expand(count, -1, -1)


def working_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width worked at: scaled, multiples of 8, no longer than 1280, no side below 128."""
    scale = max(min(scale, LONGEST / max(height, width)), SHORTEST / min(height, width))
    return tuple(max(SHORTEST, int(scale * side) // MULTIPLE * MULTIPLE) for side in (height, width))


def shrink(images: torch.Tensor, hole: torch.Tensor, size: tuple[int, int], dilation: int) -> tuple:
    """Frames uint8 [T,h,w,3] (bicubic) and holes bool [T,h,w] (nearest) at `size`, grown by `dilation` pixels.

    They grow one row and column at a time, to a diamond, as published.
    """
    frames = np.empty((len(images), *size, 3), np.uint8)
    holes = np.empty((len(images), *size), bool)
    for t, (image, mask) in enumerate(zip(images, hole, strict=True)):
        frames[t], holes[t] = shrink_frame(image, mask, size, dilation)
    return frames, holes


def shrink_frame(image: torch.Tensor, mask: torch.Tensor, size: tuple[int, int], dilation: int) -> tuple:
    """One frame of `shrink`."""
    import cv2
    from PIL import Image

    pixels = Image.fromarray(levels(image[..., :3])).resize(size[::-1], Image.BICUBIC)
    small = np.asarray(Image.fromarray(mask.numpy().astype(np.uint8) * 255).resize(size[::-1], Image.NEAREST))
    if dilation:
        small = cv2.dilate(small, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), iterations=dilation)
    return np.array(pixels), small > 0


def blocky(hole: np.ndarray, side: int) -> np.ndarray:
    """bool [h,w] widened to all squares of `side` px that it touches, on a grid from the upper left corner."""
    height, width = hole.shape
    squares = np.pad(hole, ((0, -height % side), (0, -width % side)))
    squares = squares.reshape(squares.shape[0] // side, side, -1, side).any((1, 3))
    return squares.repeat(side, 0).repeat(side, 1)[:height, :width]


def paste(image: torch.Tensor, filled: np.ndarray, hole: np.ndarray) -> torch.Tensor:
    """image [H,W,3] in 0…1 with the hole bool [h,w] taken from `filled` uint8 [h,w,3]; the rest stays as it is."""
    import cv2

    height, width = image.shape[:2]
    if not hole.any():
        return image
    large = filled
    alpha = hole.astype(np.float32)
    if filled.shape[:2] != (height, width):
        large = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
        alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = torch.from_numpy(alpha)[..., None]
    return image * (1 - alpha) + torch.from_numpy(large).float() / 255 * alpha
