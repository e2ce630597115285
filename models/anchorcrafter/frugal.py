"""diffusers' layers that compute the same in less memory; where gradients are kept, just as diffusers' do."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import AlphaBlender
from torch import nn

# What self-attention or a feed-forward works on at once. At 576×1024 a window has 101,376 tokens, and a feed-forward
# of all of them would hold sixteen times its input, which is half of the network's peak (benchmarks/peak.py).
PIECE = 8192


def save_memory(network: nn.Module) -> None:
    """Let each layer of `network` that has a frugal kind become it."""
    for module in network.modules():
        frugal = {FeedForward: PiecewiseFeedForward, nn.SiLU: FeatureSiLU, AlphaBlender: InPlaceBlender}
        module.__class__ = frugal.get(type(module), type(module))


def in_pieces(run: Callable[[torch.Tensor], torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """`run` over tokens [B, L, C], a few rows of B at a time; it treats each row alone and keeps the shape."""
    rows = max(1, PIECE // tokens.shape[1])
    if rows >= len(tokens) or torch.is_grad_enabled():
        return run(tokens)
    out = torch.empty_like(tokens)
    for start in range(0, len(tokens), rows):
        out[start : start + rows] = run(tokens[start : start + rows])
    return out


class PiecewiseFeedForward(FeedForward):
    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return in_pieces(super().forward, hidden_states)


class SelfAttention:
    """Processor of an attention without mask or context."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        def attend(tokens: torch.Tensor) -> torch.Tensor:
            q, k, v = (project(tokens) for project in (attn.to_q, attn.to_k, attn.to_v))
            return attn.to_out[1](attn.to_out[0](attention(q, k, v, attn.heads)))

        return in_pieces(attend, hidden_states)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    """q: [B, L, C], k, v: [B, M, C] → [B, L, C]."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # [B, heads, ·, C/heads]
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class FeatureSiLU(nn.SiLU):
    """In place for feature maps [B, C, …], which come fresh from their norm; not for the time embedding, used again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(x, inplace=x.ndim > 3 and not torch.is_grad_enabled())


class InPlaceBlender(AlphaBlender):
    """Spends what is to be blended over time, which comes fresh from its block."""

    def forward(self, x_spatial, x_temporal, image_only_indicator=None) -> torch.Tensor:
        if torch.is_grad_enabled():
            return super().forward(x_spatial, x_temporal, image_only_indicator)
        alpha = self.get_alpha(image_only_indicator, x_spatial.ndim).to(x_spatial.dtype)
        if self.switch_spatial_to_temporal_mix:
            alpha = 1.0 - alpha
        return (alpha * x_spatial).add_(x_temporal.mul_(1.0 - alpha))
