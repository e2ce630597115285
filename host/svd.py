"""Stable Video Diffusion's VAE and CLIP image encoder out of its single file, without its UNet."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..models.checkpoint import CheckpointError, check_fit, read, sizes_of

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel
    from comfy.sd import VAE

VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "conditioner.embedders.0.open_clip.model.visual."


def load_svd_file(path: str | Path, vae_dtype: torch.dtype | None = None) -> "tuple[VAE, ClipVisionModel]":
    """Inside ComfyUI: its own objects, as its Image Only Checkpoint Loader makes them.

    The file is mapped, so that of its UNet, two thirds of it, nothing is read. vae_dtype: None as ComfyUI chooses.

    Raises CheckpointError for another model's file, and where tensors are missing.
    """
    from comfy import clip_vision
    from comfy.sd import VAE

    path = Path(path)
    state, _ = read(path)
    # By these ComfyUI tells SVD's VAE and ViT-H.
    marks = f"{VAE_PREFIX}decoder.mid.block_1.mix_factor", f"{CLIP_PREFIX}transformer.resblocks.30.ln_1.weight"
    if not all(mark in state for mark in marks):
        raise CheckpointError(
            f"{path.name} is not Stable Video Diffusion's single file (svd_xt_1_1.safetensors): it lacks its VAE or "
            "its CLIP image encoder."
        )
    vae_state, clip_state = (
        {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
        for prefix in (VAE_PREFIX, CLIP_PREFIX)
    )
    vae_state = {name.removeprefix(VAE_PREFIX): tensor for name, tensor in vae_state.items()}
    with sizes_of(path.name):
        clip_state = clip_vision.convert_to_transformers(clip_state, CLIP_PREFIX)
        given = set(vae_state) | set(clip_state)
        vae, clip = VAE(sd=vae_state, dtype=vae_dtype), clip_vision.load_clipvision_from_sd(clip_state)
    wanted = {*vae.first_stage_model.state_dict(), *clip.model.state_dict()}
    check_fit(path.name, sorted(wanted - given), [], [])  # ComfyUI would go on without them
    return vae, clip
