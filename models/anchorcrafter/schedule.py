"""Which noise levels the sampler steps through, and the fast setting. Without torch: the command line reads it too."""

import numpy as np

PUBLISHED, ALIGN_YOUR_STEPS = "published", "align your steps"
SCHEDULES = (PUBLISHED, ALIGN_YOUR_STEPS)

# Sigmas of ten steps of Stable Video Diffusion (Align Your Steps, arXiv 2404.14507); the last stands for 0.
_LEVELS = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)

# Inputs of Anchor Sampler, by their names there: what the fast workflow and `crafters run --fast` set.
FAST = {"steps": 10, "schedule": ALIGN_YOUR_STEPS, "guidance_from": 0.1, "guidance_until": 0.4, "cache_interval": 2}


def align_your_steps(steps: int) -> list[float]:
    """steps + 1 falling sigmas, 700 … 0: the published levels, log-linear between them, as ComfyUI's
    AlignYourStepsScheduler gives for SVD."""
    along, levels = np.linspace(0, 1, len(_LEVELS)), np.log(_LEVELS)
    return [*np.exp(np.interp(np.linspace(0, 1, steps + 1), along, levels))[:-1].tolist(), 0.0]


def guided_steps(steps: int, guidance_from: float, guidance_until: float) -> list[bool]:
    """Whether each of the steps is guided: those that begin within these shares, 0 … 1, of all steps.

    Raises ValueError where that is no interval.
    """
    if not 0 <= guidance_from < guidance_until <= 1:
        raise ValueError(
            f"Guidance goes from {guidance_from:g} until {guidance_until:g} of the steps: the first must be smaller "
            "than the second, both 0 to 1."
        )
    return [guidance_from <= step / steps < guidance_until for step in range(steps)]
