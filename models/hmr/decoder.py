"""The transformer decoder that HaMeR and Multi-HMR read a pose with."""

from collections import OrderedDict

import torch
from torch import nn


class TokenDecoder(nn.Module):
    """Query tokens [B,N,token_dim] look at a context [B,M,context_dim]: [B,N,dim] (HaMeR, `TransformerDecoder`).

    `head_dim` may differ from `dim / heads`. Parameters have the released names.
    """

    def __init__(
        self, token_dim: int, context_dim: int, dim: int, depth: int, heads: int, head_dim: int, mlp_dim: int
    ) -> None:
        super().__init__()
        self.to_token_embedding = nn.Linear(token_dim, dim)
        self.pos_embedding = nn.Parameter(torch.zeros(1, 1, dim))
        layers = nn.ModuleList()
        for _ in range(depth):
            itself = _PreNorm(dim, _SelfAttention(dim, heads, head_dim))
            other = _PreNorm(dim, _CrossAttention(dim, context_dim, heads, head_dim))
            layers.append(nn.ModuleList([itself, other, _PreNorm(dim, _feed_forward(dim, mlp_dim))]))
        self.transformer = nn.ModuleDict({"layers": layers})

    def forward(self, tokens: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        x = self.to_token_embedding(tokens) + self.pos_embedding
        for itself, other, feed in self.transformer["layers"]:
            x = x + itself(x)
            x = x + other(x, context)
            x = x + feed(x)
        return x


class _PreNorm(nn.Module):
    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        return self.fn(self.norm(x), *more)


class _SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.to_out(_attend(*self.to_qkv(x).chunk(3, dim=-1), self.heads))


class _CrossAttention(nn.Module):
    def __init__(self, dim: int, context_dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_kv = nn.Linear(context_dim, 2 * heads * head_dim, bias=False)
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_dim, dim))

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return self.to_out(_attend(self.to_q(x), *self.to_kv(context).chunk(2, dim=-1), self.heads))


def _feed_forward(dim: int, mlp_dim: int) -> nn.Module:
    # The released names count the dropouts behind each layer.
    net = nn.Sequential(nn.Linear(dim, mlp_dim), nn.GELU(), nn.Identity(), nn.Linear(mlp_dim, dim))
    return nn.Sequential(OrderedDict(net=net))


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    # Few queries: the plain formula costs nothing and gives the published numbers to the last bit.
    return ((q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
