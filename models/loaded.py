"""A network and the call that brings it to the device it computes on."""

import torch
from torch import nn

from .checkpoint import DTYPES

NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Loaded:
    """A network that already is where it computes.

    Whoever uses a network calls `load()` first and works on the device it answers. Under ComfyUI the subclass in
    `host.memory` hands the network to the host's memory manager there.
    """

    def __init__(self, module: nn.Module):
        self.module = module.eval().requires_grad_(False)

    def __str__(self) -> str:
        """How large and how exact, for people to read."""
        count = sum(weight.numel() for weight in self.module.parameters())
        size = f"{count / 1e6:.0f} million" if count >= 1e6 else f"{count / 1e3:.0f} thousand"
        return f"{size} parameters in {NAMES.get(self.dtype, self.dtype)}"

    @property
    def dtype(self) -> torch.dtype:
        return next(self.module.parameters()).dtype

    def load(self, memory: int = 0) -> torch.device:
        """Bring the weights to the compute device, with `memory` bytes free for activations; answers the device."""
        return next(self.module.parameters()).device

    def free_memory(self) -> int | None:
        """Bytes free on the compute device; None where nobody counts them (CPU)."""
        return None
