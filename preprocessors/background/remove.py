"""A clip without its person."""

import logging
from collections.abc import Callable

import torch

from ...media.frames import as_image, frame_ranges, gathered, levels, resize, stepped
from ...models.loaded import Loaded
from .hole import LEVELS, blocky, check_clip, paste, shrink, shrink_frame, working_size
from .plate import plate
from .propainter import PROPAINTER, Inpainting, Settings

logger = logging.getLogger(__name__)
CODED = 16  # what sides are multiples of for Wan
LEAST = CODED**2  # px of a mask, at the size worked at, that can be seen as somebody: a token of Wan


def remove_person(
    images: torch.Tensor,
    mask: torch.Tensor,
    painter: Loaded | None = None,
    dilation: int = 16,
    scale: float = 0.5,
    settings: Settings = PROPAINTER,
    on_step: Callable[[int, int], None] | None = None,
    filled: torch.Tensor | None = None,
) -> torch.Tensor:
    """The clip with what is behind the person where the person was, [T,H,W,3] in 0…1; the rest is untouched.

    images: [T,H,W,3] in 0…1; mask: [T,H,W], or one for all frames, above 0.5 on the person. The hole is filled at
    `scale` of the clip's size (see `working_size`), where the mask is grown by `dilation` pixels, and put back at full
    size: by a `painter` (`models.propainter.system.ProPainter`), else from other frames, as the camera moved.
    filled: the clip of `cut_hole` after somebody else filled it, [≥T,h,w,3] in 0…1; its size is worked at, its hole
    taken. Raises ValueError.
    """
    images = images[..., :3]
    hole = check_clip(images, mask)
    if not hole.any():
        logger.warning("Remove Person: the mask is empty in every frame; the clip stays as it is.")
        return images
    if filled is not None and len(filled) < len(images):
        raise ValueError(f"The filled clip has {len(filled)} frames, the clip itself {len(images)}: fill all of them.")
    size = working_size(*images.shape[1:3], scale) if filled is None else tuple(filled.shape[1:3])
    frames, holes = shrink(images, hole, size, dilation)
    del hole
    if filled is not None:
        filled = gathered(map(levels, stepped(filled[: len(images), ..., :3], on_step)), len(images)).numpy()
    elif painter is None:
        filled = plate(frames, holes, on_step)
    else:
        filled = Inpainting(painter, frames, holes, settings, on_step).run()
    del frames
    return gathered(map(paste, images.cpu(), filled, holes), len(images))


def cut_hole(
    images: torch.Tensor, mask: torch.Tensor, dilation: int = 16, scale: float = 0.5,
    fill: int | torch.Tensor = LEVELS["grey"], blocks: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """For video models that inpaint: the clip [n,h,w,3] in 0…1 with a hole, and the hole [n,h,w], 1 inside. Sides are
    multiples of 16; the last frame is repeated until there are 4k + 1.

    images, mask, dilation, scale: see `remove_person`, which takes the result as `filled`. fill: what the hole shows, a
    level of 0…255, or pictures [n,H',W',3] in 0…1 such as a pose or an avatar, or one for all frames. blocks: side px
    of the squares that the grown hole is widened to; 0 keeps its outline. Raises ValueError. Warns of frames in which
    the mask shows next to nothing.
    """
    hole = check_clip(images, mask)
    size = tuple(side // CODED * CODED for side in working_size(*images.shape[1:3], scale))
    count, more = len(images), -(len(images) - 1) % 4
    if not isinstance(fill, int):
        if len(fill) not in (1, count):
            raise ValueError(f"There are {count} frames but {len(fill)} pictures for their holes: give one of each.")
        fill = fill[..., :3].expand(count, -1, -1, -1)
    cut, holes, shown = torch.empty(count + more, *size, 3), torch.empty(count + more, *size), torch.empty(count)
    for t, (image, mask) in enumerate(zip(images, hole, strict=True)):
        frame, inside = shrink_frame(image, mask, size, dilation)
        shown[t] = mask.count_nonzero() * inside.size / mask.numel()
        inside = blocky(inside, blocks) if blocks else inside
        frame[inside] = fill if isinstance(fill, int) else levels(resize(fill[t], *size[::-1]))[inside]
        cut[t], holes[t] = as_image(frame), torch.from_numpy(inside)
    small = (shown < LEAST).nonzero().flatten() + 1
    if len(small):
        logger.warning(
            "The mask shows next to nobody in frames %s (fewer than %d pixels of %dx%d): a video model paints nobody "
            "there. Check where the person stands, and that the mask is of this clip.",
            *(frame_ranges(small.tolist()), LEAST, *size[::-1]),
        )
    for clip in (cut, holes):
        clip[count:] = clip[count - 1]
    return cut, holes
