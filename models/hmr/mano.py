"""MANO's right hand from the file its licence lets everybody fetch for research only (https://mano.is.tue.mpg.de)."""

import codecs
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..avatar.body import BodyModelError

_SHAPES = {"v_template": "V3", "shapedirs": "V3B", "posedirs": "V3P", "J_regressor": "JV", "weights": "VJ", "f": "F3"}
_JOINTS, _BETAS = 16, 10
# Triangles that close the wrist (HaMeR's renderer).
_WRIST = ((92, 38, 234), (234, 38, 239), (38, 122, 239), (239, 122, 279), (122, 118, 279), (279, 118, 215),
          (118, 117, 215), (215, 117, 214), (117, 119, 214), (214, 119, 121), (119, 120, 121), (121, 120, 78),
          (120, 108, 78), (78, 108, 79))  # fmt: skip


@dataclass(frozen=True)
class Mano:
    """The right hand: `template` [778,3] m, `shape_dirs` [778,3,10], `pose_dirs` [135,2334], `regressor` [16,778],
    `skinning` [778,16], `faces` [1552,3] closed at the wrist, `parents` [16] (wrist: -1)."""

    template: torch.Tensor
    shape_dirs: torch.Tensor
    pose_dirs: torch.Tensor
    regressor: torch.Tensor
    skinning: torch.Tensor
    faces: torch.Tensor
    parents: torch.Tensor

    @torch.no_grad()
    def vertices(self, rotations: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
        """[B,778,3] m of rotations [B,16,3,3] (the wrist's first; taken as they are) and betas [B,10]."""
        from smplx.lbs import lbs

        model = self.template, self.shape_dirs, self.pose_dirs, self.regressor, self.parents, self.skinning
        return lbs(betas.to(self.template), rotations.to(self.template), *model, pose2rot=False)[0]


def load_mano(path: str | Path) -> Mano:
    """Read MANO_RIGHT.pkl. Of what a pickle may hold only arrays are read; nothing in the file is run.

    Raises BodyModelError with a sentence for a file that is missing, damaged, or not MANO's right hand.
    """
    path = Path(path)
    if not path.is_file():
        raise BodyModelError(
            f"There is no hand model {path}: register at https://mano.is.tue.mpg.de, which asks you to accept its "
            "licence, download the models, and put MANO_RIGHT.pkl into models/crafters/mano."
        )
    try:
        with path.open("rb") as file:
            data = _ArraysOnly(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise BodyModelError(f"{path.name} cannot be read ({error}): download MANO_RIGHT.pkl again.") from error
    missing = [name for name in (*_SHAPES, "kintree_table") if not isinstance(data, dict) or name not in data]
    if missing:
        raise BodyModelError(f"{path.name} has no `{missing[0]}`: it is not MANO's hand model.")
    array = {name: _array(data[name]) for name in (*_SHAPES, "kintree_table")}
    vertices = len(array["v_template"])
    size = {"V": vertices, "3": 3, "J": _JOINTS, "P": 9 * (_JOINTS - 1), "F": len(array["f"])}
    for name, letters in _SHAPES.items():
        shape = array[name].shape
        fits = len(shape) == len(letters) and all(
            n >= _BETAS if letter == "B" else n == size[letter] for n, letter in zip(shape, letters, strict=True)
        )
        if not fits or not np.isfinite(array[name]).all():
            raise BodyModelError(f"{path.name}: `{name}` has the shape {shape} or holds no numbers: it is not MANO's.")
    if vertices <= max(map(max, _WRIST)):
        raise BodyModelError(f"{path.name} has {vertices} vertices: it is not MANO's hand, which has 778.")
    tensor = {name: torch.from_numpy(array[name].astype(np.float32)) for name in _SHAPES if name != "f"}
    parents = torch.tensor([-1, *array["kintree_table"][0, 1:].astype(int).tolist()])
    return Mano(
        tensor["v_template"],
        tensor["shapedirs"][..., :_BETAS].contiguous(),
        tensor["posedirs"].flatten(0, 1).T.contiguous(),
        tensor["J_regressor"],
        tensor["weights"],
        torch.cat([torch.from_numpy(array["f"].astype(np.int64)), torch.tensor(_WRIST)]),
        parents,
    )


class _Inert:
    """Keeps what a foreign object was made of, and does nothing with it."""

    def __init__(self, *_: Any) -> None:
        self.state: dict = {}

    def __setstate__(self, state: dict) -> None:
        self.state = state


class _ArraysOnly(pickle.Unpickler):
    _ALLOWED = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, ("builtins", "object"): object}
    for _core in ("numpy.core", "numpy._core"):  # older and newer numpy
        _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = np.zeros(0).__reduce__()[0]
        _ALLOWED[f"{_core}.multiarray", "scalar"] = np.float64(0).__reduce__()[0]
    # How protocol 2 writes bytes.
    _ALLOWED["_codecs", "encode"] = codecs.encode

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._ALLOWED:
            return self._ALLOWED[module, name]
        if module == "copyreg" and name == "_reconstructor":
            return lambda cls, base, state: cls() if cls is _Inert else object.__new__(object)
        if module.split(".")[0] in ("chumpy", "scipy"):
            return _Inert
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def _array(value: Any) -> np.ndarray:
    """What chumpy and scipy.sparse wrap."""
    if not isinstance(value, _Inert):
        return np.asarray(value)
    state = value.state
    if "x" in state:  # chumpy's array
        return _array(state["x"])
    if "idxs" in state:  # chumpy's choice from one
        return _array(state["a"]).ravel()[np.asarray(state["idxs"])].reshape(state["preferred_shape"])
    from scipy.sparse import csc_matrix

    return csc_matrix((state["data"], state["indices"], state["indptr"]), state["_shape"]).toarray()
