"""SMPL-X from the file its authors give out.

It is licensed by them (https://smpl-x.is.tue.mpg.de, non-commercial research) and must be fetched there by whoever uses
it; nothing here fetches it.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from ...files.bounded import MIB, read_npz
from .body import BodyModel, Skeleton, keypoint_regressor
from .hand_faces import hand_faces
from .layout import JOINTS, SIDES, BodyModelError
from .smpl_arrays import SHAPES, smpl_arrays

_MOST = 1024 * MIB  # bytes of a file's arrays; the published ones' have 240 MB
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
    array = read_npz(path, SHAPES, _MOST, BodyModelError, ": download it again")
    *model, parents = smpl_arrays(array, JOINTS, path.name, "SMPL-X")
    template, shape_dirs, _, regressor, skinning, faces = model
    skeleton = Skeleton.regress(regressor, template, shape_dirs, parents)
    if len(template) != _VERTICES:
        return BodyModel(*model, skeleton)
    hands = {side: hand_faces(faces, skinning, side) for side in SIDES}
    return BodyModel(*model, skeleton, _keypoints(), hands)


def _keypoints() -> torch.Tensor:
    from smplx.vertex_ids import vertex_ids

    ids = vertex_ids["smplx"]
    columns = torch.tensor([ids[at] if isinstance(at, str) else _VERTICES + at for at in _COCO])
    tips = {side: [ids[side[0] + finger] for finger in _FINGERS] for side in SIDES}
    return keypoint_regressor(F.one_hot(columns, _VERTICES + JOINTS).float(), tips)
