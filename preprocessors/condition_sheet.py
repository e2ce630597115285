"""All conditions of a frame in one picture, so that a misplaced one is seen before minutes of sampling."""

import torch
import torch.nn.functional as F

SHOWN = 0.04  # brighter than this is part of a condition; below is black with compression noise


def condition_sheet(
    person: torch.Tensor,
    pose: torch.Tensor,
    hand: torch.Tensor | None = None,
    object_depth: torch.Tensor | None = None,
    views: torch.Tensor | None = None,
) -> torch.Tensor:
    """Depth, hand mesh and pose laid over the dimmed person, the product's views along the lower edge.

    person: [1, H, W, 3]; pose, hand, object_depth: [F, H, W, 3]; views: [3, S, S, 3]; all 0…1, and with a fourth
    channel on black. Returns [F, H, W, 3].
    Raises ValueError when a clip has another length or size.
    """
    height, width = person.shape[1:3]
    sheet = (_on_black(person) * 0.5).repeat(len(pose), 1, 1, 1)
    for name, clip in (("object_depth", object_depth), ("hand", hand), ("pose", pose)):
        if clip is None:
            continue
        if clip.shape[:3] != sheet.shape[:3]:
            raise ValueError(
                f"{name} has {len(clip)} frames of {clip.shape[2]}×{clip.shape[1]}, the pose clip {len(pose)} and the "
                f"person photo {width}×{height}: place it on the person and take as many frames of it."
            )
        clip = _on_black(clip)
        shown = clip.amax(-1, keepdim=True) > SHOWN
        sheet = torch.where(shown, 0.2 * sheet + 0.8 * clip, sheet)
    if views is not None:
        side = width // 4
        views = _on_black(views).movedim(-1, 1)
        small = F.interpolate(views, (side, side), mode="bilinear", antialias=True).movedim(1, -1)
        sheet[:, height - side :, : 3 * side] = torch.cat(list(small), 1)
    return sheet


def _on_black(images: torch.Tensor) -> torch.Tensor:
    return images[..., :3] * images[..., 3:] if images.shape[-1] == 4 else images
