"""Read a weight file, take a module's tensors from it, and say in one sentence what is wrong when that cannot be."""

import json
import pickle
import zipfile
from pathlib import Path

import torch
from torch import nn

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class CheckpointError(ValueError):
    """A weight file that cannot be used; the message names the file, the fault and the way out."""


def read(path: str | Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors by name, and the file's metadata.

    Takes safetensors (metadata: the header's `config` entry parsed from JSON, else `{}`) and what `torch.load` reads
    with `weights_only=True`: a flat dict, or one wrapped in `module` (DeepSpeed) or `state_dict`. Tensors stay on the
    CPU, memory-mapped where the format allows.

    Raises CheckpointError for a file that is missing, truncated, holds no tensors, or needs code to unpickle.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_torch(path), {}


def _read_safetensors(path: Path):
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}
            config = (file.metadata() or {}).get("config", "{}")
    except SafetensorError as error:
        raise CheckpointError(
            f"{path.name} is not a whole safetensors file ({error}); it was probably cut off while downloading: "
            "fetch it again."
        ) from error
    try:
        return state, json.loads(config)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path.name}: the `config` in its header is not JSON ({error}).") from error


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    try:
        # Files of the zip format (every torch since 1.6) are mapped, not copied.
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} is not a plain weight file: reading it would run code stored in it, or it is damaged. "
            "If you trust it, open it with torch where you made it and save its tensors with "
            "safetensors.torch.save_file; otherwise fetch it again."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path.name} cannot be read ({reason}); it was probably cut off while downloading: fetch it again."
        ) from error
    for wrapper in ("module", "state_dict"):
        if isinstance(data, dict) and isinstance(data.get(wrapper), dict):
            data = data[wrapper]
    if not isinstance(data, dict):
        raise CheckpointError(f"{path.name} holds a {type(data).__name__}, not a dict of tensors.")
    state = {name: value for name, value in data.items() if isinstance(value, torch.Tensor)}
    if not state or len(state) != len(data):
        strangers = [str(name) for name in data if name not in state]
        raise CheckpointError(f"{path.name} is not a dict of tensors (it also holds {_few(strangers) or 'nothing'}).")
    return state


def assign(module: nn.Module, state: dict[str, torch.Tensor], what: str) -> None:
    """Give `module` (built on the meta device) exactly the tensors of `state`; every key must fit.

    Raises CheckpointError listing the first few missing, unknown or wrongly shaped tensors.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    faults = [
        f"{len(names)} {word} ({_few(names)})"
        for names, word in ((missing, "missing"), (unknown, "unknown"), (wrong, "of another size"))
        if names
    ]
    if faults:
        raise CheckpointError(f"{what} does not fit: of its tensors {'; '.join(faults)}.")
    module.load_state_dict(state, strict=True, assign=True)


def _few(names: list[str], count: int = 4) -> str:
    return ", ".join(names[:count]) + (" …" if len(names) > count else "")
