"""Wan's flow-matching schedule, as AniCrafter samples with it."""

import torch

STEPS, SHIFT, GUIDANCE = 50, 5.0, 1.5  # of every published run


def sigmas(steps: int = STEPS, shift: float = SHIFT) -> torch.Tensor:
    """Noise shares [steps + 1] from 1 down to 0, float32: evenly spaced ones, shifted towards noise."""
    u = torch.linspace(1, 0, steps + 1)
    return shift * u / (1 + (shift - 1) * u)


def timesteps(sigmas: torch.Tensor, rounded: bool = True) -> torch.Tensor:
    """What the transformer is told, 1000 σ. rounded: to bf16, as in the published system (995.9 becomes 996)."""
    times = sigmas * 1000
    return times.bfloat16().float() if rounded else times
