"""LHM's body–head transformer: points look at the tokens of the photo (LHM, multimodal body-head transformer)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers.models.attention import JointTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.normalization import AdaLayerNormZero
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
        chunked = {"chunker": chunker}
        head, head_points = self.head_dit(points[:, split:], head, motions[1], chunked)
        points = torch.cat([points[:, :split], head_points], dim=1)
        body, points = self.body_dit(points, body, motions[0], chunked)
        return points, body, head


class JointBlock(JointTransformerBlock):
    """SD3's MM-DiT block (arXiv 2403.03206): points and tokens attend to both together, with weights of their own.

    In the last layer tokens are only looked at. Elsewhere their feed-forward is added twice, gated and plain, as in
    training. Called with points [1,N,D], tokens [1,T,D], motion [1,D] and {"chunker": Chunker}, it answers, as
    diffusers' block, the tokens (none in the last layer) and the points.
    """

    def __init__(self, dim: int, heads: int, last: bool):
        super().__init__(dim, heads, dim // heads, context_pre_only=last)
        for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            setattr(self.attn, name, _RMSNorm(dim // heads, EPS))
        self.attn.set_processor(_AttentionInChunks())
        if not last:
            self.norm1_context = _GatedAndPlain(dim)


class _GatedAndPlain(AdaLayerNormZero):
    """What is added gated and plain has a gate that is larger by one."""

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, gate, shift_ff, scale_ff, gate_ff = super().forward(x, emb=emb)
        return x, gate, shift_ff, scale_ff, 1 + gate_ff.to(x.dtype)  # in bf16 the sum would lose the gate's digits


class _RMSNorm(nn.RMSNorm):
    """In the weight's own precision whatever comes in."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class _AttentionInChunks:
    """diffusers' `JointAttnProcessor2_0`, a chunk of the queries at a time."""

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, attention_mask: None,
        chunker: Chunker,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        def heads(x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # [1,heads,N,·]

        points, tokens = hidden_states, encoder_hidden_states
        q = [attn.norm_q(heads(attn.to_q(points))), attn.norm_added_q(heads(attn.add_q_proj(tokens)))]
        k = [attn.norm_k(heads(attn.to_k(points))), attn.norm_added_k(heads(attn.add_k_proj(tokens)))]
        v = [heads(attn.to_v(points)), heads(attn.add_v_proj(tokens))]
        q, k, v = (torch.cat(both, dim=2) for both in (q, k, v))
        parts = chunker(q.shape[2], lambda part: F.scaled_dot_product_attention(q[:, :, part], k, v))
        attended = torch.cat(parts, dim=2).transpose(1, 2).flatten(2)
        points, tokens = attended.split([points.shape[1], tokens.shape[1]], dim=1)
        return attn.to_out[0](points), tokens if attn.context_pre_only else attn.to_add_out(tokens)
