"""LHM's reconstruction network: tokens of a photo and points of the body → gaussians."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .precision import autocast
from .transformer import BodyHeadTransformer

FREQUENCIES = 8
LARGEST = 0.05  # m, of a gaussian
LARGEST_UPPER = 0.02  # m, of one that the upper body moves
LARGEST_OFFSET = 1.0  # m, from −½ to ½
HEADS = {"xyz": 3, "shs": 3, "opacity": 1, "scaling": 3, "rotation": 4}


class Gaussians(NamedTuple):
    """offset [N,3] m from the points; rgb [N,3], opacity [N,1] in 0…1; scale [N,3] m; rotation [N,4] unit, wxyz."""

    offset: torch.Tensor
    rgb: torch.Tensor
    opacity: torch.Tensor
    scale: torch.Tensor
    rotation: torch.Tensor


class Network(nn.Module):
    """Everything of LHM behind its image encoders, under the released tensor names."""

    def __init__(self, layers: int, dim: int, heads: int, token_dim: int, gs_layers: tuple[int, ...]):
        """gs_layers: the widths between the transformer and the gaussians, (512, 512) in the released models."""
        super().__init__()
        self.pcl_embed = PointEmbedding(dim)
        self.transformer = BodyHeadTransformer(layers, dim, heads, token_dim)
        self.motion_embed_mlp = nn.Sequential(
            nn.Linear(token_dim, token_dim // 2), nn.SiLU(), nn.Linear(token_dim // 2, 2 * dim)
        )
        self.renderer = GaussianHeads(dim, gs_layers)

    def forward(
        self,
        body_tokens: torch.Tensor,
        head_features: torch.Tensor,
        points: torch.Tensor,
        upper_body: torch.Tensor,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Gaussians:
        """body_tokens [1,Tb,C] of the body encoder, head_features [1,Th,E≤C] of the head encoder; points [N,3] m in
        the neutral pose, the head's last; upper_body [N] bool. on_step(done, total) comes after every layer.

        The transformer computes in bf16 where its matrices are in it; embeddings and heads keep float32.
        """
        motion = self.motion_embed_mlp(body_tokens.mean(dim=1))
        head_tokens = F.pad(head_features, (0, body_tokens.shape[-1] - head_features.shape[-1]))
        embedded = self.pcl_embed(points[None])
        with autocast(embedded, self.transformer.linear_cond_proj):
            latent = self.transformer(embedded, body_tokens, head_tokens, motion, on_step)
        return self.renderer(latent[0].to(points.dtype), upper_body)


class PointEmbedding(nn.Module):
    """[1,N,3] m → [1,N,D]: sines and cosines of 2^k π x per axis, and x itself, through one layer."""

    def __init__(self, dim: int):
        super().__init__()
        self.mlp = nn.Linear(3 + 6 * FREQUENCIES, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        # In float32 as the weights know them; products, not a matrix product, which GPUs may round.
        frequencies = (2 ** torch.arange(FREQUENCIES, device=points.device).float() * torch.pi).to(points.dtype)
        waves = (points[..., None] * frequencies).flatten(-2)
        return self.norm(self.mlp(torch.cat([waves.sin(), waves.cos(), points], dim=-1)))


class GaussianHeads(nn.Module):
    """[N,D] → gaussians within their bounds."""

    def __init__(self, dim: int, widths: tuple[int, ...]):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((dim, *widths), (*widths, dim), strict=True):
            layers += [nn.Linear(before, after), nn.SiLU()]
        self.mlp_net = nn.ModuleDict({"layers": nn.Sequential(*layers[:-1])})
        heads = nn.ModuleDict({name: nn.Linear(dim, count) for name, count in HEADS.items()})
        self.gs_net = nn.ModuleDict({"out_layers": heads})

    def raw(self, latent: torch.Tensor) -> dict[str, torch.Tensor]:
        """The heads' outputs by their released names, before any bound."""
        features = self.mlp_net["layers"](latent)
        return {name: head(features) for name, head in self.gs_net["out_layers"].items()}

    def forward(self, latent: torch.Tensor, upper_body: torch.Tensor) -> Gaussians:
        raw = self.raw(latent)
        scale = raw["scaling"].exp().clamp(0, LARGEST)
        return Gaussians(
            offset=(raw["xyz"].sigmoid() - 0.5) * LARGEST_OFFSET,
            rgb=raw["shs"].sigmoid(),
            opacity=raw["opacity"].sigmoid(),
            scale=torch.where(upper_body[:, None], scale.clamp(max=LARGEST_UPPER), scale),
            rotation=F.normalize(raw["rotation"], dim=-1),
        )
