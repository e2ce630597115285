"""Three views of a product from a clip in which it is turned, or from the driving clip itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ...media.box import around
from ...media.frames import levels, stepped
from .views import product_views

THUMBNAIL = 16
GOOD = 0.5  # of the best frame's quality: less is not shown to the model
EDGE = 0.3  # quality of a frame in which the product is cut off by the picture's edge
TURNED = 0.5  # of the greatest difference from the front: what a turn of 45° of the half circle looks like


@dataclass(frozen=True)
class _Frame:
    number: int
    quality: float
    thumbnail: torch.Tensor


def views_from_clip(
    images: torch.Tensor,
    mask: torch.Tensor,
    front: int = -1,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int, int]]:
    """The views [3, 518, 518, 3] on black, their masks [3, 518, 518], and the frames they are: left, front, right.

    images: float [T, H, W, 3] in 0…1; mask: [T, H, W] in 0…1, the product. front: its frame, or -1 for the best one.
    Taken are frames in which the product is large, sharp and whole, turned to either side of the front; where there is
    only one good frame it stands for all. Raises ValueError for a mask of another clip, or one without the product.
    """
    if mask.shape != images.shape[:3]:
        raise ValueError(f"The mask is {list(mask.shape)} but the clip {list(images.shape[:3])}: both must be of one.")
    if not -1 <= front < len(images):
        raise ValueError(f"There is no frame {front}: the clip's frames are 0 to {len(images) - 1}, -1 chooses.")
    shown = [frame for frame in range(len(images)) if (mask[frame] >= 0.5).any()]
    if not shown:
        raise ValueError("The mask shows the product in no frame: segment the product first.")
    if front >= 0 and front not in shown:
        raise ValueError(f"The mask does not show the product in frame {front}: choose another front frame.")
    judged = [_judge(frame, images[frame], mask[frame] >= 0.5) for frame in stepped(shown, on_step)]
    best = max(judged, key=lambda frame: frame.quality)
    middle = next((frame for frame in judged if frame.number == front), best)
    good = [frame for frame in judged if frame.quality >= GOOD * best.quality and frame is not middle]
    left, right = _sides(middle, good)
    frames = left.number, middle.number, right.number
    photos = {
        name: images[frame, ..., :3].cpu() for name, frame in zip(("left", "front", "right"), frames, strict=True)
    }
    masks = {f"{name}_mask": mask[frame].cpu() for name, frame in zip(photos, frames, strict=True)}
    return *product_views(**photos, **masks), frames


def _judge(number: int, image: torch.Tensor, product: torch.Tensor) -> _Frame:
    """How well a frame shows the product: its area, sharpness on it, and whether it is whole."""
    import cv2

    mask = product.cpu().numpy()
    picture = levels(image[..., :3])
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    sharpness = float(cv2.Laplacian(grey, cv2.CV_32F)[inner].std()) if inner.any() else 0.0
    cut_off = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    quality = float(np.sqrt(mask.sum())) * sharpness * (EDGE if cut_off else 1)
    part = around(mask)
    crop = torch.from_numpy(picture[part] * mask[part][..., None]).permute(2, 0, 1).float() / 255
    return _Frame(number, quality, F.adaptive_avg_pool2d(crop, THUMBNAIL))


def _sides(front: _Frame, good: Sequence[_Frame]) -> tuple[_Frame, _Frame]:
    """Of the good frames, one before and one after the front that are turned enough and not too far.

    Where all lie on one side of it in time, the second is the one least like the first.
    """
    if not good:
        return front, front
    off = {frame.number: _difference(front, frame) for frame in good}
    wanted = TURNED * max(off.values())

    def turned(frames: Sequence[_Frame]) -> _Frame:
        return min(frames, key=lambda frame: abs(off[frame.number] - wanted))

    before, after = ([frame for frame in good if (frame.number < front.number) == past] for past in (True, False))
    if before and after:
        return turned(before), turned(after)
    first = turned(good)
    rest = [frame for frame in good if frame is not first and off[frame.number] <= 2 * wanted]
    second = max(rest, key=lambda frame: min(_difference(first, frame), off[frame.number]), default=front)
    return (first, second) if first.number < second.number else (second, first)


def _difference(a: _Frame, b: _Frame) -> float:
    return float((a.thumbnail - b.thumbnail).abs().mean())
