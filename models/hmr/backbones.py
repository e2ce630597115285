"""The two vision transformers under transformers' names: HaMeR's (ViTPose's) and Multi-HMR's (DINOv2)."""

import re

import torch
import torch.nn.functional as F
from torch import nn

from ..checkpoint import CheckpointError, size

EPS = 1e-6  # of every layer norm; transformers' default for ViTPose is another
_SPLIT = re.compile(r"(.*)\.attn\.qkv\.(weight|bias)")


def vitpose_backbone(dim: int, depth: int, heads: int, mlp_ratio: int) -> nn.Module:
    """ViTPose's backbone for 256×192 pixels, patches of 16."""
    from transformers import VitPoseBackbone, VitPoseBackboneConfig

    return VitPoseBackbone(
        VitPoseBackboneConfig(
            hidden_size=dim, num_hidden_layers=depth, num_attention_heads=heads, mlp_ratio=mlp_ratio, layer_norm_eps=EPS
        )
    )


def vitpose_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A released state dict (`blocks.0.attn.qkv.weight`, …) under the names of transformers' `VitPoseBackbone`."""
    return _renamed(
        state,
        "attention.attention.{}",
        {
            r"^pos_embed$": "embeddings.position_embeddings",
            r"^patch_embed\.proj\.": "embeddings.patch_embeddings.projection.",
            r"^last_norm\.": "layernorm.",
            r"^blocks\.": "encoder.layer.",
            r"\.norm1\.": ".layernorm_before.",
            r"\.norm2\.": ".layernorm_after.",
            r"\.attn\.proj\.": ".attention.output.dense.",
        },
        ("query", "key", "value"),
    )


def dinov2_backbone(dim: int, depth: int, heads: int, image: int) -> nn.Module:
    """DINOv2 (patches of 14, no registers) for pictures of `image` px squared."""
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(
        Dinov2Config(
            hidden_size=dim, num_hidden_layers=depth, num_attention_heads=heads, image_size=image, layer_norm_eps=EPS
        )
    )


def dinov2_state(state: dict[str, torch.Tensor], image: int) -> dict[str, torch.Tensor]:
    """A released state dict under the names of transformers' `Dinov2Model`, positions stretched to `image` px squared.

    Stretched here, by DINOv2's own rule, since transformers' differs from it.
    """
    renamed = _renamed(
        state,
        "attention.{}_proj",
        {
            r"^cls_token$": "embeddings.cls_token",
            r"^mask_token$": "embeddings.mask_token",
            r"^pos_embed$": "embeddings.position_embeddings",
            r"^patch_embed\.proj\.": "embeddings.patch_embeddings.projection.",
            r"^norm\.": "layernorm.",
            r"^blocks\.": "encoder.layer.",
            r"\.attn\.proj\.": ".attention.o_proj.",
            r"\.ls([12])\.gamma$": r".layer_scale\1.lambda1",
        },
        ("q", "k", "v"),
    )
    name = "embeddings.position_embeddings"
    side = round((size(renamed, name, 1) - 1) ** 0.5)
    if side * side + 1 != renamed[name].shape[1]:
        raise CheckpointError(
            f"tensor pos_embed has the shape {tuple(renamed[name].shape)}: it is no square of places."
        )
    renamed[name] = _stretched(renamed[name], side, image // 14)
    return renamed


def _stretched(table: torch.Tensor, old: int, new: int) -> torch.Tensor:
    """A position table [1,1+old²,C], the class token's first, for new² patches (DINOv2, `interpolate_pos_encoding`)."""
    if old == new:
        return table
    grid = table[:, 1:].float().unflatten(1, (old, old)).permute(0, 3, 1, 2)
    factor = (new + 0.1) / old  # the published guard against losing a row to rounding; it shifts the grid a little
    grid = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([table[:, :1], grid.flatten(2).mT.to(table)], dim=1)


def _renamed(
    state: dict[str, torch.Tensor], attention: str, names: dict[str, str], qkv: tuple[str, str, str]
) -> dict[str, torch.Tensor]:
    """With the parts of the joint query, key and value matrices in tensors of their own."""
    renamed = {}
    for name, tensor in state.items():
        split = _SPLIT.fullmatch(name)
        parts = {name: tensor}
        if split:
            parts = {
                f"{split[1]}.{attention.format(part)}.{split[2]}": rows
                for part, rows in zip(qkv, tensor.chunk(3), strict=True)
            }
        for key, value in parts.items():
            for pattern, new in names.items():
                key = re.sub(pattern, new, key)
            renamed[key] = value
    return renamed
