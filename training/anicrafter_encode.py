"""What Wan's VAE and image encoder say of a training window, asked once and kept on disk."""

import hashlib
import os
import threading
from pathlib import Path

import torch
import torch.nn.functional as F

from ..models.anicrafter.conditions import LATENT, STRIDE, Scene, clip_image
from ..models.anicrafter.encoders import ClipVision, WanVAE, load_clip_vision, load_vae, normalise
from ..models.checkpoint import CheckpointError, read
from ..models.loaded import Loaded
from .anicrafter_data import Window


class Encoders:
    """Both encoders, and the folder that keeps their answers, told apart by the content of encoders and clips."""

    def __init__(self, vae: Path, clip_vision: Path, cache: Path, dtype: torch.dtype):
        """dtype: of the VAE; CLIP is float32, as published. Raises CheckpointError."""
        self.vae = WanVAE(Loaded(load_vae(vae, dtype)))
        self.clip = ClipVision(Loaded(load_clip_vision(clip_vision)))
        self.cache = cache
        self.lock = threading.Lock()  # samples are made by several threads
        self.digest = _digest(self.vae.loaded.module, self.clip.loaded.module)

    def to(self, device: torch.device) -> None:
        self.vae.loaded.module.to(device)
        self.clip.loaded.module.to(device)

    def __call__(self, window: Window) -> dict[str, torch.Tensor]:
        """float32: `latents` [16, f, h, w] of the film; `concat` [20, f, h, w], mask and latents of the blend; `clip`
        [257, D]; `person` [1, f, h, w], which share of the pixels behind a latent are the person's."""
        file = self.cache / f"{self._key(window)}.safetensors"
        with self.lock:
            try:
                kept = read(file)[0]
            except CheckpointError:  # not made yet
                kept = self._encode(window)
                _write(kept, file)
        return {name: tensor.float() for name, tensor in kept.items()}

    def _key(self, window: Window) -> str:
        what = f"{self.digest} {window.clip.content} {window.first} {window.frames}"
        return hashlib.sha256(what.encode()).hexdigest()[:32]

    @torch.no_grad()
    def _encode(self, window: Window) -> dict[str, torch.Tensor]:
        scene = window.scene()
        film, blend = (normalise(self.vae.encode(images).float().cpu())[0] for images in (window.film(), scene.blend))
        kept = {
            "latents": film,
            "concat": torch.cat([scene.concat_mask()[0], blend]),
            "clip": self.clip.encode_image(clip_image(scene.blend))["penultimate_hidden_states"][0],
            "person": person_share(scene)[0],
        }
        return {name: tensor.half().contiguous() for name, tensor in kept.items()}


def person_share(scene: Scene) -> torch.Tensor:
    """[1, 1, f, h, w]: which share of the pixels behind each latent are the body's; none of the still's."""
    small = F.avg_pool2d(1 - scene.free[1:, None], LATENT)[:, 0]
    share = small.unflatten(0, (-1, STRIDE)).mean(1)
    return torch.cat([torch.zeros_like(share[:1]), share])[None, None]


def _digest(*modules: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _write(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """Whole or not at all, also when several processes write the same."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    save_file(tensors, part)
    os.replace(part, file)
