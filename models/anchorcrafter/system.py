"""AnchorCrafter's networks under the released checkpoint's key names, and MimicMotion's, which are part of them."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from ...files.whole import whole
from ..checkpoint import CheckpointError, assign, read, size
from .nets import ClassTokens, MapNet, ViewFusion
from .unet import MotionUNet


@dataclass(frozen=True)
class AnchorConfig:
    """Sizes of the networks; the defaults are the released ones.

    `product=False` is MimicMotion: no dual adapter, track net or object nets; 8 instead of 12 UNet input channels.
    `adapter=False`: the object tokens join the CLIP token in the UNet's own cross-attention (the paper's ablation).
    `whole_view`: in frames smaller than the frontal view the VAE sees it shrunk, where the released system cuts it.
    `norm_groups`: of the UNet's group norms. With as many groups as channels each loses its level, and with it the
    colours that the network is to carry over, so narrow networks want fewer.
    """

    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    num_attention_heads: tuple[int, ...] = (5, 10, 20, 20)
    layers_per_block: int = 2
    cross_attention_dim: int = 1024
    addition_time_embed_dim: int = 256
    norm_groups: int = 32
    product: bool = True
    adapter: bool = True
    whole_view: bool = False
    view_dim: int = 1024
    view_tokens: int = 1370
    view_heads: int = 32
    class_inner: int = 1024

    def __post_init__(self):
        """Raises ValueError for sizes that no network can have."""
        widths, heads = self.block_out_channels, self.num_attention_heads
        for name, values in (("block_out_channels", widths), ("num_attention_heads", heads)):
            if not isinstance(values, tuple) or len(values) != 4 or not all(map(_is_size, values)):
                raise ValueError(f"{name} is {values}; four whole numbers above 0 are wanted.")
        for name in ("layers_per_block", "cross_attention_dim", "addition_time_embed_dim", "norm_groups", "view_dim",
                     "view_tokens", "view_heads", "class_inner"):
            if not _is_size(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; a whole number above 0 is wanted.")
        for name in ("product", "adapter", "whole_view"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)}; true or false is wanted.")
        if any(width % 32 for width in widths):
            raise ValueError(f"block_out_channels is {widths}; multiples of 32 are wanted.")
        if 32 % self.norm_groups:
            raise ValueError(f"norm_groups is {self.norm_groups}; a divisor of 32 is wanted.")
        if any(width % count for width, count in zip(widths, heads, strict=True)):
            raise ValueError(f"num_attention_heads {heads} do not divide the widths {widths}.")
        if self.view_dim % self.view_heads:
            raise ValueError(f"view_heads ({self.view_heads}) does not divide view_dim ({self.view_dim}).")

    @classmethod
    def infer(cls, state: dict[str, torch.Tensor], given: dict) -> "AnchorConfig":
        """Sizes read off the tensors; `given` (from the file's header or the caller) goes before them.

        Head counts and norm groups leave no trace in tensors: 64 channels a head in the UNet, 32 in the object net and
        32 groups are taken, as in the released model, unless given. Raises ValueError when a tensor that shows a size
        is missing or misshaped, and for sizes that do not go together.
        """
        unknown = set(given) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"its configuration has unknown entries: {', '.join(sorted(unknown))}.")
        resnet = "unet.down_blocks.{}.resnets.{}.spatial_res_block.conv1.weight"
        widths = tuple(size(state, resnet.format(level, 0), 0) for level in range(4))
        cross_attention = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
        sizes = {
            "block_out_channels": widths,
            "num_attention_heads": tuple(max(1, width // 64) for width in widths),
            "layers_per_block": sum(resnet.format(0, i) in state for i in range(9)),
            "cross_attention_dim": size(state, cross_attention, 1),
            "addition_time_embed_dim": size(state, "unet.add_embedding.linear_1.weight", 1) // 3,
            "product": any(name.startswith("track_net.") for name in state),
            "adapter": any(name.endswith(".to_k_ip.weight") for name in state),
        }
        if sizes["product"]:
            sizes["view_dim"] = size(state, "obj_attn_net.proj_out.weight", 1)
            sizes["view_tokens"] = size(state, "obj_attn_net.seq_reduce.0.weight", 1)
            sizes["view_heads"] = max(1, sizes["view_dim"] // 32)
            sizes["class_inner"] = size(state, "obj_proj_net.proj_in.weight", 0)
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return cls(**{**sizes, **given})


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


class AnchorCrafter(nn.Module):
    """UNet, PoseNet, TrackNet and the object nets; the state dict has the released checkpoint's 1570 keys."""

    def __init__(self, config: AnchorConfig):
        super().__init__()
        self.config = config
        maps = config.block_out_channels[0]
        self.unet = MotionUNet(
            in_channels=12 if config.product else 8,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            num_attention_heads=config.num_attention_heads,
            cross_attention_dim=config.cross_attention_dim,
            addition_time_embed_dim=config.addition_time_embed_dim,
            projection_class_embeddings_input_dim=3 * config.addition_time_embed_dim,
        ).adapt(config.product and config.adapter)
        for module in self.unet.modules():
            if isinstance(module, nn.GroupNorm):  # diffusers knows 32 groups only
                module.num_groups = config.norm_groups
        self.pose_net = MapNet(6 if config.product else 3, maps)
        if config.product:
            out = config.cross_attention_dim
            self.track_net = MapNet(3, maps)
            self.obj_proj_net = ClassTokens(config.view_dim, config.class_inner, out)
            self.obj_attn_net = ViewFusion(config.view_dim, config.view_heads, config.view_tokens, out)

    def object_tokens(self, views: torch.Tensor) -> torch.Tensor:
        """DINOv2 tokens of three views [B, 3·T, D] → [B, 19, C]: 3 class tokens, then 16 fused ones."""
        classes = views[:, :: self.config.view_tokens].flatten(1)  # positions 0, T, 2T
        return torch.cat([self.obj_proj_net(classes), self.obj_attn_net(views)], 1)

    @classmethod
    def from_state(cls, state: dict[str, torch.Tensor], given: dict | None = None, what: str = "The checkpoint"):
        """Build the networks that `state` was saved from; they share its tensors.

        Raises CheckpointError when `state` is another model's, or lacks or exceeds the expected keys.
        """
        if not all(any(name.startswith(prefix) for name in state) for prefix in ("unet.", "pose_net.")):
            raise CheckpointError(f"{what} is not an AnchorCrafter or MimicMotion checkpoint: {_guess(state)}.")
        try:
            config = AnchorConfig.infer(state, given or {})
        except ValueError as error:
            raise CheckpointError(f"{what} does not fit: {error}") from error
        with torch.device("meta"):
            system = cls(config)
        assign(system, state, what)
        return system

    @classmethod
    def from_file(cls, path: str | Path, dtype: torch.dtype | None = None, given: dict | None = None):
        """Load a released or self-trained file (flat, DeepSpeed `{"module": …}` or safetensors).

        dtype: what the weights are converted to; None keeps the file's own. `given` overrides sizes the tensors do
        not show, as does the `config` entry in a safetensors header.
        """
        state, header = read(path)
        system = cls.from_state(state, {**header, **(given or {})}, Path(path).name)
        return system if dtype is None else system.to(dtype)


def save(path: str | Path, state: dict[str, torch.Tensor], config: AnchorConfig, dtype: torch.dtype) -> None:
    """Write one file under the released names; sizes that tensors do not show are in its header."""
    from safetensors.torch import save_file

    shown = {name: getattr(config, name) for name in ("num_attention_heads", "view_heads", "whole_view", "norm_groups")}
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in state.items()}
    save_file(tensors, path, {"config": json.dumps(shown)})


def convert(source: str | Path, out: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write a released or self-trained file, AnchorCrafter's or MimicMotion's, as safetensors of another number type.

    Raises CheckpointError as `AnchorCrafter.from_file`, and for numbers that dtype cannot hold.
    """
    system = AnchorCrafter.from_file(source)
    state = system.state_dict()
    largest = torch.finfo(dtype).max
    beyond = [name for name, tensor in state.items() if not -largest <= tensor.min() <= tensor.max() <= largest]
    if beyond:
        raise CheckpointError(
            f"{Path(source).name} holds numbers beyond {largest:g} ({beyond[0]}), the largest that a file of "
            f"{str(dtype).removeprefix('torch.')} can: choose another number type."
        )
    with whole(out) as part:
        save(part, state, system.config, dtype)


def _guess(state: dict[str, torch.Tensor]) -> str:
    if "conv_in.weight" in state or "model.diffusion_model.input_blocks.0.0.weight" in state:
        return "it looks like a Stable (Video) Diffusion model without AnchorCrafter's pose and product networks"
    if any("blocks.0.self_attn.q" in name for name in state):
        return "it looks like a Wan video model"
    if any(name.startswith("unet.") for name in state):
        return "it has a UNet but no pose_net"
    return f"its tensors are named like {next(iter(state), 'nothing')}"
