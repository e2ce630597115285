"""Models of diffusers and transformers, loaded so that every tensor is accounted for."""

import re
import sys
from pathlib import Path
from typing import Any

import torch

from ..files.bounded import MIB, brief, read_json
from .checkpoint import CheckpointError, check_fit, read
from .chunks import out_of_memory

CONFIG = "config.json"
_LARGEST, _MOST_PARTS = 10_000_000, 1000  # whole numbers, and how many layers or blocks, in a configuration
_PARTS = re.compile(r"(^|_)(layers|blocks|stages|depths?)$|^num_.*(layers|blocks|stages)|^(layers|blocks)_per_")
# What would make the libraries fetch, import or run something else than the model that is asked for.
_ELSEWHERE = {"auto_map", "quantization_config", "trust_remote_code", "custom_pipelines"}


def read_config(folder: Path) -> dict:
    """The `config.json` of a folder as it is on the hub: names and numbers that a model can have.

    Raises CheckpointError.
    """
    what = f"{folder.parent.name}/{folder.name}"
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} holds no {CONFIG}; give the whole folder as it is on the hub.")
    config = read_json(folder / CONFIG, MIB, CheckpointError, ": fetch it again")
    if not isinstance(config, dict):
        raise CheckpointError(f"{what}/{CONFIG} holds no settings; fetch it again.")
    beside = {file.name for file in folder.glob("adapter_config.json")}
    for name in sorted((_ELSEWHERE & config.keys()) | beside):
        raise CheckpointError(f"{what} asks for more than its model ({name}): give the plain folder as on the hub.")
    _check_numbers(config, f"{what}/{CONFIG}", "")
    return config


def _check_numbers(value: Any, where: str, name: str) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            _check_numbers(part, where, key)
    elif isinstance(value, list):
        if len(value) > _MOST_PARTS and not all(isinstance(part, str) for part in value):
            raise CheckpointError(f"{where}: {name} is a list of {len(value)}; fetch it again.")
        for part in value:
            _check_numbers(part, where, name)
    elif isinstance(value, str):
        if name.endswith("attn_implementation") and "/" in value:
            raise CheckpointError(f"{where}: {name} is {value!r}, code from elsewhere; take that line out.")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        most = _MOST_PARTS if _PARTS.search(name) else _LARGEST if isinstance(value, int) else sys.float_info.max
        if not -most <= value <= most:  # NaN is refused too
            raise CheckpointError(f"{where}: {name} is {str(value)[:20]}, which no model has; fetch it again.")

WRAPPED = r"^(?:module\.|_orig_mod\.)+"


def from_folder(cls, folder: Path, dtype: torch.dtype | None, **options):
    """A model of class `cls` from its folder as it is on the hub; converted to `dtype` unless None.

    Raises CheckpointError.
    """
    config = read_config(folder)
    # The hub offers both; whoever saved the disk space has the half-precision file only.
    tensors = sorted(folder.glob("*.safetensors"))
    half_only = not any(f for f in tensors if ".fp16." not in f.name)
    if half_only and tensors:
        options["variant"] = "fp16"
    what = f"{folder.parent.name}/{folder.name}"
    files = tensors or sorted(folder.glob("*pytorch_model*.bin"))
    if not files:
        raise CheckpointError(f"{what} cannot be loaded, it has no *.safetensors: give the whole folder as on the hub.")
    for file in files:
        read(file)  # by our own reader first, whose bounds and sentences the libraries' lack
    for index in folder.glob(f"*{files[0].suffix}.index*.json"):
        _check_index(index)
    _check_size(cls, config, folder, what, sum(file.stat().st_size for file in files))
    if hasattr(cls, "config_class") and _is_wrapped(folder):  # transformers; diffusers knows no other names
        options["key_mapping"] = {WRAPPED: ""}
    return pretrained(cls, what, dtype, str(folder), local_files_only=True, **options)


def _check_index(path: Path) -> None:
    """A list of the files that hold the tensors, all of them in its folder. Raises CheckpointError."""
    index = read_json(path, 64 * MIB, CheckpointError, ": fetch it again")
    names = index.get("weight_map") if isinstance(index, dict) else None
    names = set(names.values()) if isinstance(names, dict) and all(isinstance(n, str) for n in names.values()) else {""}
    for name in sorted(names):
        if name in ("", "..") or name != Path(name.replace("\\", "/")).name:
            told = f"{path.parent.name}/{path.name} names {name!r}"
            raise CheckpointError(f"{told}, which is no file of its folder: fetch it again.")


def _check_size(cls, config: dict, folder: Path, what: str, size: int) -> None:
    """Raise CheckpointError for a configuration of a model that is much larger than its weights, `size` bytes."""
    try:
        with torch.device("meta"):
            if hasattr(cls, "config_class") and cls.config_class is not None:
                model = cls(cls.config_class.from_pretrained(str(folder), local_files_only=True))
            else:
                model = cls.from_config(config)
    except Exception:  # `pretrained` says what is wrong; and not every release builds its models so
        return
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > 2 * size + MIB:  # a number has a byte or more
        raise CheckpointError(
            f"{what}/{CONFIG} describes a model of {count} numbers, its weights have {size} bytes: fetch both again."
        )


def _is_wrapped(folder: Path) -> bool:
    """Whether DDP's or torch.compile's prefix is before every name. Names are read, no tensors."""
    from safetensors import SafetensorError, safe_open

    names = []
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, "pt") as file:
                names += file.keys()
        except (SafetensorError, OSError):  # which loading will say
            return False
    return bool(names) and all(re.match(WRAPPED, name) for name in names)


def pretrained(cls, what: str, dtype: torch.dtype | None, source: str | None, **options):
    """`cls.from_pretrained` that accounts for every key; the library translates the names of older releases itself.

    `what` names the file or folder in the CheckpointError for anything missing, unknown or of another size.
    """
    try:
        model, info = cls.from_pretrained(source, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    except Exception as error:  # the libraries check little: anything may be raised
        if out_of_memory(error):
            raise
        raise CheckpointError(
            f"{what} cannot be loaded ({_told(error)}): give the whole folder as it is on the hub."
        ) from error
    kinds = (info.get(f"{kind}_keys") or () for kind in ("missing", "unexpected", "mismatched"))
    # A mismatched one comes with its sizes.
    check_fit(what, *(sorted(key if isinstance(key, str) else key[0] for key in keys) for keys in kinds))
    return model if dtype is None else model.to(dtype)


def _told(error: Exception) -> str:
    """A KeyError's text is the key alone."""
    return brief(error) if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {brief(error)}"
