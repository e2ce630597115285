"""All conditions of a frame in one picture, so that a misplaced one is seen before minutes of sampling."""

import torch
import torch.nn.functional as F

from ..media.frames import gathered

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
    clips = {"object_depth": object_depth, "hand": hand, "pose": pose}
    clips = {name: clip for name, clip in clips.items() if clip is not None}
    for name, clip in clips.items():
        if clip.shape[:3] != (len(pose), height, width):
            raise ValueError(
                f"{name} has {len(clip)} frames of {clip.shape[2]}×{clip.shape[1]}, the pose clip {len(pose)} and the "
                f"person photo {width}×{height}: place it on the person and take as many frames of it."
            )
    dimmed, side = _on_black(person)[0] * 0.5, width // 4
    if views is not None:
        views = _on_black(views).movedim(-1, 1)
        small = F.interpolate(views, (side, side), mode="bilinear", antialias=True).movedim(1, -1)
        edge = torch.cat(list(small), 1)

    def sheet(frame: int) -> torch.Tensor:
        laid = dimmed
        for clip in clips.values():
            picture = _on_black(clip[frame])
            laid = torch.where(picture.amax(-1, keepdim=True) > SHOWN, 0.2 * laid + 0.8 * picture, laid)
        if views is not None:
            laid[height - side :, : 3 * side] = edge
        return laid

    return gathered(map(sheet, range(len(pose))), len(pose))


def _on_black(images: torch.Tensor) -> torch.Tensor:
    return images[..., :3] * images[..., 3:] if images.shape[-1] == 4 else images
