"""The colours of a video held where the background is known: its windows may each be a little warmer or darker."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ...media.frames import gathered, stepped
from .conditions import GRID, Scene

LEAST = 0.02  # of a frame's pixels: where fewer are background, nothing can be told


def steadied(
    frames: torch.Tensor, scene: Scene, on_step: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """The driving frames that were generated, IMAGE [F, H, W, 3], each shifted in colour, as a whole, until the
    background has the mean colour that it has in the scene.

    The background is where no body is, and none within the blur of the scene's mask. A frame without enough of it is
    shifted as the one before. on_step(done, total) may raise to cancel. Raises ValueError for frames of another size,
    or more than the scene has.
    """
    if frames.shape[1:3] != scene.free.shape[1:] or len(frames) >= len(scene.free):
        (count, height, width), (shown, high, wide) = frames.shape[:3], scene.free.shape
        raise ValueError(
            f"The video has {count} frames of {width}×{height}, but the scene {shown - 1} of {wide}×{high}: connect "
            "the scene that it was made of, and the frames as the VAE decodes them."
        )
    reach, shift = min(frames.shape[1:3]) // GRID | 1, frames.new_zeros(3)

    def moved(t: int) -> torch.Tensor:
        nonlocal shift
        body = (scene.free[1 + t] < 1).to(frames)[None]
        background = F.max_pool2d(body, reach, 1, reach // 2)[0] == 0
        if background.float().mean() >= LEAST:
            shift = (scene.blend[1 + t].to(frames)[background] - frames[t][background]).mean(0)
        return (frames[t] + shift).clamp(0, 1)

    return gathered((moved(t) for t in stepped(range(len(frames)), on_step)), len(frames))
