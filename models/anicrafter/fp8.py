"""Weights stored in fp8, with or without scales beside them, as in the single files that ComfyUI users have."""

import torch

from ..checkpoint import CheckpointError

SCALES = ("scale_weight", "weight_scale")  # the older and the newer name of what a weight is multiplied by
NOTES = (*SCALES, "scale_input", "input_scale", "comfy_quant", "scaled_fp8")  # of no use at full precision


def dequantise(state: dict[str, torch.Tensor], dtype: torch.dtype, what: str) -> dict[str, torch.Tensor]:
    """The tensors of the file `what` in `dtype`, fp8 weights times their scales; the notes on quantisation left out.

    Raises CheckpointError for weights that are quantised in another way.
    """
    out = {}
    for name, tensor in state.items():
        layer, _, last = name.rpartition(".")
        if last in NOTES:
            continue
        scale = next((state[f"{layer}.{s}"] for s in SCALES if f"{layer}.{s}" in state and last == "weight"), None)
        if not tensor.is_floating_point() or (scale is not None and scale.numel() not in (1, len(tensor))):
            raise CheckpointError(f"{what} is quantised in a way only ComfyUI reads: use its fp16, bf16 or fp8 file.")
        if scale is not None:
            tensor = tensor.float() * scale.float().reshape(-1, *[1] * (tensor.ndim - 1))
        out[name] = tensor.to(dtype)
    return out
