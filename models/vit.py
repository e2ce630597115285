"""A plain vision transformer with DINOv2's tensor names: LHM's two encoders, Multi-HMR's and HaMeR's are one."""

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-6


@dataclass(frozen=True)
class ViTSize:
    """What tells one ViT from another. `grid`: rows and columns of patches that the position table is for; `padding`:
    pixels around the image that the patch embedding adds (2 in ViTPose, and in some of Sapiens' configs)."""

    dim: int
    depth: int
    heads: int
    patch: int
    grid: tuple[int, int]
    mlp: int
    class_token: bool = True
    registers: int = 0
    layer_scale: bool = False
    padding: int = 0


class VisionTransformer(nn.Module):
    """[B,3,H,W], normalised as the weights want it → tokens: the class token if there is one, registers, patches in
    rows. H and W are multiples of the patch."""

    def __init__(self, size: ViTSize):
        super().__init__()
        self.size = size
        extra = int(size.class_token)
        if size.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, size.dim))
        if size.registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, size.registers, size.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, extra + math.prod(size.grid), size.dim))
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, size.dim, size.patch, stride=size.patch, padding=size.padding)}
        )
        self.blocks = nn.ModuleList(_Block(size) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.dim, EPS)

    @property
    def prefix(self) -> int:
        """How many tokens stand before the patches."""
        return int(self.size.class_token) + self.size.registers

    def embed(self, image: torch.Tensor) -> torch.Tensor:
        """The tokens that enter the first block."""
        patches = self.patch_embed["proj"](image)
        tokens = patches.flatten(2).mT
        if self.size.class_token:
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = tokens + self.positions(*patches.shape[2:]).to(self.pos_embed.dtype)
        if not self.size.registers:
            return tokens
        # Registers have no position.
        registers, split = self.register_tokens.expand(len(tokens), -1, -1), int(self.size.class_token)
        return torch.cat([tokens[:, :split], registers, tokens[:, split:]], dim=1)

    def positions(self, rows: int, columns: int) -> torch.Tensor:
        """The position table [1,(1+)rows·columns,C] for that many patches, resized as DINOv2 with registers does it:
        antialiased, in float32 whatever the weights are in."""
        grid, extra = self.size.grid, int(self.size.class_token)
        if (rows, columns) == grid:
            return self.pos_embed
        own, table = self.pos_embed.float().split([extra, math.prod(grid)], dim=1)
        table = table.mT.unflatten(2, grid)
        table = F.interpolate(table, size=(rows, columns), mode="bicubic", antialias=True)
        return torch.cat([own, table.flatten(2).mT], dim=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """All tokens after the last block and the final norm."""
        tokens = self.embed(image)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class _Block(nn.Module):
    def __init__(self, size: ViTSize):
        super().__init__()
        self.norm1 = nn.LayerNorm(size.dim, EPS)
        self.attn = _Attention(size.dim, size.heads)
        self.ls1 = _LayerScale(size.dim) if size.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(size.dim, EPS)
        fc1, fc2 = nn.Linear(size.dim, size.mlp), nn.Linear(size.mlp, size.dim)
        self.mlp = nn.Sequential(OrderedDict(fc1=fc1, act=nn.GELU(), fc2=fc2))
        self.ls2 = _LayerScale(size.dim) if size.layer_scale else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _LayerScale(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gamma * x
