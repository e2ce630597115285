"""ComfyUI's SPLAT, what its own nodes load, edit, draw and show of 3-D gaussians, and one frame of an avatar's."""

import logging

import torch

from ..models.avatar.animate import Posed
from ..models.avatar.ply import SH_0


def to_splat(posed: Posed):
    """SPLAT of one frame, `xyz` [N,3] m: like it, a splat has y down and z away from who looks at it."""
    from comfy_api.latest import Types

    harmonics = (posed.rgb - 0.5) / SH_0
    return Types.SPLAT(
        posed.xyz[None], posed.scale[None], posed.rotation[None], posed.opacity[None], harmonics[None, :, None]
    )


def from_splat(splat) -> Posed:
    """The first splat of a batch, as one frame, in float32 on the CPU; colours as seen from everywhere.

    Raises ValueError for a splat without gaussians, or with values that are no numbers.
    """
    if len(splat.positions) > 1:
        logging.getLogger(__name__).warning("The batch holds %d splats; the first is taken.", len(splat.positions))
    count = splat.positions.shape[1] if splat.counts is None else int(splat.counts[0])

    def first(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[0, :count].detach().to("cpu", torch.float32)

    rgb = (0.5 + SH_0 * first(splat.sh)[:, 0]).clamp(0, 1)
    opacity = first(splat.opacities).reshape(-1, 1).clamp(0, 1)
    posed = Posed(first(splat.positions), first(splat.rotations), first(splat.scales), opacity, rgb)
    if not count:
        raise ValueError("The splat is empty: it has no gaussians.")
    if not all(part.isfinite().all() for part in posed) or not posed.rotation.any(-1).all():
        raise ValueError("The splat holds values that are no numbers: load or make it again.")
    return posed
