"""What Wan's VAE and image encoder say of a training window, asked once and kept."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...files.digest import digest
from ...media.clip import READING
from ...models.anicrafter.conditions import LATENT, STRIDE, Scene, clip_image
from ...models.anicrafter.encoders import WanVAE, load_clip_vision, load_vae, normalise
from ...models.clip_vision import ClipVision
from ...models.loaded import Loaded
from ..cache import Cache
from ..datasets.anicrafter import Window


class WanEncoders:
    """The frozen networks, and the cache of their answers."""

    def __init__(self, vae: Path, clip_vision: Path, cache: Path, dtype: torch.dtype):
        """vae, clip_vision: files or folders. dtype: of the VAE; CLIP is float32, as published. Raises
        CheckpointError."""
        self.vae = WanVAE(Loaded(load_vae(vae, dtype)))
        self.clip = ClipVision(Loaded(load_clip_vision(clip_vision)))
        self.cache = Cache(cache)
        self.key = digest(self.vae.loaded.module, self.clip.loaded.module, f"{READING}")

    def to(self, device: torch.device) -> None:
        self.vae.loaded.module.to(device)
        self.clip.loaded.module.to(device)

    def __call__(self, window: Window) -> dict[str, torch.Tensor]:
        """float32: `latents` [16, f, h, w] of the film; `concat` [20, f, h, w], mask and latents of the blend; `clip`
        [257, D] of the still; `person` [1, f, h, w], see `person_share`."""
        name = digest(self.key, window.clip.content, f"{window.first} {window.frames}")
        kept = self.cache.get(name, lambda: self.encode(window))
        return {key: torch.from_numpy(array).float() for key, array in kept.items()}

    @torch.no_grad()
    def encode(self, window: Window) -> dict[str, np.ndarray]:
        """The same in half precision, without the cache."""
        scene = window.scene()
        film, blend = (normalise(self.vae.encode(images).float().cpu())[0] for images in (window.film(), scene.blend))
        answers = {
            "latents": film,
            "concat": torch.cat([scene.concat_mask()[0], blend]),
            "clip": self.clip.encode_image(clip_image(scene.blend))["penultimate_hidden_states"][0],
            "person": person_share(scene)[0],
        }
        return {name: tensor.half().numpy() for name, tensor in answers.items()}


def person_share(scene: Scene) -> torch.Tensor:
    """[1, 1, f, h, w]: which share of the pixels behind each latent are the body's, or behind one beside it, as clothes
    and hair go beyond the body; none of the still's."""
    small = F.avg_pool2d(1 - scene.free[1:, None], LATENT)[:, 0]
    share = F.max_pool2d(small.unflatten(0, (-1, STRIDE)).mean(1), 3, stride=1, padding=1)
    return torch.cat([torch.zeros_like(share[:1]), share])[None, None]
