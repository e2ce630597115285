"""Layers that flow completion and the inpainting generator share."""

import torch
import torch.nn.functional as F
from torch import nn

from .warp import deform_conv2d

GROUPS, TAPS = 16, 9


class Upsampled(nn.Module):
    """A convolution at twice the resolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))


class DeformableAlignment(nn.Module):
    """Brings features to where those of the current frame are: a deformable convolution with predicted offsets."""

    def __init__(self, inputs: int, condition: int, reach: float, channels: int = 128):
        """reach: the largest offset in cells, beyond the flow's."""
        super().__init__()
        self.reach = reach
        self.weight = nn.Parameter(torch.empty(channels, inputs, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels))
        widths = [condition, channels, channels, channels]
        hidden = [
            layer
            for wide, narrow in zip(widths, widths[1:], strict=False)
            for layer in (nn.Conv2d(wide, narrow, 3, padding=1), nn.LeakyReLU(0.1))
        ]
        self.conv_offset = nn.Sequential(*hidden, nn.Conv2d(channels, 3 * GROUPS * TAPS, 3, padding=1))

    def forward(
        self, features: torch.Tensor, condition: torch.Tensor, flow: torch.Tensor | None = None
    ) -> torch.Tensor:
        """features: [N,inputs,h,w]; condition: [N,condition,h,w]; flow: [N,2,h,w] in cells, the offsets' middle."""
        offset, modulation = self.conv_offset(condition).split([2 * GROUPS * TAPS, GROUPS * TAPS], 1)
        offset = self.reach * torch.tanh(offset)
        if flow is not None:
            offset = offset + flow.flip(1).repeat(1, GROUPS * TAPS, 1, 1)
        return deform_conv2d(features, offset, modulation.sigmoid(), self.weight, self.bias)


def two_convs(inputs: int, slope: float, channels: int = 128) -> nn.Sequential:
    """Convolution, LeakyReLU, convolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, channels, 3, padding=1), nn.LeakyReLU(slope), nn.Conv2d(channels, channels, 3, padding=1)
    )
