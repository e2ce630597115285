"""The small networks beside the UNet: motion maps, and the product's views to tokens (paper, sections 3.2 and 3.3)."""

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import nn


class MapNet(nn.Module):
    """PoseNet and TrackNet: condition frames to a map that is added behind the UNet's first convolution.

    [N, channels, H, W] in [−1, 1] → [N, out, H/8, W/8]. PoseNet sees pose and hand mesh (6 channels; MimicMotion's
    sees the pose alone, 3), TrackNet the coloured object depth (3).
    """

    def __init__(self, channels: int, out: int):
        super().__init__()
        layers = []
        for inside, outside in ((channels, channels), (channels, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)):
            kernel, stride = (3, 1) if inside == outside else (4, 2)
            layers += [nn.Conv2d(inside, outside, kernel, stride, padding=1), nn.SiLU()]
        layers += [nn.Conv2d(64, 128, 3, padding=1), nn.SiLU()]
        self.conv_layers = nn.Sequential(*layers)
        self.final_proj = nn.Conv2d(128, out, 1)
        self.scale = nn.Parameter(torch.full((1,), 2.0))
        nn.init.zeros_(self.final_proj.weight)
        nn.init.zeros_(self.final_proj.bias)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.final_proj(self.conv_layers(frames)) * self.scale


class ViewFusion(nn.Module):
    """`obj_attn_net`, multi-view feature fusion: three views' DINOv2 tokens → 16 tokens.

    [B, 3·T, D] → [B, 16, out]: all views attend to each other, the middle (frontal) view's T tokens are kept.
    """

    def __init__(self, dim: int, heads: int, tokens: int, out: int):
        super().__init__()
        self.tokens = tokens
        self.space_attn = BasicTransformerBlock(dim, heads, dim // heads)
        self.space_attn2 = BasicTransformerBlock(dim, heads, dim // heads)
        self.seq_reduce = nn.Sequential(nn.Linear(tokens, 64), nn.ReLU(), nn.Linear(64, 16))
        self.proj_out = nn.Linear(dim, out)
        self.norm = nn.LayerNorm(out)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        front = self.space_attn(views)[:, self.tokens : 2 * self.tokens]
        front = self.space_attn2(front)  # [B, T, D]
        reduced = self.seq_reduce(front.transpose(1, 2)).transpose(1, 2)  # [B, 16, D]
        return self.norm(self.proj_out(reduced))


class ClassTokens(nn.Module):
    """`obj_proj_net`: the three views' class tokens [B, 3·D] → 3 tokens [B, 3, out]."""

    def __init__(self, dim: int, inner: int, out: int):
        super().__init__()
        self.proj_in = nn.Linear(3 * dim, inner)
        self.proj_out = nn.Linear(inner, 3 * out)
        self.norm = nn.LayerNorm(out)

    def forward(self, classes: torch.Tensor) -> torch.Tensor:
        return self.norm(self.proj_out(self.proj_in(classes)).unflatten(-1, (3, -1)))
