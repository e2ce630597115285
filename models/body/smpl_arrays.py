"""What the files of SMPL's family (SMPL-X, MANO) hold, checked and as tensors."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from .layout import BETAS, BodyModelError

SHAPES = {
    "v_template": "V3",
    "shapedirs": "V3B",  # at least ten shape directions; the rest, expressions included, is not used
    "posedirs": "V3P",
    "J_regressor": "JV",
    "weights": "VJ",
    "kintree_table": "2J",
    "f": "F3",
}


class SmplArrays(NamedTuple):
    """`template` [V,3] m, `shape_dirs` [V,3,10], `pose_dirs` [9(J-1),3V], `regressor` [J,V], `skinning` [V,J] float32,
    `faces` [F,3] int64, `parents` (root: -1)."""

    template: torch.Tensor
    shape_dirs: torch.Tensor
    pose_dirs: torch.Tensor
    regressor: torch.Tensor
    skinning: torch.Tensor
    faces: torch.Tensor
    parents: tuple[int, ...]


def smpl_arrays(array: Mapping[str, np.ndarray], joints: int, file: str, model: str) -> SmplArrays:
    """`array`: of a file, by the names in SHAPES. Raises BodyModelError with a sentence about the `file` where that is
    not `model`, which has so many joints."""
    missing = [name for name in SHAPES if name not in array]
    if missing:
        raise BodyModelError(f"{file} has no `{missing[0]}`: it is not {model}.")
    regressor, faces, vertices = array["J_regressor"], array["f"], array["v_template"].size // 3
    if regressor.ndim == 2 and len(regressor) != joints:
        raise BodyModelError(f"{file} has {len(regressor)} joints: it is not {model}, which has {joints}.")
    if not faces.size:
        raise BodyModelError(f"{file} has no faces: it is not {model}.")
    sizes = {"V": vertices, "J": joints, "P": 9 * (joints - 1), "F": faces.size // 3, "2": 2, "3": 3}
    for name, letters in SHAPES.items():
        shape = array[name].shape
        fits = len(shape) == len(letters) and all(
            size >= BETAS if letter == "B" else size == sizes[letter]
            for size, letter in zip(shape, letters, strict=True)
        )
        if not fits:
            raise BodyModelError(f"{file}: `{name}` has the shape {shape}, which is not {model}'s.")
        if not np.isfinite(array[name]).all():
            raise BodyModelError(f"{file}: `{name}` holds values that are no numbers: download it again.")
    parents = array["kintree_table"][0].astype(np.int64).tolist()
    if not all(0 <= parent < joint for joint, parent in enumerate(parents[1:], 1)) or not (
        0 <= faces.min() and faces.max() < vertices
    ):
        raise BodyModelError(f"{file}: its joints or faces refer to what is not there: download it again.")
    template, shape_dirs, pose_dirs, regressor, skinning = (
        torch.from_numpy(array[name].astype(np.float32))
        for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
    )
    return SmplArrays(
        template, shape_dirs[..., :BETAS].contiguous(), pose_dirs.flatten(0, 1).T.contiguous(), regressor, skinning,
        torch.from_numpy(faces.astype(np.int64)), (-1, *parents[1:]),
    )
