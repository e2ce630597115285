"""Stable Video Diffusion's UNet with AnchorCrafter's dual adapter and condition maps (paper, section 3.2 and 3.3).

The network is diffusers' own. Two things are added without editing it: an attention processor on every
cross-attention, and a hook on `conv_in`. What they need besides the UNet's arguments reaches them through `Injected`.
Its layers are `frugal`.
"""

from copy import copy
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
    deep: a list that holds what the deep part of the network makes of the sample, or takes it; None if nobody asks.
    """

    context: torch.Tensor | None = None
    maps: torch.Tensor | None = None
    deep: list[torch.Tensor] | None = None


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


@dataclass
class _KeepDeep:
    """The hook on what the uppermost level has made of its first join."""

    injected: Injected

    def __call__(self, attention, args, out):
        if self.injected.deep == []:
            self.injected.deep.append(out[0])


class _HeldDeep(nn.Module):
    """In the place of all that is deeper: what it made in an earlier call."""

    def __init__(self, injected: Injected):
        super().__init__()
        self.injected = injected

    def forward(self, hidden_states, **_):
        return self.injected.deep[0]


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
        self.up_blocks[-1].attentions[0].register_forward_hook(_KeepDeep(self.injected))
        return self

    def _shallow(self) -> UNetSpatioTemporalConditionModel:
        """The network of the same modules without what comes before the first join of the uppermost level."""
        net, down, up = copy(self), copy(self.down_blocks[0]), copy(self.up_blocks[-1])
        rest = {name: getattr(up, name)[1:] for name in ("resnets", "attentions")}
        first = {name: getattr(down, name)[: len(rest["resnets"]) - 1] for name in rest}  # the first skip is conv_in's
        down._modules, up._modules = down._modules | first | {"downsamplers": None}, up._modules | rest
        blocks = {"down_blocks": nn.ModuleList([down]), "up_blocks": nn.ModuleList([up])}
        net._modules = self._modules | blocks | {"mid_block": _HeldDeep(self.injected)}
        return net

    def predict(self, sample, timestep, context, time_ids, maps=None, deep=None) -> torch.Tensor:
        """The network's answer (v-prediction).

        sample: [B, F, C_in, h, w] scaled noisy latents and image latents; timestep: scalar or [B];
        context: [B, T, D] tokens (see Injected); time_ids: [B, 3] fps − 1, motion bucket, noise augmentation;
        maps: [B, F, C, h, w], pose plus object-track maps, or None. Returns [B, F, 4, h, w].
        deep: a list; an empty one takes [B·F, C, h, w], what the deep part made of this sample. One that holds it
        spares that part, three fourths of the work: it changes little from step to step (DeepCache, arXiv 2312.00858).
        """
        net = self._shallow() if deep else self
        self.injected.context = context
        self.injected.maps = None if maps is None else maps.flatten(0, 1)
        self.injected.deep = deep
        try:
            # The processors read the real context; a one-number stand-in spares diffusers the copies of it.
            stand_in = sample.new_zeros(len(sample), 1, 1)
            return net(sample, timestep, stand_in, time_ids, return_dict=False)[0]
        finally:
            self.injected.maps = self.injected.deep = None
            # Checkpointed blocks run again in the backward pass; then the context must be that of the last call.
            if not (self.training and self.is_gradient_checkpointing):
                self.injected.context = None
