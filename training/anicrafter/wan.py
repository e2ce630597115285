"""Wan's transformer as a trainer needs it: made from scratch, with LoRA beside its weights, under Wan's own names."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ...models.anicrafter.names import native_name

# AniCrafter's LoRA is on these of each block, by Wan's own names.
TARGETS = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "cross_attn.q", "cross_attn.k", "cross_attn.v",
           "cross_attn.o", "ffn.0", "ffn.2")


@dataclass(frozen=True)
class WanSizes:
    """Of a small Wan 2.1 I2V. dim: a multiple of 128, and text and image as they are, for ComfyUI to know it."""

    dim: int = 256
    layers: int = 4
    ffn: int = 512
    text: int = 4096
    image: int = 1280


def new_transformer(sizes: WanSizes):
    """diffusers' WanTransformer3DModel with random weights, whose answer is 0 at first."""
    from diffusers import WanTransformer3DModel

    heads = max(1, sizes.dim // 128)
    transformer = WanTransformer3DModel(
        num_attention_heads=heads,
        attention_head_dim=sizes.dim // heads,
        in_channels=36,
        out_channels=16,
        text_dim=sizes.text,
        ffn_dim=sizes.ffn,
        num_layers=sizes.layers,
        image_dim=sizes.image,
        added_kv_proj_dim=sizes.dim,
    )
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.proj_out.bias)
    return transformer


class Lora(nn.Module):
    """Low-rank pairs beside the linear layers TARGETS of a transformer: W·x becomes W·x + B·A·x, at first unchanged.

    Only the pairs are its parameters. Once made, they act whenever the transformer is called.
    """

    def __init__(self, transformer, rank: int):
        super().__init__()
        self.pairs = nn.ModuleDict()
        for name, layer in transformer.named_modules():
            native = native_name(name)
            if isinstance(layer, nn.Linear) and native.startswith("blocks.") and native.split(".", 2)[2] in TARGETS:
                pair = self.pairs[native.replace(".", "/")] = _Pair(layer.in_features, layer.out_features, rank)
                layer.register_forward_hook(pair.beside)

    def load(self, lora: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Take the values of pairs A [r, in], B [out, r] by Wan's module names. Raises ValueError when they differ."""
        own = {name.replace("/", "."): pair for name, pair in self.pairs.items()}
        if lora.keys() != own.keys():
            odd = sorted(lora.keys() ^ own.keys())
            raise ValueError(f"The LoRA is on other layers of the transformer than are trained ({odd[0]} …).")
        for name, (a, b) in lora.items():
            if a.shape != own[name].a.shape or b.shape != own[name].b.shape:
                raise ValueError(f"The LoRA of {name}, {len(b)}×{len(a)}×{a.shape[1]}, does not fit the transformer.")
            own[name].a.data.copy_(a)
            own[name].b.data.copy_(b)


class _Pair(nn.Module):
    def __init__(self, inner: int, out: int, rank: int):
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, inner))
        self.b = nn.Parameter(torch.zeros(out, rank))
        nn.init.kaiming_uniform_(self.a, math.sqrt(5))

    def beside(self, layer: nn.Linear, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        """A forward hook of the layer."""
        low = F.linear(inputs[0].to(self.a.dtype), self.a)
        return output + F.linear(low, self.b).to(output.dtype)


def released_lora(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict of `Lora` under the names of the published shards."""
    released = {}
    for name, tensor in weights.items():
        layer, side = name.removeprefix("pairs.").rsplit(".", 1)
        released[f"pipe.dit.{layer.replace('/', '.')}.lora_{side.upper()}.default.weight"] = tensor
    return released
