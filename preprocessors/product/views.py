"""The three product views of AnchorCrafter: cut out, cropped, on black, square."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ...media.box import around
from ...media.frames import resize
from .silhouette import find_silhouette

VIEW_SIDE = 518
OPAQUE = 0.05  # more than this shows: glass is cut out with its faint parts
CROP_MARGIN = 0.005  # of the photo's long side; the published product photos have up to this much
THUMBNAIL = 16

logger = logging.getLogger(__name__)


class ProductViews(NamedTuple):
    """views: [3,518,518,3] in 0…1 on black (left, front, right); masks: [3,518,518], 1 on the product."""

    views: torch.Tensor
    masks: torch.Tensor


def on_black(views: Sequence[torch.Tensor]) -> ProductViews:
    """Of three pictures [1,518,518,3] that are views already: the product is what is not black."""
    together = torch.cat([*views])
    return ProductViews(together, (together > 0).any(-1).float())


def product_views(
    front: torch.Tensor,
    left: torch.Tensor | None = None,
    right: torch.Tensor | None = None,
    more: Sequence[torch.Tensor] = (),
    front_mask: torch.Tensor | None = None,
    left_mask: torch.Tensor | None = None,
    right_mask: torch.Tensor | None = None,
    more_masks: Sequence[torch.Tensor | None] | None = None,
) -> ProductViews:
    """The product cut out of its photos.

    Photos are float [H,W,3] in 0..1, masks [H,W]; see `cut_out` for what happens without a mask. A missing side is
    taken from `more`, the photo least like the views so far; failing that, the other side's photo stands in (as
    published: the first view is repeated), or, with nothing but the front, the front. The front is always view 1,
    the one whose latent the video model sees. Raises ValueError naming the photo that cannot be used.
    """
    more_masks = [None] * len(more) if more_masks is None else more_masks
    if len(more) != len(more_masks):
        raise ValueError(f"There are {len(more)} more product photos but {len(more_masks)} masks for them.")

    def prepare(image, mask, name):
        return None if image is None else fit_to_square(*cut_out(image, mask, name))

    front = prepare(front, front_mask, "front")
    sides = [prepare(left, left_mask, "left"), prepare(right, right_mask, "right")]
    if None not in sides and len(more):
        logger.warning("Product views: left and right are given, so the %d more photos are not used.", len(more))
    elif len(more):
        spare = [prepare(*photo, f"additional ({i})") for i, photo in enumerate(zip(more, more_masks, strict=True), 1)]
        for i in (0, 1):
            if sides[i] is None and spare:
                sides[i] = spare.pop(_least_alike(spare, [front, *(side for side in sides if side)]))
    left, right = sides
    views = (left or right or front, front, right or left or front)
    return ProductViews(*(torch.stack(parts) for parts in zip(*views, strict=True)))


def cut_out(image: torch.Tensor, mask: torch.Tensor | None, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A photo [H,W,3] on black and its mask [H,W], both cropped to the product with a small margin.

    Without a mask (one that is 1 everywhere counts as none) a plain background is taken away, with soft shadows and
    what is seen through a handle. On a black one the pixels stay as they are. A busy background stays, with a logged
    warning; so is a product told whose outline is hardly seen.
    """
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"The {name} product photo must be one RGB picture [H,W,3], not {list(image.shape)}.")
    if mask is not None and bool((mask >= 0.5).all()):
        mask = None
    if mask is None:
        found = find_silhouette(image.numpy())
        if found is None:
            logger.warning(
                "The %s product photo has no plain background to take away: its background will be seen as part of "
                "the product. Connect a mask that shows the product.",
                name,
            )
            return image, torch.ones(image.shape[:2])
        if not found.sure:
            logger.warning(
                "The %s product's outline can hardly be told from its background: a part of it may be missing, or some "
                "background left. Look at the views; a mask that shows the product is surer.",
                name,
            )
        mask = torch.from_numpy(found.mask).float()
        shown = image if found.black else image * mask[..., None]
    else:
        if not (mask > OPAQUE).any():
            raise ValueError(f"The mask of the {name} product photo is empty: it must be 1 where the product is.")
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"The mask of the {name} product photo is {mask.shape[1]}x{mask.shape[0]} but the photo "
                f"{image.shape[1]}x{image.shape[0]}: connect the mask that belongs to this photo."
            )
        mask = mask.float().clamp(0, 1)
        shown = image * mask[..., None]

    margin = max(2, round(CROP_MARGIN * max(mask.shape)))
    part = around(mask > OPAQUE, margin)
    return shown[part], mask[part]


def fit_to_square(image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Photo [H,W,3] and mask [H,W] centred on a black square and resized to 518 (AnchorCrafter, object loader)."""
    height, width = mask.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    both = torch.cat([image, mask[..., None].to(image.dtype)], dim=-1)
    both = F.pad(both, (0, 0, left, side - width - left, top, side - height - top))
    both = resize(both, VIEW_SIDE, VIEW_SIDE)
    return both[..., :3], both[..., 3]


def _least_alike(photos: list[tuple], chosen: list[tuple]) -> int:
    """Index of the photo whose nearest neighbour among `chosen` is farthest, by small thumbnails on black."""

    def thumbnail(photo):
        return F.adaptive_avg_pool2d((photo[0] * photo[1][..., None]).permute(2, 0, 1), THUMBNAIL)

    known = torch.stack([thumbnail(photo) for photo in chosen])
    distance = [(known - thumbnail(photo)).abs().mean((1, 2, 3)).min() for photo in photos]
    return int(torch.stack(distance).argmax())
