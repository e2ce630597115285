"""What an AniCrafter in training makes of held-out clips."""

import numpy as np
import torch

from ...models.anicrafter.embedders import embed
from ...models.anicrafter.encoders import denormalise
from ...models.anicrafter.wan import WanCondition, denoise, initial_noise
from ...models.loaded import Loaded
from ..datasets.anicrafter import Window


@torch.no_grad()
def preview(task, window: Window) -> np.ndarray:
    """uint8 [4·H, T·W, 3]: rows of blend, mesh, result and film, the reference still in the first column.

    task: an AniCrafterTask, whose settings say how many steps.
    """
    scene, encoded = window.scene(), task.encoders(window)
    if "embedders" in task.trained:
        tokens = embed(_Live(task.trained["embedders"]), scene)
    else:
        frames, height, width = scene.latent_size
        tokens = torch.zeros(1, task.dim, frames, height // 2, width // 2)
    condition = WanCondition(tokens, encoded["concat"][None], encoded["clip"][None], *task.texts)
    noise = initial_noise(condition, 0)
    latents = denoise(_Live(task.base), condition, noise, task.settings.preview_steps, 1.0, task.settings.shift)
    result = task.encoders.vae.decode(denormalise(latents))[0]
    rows = (scene.blend, scene.mesh, result, window.film())
    picture = torch.cat([torch.cat(list(row), 1) for row in rows])
    return (picture * 255).round().byte().numpy()


class _Live(Loaded):
    """A network in the middle of its training: what `Loaded` would freeze stays as it is."""

    def __init__(self, module: torch.nn.Module):
        self.module = module
