"""Autoencoders that start as principal components.

A small autoencoder with random weights takes hours on a CPU to find that pixels are smooth. Here its convolutions are
set so that, before any training, the encoder answers the principal components of patches of pixels and the decoder
paints every latent's mean colour, smoothly; what learns are the residual blocks beside that path, and the path itself.
"""

from types import MethodType

import torch
import torch.nn.functional as F
from torch import nn

QUIET = 0.1  # factor on what a residual block adds in the beginning
SMALLEST = 0.02  # deviations below it are not amplified further


def components(samples: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of samples [N, D]: mean [D], the first principal directions [K, D], K ≤ count, and deviations along them [K]."""
    mean = samples.mean(0)
    variance, directions = torch.linalg.eigh(torch.cov(samples.T.double()))
    variance, directions = variance.flip(0)[:count].clamp(min=0), directions.flip(1)[:, :count].T
    return mean, directions.to(samples.dtype), variance.sqrt().to(samples.dtype)


def halved(conv: nn.Conv2d, x: torch.Tensor, channels: int, outputs: int) -> torch.Tensor:
    """Make a convolution of stride 2 answer the `outputs` first components of 2×2 neighbours in `channels` channels.

    x: [N, channels, H, W], what it will see there. Returns its answer [N, K, H/2, W/2]. Strong components are damped:
    deviations become their square roots.
    """
    samples = F.unfold(x, 2, stride=2).movedim(1, -1).flatten(0, 1)
    mean, directions, deviations = components(samples, outputs)
    directions = directions / deviations.clamp(min=SMALLEST)[:, None].sqrt()
    count = len(directions)
    conv.weight[:outputs], conv.bias[:outputs] = 0, 0
    conv.weight[:count, :channels, :2, :2] = directions.view(count, channels, 2, 2)
    conv.bias[:count] = -(directions @ mean)
    return F.conv2d(x, conv.weight[:count, :channels, :2, :2], conv.bias[:count], stride=2)


class Anchor(nn.Module):
    """What latents should stay close to: components of patches of pixels, damped as in `halved`, of mean variance 1.

    A patch is `frames` × 8 × 8 pixels; the first frame of a clip counts as if shown `frames` times.
    """

    def __init__(self, clips: torch.Tensor, channels: int, frames: int):
        """clips: [N, 3, F, H, W] in −1…1, F−1 a multiple of `frames`."""
        super().__init__()
        self.size = (frames, 8, 8)
        parts = self._lead(clips).unflatten(4, (-1, 8)).unflatten(3, (-1, 8)).unflatten(2, (-1, frames))
        samples = parts.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(0, 3)
        mean, directions, deviations = components(samples, channels)
        scale = (deviations * deviations.mean()).sqrt()[:, None]
        self.register_buffer("weight", (directions / scale).unflatten(1, (3, *self.size)))
        self.register_buffer("bias", -(directions / scale) @ mean)
        # The mean colour of a patch from its latent: weight [3, channels], bias [3].
        self.register_buffer("colour", (directions * scale).unflatten(1, (3, -1)).mean(-1).T)
        self.register_buffer("colour_bias", mean.unflatten(0, (3, -1)).mean(-1))

    def _lead(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.cat([clips[:, :, :1].expand(-1, -1, self.size[0] - 1, -1, -1), clips], 2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """[N, 3, F, H, W] → [N, channels, 1 + (F−1)/frames, H/8, W/8]."""
        return F.conv3d(self._lead(clips), self.weight, self.bias, stride=self.size)


def passing(conv: nn.Module, count: int) -> None:
    """Make a convolution answer its first `count` channels unchanged; a causal one, those of the present frame."""
    conv.weight[:count], conv.bias[:count] = 0, 0
    for channel in range(count):
        conv.weight[(channel, channel, *present(conv))] = 1


def smoothing(conv: nn.Conv2d, count: int) -> None:
    """Make a 3×3 convolution smooth its first `count` channels: behind a nearest enlargement, ramps for steps."""
    conv.weight[:count], conv.bias[:count] = 0, 0
    ramp = torch.tensor([0.25, 0.5, 0.25])
    for channel in range(count):
        conv.weight[channel, channel] = ramp[:, None] * ramp


def present(conv: nn.Module) -> tuple[int, ...]:
    """Where a kernel meets the very pixel that it answers for, of a causal one in the last frame."""
    *time, height, width = conv.kernel_size
    return (*(length - 1 for length in time), height // 2, width // 2)


def quieten(*layers: nn.Module) -> None:
    """Make the last layer of residual branches speak low."""
    for layer in layers:
        layer.weight.mul_(QUIET)
        layer.bias.zero_()


def silence(block: nn.Module) -> None:
    """Make a residual block without shortcut the identity, for good: it neither learns nor costs time in training."""
    block.requires_grad_(False)
    block.conv2.weight.zero_()
    block.conv2.bias.zero_()
    block.forward = MethodType(lambda self, x, *args, **options: x, block)


def fit(conv: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, ridge: float = 1e-3) -> None:
    """Make a convolution answer `targets` in its first channels from the same pixel's `inputs`, by least squares.

    inputs [N, C, …], targets [N, K, …], of one size; the other channels answer 0.
    """
    inputs, targets = (x.movedim(1, -1).flatten(0, -2).double() for x in (inputs, targets))
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1)
    gram = inputs.T @ inputs
    solution = torch.linalg.solve(gram + ridge * torch.diag(gram.diagonal() + 1e-6 * len(inputs)), inputs.T @ targets)
    solution = solution.T.to(conv.weight.dtype)
    count = targets.shape[1]
    conv.weight.zero_()
    conv.bias.zero_()
    conv.weight[(slice(count), slice(None), *present(conv))] = solution[:, :-1]
    conv.bias[:count] = solution[:, -1]
