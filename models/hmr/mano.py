"""MANO's right hand from the file its licence lets everybody fetch for research only (https://mano.is.tue.mpg.de)."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...files.bounded import MIB, brief
from ...files.pickles import Inert, read_plain
from ..body.layout import BodyModelError
from ..body.skinning import posed_vertices
from ..body.smpl_arrays import SHAPES, smpl_arrays

_JOINTS = 16
_MOST = 16 * MIB  # bytes of the file; the published one has 3.9 MB
# Triangles that close the wrist (HaMeR's renderer).
_WRIST = ((92, 38, 234), (234, 38, 239), (38, 122, 239), (239, 122, 279), (122, 118, 279), (279, 118, 215),
          (118, 117, 215), (215, 117, 214), (117, 119, 214), (214, 119, 121), (119, 120, 121), (121, 120, 78),
          (120, 108, 78), (78, 108, 79))


@dataclass(frozen=True)
class Mano:
    """The right hand: `template` [778,3] m, `shape_dirs` [778,3,10], `pose_dirs` [135,2334], `regressor` [16,778],
    `skinning` [778,16], `faces` [1552,3] closed at the wrist, 16 `parents` (wrist: -1)."""

    template: torch.Tensor
    shape_dirs: torch.Tensor
    pose_dirs: torch.Tensor
    regressor: torch.Tensor
    skinning: torch.Tensor
    faces: torch.Tensor
    parents: tuple[int, ...]

    @torch.no_grad()
    def vertices(self, rotations: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
        """[B,778,3] m of rotations [B,16,3,3] (the wrist's first; taken as they are) and betas [B,10]."""
        return posed_vertices(self, rotations.to(self.template), betas.to(self.template), self.parents)


def load_mano(path: str | Path) -> Mano:
    """Read MANO_RIGHT.pkl. Of what a pickle may hold only arrays of numbers are read; nothing in the file is run.

    Raises BodyModelError with a sentence for a file that is missing, damaged, or not MANO's right hand.
    """
    path = Path(path)
    if not path.is_file():
        raise BodyModelError(
            f"There is no hand model {path}: register at https://mano.is.tue.mpg.de, which asks you to accept its "
            "licence, download the models, and put MANO_RIGHT.pkl into models/crafters/mano."
        )
    try:
        data, _ = read_plain(path.read_bytes() if path.stat().st_size <= _MOST else b"", _find)
        array = {name: _array(data[name]) for name in SHAPES if isinstance(data, dict) and name in data}
    except Exception as error:  # whatever damaged bytes lead to
        raise BodyModelError(f"{path.name} cannot be read ({brief(error)}): download MANO_RIGHT.pkl again.") from error
    *model, faces, parents = smpl_arrays(array, _JOINTS, path.name, "MANO's hand model")
    if len(model[0]) <= max(map(max, _WRIST)):
        raise BodyModelError(f"{path.name} has {len(model[0])} vertices: it is not MANO's hand, which has 778.")
    return Mano(*model, torch.cat([faces, torch.tensor(_WRIST)]), parents)


class _Type(Inert):
    """numpy's dtype: the name of a type of numbers, and its state the order of bytes."""

    def numbers(self) -> np.dtype:
        name = self.args[0]
        if not (isinstance(name, str) and re.fullmatch("[biuf][1248]", name)):
            raise ValueError("it holds arrays of something else than numbers")
        order = self.state[1] if self.state else "="
        return np.dtype(name).newbyteorder(order if order in "<>=" else "=")


class _Array(Inert):
    """numpy's array: its state is a version, the shape, the type, whether it is in Fortran's order, and the bytes."""

    def numbers(self) -> np.ndarray:
        _, shape, kind, fortran, content = self.state
        return _from_bytes(kind, content, shape).reshape(shape, order="F" if fortran else "C")


class _Scalar(Inert):
    """numpy's number: its type and its bytes."""

    def numbers(self) -> np.ndarray:
        return _from_bytes(*self.args, ()).reshape(())


def _from_bytes(kind: _Type, content: str | bytes, shape: tuple[int, ...]) -> np.ndarray:
    content, dtype = content.encode("latin1") if isinstance(content, str) else content, kind.numbers()
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"an array of shape {shape} has {len(content)} bytes")
    return np.frombuffer(content, dtype)


class _Foreign(Inert):
    """Of chumpy and scipy, which wrap arrays."""


def _find(module: str, name: str):
    module = {"copy_reg": "copyreg", "__builtin__": "builtins"}.get(module, module).replace("numpy._core", "numpy.core")
    if module.split(".")[0] in ("chumpy", "scipy"):
        return _Foreign
    return _NAMED.get((module, name))


_NAMED = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("builtins", "object"): Inert,
    ("copyreg", "_reconstructor"): lambda cls, *_: _Foreign() if cls is _Foreign else Inert(),
    # How protocol 2 writes bytes.
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),
}


def _array(value: Any, depth: int = 0) -> np.ndarray:
    """The numbers of an array, or of what chumpy and scipy.sparse wrap."""
    if isinstance(value, _Array | _Scalar):
        return value.numbers()
    if not isinstance(value, _Foreign):
        return np.asarray(value, dtype=np.float64)
    if depth > 8:
        raise ValueError("its arrays lie in themselves")
    state = value.state
    if "x" in state:  # chumpy's array
        return _array(state["x"], depth + 1)
    if "idxs" in state:  # chumpy's choice from one
        chosen = _array(state["a"], depth + 1).ravel()[_array(state["idxs"], depth + 1).astype(int)]
        return chosen.reshape(state["preferred_shape"])
    from scipy.sparse import csc_matrix

    if math.prod(state["_shape"]) > _MOST:
        raise ValueError(f"it has a matrix of {state['_shape']}")
    parts = (_array(state[name], depth + 1) for name in ("data", "indices", "indptr"))
    matrix = csc_matrix(tuple(parts), state["_shape"])
    matrix.check_format(full_check=True)  # what lies outside would be written outside
    return matrix.toarray()
