"""Stable Video Diffusion's UNet with AnchorCrafter's dual adapter and condition maps (paper, section 3.2 and 3.3).

The network is diffusers' own. Two things are added without editing it: an attention processor on every
cross-attention, and a hook on `conv_in`. What they need besides the UNet's arguments reaches them through `Injected`.
Its layers are `frugal`.
"""

from dataclasses import dataclass

import torch
from diffusers import UNetSpatioTemporalConditionModel
from torch import nn

from .frugal import SelfAttention, attention, save_memory

CLIP_TOKENS = 1


@dataclass
class Injected:
    """What one UNet call uses besides diffusers' arguments.

    context: [B, T, D]; 1 CLIP token, then the object tokens (none for MimicMotion).
    maps: [B·F, C, h, w] added to the output of `conv_in`, or None.
    """

    context: torch.Tensor | None = None
    maps: torch.Tensor | None = None


class DualAdapter(nn.Module):
    """Cross-attention with separate keys and values for the object tokens (human-object dual adapter).

    out = to_out(Attn(q, K(clip), V(clip)) + Attn(q, to_k_ip(object), to_v_ip(object)))

    diffusers repeats the context for each frame (spatial blocks) or each pixel (temporal blocks) of a batch row,
    which at 576×1024 is 9216 copies of the same 20 tokens. Here all queries of a row meet one copy: the same
    numbers without the repeated projections. `adapter` False is plain cross-attention over all tokens.
    """

    def __init__(self, injected: Injected, hidden: int, context: int, adapter: bool):
        super().__init__()
        self.injected = injected
        self.adapter = adapter
        if adapter:
            self.to_k_ip = nn.Linear(context, hidden, bias=False)
            self.to_v_ip = nn.Linear(context, hidden, bias=False)

    def forward(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        context = self.injected.context
        # With a single key the softmax is 1, so attention over the CLIP token is its value.
        clip = attn.to_v(context[:, :CLIP_TOKENS])  # [B, 1, C]
        if context.shape[1] == CLIP_TOKENS:
            repeat = len(hidden_states) // len(context)
            out = attn.to_out[0](clip).repeat_interleave(repeat, 0).expand_as(hidden_states)
            return attn.to_out[1](out)
        if self.adapter:
            objects = context[:, CLIP_TOKENS:]
            k, v = self.to_k_ip(objects), self.to_v_ip(objects)
        else:
            k, v = attn.to_k(context), attn.to_v(context)
        # [B·R, L, C], R = frames or pixels, as [B, R·L, C]; nothing holds the queries any longer than their attention.
        out = attention(attn.to_q(hidden_states).reshape(len(context), -1, attn.inner_dim), k, v, attn.heads)
        if self.adapter:
            out = out + clip
        return attn.to_out[1](attn.to_out[0](out).reshape(hidden_states.shape))


@dataclass
class _AddMaps:
    """The hook on `conv_in`. Not a method of the network, which a hook on its own part would keep alive."""

    injected: Injected

    def __call__(self, conv_in, args, out):
        return out if self.injected.maps is None else out + self.injected.maps


class MotionUNet(UNetSpatioTemporalConditionModel):
    """diffusers' spatio-temporal UNet, called with a context and condition maps.

    Keys of the state dict are the released ones without their `unet.` prefix.
    """

    def adapt(self, adapter: bool) -> "MotionUNet":
        """Put the processors (with object keys and values if `adapter`), the frugal layers and the hook in place."""
        self.injected = Injected()
        context = self.config.cross_attention_dim
        for name, attn in self.named_modules():
            if name.endswith(".attn1"):
                attn.set_processor(SelfAttention())
            elif name.endswith(".attn2"):
                attn.set_processor(DualAdapter(self.injected, attn.inner_dim, context, adapter))
        save_memory(self)
        self.conv_in.register_forward_hook(_AddMaps(self.injected))
        return self

    def predict(self, sample, timestep, context, time_ids, maps=None) -> torch.Tensor:
        """The network's answer (v-prediction).

        sample: [B, F, C_in, h, w] scaled noisy latents and image latents; timestep: scalar or [B];
        context: [B, T, D] tokens (see Injected); time_ids: [B, 3] fps − 1, motion bucket, noise augmentation;
        maps: [B, F, C, h, w], pose plus object-track maps, or None. Returns [B, F, 4, h, w].
        """
        self.injected.context = context
        self.injected.maps = None if maps is None else maps.flatten(0, 1)
        try:
            # The processors read the real context; a one-number stand-in spares diffusers the copies of it.
            stand_in = sample.new_zeros(len(sample), 1, 1)
            return self(sample, timestep, stand_in, time_ids, return_dict=False)[0]
        finally:
            self.injected.maps = None
            # Checkpointed blocks run again in the backward pass; then the context must be that of the last call.
            if not (self.training and self.is_gradient_checkpointing):
                self.injected.context = None
