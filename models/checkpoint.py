"""Read a weight file, take a module's tensors from it, and say in one sentence what is wrong when that cannot be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..files.bounded import MOST_LETTERS, RefusedError, brief, parse_json
from ..files.pickles import ForeignCodeError, Table
from ..files.pickles import read_torch as read_torch_file

WRAPPERS = ("module.", "diffusion_model.", "model.")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class CheckpointError(RefusedError):
    """A weight file that cannot be used; the message names the file, the fault and the way out."""


def read(path: str | Path, stand_ins: Table | None = None) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors by name, and the file's metadata.

    Takes safetensors (metadata: the header's `config` entry parsed from JSON, else `{}`) and what `torch.save` writes
    of tensors: a flat dict, or one wrapped in `module` (DeepSpeed), `state_dict` or `model_state_dict`; the content
    tells which, not the file's name. Names are `unwrapped`. Tensors stay on the CPU, memory-mapped where the format
    allows. stand_ins: see `pickles.read_torch`.

    Raises CheckpointError for a file that is missing, truncated, quantised to whole numbers, holds anything but
    tensors, or needs code to unpickle.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be opened ({brief(error)}).") from error
    config = {}
    if head[8:] == b"{":  # safetensors: eight bytes of length, then JSON
        state, config = _read_safetensors(path)
    elif head[:2] == b"PK" or head[:1] == b"\x80":  # zip (every torch since 1.6), or a pickle
        if path.suffix == ".safetensors":  # torch.load goes by that name
            raise CheckpointError(f"{path.name} is a torch file: rename it to end in .pth.")
        state = _read_torch(path, stand_ins)
    else:
        fault = "is neither a safetensors nor a torch file" if head else "is empty"
        raise CheckpointError(f"{path.name} {fault}; probably its download failed: fetch it again.")
    strangers = [str(k) for k, value in state.items() if not (isinstance(k, str) and isinstance(value, torch.Tensor))]
    if strangers or not state:
        fault = f"holds more than tensors ({_few(strangers)})" if state else "holds no tensors"
        raise CheckpointError(f"{path.name} {fault}: it is not a weight file.")
    for name, tensor in state.items():
        if name.endswith(".weight") and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(f"{path.name} is quantised to {kind}: use its fp16 or bf16 file.")
    return unwrapped(state, path.name), config


def unwrapped(state: dict[str, torch.Tensor], what: str) -> dict[str, torch.Tensor]:
    """The tensors under their own names, without what DDP, torch.compile, ComfyUI and trainers put before them.

    A prefix is a wrapper's only where every name starts with it; `_orig_mod.` is one anywhere. Raises CheckpointError
    where two names become one.
    """
    names = {name: f".{name}".replace("._orig_mod.", ".")[1:] for name in state}
    while prefix := next((p for p in WRAPPERS if all(name.startswith(p) for name in names.values())), None):
        names = {name: own.removeprefix(prefix) for name, own in names.items()}
    if len(set(names.values())) < len(names):
        twice = next(name for name, own in names.items() if name != own and own in names)
        raise CheckpointError(f"{what} holds {names[twice]} twice, once as {twice}: save one set of weights.")
    return {own: state[name] for name, own in names.items()}


def notes(path: str | Path) -> dict[str, str]:
    """What a safetensors file that was read says of itself in its header; nothing of other files."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}


def _read_safetensors(path: Path) -> tuple[dict, dict]:
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}
            text = (file.metadata() or {}).get("config", "{}")
    except Exception as error:  # safetensors' own, and torch's for types it does not know
        raise CheckpointError(
            f"{path.name} is not a whole safetensors file ({brief(error)}); it was probably cut off while "
            "downloading: fetch it again."
        ) from error
    try:
        config = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{path.name}: the `config` in its header is not JSON ({brief(error)}).") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path.name}: the `config` in its header is not a JSON object.")
    return state, config


def read_torch(path: str | Path, mapped: bool = False, stand_ins: Table | None = None) -> Any:
    """What `torch.save` wrote, on the CPU; nothing in the file is run. See `pickles.read_torch`.

    Raises CheckpointError for a damaged file and one that needs code to unpickle.
    """
    path = Path(path)
    try:
        return read_torch_file(path, mapped, stand_ins)
    except ForeignCodeError as error:
        raise CheckpointError(
            f"{path.name} is not a plain weight file: reading it would run code stored in it ({brief(error)}). If you "
            "trust it, save its tensors with safetensors.torch.save_file where you made it; otherwise fetch it again."
        ) from error
    except Exception as error:  # whatever damaged bytes lead to
        raise CheckpointError(
            f"{path.name} cannot be read ({brief(error)}); it was probably cut off while downloading: fetch it again."
        ) from error


def _read_torch(path: Path, stand_ins: Table | None) -> dict:
    data = read_torch(path, True, stand_ins)
    for wrapper in ("module", "state_dict", "model_state_dict"):
        if isinstance(data, dict) and isinstance(data.get(wrapper), dict):
            data = data[wrapper]
    if not isinstance(data, dict):
        raise CheckpointError(f"{path.name} holds a {type(data).__name__}, not a dict of tensors.")
    return data


def size(state: dict[str, torch.Tensor], name: str, axis: int) -> int:
    """Length of one axis of a named tensor. Raises CheckpointError when there is no such tensor or axis."""
    if name not in state:
        raise CheckpointError(f"tensor {name} is missing.")
    if state[name].ndim <= axis:
        raise CheckpointError(f"tensor {name} has the shape {tuple(state[name].shape)}.")
    return state[name].shape[axis]


@contextmanager
def sizes_of(what: str) -> Iterator[None]:
    """Around the reading of a network's sizes off its tensors.

    A tensor that is missing, or has too few axes or none of a network's sizes, becomes a CheckpointError that begins
    with `what`, which says which file is not what.
    """
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{what}: tensor {error.args[0]} is missing.") from error
    except CheckpointError as error:
        raise CheckpointError(f"{what}: {error}") from error
    except (ValueError, LookupError, TypeError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"{what}: its tensors have sizes that do not go together ({brief(error)}).") from error


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
    check_fit(what, missing, unknown, wrong)
    module.load_state_dict(state, strict=True, assign=True)


def check_fit(what: str, missing: list[str], unknown: list[str], wrong: list[str]) -> None:
    """Raise CheckpointError with the first few names of tensors that are missing, unknown or of another size."""
    kinds = ((missing, "missing"), (unknown, "unknown"), (wrong, "of another size"))
    told = ""
    for each in (4, 2, 1):  # as many names as one line holds
        faults = "; ".join(f"{len(names)} {kind} ({_few(names, each)})" for names, kind in kinds if names)
        told = f"{what} does not fit: of its tensors {faults}."
        if len(told) <= MOST_LETTERS:
            break
    if missing or unknown or wrong:
        raise CheckpointError(told)


def _few(names: list[str], count: int = 4) -> str:
    return ", ".join(names[:count]) + (" …" if len(names) > count else "")

