"""HaMeR's and Multi-HMR's released files, which hold their authors' settings beside the weights."""

from pathlib import Path

import torch

from ...files.pickles import Inert
from ..checkpoint import CheckpointError, read, read_torch, unwrapped

_WRAPPERS = ("state_dict", "model_state_dict")
_SETTINGS = {("argparse", "Namespace"): Inert, ("yacs.config", "CfgNode"): Inert}


def read_released(path: str | Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors by name, and the sizes noted in a safetensors header (see `checkpoint.read`). Raises CheckpointError."""
    path = Path(path)
    if path.suffix == ".safetensors" or not path.is_file():
        return read(path)
    data = read_torch(path, stand_ins=_SETTINGS)
    for wrapper in _WRAPPERS:
        if isinstance(data, dict) and isinstance(data.get(wrapper), dict):
            data = data[wrapper]
    if not isinstance(data, dict) or not all(isinstance(value, torch.Tensor) for value in data.values()):
        raise CheckpointError(f"{path.name} is not a weight file: it holds more than tensors.")
    return unwrapped(data, path.name), {}
