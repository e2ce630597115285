"""Avatars on disk: LHM's `*_gaussian.pth`, our safetensors, and the `.ply` of gaussian splatting viewers."""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from ...files.whole import if_possible, whole
from ..checkpoint import CheckpointError, read, read_torch
from .gaussians import NAMES, SHAPES, Avatar
from .ply import read_ply, write_ply

SUFFIXES = (".safetensors", ".pth", ".ply")


def load_avatar(path: str | Path) -> Avatar:
    """Read an avatar from `.safetensors`, `.pth` (LHM's list of ten) or `.ply` (degree 0 of its colours).

    A `.ply` that was not made by `save_avatar` gives offset 0, betas 0 and no pose: it can be rendered as it stands,
    and moved when its pose is said (`standing.unposed`).

    Raises CheckpointError naming the file and the item that is wrong.
    """
    path = Path(path)
    readers = {".safetensors": _read_safetensors, ".pth": _read_list, ".ply": read_ply}
    if path.suffix.lower() not in readers:
        raise CheckpointError(f"{path.name} is not an avatar file: its name must end in {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    items = readers[path.suffix.lower()](path)
    missing = [name for name in SHAPES if name not in items]
    unknown = [name for name in items if name not in NAMES]
    if missing or unknown:
        what = f"{missing[0]} is missing" if missing else f"{unknown[0]} is unknown"
        raise CheckpointError(f"{path.name} is not an avatar: {what}.")
    try:
        return Avatar(**items)
    except ValueError as error:
        raise CheckpointError(f"{path.name} is not a usable avatar: {error}.") from error


def save_avatar(avatar: Avatar, path: str | Path) -> None:
    """Write an avatar as `.safetensors` or `.pth` (both exact) or `.ply` (to float32 rounding), by the name's ending.

    Raises ValueError for another ending.
    """
    path = Path(path)
    writers = {".safetensors": _write_safetensors, ".pth": _write_list, ".ply": write_ply}
    if path.suffix.lower() not in writers:
        raise ValueError(f"An avatar cannot be saved as {path.name}: its name must end in {', '.join(SUFFIXES)}.")
    with whole(path) as part:
        writers[path.suffix.lower()](avatar, part)


def kept_avatar(path: Path, make: Callable[[], Avatar]) -> Avatar:
    """The avatar that `path`, a `.safetensors`, holds; if there is none, what `make` makes, which is written there.

    Where it cannot be written, a warning says so.
    """
    if path.is_file():
        return load_avatar(path)
    avatar = make()
    with if_possible("The avatar will be made anew in the next session"):
        save_avatar(avatar, path)
    return avatar


def _read_safetensors(path: Path) -> dict:
    tensors, config = read(path)
    return {**tensors, **config}


def _write_safetensors(avatar: Avatar, path: Path) -> None:
    from safetensors.torch import save_file

    config = {"visible_ratio": avatar.visible_ratio, "has_head": avatar.has_head}
    save_file({name: getattr(avatar, name).clone() for name in SHAPES}, path, {"config": json.dumps(config)})


def _read_list(path: Path) -> dict:
    items = read_torch(path)
    if not isinstance(items, list) or len(items) != len(NAMES):
        what = f"a list of {len(items)}" if isinstance(items, list) else f"a {type(items).__name__}"
        raise CheckpointError(f"{path.name} is not an avatar: it holds {what} instead of a list of {len(NAMES)}.")
    return dict(zip(NAMES, items, strict=True))


def _write_list(avatar: Avatar, path: Path) -> None:
    torch.save([getattr(avatar, name) for name in NAMES], path)
