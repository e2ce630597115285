"""Devices, number types, and networks under ComfyUI's memory manager; plain torch where there is no ComfyUI."""

import sys
from types import ModuleType

import numpy as np
import torch
from torch import nn

from ..media.frames import gathered
from ..models.checkpoint import DTYPES
from ..models.loaded import Loaded

DTYPE_CHOICES = ["auto", *DTYPES]
# Layers that ComfyUI can stream. No embeddings: libraries look into their weights, and they are small.
STREAMED = ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "GroupNorm", "LayerNorm")


def _management() -> ModuleType | None:
    """ComfyUI's `comfy.model_management` when ComfyUI is the process we run in."""
    return sys.modules.get("comfy.model_management")


def compute_device() -> torch.device:
    """The device networks run on."""
    host = _management()
    if host:
        return host.get_torch_device()
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def network_dtype(choice: str = "auto") -> torch.dtype:
    """What `choice` (auto, fp32, fp16, bf16) means on the compute device.

    auto: fp16, which the published systems run in, where the hardware is good at it; else bf16, else fp32.
    """
    if choice != "auto":
        return DTYPES[choice]
    device, host = compute_device(), _management()
    if device.type == "cpu":
        return torch.float32
    if host:
        if host.should_use_fp16(device):
            return torch.float16
        return torch.bfloat16 if host.should_use_bf16(device) else torch.float32
    return torch.float16


def vae_dtype(choice: str = "auto") -> torch.dtype:
    """As `network_dtype`, but auto avoids fp16, in which SVD's VAE overflows to black frames."""
    dtype = network_dtype(choice)
    return torch.bfloat16 if choice == "auto" and dtype == torch.float16 else dtype


def free_memory(device: torch.device) -> int:
    """Bytes that ComfyUI could still give out on a device."""
    return _management().get_free_memory(device)


def to_output(tensor: torch.Tensor | np.ndarray) -> torch.Tensor:
    """A node's result on the device where ComfyUI wants results, float32."""
    host = _management()
    tensor = torch.as_tensor(tensor).to(host.intermediate_device() if host else "cpu")
    # A mask frame by frame: where it is 0 it takes no memory.
    return gathered((mask.float() for mask in tensor), len(tensor)) if tensor.dtype == torch.bool else tensor.float()


class Managed(Loaded):
    """A network that ComfyUI's memory manager brings to the GPU, and takes off it when others need the room.

    Where it does not fit beside what it computes, its layers stay in main memory and come when they are called: they
    become ComfyUI's own, which have the same weights and compute the same.
    """

    def __init__(self, module: nn.Module):
        super().__init__(module)
        host = _management()
        if host:
            from comfy import model_patcher, ops

            kinds = {getattr(nn, name): getattr(ops.disable_weight_init, name) for name in STREAMED}
            for part in module.modules():
                # Of that very class: what others derive from it may use its weights as it likes.
                part.__class__ = kinds.get(type(part), type(part))
            # The patcher keeps notes in attributes of its module, one of which (`device`) is a read-only property of
            # diffusers' and transformers' models: it gets a box around the network.
            self._patcher = model_patcher.CoreModelPatcher(
                nn.ModuleList([module]), load_device=host.get_torch_device(), offload_device=host.unet_offload_device()
            )

    def load(self, memory: int = 0) -> torch.device:
        host = _management()
        if not host:
            device = compute_device()
            self.module.to(device)
            return device
        host.load_models_gpu([self._patcher], memory_required=memory)
        device = self._patcher.load_device
        # What is in no layer of ComfyUI's cannot be streamed.
        for part in self.module.modules():
            if not hasattr(part, "comfy_cast_weights"):
                part._apply(lambda tensor: tensor.to(device), recurse=False)
        return device

    def free_memory(self) -> int | None:
        device, host = compute_device(), _management()
        if device.type == "cpu":
            return None
        if host:
            return host.get_free_memory(device)
        return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
