"""Recurrent flow completion (ProPainter, section 3.1): how what is behind the mask moves."""

import torch
from torch import nn

from .layers import DeformableAlignment, Upsampled, two_convs

CHANNELS = 128
DIRECTIONS = ("backward_", "forward_")


def _leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.2)


class P3D(nn.Module):
    """A convolution over the picture, then one over time."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        picture = nn.Conv3d(inputs, outputs, (1, 3, 3), (1, stride, stride), (0, 1, 1))
        self.conv1 = nn.Sequential(picture, _leaky())
        self.conv2 = nn.Sequential(nn.Conv3d(outputs, outputs, (3, 1, 1), padding=(2, 0, 0), dilation=(2, 1, 1)))

    def forward(self, x):
        return self.conv2(self.conv1(x))


class SecondOrderPropagation(nn.Module):
    """Carries features through the clip, backward then forward, each step from the two frames before."""

    def __init__(self):
        super().__init__()
        self.deform_align = nn.ModuleDict({d: DeformableAlignment(2 * CHANNELS, 3 * CHANNELS, 5) for d in DIRECTIONS})
        self.backbone = nn.ModuleDict({d: two_convs((2 + i) * CHANNELS, slope=0.1) for i, d in enumerate(DIRECTIONS)})
        self.fusion = nn.Conv2d(2 * CHANNELS, CHANNELS, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[T,128,h,w] to the same."""
        behind = self._pass("backward_", x.flip(0), [])
        behind = behind.flip(0)
        ahead = self._pass("forward_", x, [behind])
        return self.fusion(torch.cat([behind, ahead], 1)) + x

    def _pass(self, direction, x, others):
        done = []
        for t in range(len(x)):
            current = x[t : t + 1]
            nothing = torch.zeros_like(current)
            last = done[-1] if t > 0 else nothing
            if t > 0:
                before = done[-2] if t > 1 else nothing
                condition = torch.cat([last, current, before], 1)
                last = self.deform_align[direction](torch.cat([last, before], 1), condition)
            seen = torch.cat([current, *(other[t : t + 1] for other in others), last], 1)
            done.append(last + self.backbone[direction](seen))
        return torch.cat(done)


class FlowCompletion(nn.Module):
    """`recurrent_flow_completion.pth`, without its edge detector, which only training uses."""

    def __init__(self):
        super().__init__()
        picture = nn.Conv3d(3, 32, (1, 5, 5), (1, 2, 2), (0, 2, 2), padding_mode="replicate")
        self.downsample = nn.Sequential(picture, _leaky())
        self.encoder1 = nn.Sequential(P3D(32, 32, 1), _leaky(), P3D(32, 64, 2), _leaky())
        self.encoder2 = nn.Sequential(P3D(64, 64, 1), _leaky(), P3D(64, CHANNELS, 2), _leaky())
        dilated = [
            layer
            for d in (3, 2, 1)
            for layer in (nn.Conv3d(CHANNELS, CHANNELS, (1, 3, 3), padding=(0, d, d), dilation=(1, d, d)), _leaky())
        ]
        self.mid_dilation = nn.Sequential(*dilated)
        self.feat_prop_module = SecondOrderPropagation()
        self.decoder2 = nn.Sequential(nn.Conv2d(CHANNELS, 128, 3, padding=1), _leaky(), Upsampled(128, 64), _leaky())
        self.decoder1 = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), _leaky(), Upsampled(64, 32), _leaky())
        self.upsample = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), _leaky(), Upsampled(32, 2))

    def forward(self, flow: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The flow as predicted everywhere, [N,2,H,W] in pixels.

        flow: [N,2,H,W], the flows of one direction in the order of travel; mask: [N,1,H,W], 1 where the flow is not
        to be trusted. Sides are multiples of 8.
        """
        clip = torch.cat([flow * (1 - mask), mask], 1).transpose(0, 1)[None]
        fine = self.encoder1(self.downsample(clip))
        coarse = self.mid_dilation(self.encoder2(fine))
        carried = self.feat_prop_module(coarse[0].transpose(0, 1))
        return self.upsample(self.decoder1(self.decoder2(carried) + fine[0].transpose(0, 1)))

    def complete(
        self, forward: torch.Tensor, backward: torch.Tensor, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both flows [T-1,2,H,W], predicted where masked and as given elsewhere; masks: [T,1,H,W].

        The forward flow of a pair is unknown where its first frame is masked, the backward flow where its second is.
        Flows keep their number type, whatever the network's.
        """
        exact, own = forward.dtype, self.upsample[0].weight.dtype
        first, second = masks[:-1], masks[1:]
        ahead = self(forward.to(own), first.to(own)).to(exact)
        behind = self(backward.flip(0).to(own), second.flip(0).to(own)).flip(0).to(exact)
        return ahead * first + forward * (1 - first), behind * second + backward * (1 - second)
