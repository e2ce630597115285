"""Wan's VAE and CLIP image encoder: diffusers folders, or the single files that ComfyUI uses.

`WanVAE` answers the calls that ComfyUI's own VAE objects answer, so that either kind can be handed on.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import torch

from ..checkpoint import CheckpointError, assign, read, sizes_of
from ..chunks import out_of_memory, release_memory
from ..finite import DECODED, check_finite
from ..loaded import Loaded
from ..pretrained import from_folder, pretrained

# Of Wan 2.1's latents, by channel.
MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
        0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
       3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)
PIXEL_NUMBERS = 4 * 1000  # alive in the VAE by pixel: four frames at once, about 1000 channels of full resolution


def normalise(latents: torch.Tensor) -> torch.Tensor:
    """The VAE's latents [1, 16, f, h, w] as the transformer knows them."""
    return (latents - _channels(MEAN, latents)) / _channels(STD, latents)


def denormalise(latents: torch.Tensor) -> torch.Tensor:
    """The transformer's latents [1, 16, f, h, w] as the VAE knows them."""
    return latents * _channels(STD, latents) + _channels(MEAN, latents)


def _channels(values: tuple, like: torch.Tensor) -> torch.Tensor:
    return like.new_tensor(values).view(-1, 1, 1, 1)


class WanVAE:
    """loaded: a diffusers AutoencoderKLWan, which works through a clip four frames at a time. Threads may share it.

    The clip itself waits in main memory, so that the device holds no more of a longer one but its latents.
    """

    def __init__(self, loaded: Loaded):
        self.loaded = loaded
        self._lock = threading.Lock()  # the module keeps what it needs of the frames before

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """IMAGE [4n+1, H, W, 3] in 0…1 → posterior means [1, 16, n+1, H/8, W/8], not normalised, float32 on the CPU."""
        device = self.loaded.load(images[0, ..., 0].numel() * PIXEL_NUMBERS * self.loaded.dtype.itemsize)
        clip = (images[..., :3].movedim(-1, 0)[None].to(self.loaded.dtype) * 2).sub_(1)
        with self.loaded.module.encoder.register_forward_pre_hook(lambda _, inputs: inputs[0].to(device)):
            return self._tiled_if_needed(lambda vae: vae.encode(clip).latent_dist.mode()).float().cpu()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents, not normalised, [1, 16, n+1, h, w] → [1, 4n+1, H, W, 3] in 0…1, float32 on the CPU."""
        device = self.loaded.load(latents[0, 0, 0].numel() * 64 * PIXEL_NUMBERS * self.loaded.dtype.itemsize)
        latents = latents.to(device, self.loaded.dtype)
        with self.loaded.module.decoder.register_forward_hook(lambda _, inputs, frames: frames.cpu()):
            clip = self._tiled_if_needed(lambda vae: vae.decode(latents).sample).float()
        check_finite(clip, DECODED)
        return (clip / 2).add_(0.5).clamp_(0, 1).movedim(1, -1)

    def _tiled_if_needed(self, run: Callable) -> torch.Tensor:
        vae = self.loaded.module
        with self._lock:
            try:
                return run(vae)
            except (RuntimeError, MemoryError) as error:
                if vae.use_tiling or not out_of_memory(error):
                    raise
                logging.getLogger(__name__).warning("Out of memory: the VAE goes on in tiles, whose seams may be seen.")
                vae.enable_tiling()
                release_memory()
                return run(vae)


def load_vae(path: str | Path, dtype: torch.dtype = torch.bfloat16):
    """A diffusers AutoencoderKLWan from its folder, or from a single file under Wan's own names (any base width).

    Raises CheckpointError.
    """
    from diffusers import AutoencoderKLWan
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    path = Path(path)
    if path.is_dir():
        return from_folder(AutoencoderKLWan, path, None, torch_dtype=dtype)
    state, _ = read(path)
    if "decoder.head.0.gamma" not in state or "conv2.weight" not in state:
        raise CheckpointError(f"{path.name} is not Wan 2.1's VAE (such as wan_2.1_vae.safetensors).")
    with sizes_of(f"{path.name} is not Wan 2.1's VAE"), torch.device("meta"):
        vae = AutoencoderKLWan(base_dim=len(state["decoder.head.0.gamma"]), z_dim=len(state["conv2.weight"]))
        state = convert_wan_vae_to_diffusers({k: v.to(dtype) for k, v in state.items()})
    assign(vae, state, path.name)
    return vae


def load_clip_vision(path: str | Path, dtype: torch.dtype = torch.float32):
    """A transformers CLIPVisionModel from its folder, or from a single file whose sizes are read off its tensors.

    Raises CheckpointError.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModel

    path = Path(path)
    if path.is_dir():
        return from_folder(CLIPVisionModel, path, dtype)
    state = {name: tensor for name, tensor in read(path)[0].items() if name.startswith("vision_model.")}
    what = f"{path.name} is not a CLIP image encoder in transformers' layout (such as clip_vision_h.safetensors)"
    with sizes_of(what):
        width, _, patch, _ = state["vision_model.embeddings.patch_embedding.weight"].shape
        positions = len(state["vision_model.embeddings.position_embedding.weight"]) - 1
        inner = len(state["vision_model.encoder.layers.0.mlp.fc1.weight"])
        config = CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=len({name.split(".")[3] for name in state if ".encoder.layers." in name}),
            num_attention_heads=max(1, width // 80),  # in ViT-H
            patch_size=patch,
            image_size=round(positions**0.5) * patch,
            hidden_act="gelu",
        )
    return pretrained(CLIPVisionModel, path.name, dtype, None, config=config, state_dict=state)
