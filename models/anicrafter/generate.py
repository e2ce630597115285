"""From a scene to the video with the pack's own engine: everything that needs weights, one network after another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..clip_vision import ClipVision
from ..loaded import Loaded
from .checkpoint import AniCrafter
from .conditions import Scene, clip_image
from .embedders import embed
from .encoders import WanVAE, denormalise, load_clip_vision, load_vae
from .prompt import load_prompts
from .schedule import GUIDANCE, SHIFT, STEPS
from .transformer import load_transformer, merge_lora, share_among_processes
from .wan import OVERLAP, WINDOW, WanCondition, denoise, initial_noise, wan_condition


@dataclass(frozen=True)
class WanFiles:
    """Wan 2.1 I2V's files or diffusers folders; prompt: the file of `prompt.save_prompts`."""

    transformer: Path
    vae: Path
    clip_vision: Path
    prompt: Path


def generate(
    scene: Scene,
    weights: AniCrafter,
    wan: WanFiles,
    place: Callable[[nn.Module], Loaded],
    dtype: torch.dtype = torch.bfloat16,
    seed: int = 0,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    shift: float = SHIFT,
    window: int = WINDOW,
    overlap: int = OVERLAP,
    on_call: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """The video of the driving frames, IMAGE [T − 1, H, W, 3] on the CPU, without the still; settings as `wan.denoise`.

    place: what brings a network to its device (`host.memory.Managed`). dtype: of transformer and VAE. The networks
    are loaded one after another, so that the largest alone decides how much memory is needed.

    In a `torch.distributed` group every process calls it alike: the transformer's work is shared out among them, and
    each gets the whole video.

    Raises CheckpointError and ValueError as the parts do.
    """
    vae = WanVAE(place(load_vae(wan.vae, dtype)))
    condition = _condition(scene, weights, wan, vae, place)
    transformer = load_transformer(wan.transformer, dtype)
    merge_lora(transformer, weights)
    loaded = place(transformer)
    loaded.load()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        share_among_processes(transformer)
    latents = denoise(
        loaded,
        condition,
        initial_noise(condition, seed),
        steps,
        guidance,
        shift,
        window=window,
        overlap=overlap,
        on_call=on_call,
    )
    del transformer, loaded
    return vae.decode(denormalise(latents).cpu())[0, 1:]


@torch.no_grad()
def _condition(scene: Scene, weights: AniCrafter, wan: WanFiles, vae: WanVAE, place: Callable) -> WanCondition:
    texts = load_prompts(wan.prompt)
    tokens = embed(place(weights.embedders), scene)
    seen = ClipVision(place(load_clip_vision(wan.clip_vision))).encode_image(clip_image(scene.blend[:1]))
    return wan_condition(scene, tokens, vae, seen, *texts)
