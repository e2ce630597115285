"""Avatars and their files: LHM's `*_gaussian.pth`, our safetensors, and the `.ply` of gaussian splatting viewers."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from ...files.whole import if_possible, whole
from ..checkpoint import CheckpointError, read, read_torch
from .ply import read_ply, write_ply

SUFFIXES = (".safetensors", ".pth", ".ply")
SHAPES = {
    "offset": ("N", 3), "points": ("N", 3), "rgb": ("N", 3), "opacity": ("N", 1), "scale": ("N", 3),
    "rotation": ("N", 4), "neutral_transforms": (55, 4, 4), "betas": (10,),
}


@dataclass(frozen=True, eq=False)
class Avatar:
    """A person as N 3-D gaussians in a neutral pose (LHM, canonical avatar). All tensors are float32 on the CPU.

    SMPL-X axes: y up, the person faces +z, their left is +x; arms out, legs spread by 20°.

    offset, points [N, 3] m: a gaussian is at `points + offset`, `points` lying on the body model's surface.
    rgb [N, 3], opacity [N, 1]: 0..1. scale [N, 3] m: standard deviations. rotation [N, 4]: unit quaternions, wxyz.
    neutral_transforms [55, 4, 4]: per joint, from the neutral pose to SMPL-X's T-pose; all 0 where the pose is not
    known. betas [10]: SMPL-X shape.
    visible_ratio: which part of the body the photo showed, 0..1. has_head: 1 if the head was made from a close-up.

    Raises ValueError, naming the item, for a wrong shape or count, a value that is not finite or out of its range.
    """

    offset: torch.Tensor
    points: torch.Tensor
    rgb: torch.Tensor
    opacity: torch.Tensor
    scale: torch.Tensor
    rotation: torch.Tensor
    neutral_transforms: torch.Tensor
    betas: torch.Tensor
    visible_ratio: float = 1.0
    has_head: int = 0

    def __post_init__(self):
        count = len(self.points) if isinstance(self.points, torch.Tensor) and self.points.ndim else 0
        for name, shape in SHAPES.items():
            tensor = getattr(self, name)
            if not (isinstance(tensor, torch.Tensor) and tensor.is_floating_point()):
                raise ValueError(f"{name} is no tensor of floating-point numbers")
            shape = tuple(count if size == "N" else size for size in shape)
            if tensor.shape != shape:
                raise ValueError(f"{name} has the shape {[*tensor.shape]} instead of {[*shape]}")
            tensor = tensor.detach().to("cpu", torch.float32).contiguous()
            if not tensor.isfinite().all():
                raise ValueError(f"{name} holds a value that is not a finite number")
            object.__setattr__(self, name, tensor)
        if count == 0:
            raise ValueError("there are no gaussians")
        for name, most in (("rgb", 1.0), ("opacity", 1.0), ("scale", math.inf)):
            low, high = getattr(self, name).aminmax()
            if low < 0 or high > most:
                raise ValueError(f"{name} goes from {low:.4g} to {high:.4g}, outside 0..{most:g}")
        if not self.rotation.any(-1).all():
            raise ValueError("rotation holds a quaternion of length 0")
        for name, kind in (("visible_ratio", float), ("has_head", int)):
            value = getattr(self, name)
            if not (isinstance(value, (bool, int, float)) and math.isfinite(value)):
                raise ValueError(f"{name} is {value!r}, not a number")
            object.__setattr__(self, name, kind(value))

    def __len__(self) -> int:
        return len(self.points)

    @property
    def posed(self) -> bool:
        """Whether it is known in which pose the gaussians stand."""
        return bool(self.neutral_transforms.any())

    def xyz(self) -> torch.Tensor:
        """Where the gaussians are in the neutral pose, [N, 3] m."""
        return self.points + self.offset


NAMES = tuple(field.name for field in fields(Avatar))  # also the order of the ten items of a .pth


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
