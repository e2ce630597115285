"""A clip without its person."""

import logging
from collections.abc import Callable

import torch

from ...models.loaded import Loaded
from .hole import check_clip, paste, shrink, working_size
from .plate import plate
from .propainter import PROPAINTER, Inpainting, Settings

logger = logging.getLogger(__name__)


def remove_person(
    images: torch.Tensor,
    mask: torch.Tensor,
    painter: Loaded | None = None,
    dilation: int = 16,
    scale: float = 0.5,
    settings: Settings = PROPAINTER,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """The clip with what is behind the person where the person was, [T,H,W,3] in 0…1; the rest is untouched.

    images: [T,H,W,3] in 0…1; mask: [T,H,W], or one for all frames, above 0.5 on the person. The hole is filled at
    `scale` of the clip's size (see `working_size`), where the mask is grown by `dilation` pixels, and put back at full
    size: by a `painter` (`models.propainter.system.ProPainter`), else from other frames, as the camera moved.
    Raises ValueError.
    """
    images = images[..., :3]
    hole = check_clip(images, mask)
    if not hole.any():
        logger.warning("Remove Person: the mask is empty in every frame; the clip stays as it is.")
        return images
    frames, holes = shrink(images, hole, working_size(*images.shape[1:3], scale), dilation)
    if painter is None:
        filled = plate(frames, holes, on_step)
    else:
        filled = Inpainting(painter, frames, holes, settings, on_step).run()
    result = images.clone()
    for t in range(len(result)):
        result[t] = paste(images[t].cpu(), filled[t], holes[t])
    return result
