"""SMPL-X from the file its authors give out.

It is licensed by them (https://smpl-x.is.tue.mpg.de, non-commercial research) and must be fetched there by whoever uses
it; nothing here fetches it.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...files.bounded import MIB, read_npz
from .body import BodyModel, Skeleton, keypoint_regressor
from .layout import BETAS, JOINTS, SIDES, BodyModelError

_MOST = 1024 * MIB  # bytes of a file's arrays; the published ones' have 240 MB
_SHAPES = {
    "v_template": "V3",
    "shapedirs": "V3B",  # at least ten shape directions; the rest, expressions included, is not used
    "posedirs": "V3P",
    "J_regressor": "JV",
    "weights": "VJ",
    "kintree_table": "2J",
    "f": "F3",
}
_INTEGERS = {"kintree_table", "f"}
_VERTICES = 10475  # of the published model, whose points have numbers in `smplx.vertex_ids`
# COCO's body and feet: vertices by their names there, or joints.
_COCO = ("nose", "leye", "reye", "lear", "rear", 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8, "LBigToe", "LSmallToe",
         "LHeel", "RBigToe", "RSmallToe", "RHeel")
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def read_smplx(path: Path) -> BodyModel:
    """Read SMPLX_NEUTRAL.npz: 10475 vertices and 20908 faces in the published model; others have no keypoints.

    Only plain arrays are read, never the pickled extras some releases carry. Raises BodyModelError with a sentence for
    a file that is missing, damaged, or not SMPL-X.
    """
    if not path.is_file():
        raise BodyModelError(
            f"There is no body model {path}: register at https://smpl-x.is.tue.mpg.de, which asks you to accept its "
            "licence, download the SMPL-X models, and put SMPLX_NEUTRAL.npz into models/crafters/smplx."
        )
    array = read_npz(path, _SHAPES, _MOST, BodyModelError, ": download it again")
    missing = [name for name in _SHAPES if name not in array]
    if missing:
        raise BodyModelError(f"{path.name} has no `{missing[0]}`: it is not an SMPL-X model.")
    if array["J_regressor"].ndim != 2 or not array["f"].size:
        raise BodyModelError(f"{path.name}: its joints or faces are none: it is not an SMPL-X model.")
    joints, vertices = array["J_regressor"].shape
    sizes = {"J": joints, "V": vertices, "P": 9 * (joints - 1), "F": len(array["f"]), "2": 2, "3": 3}
    if joints != JOINTS:
        raise BodyModelError(f"{path.name} has {joints} joints: it is not SMPL-X, which has {JOINTS}.")
    for name, letters in _SHAPES.items():
        shape = array[name].shape
        fits = len(shape) == len(letters) and all(
            size >= BETAS if letter == "B" else size == sizes[letter]
            for size, letter in zip(shape, letters, strict=True)
        )
        if not fits:
            raise BodyModelError(f"{path.name}: `{name}` has the shape {shape}, which is not SMPL-X's.")
        if not np.isfinite(array[name]).all():
            raise BodyModelError(f"{path.name}: `{name}` holds values that are no numbers: download it again.")

    parents = array["kintree_table"][0].tolist()
    if not all(0 <= parent < joint for joint, parent in enumerate(parents[1:], 1)) or not (
        0 <= array["f"].min() and array["f"].max() < vertices
    ):
        raise BodyModelError(f"{path.name}: its joints or faces refer to what is not there: download it again.")

    tensor = {name: torch.from_numpy(array[name].astype(np.float32)) for name in _SHAPES if name not in _INTEGERS}
    shape_dirs = tensor["shapedirs"][..., :BETAS].contiguous()
    skeleton = Skeleton.regress(tensor["J_regressor"], tensor["v_template"], shape_dirs, parents)
    return BodyModel(
        tensor["v_template"],
        shape_dirs,
        tensor["posedirs"].flatten(0, 1).T.contiguous(),
        tensor["J_regressor"],
        tensor["weights"],
        torch.from_numpy(array["f"].astype(np.int64)),
        skeleton,
        _keypoints() if vertices == _VERTICES else None,
    )


def _keypoints() -> torch.Tensor:
    from smplx.vertex_ids import vertex_ids

    ids = vertex_ids["smplx"]
    columns = torch.tensor([ids[at] if isinstance(at, str) else _VERTICES + at for at in _COCO])
    tips = {side: [ids[side[0] + finger] for finger in _FINGERS] for side in SIDES}
    return keypoint_regressor(F.one_hot(columns, _VERTICES + JOINTS).float(), tips)
