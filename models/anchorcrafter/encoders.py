"""The base models beside the UNet: SVD's VAE and CLIP image encoder from a diffusers folder, and DINOv2.

`FrameVAE` answers the calls that ComfyUI's own VAE objects answer, so that either kind can be handed to everything here
and to ComfyUI's nodes.
"""

from pathlib import Path

import torch

from ..checkpoint import read, size, sizes_of
from ..loaded import Loaded
from ..normalise import IMAGENET, normalise
from ..pretrained import from_folder, pretrained
from .frugal import save_memory

SCALING_FACTOR = 0.18215  # of SVD's latents; condition latents are used unscaled (anchorcrafter sampling)


class FrameVAE:
    """SVD's VAE with the temporal decoder.

    loaded: a diffusers AutoencoderKLTemporalDecoder.
    """

    def __init__(self, loaded: Loaded):
        self.loaded = loaded

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """[F, H, W, 3] in 0…1 → unscaled posterior modes [F, 4, H/8, W/8], float32 on the CPU."""
        device = self.loaded.load(_activations(self.loaded, images.shape[1] * images.shape[2]))
        pixels = images[..., :3].movedim(-1, 1).to(device, self.loaded.dtype) * 2 - 1
        return torch.cat([self.loaded.module.encode(p).latent_dist.mode() for p in pixels.split(1)]).float().cpu()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Unscaled latents of consecutive frames [F, 4, h, w] → [F, H, W, 3] in 0…1, float32 on the CPU.

        The frames are decoded together: the decoder's convolutions reach over time.
        """
        device = self.loaded.load(_activations(self.loaded, latents.shape[-1] * latents.shape[-2] * 64 * len(latents)))
        z = latents.to(device, self.loaded.dtype)
        frames = self.loaded.module.decode(z, num_frames=len(z)).sample
        return (frames.float() / 2 + 0.5).clamp(0, 1).movedim(1, -1).cpu()


def _activations(loaded: Loaded, pixels: int) -> int:
    """Bytes the VAE needs for `pixels` pixels at once: 768 numbers for each (benchmarks/peak.py), and a margin."""
    return pixels * 850 * loaded.dtype.itemsize


class DINOv2:
    """DINOv2 (large in the released system). loaded: a transformers Dinov2Model."""

    SIZE = 518

    def __init__(self, loaded: Loaded):
        self.loaded = loaded

    def tokens(self, views: torch.Tensor) -> torch.Tensor:
        """[V, 518, 518, 3] in 0…1 → class and patch tokens of all views in a row [1, V·T, D], float32 on the CPU."""
        device = self.loaded.load()
        pixels = normalise(views.movedim(-1, 1).to(device, torch.float32), IMAGENET)
        tokens = [self.loaded.module(p).last_hidden_state for p in pixels.to(self.loaded.dtype).split(1)]
        return torch.cat(tokens, 1).float().cpu()


def load_vae(folder: str | Path, dtype: torch.dtype | None = None):
    """SVD's VAE from its diffusers folder (`vae/`). Raises CheckpointError."""
    from diffusers import AutoencoderKLTemporalDecoder

    # Converted while loading: diffusers warns of its own `to` for models that keep parts in float32, as this does not.
    vae = from_folder(AutoencoderKLTemporalDecoder, Path(folder) / "vae", None, torch_dtype=dtype or torch.float32)
    save_memory(vae)
    return vae


def load_image_encoder(folder: str | Path, dtype: torch.dtype | None = None):
    """SVD's CLIP image encoder from its diffusers folder (`image_encoder/`). Raises CheckpointError."""
    from transformers import CLIPVisionModelWithProjection

    return from_folder(CLIPVisionModelWithProjection, Path(folder) / "image_encoder", dtype)


def load_dinov2(path: str | Path, dtype: torch.dtype | None = None):
    """DINOv2 from a transformers folder, or from a single weight file whose sizes are read off its tensors.

    Raises CheckpointError.
    """
    from transformers import Dinov2Config, Dinov2Model

    path = Path(path)
    if path.is_dir():
        return from_folder(Dinov2Model, path, dtype)
    state, _ = read(path)
    state = {name.removeprefix("dinov2."): tensor for name, tensor in state.items()}
    projection = "embeddings.patch_embeddings.projection.weight"
    with sizes_of(f"{path.name} is not a DINOv2 file in transformers' layout"):
        width, patch = size(state, projection, 0), size(state, projection, 3)
        positions = size(state, "embeddings.position_embeddings", 1) - 1
        layers = {name.split(".")[2] for name in state if name.startswith("encoder.layer.")}
        config = Dinov2Config(
            hidden_size=width,
            num_hidden_layers=len(layers),
            num_attention_heads=max(1, width // 64),  # in every published DINOv2
            patch_size=patch,
            image_size=round(positions**0.5) * patch,
        )
    return pretrained(Dinov2Model, path.name, dtype, None, config=config, state_dict=state)
