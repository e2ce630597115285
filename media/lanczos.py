"""Lanczos resizing of a clip, as AniCrafter's frames were made."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from .frames import each_frame


def resize_lanczos(
    images: torch.Tensor, width: int, height: int, on_step: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """[F, H, W, 3] in 0…1 → [F, height, width, 3] in 0…1, through 8 bits as the published videos go."""
    if images.shape[1:3] == (height, width):
        return images[..., :3]

    def resize(image: torch.Tensor) -> torch.Tensor:
        picture = Image.fromarray((image[..., :3] * 255).round().byte().cpu().numpy())
        resized = picture.resize((width, height), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(resized)).float() / 255

    return torch.stack(each_frame(images, resize, on_step))
