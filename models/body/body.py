"""The SMPL-X body: its skeleton, which also moves avatars, and its mesh.

SMPL-X is licensed by its authors (https://smpl-x.is.tue.mpg.de, non-commercial research) and must be fetched there by
whoever uses it; nothing here fetches it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...files.bounded import MIB, RefusedError, read_npz
from .rotation import axis_angle_to_matrix

ANNY = "Anny"  # in the place of a file
JOINTS = 55
BETAS = 10
VERTEX_CHUNK = 16  # frames
_MOST = 1024 * MIB  # bytes of a file's arrays; the published ones' have 240 MB


class BodyModelError(RefusedError):
    """A body model that is not there or cannot be used; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Skeleton:
    """SMPL-X's joints: `joints` [55,3] m of the mean shape, `shape_dirs` [55,3,10] m per beta, `parents` (root: -1).

    The order of joints: pelvis and 21 body joints, jaw, left eye, right eye, 15 of the left hand, 15 of the right.
    At rest y is up, the body faces +z, and its left is +x.
    """

    joints: torch.Tensor
    shape_dirs: torch.Tensor
    parents: tuple[int, ...]

    @classmethod
    def regress(
        cls, regressor: torch.Tensor, template: torch.Tensor, shape_dirs: torch.Tensor, parents: Iterable[int]
    ) -> "Skeleton":
        """From `regressor` [55,V], `template` [V,3] and `shape_dirs` [V,3,10]; in their dtype."""
        wide = regressor.double()
        joints = wide @ template.double()
        directions = torch.einsum("jv,vcb->jcb", wide, shape_dirs.double())
        return cls(joints.to(template), directions.to(template), (-1, *[int(p) for p in parents][1:]))

    def rest(self, betas: torch.Tensor) -> torch.Tensor:
        """Joints [...,55,3] m of the unposed body with shape `betas` [...,10]."""
        return self.joints.to(betas) + torch.einsum("jcb,...b->...jc", self.shape_dirs.to(betas), betas)

    def transforms(self, pose: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        """What `pose` [F,55,3] (axis-angle) does to a point that moves with a joint: [F,55,4,4] for `rest` [55,3] m.

        Every joint turns what follows it about its own place (SMPL's rigid transforms with the rest joint removed).
        """
        turn = axis_angle_to_matrix(pose)  # [F,55,3,3]
        shift = rest - (turn @ rest[:, :, None]).squeeze(-1)
        local = torch.cat([F.pad(turn, (0, 0, 0, 1)), F.pad(shift, (0, 1), value=1)[..., None]], dim=-1)
        chain = [local[:, 0]]
        for joint, parent in enumerate(self.parents[1:], 1):
            chain.append(chain[parent] @ local[:, joint])
        return torch.stack(chain, dim=1)


@dataclass(frozen=True)
class BodyModel:
    """SMPL-X: `template` [V,3] m, `shape_dirs` [V,3,10], `pose_dirs` [486,3V], `regressor` [55,V], `skinning` [V,55],
    `faces` [F,3] and its skeleton; float32 on the CPU, 10475 vertices and 20908 faces in the published model."""

    template: torch.Tensor
    shape_dirs: torch.Tensor
    pose_dirs: torch.Tensor
    regressor: torch.Tensor
    skinning: torch.Tensor
    faces: torch.Tensor
    skeleton: Skeleton

    @torch.no_grad()
    def vertices(self, pose: torch.Tensor, betas: torch.Tensor, trans: torch.Tensor) -> torch.Tensor:
        """Vertices [F,V,3] m of the posed body, pose blend shapes included, expression zero.

        `pose` [F,55,3] axis-angle, `betas` [F,10], `trans` [F,3] m. float32, through `smplx`.
        """
        from smplx.lbs import lbs

        pose, betas, trans = (tensor.to(self.template) for tensor in (pose, betas, trans))
        parents = torch.tensor(self.skeleton.parents)
        model = self.template, self.shape_dirs, self.pose_dirs, self.regressor, parents, self.skinning
        vertices = torch.empty(len(pose), *self.template.shape)
        for part in torch.arange(len(pose)).split(VERTEX_CHUNK):
            vertices[part] = lbs(betas[part], pose[part].flatten(1), *model)[0] + trans[part, None]
        return vertices


@torch.inference_mode(False)  # so that bodies loaded in inference mode can be fitted
def load_body_model(path: str | Path) -> BodyModel:
    """Read SMPLX_NEUTRAL.npz, or make the freely licensed body if `path` is ANNY.

    Only plain arrays are read, never the pickled extras some releases carry. Raises BodyModelError with a sentence for
    a file that is missing, damaged, or not SMPL-X.
    """
    if str(path) == ANNY:
        from .anny import anny_body

        return anny_body()
    path = Path(path)
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
    )


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

