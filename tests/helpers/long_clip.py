"""A long clip that changes smoothly, to look for the seams of windows in what is made of it."""

import torch
from crafters.models.anicrafter.wan import WanCondition


def ramp(frames, width, clip, text):
    """Condition and noise of `frames` latent frames: all goes evenly from one random state to another, noise stays."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    def between(*shape):
        first, last = random(2, shape[0], 1, *shape[1:])
        return (first + (last - first) * torch.linspace(0, 1, frames).view(-1, 1, 1))[None]

    condition = WanCondition(
        between(width, 2, 3), between(20, 4, 6), random(1, 257, clip), random(1, 512, text), random(1, 512, text)
    )
    return condition, random(1, 16, 1, 4, 6).repeat(1, 1, frames, 1, 1)


def jumps(latents):
    """The largest change from one frame to the next, in medians of the changes around it; 1 is perfectly even.

    From the still to the clip it may jump, as it may where the clip ends: both are left out.
    """
    change = latents.diff(dim=2).abs().mean((0, 1, 3, 4))[1:]
    around = change.unfold(0, 7, 1)
    return (around[:, 3] / around.median(-1).values).max().item()
