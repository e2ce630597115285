"""Networks whose matrices are in bf16 while norms, embeddings and what is added up stay in float32."""

from contextlib import AbstractContextManager

import torch
from torch import nn

CHOICES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def matrices_to(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """`module` with the weights of its linear and convolutional layers in `dtype`, everything else in float32."""
    module.float()
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.to(dtype)
    return module


def autocast(tokens: torch.Tensor, layer: nn.Linear | nn.Conv2d) -> AbstractContextManager:
    """The precision that the matrices of a network are in, told by one of its layers, for what it is given.

    Its weights may wait on another device.
    """
    return torch.autocast(tokens.device.type, torch.bfloat16, enabled=layer.weight.dtype == torch.bfloat16)
