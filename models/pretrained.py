"""Models of diffusers and transformers, loaded so that every tensor is accounted for."""

import re
from pathlib import Path

import torch

from .checkpoint import CheckpointError, check_fit, first_sentence

WRAPPED = r"^(?:module\.|_orig_mod\.)+"


def from_folder(cls, folder: Path, dtype: torch.dtype | None, **options):
    """A model of class `cls` from its folder as it is on the hub; converted to `dtype` unless None.

    Raises CheckpointError.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} holds no config.json; give the whole folder as it is on the hub.")
    # The hub offers both; whoever saved the disk space has the half-precision file only.
    half_only = not any(f for f in folder.glob("*.safetensors") if ".fp16." not in f.name)
    if half_only and any(folder.glob("*.fp16.safetensors")):
        options["variant"] = "fp16"
    if hasattr(cls, "config_class") and _is_wrapped(folder):  # transformers; diffusers knows no other names
        options["key_mapping"] = {WRAPPED: ""}
    return pretrained(cls, f"{folder.parent.name}/{folder.name}", dtype, str(folder), local_files_only=True, **options)


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
    from safetensors import SafetensorError

    try:
        model, info = cls.from_pretrained(source, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{what} cannot be loaded: {first_sentence(error)}.") from error
    kinds = (info.get(f"{kind}_keys") or () for kind in ("missing", "unexpected", "mismatched"))
    # A mismatched one comes with its sizes.
    check_fit(what, *(sorted(key if isinstance(key, str) else key[0] for key in keys) for keys in kinds))
    return model if dtype is None else model.to(dtype)
