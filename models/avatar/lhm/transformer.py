"""LHM's body–head transformer: points look at the tokens of the photo (LHM, multimodal body-head transformer)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ...chunks import Chunker

EPS = 1e-6
QUERIES = 8192  # points and tokens that attend at a time, where all of them would need too much memory
BODY_SHARE = 0.75  # of the points; the rest, last in order, are the head's


class BodyHeadTransformer(nn.Module):
    """[1,N,D] points and the tokens of body and head → [1,N,D]."""

    def __init__(self, layers: int, dim: int, heads: int, token_dim: int):
        super().__init__()
        self.linear_cond_proj = nn.Linear(token_dim, dim)
        self.layers = nn.ModuleList(_BodyHeadLayer(dim, heads, last=i == layers - 1) for i in range(layers))
        self.norm = nn.LayerNorm(dim, EPS)

    def forward(
        self,
        points: torch.Tensor,
        body_tokens: torch.Tensor,
        head_tokens: torch.Tensor,
        motion: torch.Tensor,
        on_step: Callable[[int, int], None] | None = None,
    ) -> torch.Tensor:
        """body_tokens [1,Tb,C], head_tokens [1,Th,C] with C the body encoder's width; motion [1,2D], for body and head.

        on_step(done, total) comes after every layer and may raise to cancel.
        """
        body, head = self.linear_cond_proj(body_tokens), self.linear_cond_proj(head_tokens)
        motions = motion.chunk(2, dim=-1)
        chunker = Chunker(QUERIES, "points of LHM")
        for done, layer in enumerate(self.layers, 1):
            points, body, head = layer(points, body, head, motions, chunker)
            if on_step:
                on_step(done, len(self.layers))
        return self.norm(points)


class _BodyHeadLayer(nn.Module):
    """Head points look at the head's tokens; then all points, the head's already updated, at the body's."""

    def __init__(self, dim: int, heads: int, last: bool):
        super().__init__()
        self.head_dit = JointBlock(dim, heads, last)
        self.body_dit = JointBlock(dim, heads, last)

    def forward(self, points, body, head, motions, chunker):
        split = int(BODY_SHARE * points.shape[1])
        head_points, head = self.head_dit(points[:, split:], head, motions[1], chunker)
        points = torch.cat([points[:, :split], head_points], dim=1)
        points, body = self.body_dit(points, body, motions[0], chunker)
        return points, body, head


class JointBlock(nn.Module):
    """SD3's MM-DiT block (arXiv 2403.03206): points and tokens attend to both together, with weights of their own.

    In the last layer tokens are only looked at. Elsewhere their feed-forward is added twice, gated and plain, as in
    training.
    """

    def __init__(self, dim: int, heads: int, last: bool):
        super().__init__()
        self.last = last
        self.norm1 = _Modulation(dim, 6)
        self.norm1_context = _Modulation(dim, 2 if last else 6)
        self.attn = _JointAttention(dim, heads, last)
        self.ff = _FeedForward(dim)
        if not last:
            self.ff_context = _FeedForward(dim)

    def forward(
        self, points: torch.Tensor, tokens: torch.Tensor, motion: torch.Tensor, chunker: Chunker
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """points [1,N,D], tokens [1,T,D], motion [1,D] → both, updated."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff = self.norm1(motion)
        context = self.norm1_context(motion)
        # The last layer's norm has its two parts the other way round.
        context_shift, context_scale = context[1::-1] if self.last else context[:2]
        attended, attended_tokens = self.attn(
            _norm(points) * (1 + scale) + shift, _norm(tokens) * (1 + context_scale) + context_shift, chunker
        )
        points = points + gate * attended
        points = points + gate_ff * self.ff(_norm(points) * (1 + scale_ff) + shift_ff)
        if self.last:
            return points, tokens
        _, _, gate, shift_ff, scale_ff, gate_ff = context
        tokens = tokens + gate * attended_tokens
        change = self.ff_context(_norm(tokens) * (1 + scale_ff) + shift_ff)
        return points, tokens + gate_ff * change + change


class _Modulation(nn.Module):
    def __init__(self, dim: int, parts: int):
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(dim, parts * dim)

    def forward(self, motion: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.linear(F.silu(motion))[:, None].chunk(self.parts, dim=-1)


class _JointAttention(nn.Module):
    def __init__(self, dim: int, heads: int, last: bool):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim) for _ in range(3))
        self.add_q_proj, self.add_k_proj, self.add_v_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.norm_q, self.norm_k, self.norm_added_q, self.norm_added_k = (_RMSNorm(dim // heads) for _ in range(4))
        self.to_out = nn.Sequential(nn.Linear(dim, dim))
        self.to_add_out = None if last else nn.Linear(dim, dim)

    def forward(
        self, points: torch.Tensor, tokens: torch.Tensor, chunker: Chunker
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        def split(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, y], dim=1).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [1,heads,N+T,·]

        def normed(norm, x: torch.Tensor) -> torch.Tensor:
            return norm(x.unflatten(-1, (self.heads, -1))).flatten(-2)

        k = split(normed(self.norm_k, self.to_k(points)), normed(self.norm_added_k, self.add_k_proj(tokens)))
        v = split(self.to_v(points), self.add_v_proj(tokens))
        # The last layer asks nothing on the tokens' behalf.
        own = normed(self.norm_added_q, self.add_q_proj(tokens[:, :0] if self.last else tokens))
        q = split(normed(self.norm_q, self.to_q(points)), own)
        parts = chunker(q.shape[2], lambda part: F.scaled_dot_product_attention(q[:, :, part], k, v))
        attended = torch.cat(parts, dim=2).transpose(1, 2).flatten(2)
        count = points.shape[1]
        return self.to_out(attended[:, :count]), None if self.last else self.to_add_out(attended[:, count:])

    @property
    def last(self) -> bool:
        return self.to_add_out is None


class _RMSNorm(nn.Module):
    """Per head, in the weight's own precision whatever comes in."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.to(self.weight.dtype)
        return (wide * (wide.square().mean(-1, keepdim=True) + EPS).rsqrt() * self.weight).to(x.dtype)


class _FeedForward(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.net = nn.ModuleList(
            [nn.ModuleDict({"proj": nn.Linear(dim, 4 * dim)}), nn.Identity(), nn.Linear(4 * dim, dim)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net[2](F.gelu(self.net[0]["proj"](x), approximate="tanh"))


def _norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=EPS)
