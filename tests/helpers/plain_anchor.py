"""AnchorCrafter's sampling as published, restated plainly, and small systems and clips to try it on.

Two separate passes per window, condition maps made anew for every window of every step, cross-attention on diffusers'
repeated context, the noise schedule written out. MimicMotion likewise.
"""

import math
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from crafters.models.anchorcrafter.conditions import AnchorCondition
from crafters.models.anchorcrafter.system import AnchorConfig, AnchorCrafter
from torch import nn

from helpers.small_models import ANCHOR, MIMIC

# Views of few tokens, where the sampler is on trial: attention over three whole ones takes longer than all the rest.
FEW_VIEW_TOKENS = replace(ANCHOR, view_tokens=10)
TIME_IDS = (6.0, 127.0, 0.0)


def small_system(config: AnchorConfig = ANCHOR, seed: int = 0) -> AnchorCrafter:
    """Random weights whose condition maps are not zero, as they would be before training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        system = AnchorCrafter(config)
        for net in (system.pose_net, *([system.track_net] if config.product else [])):
            nn.init.normal_(net.final_proj.weight, std=0.1)
    return system.eval().requires_grad_(False)


def small_mimic() -> AnchorCrafter:
    return small_system(MIMIC)


@dataclass
class Clip:
    """What the networks are given, random; N = frames.

    motion: [N, 6 or 3, H, W] in −1…1; track: [N, 3, H, W]; embedding: [1, 1, D]; views: [1, 3·T, D']; latents:
    [1, 4, h, w]. track, views and object_latent are None for MimicMotion.
    """

    motion: torch.Tensor
    track: torch.Tensor | None
    embedding: torch.Tensor
    views: torch.Tensor | None
    image_latent: torch.Tensor
    object_latent: torch.Tensor | None


def random_clip(config: AnchorConfig, frames: int, height: int = 64, width: int = 64, seed: int = 1) -> Clip:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    product = config.product
    return Clip(
        motion=normal(frames, 6 if product else 3, height, width).clamp(-1, 1),
        track=normal(frames, 3, height, width).clamp(-1, 1) if product else None,
        embedding=normal(1, 1, config.cross_attention_dim),
        views=normal(1, 3 * config.view_tokens, config.view_dim) if product else None,
        image_latent=normal(1, 4, height // 8, width // 8),
        object_latent=normal(1, 4, height // 8, width // 8) if product else None,
    )


def context_of(system: AnchorCrafter, clip: Clip) -> torch.Tensor:
    if clip.views is None:
        return clip.embedding
    return torch.cat([clip.embedding, system.object_tokens(clip.views)], 1)


def maps_of(system: AnchorCrafter, clip: Clip, indices) -> torch.Tensor:
    maps = system.pose_net(clip.motion[indices])
    return maps if clip.track is None else maps + system.track_net(clip.track[indices])


@torch.no_grad()
def condition_of(system: AnchorCrafter, clip: Clip) -> AnchorCondition:
    """The clip as `sample` takes it; maps a few frames at a time."""
    maps = [maps_of(system, clip, part) for part in torch.arange(len(clip.motion)).split(8)]
    context = context_of(system, clip)
    return AnchorCondition(torch.cat(maps), context, clip.image_latent, clip.object_latent, TIME_IDS)


def plain_ring(frames: int, tile: int, step: int) -> list[list[int]]:
    """The ring walked frame by frame."""
    tile = min(tile, frames)
    start = 1
    for _ in range(4 * step):
        start = 1 if start == frames - 1 else start + 1
    windows, visited, frame = [], 0, start
    while visited < frames - 1:
        window = [0]
        for _ in range(tile - 1):
            window.append(frame)
            frame = 1 if frame == frames - 1 else frame + 1
        windows.append(window)
        visited += tile - 1
    return windows


def plain_line(frames: int, tile: int, overlap: int) -> list[list[int]]:
    """MimicMotion's windows, the last one aligned to the end."""
    if frames <= tile:
        return [list(range(frames))]
    windows, i = [], 0
    while i + tile <= frames:
        windows.append([0] + [i + k for k in range(1, tile)])
        i += tile - overlap
    if windows[-1][-1] != frames - 1:
        windows.append([0] + [frames - tile + k for k in range(1, tile)])
    return windows


class PlainAdapter(nn.Module):
    """Cross-attention on diffusers' repeated context: CLIP token and object tokens with their own keys and values."""

    def __init__(self, adapter: nn.Module):
        super().__init__()
        self.adapter = adapter

    def forward(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        def attend(key, value):
            q, k, v = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (query, key, value))
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

        clip, objects = encoder_hidden_states[:, :1], encoder_hidden_states[:, 1:]
        query = attn.to_q(hidden_states)
        out = attend(attn.to_k(clip), attn.to_v(clip))
        if objects.shape[1]:
            out = out + attend(self.adapter.to_k_ip(objects), self.adapter.to_v_ip(objects))
        return attn.to_out[0](out)


@contextmanager
def plain_network(system: AnchorCrafter):
    """A function (sample, timestep, context, time_ids, maps) → v, of the same weights by plain means."""
    blocks = [module for name, module in system.unet.named_modules() if name.endswith(".attn2")]
    for attn in blocks:
        attn.processor = PlainAdapter(attn.processor)
    added = {}
    hook = system.unet.conv_in.register_forward_hook(
        lambda module, args, out: out if added["maps"] is None else out + added["maps"]
    )

    def network(sample, timestep, context, time_ids, maps):
        added["maps"] = maps
        return system.unet(sample, timestep, context, time_ids, return_dict=False)[0]

    try:
        yield network
    finally:
        hook.remove()
        for attn in blocks:
            attn.processor = attn.processor.adapter


def karras(steps: int) -> list[float]:
    """SVD's sigmas, 700 to 0.002, and 0 at the end."""
    ramp = [i / max(1, steps - 1) for i in range(steps)]
    low, high = 0.002 ** (1 / 7), 700 ** (1 / 7)
    return [(high + r * (low - high)) ** 7 for r in ramp] + [0.0]


@torch.no_grad()
def plain_sample(system, clip, noise, steps, guidance, window, overlap=0, sigmas=None, unguided=()) -> torch.Tensor:
    """Scaled latents [1, N, 4, h, w]; arguments as `crafters.models.anchorcrafter.sampling.sample`'s.

    unguided: the steps that have guidance 1.
    """
    frames = len(clip.motion)
    tile = min(window, frames)
    weight = [1.0] * tile
    if not system.config.product:
        weight = [min((k + 0.5) * 2 / tile, 2 - (k + 0.5) * 2 / tile) for k in range(tile)]
    weight = noise.new_tensor(weight).view(1, -1, 1, 1, 1)
    scales = torch.linspace(*guidance, frames, device=noise.device).view(1, -1, 1, 1, 1)
    context = context_of(system, clip)
    images = [clip.image_latent] if clip.object_latent is None else [clip.image_latent, clip.object_latent]
    images = torch.cat(images, 1)[:, None].expand(-1, tile, -1, -1, -1)
    time_ids = noise.new_tensor([TIME_IDS], dtype=context.dtype)
    sigmas = sigmas or karras(steps)
    x = torch.cat([noise] * math.ceil(frames / noise.shape[1]), 1)[:, :frames] * math.sqrt(sigmas[0] ** 2 + 1)
    with plain_network(system) as network:
        for step in range(len(sigmas) - 1):
            scale = torch.ones_like(scales) if step in unguided else scales
            sigma = sigmas[step]
            timestep = torch.tensor(0.25 * math.log(sigma), device=x.device)
            total, visits = torch.zeros_like(x), torch.zeros(1, frames, 1, 1, 1, device=x.device)
            if system.config.product:
                windows = plain_ring(frames, window, step)
            else:
                windows = plain_line(frames, window, overlap)
            for indices in windows:
                latents = (x[:, indices] / math.sqrt(sigma**2 + 1)).to(context.dtype)
                maps = maps_of(system, clip, indices)
                with_conditions = torch.cat([latents, images], 2)
                conditional = network(with_conditions, timestep, context, time_ids, maps).float()
                without = torch.cat([latents, torch.zeros_like(images)], 2)
                unconditional = network(without, timestep, torch.zeros_like(context), time_ids, None).float()
                guided = unconditional + scale[:, indices] * (conditional - unconditional)
                total[:, indices] += guided * weight
                visits[:, indices] += weight
            v = total / visits
            clean = x / (sigma**2 + 1) - v * sigma / math.sqrt(sigma**2 + 1)
            x = x + (x - clean) / sigma * (sigmas[step + 1] - sigma)
    return x
