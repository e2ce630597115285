"""The inpainting generator (ProPainter): frames, half filled by propagation, to frames without the hole."""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import Upsampled
from .propagation import FeaturePropagation
from .transformer import PATCH, SoftComposition, SoftSplit, SparseTransformer

STRIDE = 4  # px per cell of the features


class Encoder(nn.Module):
    """[N,5,H,W] to [N,128,H/4,W/4]."""

    FIRST_GROUPED = 10  # from this layer on, the features of layer 6 come in again, interleaved by groups

    def __init__(self):
        super().__init__()
        # inputs, outputs, stride, groups
        convs = [
            (5, 64, 2, 1), (64, 64, 1, 1), (64, 128, 2, 1), (128, 256, 1, 1), (256, 384, 1, 1),
            (640, 512, 1, 2), (768, 384, 1, 4), (640, 256, 1, 8), (512, 128, 1, 1),
        ]
        self.layers = nn.ModuleList()
        for inputs, outputs, stride, groups in convs:
            self.layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups), nn.LeakyReLU(0.2)]

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            if i == self.FIRST_GROUPED - 2:
                early = x
            if i >= self.FIRST_GROUPED and isinstance(layer, nn.Conv2d):
                parts = [y.unflatten(1, (layer.groups, -1)) for y in (early, x)]
                x = torch.cat(parts, 2).flatten(1, 2)
            x = layer(x)
        return x


class Generator(nn.Module):
    """`ProPainter.pth`."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.Sequential(
            Upsampled(128, 128), nn.LeakyReLU(0.2), nn.Conv2d(128, 64, 3, padding=1), nn.LeakyReLU(0.2),
            Upsampled(64, 64), nn.LeakyReLU(0.2), nn.Conv2d(64, 3, 3, padding=1),
        )
        self.feat_prop_module = FeaturePropagation()
        self.ss = SoftSplit()
        self.sc = SoftComposition()
        self.transformers = SparseTransformer()

    def encode(self, frames: torch.Tensor, masks: torch.Tensor, remaining: torch.Tensor) -> torch.Tensor:
        """[T,128,H/4,W/4], of each frame alone: an answer can be used in every call that sees that frame.

        frames: [T,3,H,W] in -1…1 after pixel propagation; masks, remaining: [T,1,H,W] of 0 and 1, the hole and what
        propagation left of it. Sides are multiples of 8.
        """
        return self.encoder(torch.cat([frames, masks, remaining], 1))

    def forward(
        self,
        features: torch.Tensor,
        forward: torch.Tensor,
        backward: torch.Tensor,
        masks: torch.Tensor,
        remaining: torch.Tensor,
    ) -> torch.Tensor:
        """The L local frames, [L,3,H,W] in -1…1.

        features: of `encode`, [L+R,128,H/4,W/4], the local frames first, then the references; forward, backward:
        completed flows [L-1,2,H,W] between the local frames, in pixels; masks, remaining: [L,1,H,W] of local frames.
        """
        local = len(masks)
        size = features.shape[-2:]
        flows = [_shrink(flow) for flow in (forward, backward)]
        small, small_remaining = (F.interpolate(m, size, mode="nearest") for m in (masks, remaining))
        carried = self.feat_prop_module(features[:local], *flows, torch.cat([small, small_remaining], 1))
        features = torch.cat([carried, features[local:]])
        tokens = self.transformers(self.ss(features), size, F.max_pool2d(small, **PATCH)[:, 0])
        return torch.tanh(self.decoder((features + self.sc(tokens, size))[:local]))


def _shrink(flow: torch.Tensor) -> torch.Tensor:
    """A flow in pixels, as one in cells."""
    return F.interpolate(flow, scale_factor=1 / STRIDE, mode="bilinear", align_corners=False) / STRIDE
