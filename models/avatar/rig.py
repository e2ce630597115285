"""What moves each gaussian of an avatar, taken from the SMPL-X body or from LHM's checkpoint.

LHM places gaussian i on a dense sample of the T-posed template and gives it whatever the nearest template vertex has
(AniCrafter, avatar animation). The samples themselves are not published with an avatar, but they can be found again:
an avatar's points are the samples, skinned into the neutral pose.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from ...files.bounded import MIB, brief, read_npz
from ..body.body import BodyModel, Skeleton
from ..body.layout import BETAS, JOINTS, BodyModelError
from ..body.skinning import blend
from ..checkpoint import CheckpointError

HIP_ANGLE = torch.pi / 9  # the neutral pose spreads the legs by 20° each
UPPER_BODY = (0, 3, 6, 9, 13, 14, *range(16, 22), *range(25, 55))  # pelvis, spine, collars, arms, fingers
LOWER_BODY = (0, 1, 2, 4, 5, 7, 8, 10, 11)  # pelvis, legs
_LHM = "renderer.smplx_model."
_CHUNK = 1024  # points whose distances to all vertices are held at a time: 86 MB


@dataclass(frozen=True)
class Rig:
    """Per gaussian: `skinning` [N,55] weights, `shape_dirs` [N,3,10] m per beta, `constrained` [N] bool: gaussians that
    keep their rotation and stay below 2 cm; and the skeleton. `neutral_transforms` [55,4,4] stand for the avatar's own,
    where there are any: its pose may have been said only when it was rigged."""

    skinning: torch.Tensor
    shape_dirs: torch.Tensor
    constrained: torch.Tensor
    skeleton: Skeleton
    neutral_transforms: torch.Tensor | None = None

    def driven_by(self, joints: Iterable[int]) -> torch.Tensor:
        """[N] bool: gaussians whose largest weight is of one of `joints`, such as UPPER_BODY."""
        return torch.isin(self.skinning.argmax(dim=1), torch.tensor(list(joints), device=self.skinning.device))


def neutral_pose(skeleton: Skeleton) -> tuple[torch.Tensor, torch.Tensor]:
    """LHM's neutral pose, legs spread by 20°, of the mean shape: [55,4,4] from the T-pose to it, and [55,4,4] back.

    The second is an avatar's `neutral_transforms`.
    """
    pose = skeleton.joints.new_zeros(1, JOINTS, 3)
    pose[0, 1, 2], pose[0, 2, 2] = HIP_ANGLE, -HIP_ANGLE
    there = skeleton.transforms(pose, skeleton.joints)[0]
    # A hip's turn leaves the hip where it is, and no other joint of its chain turns.
    back = skeleton.transforms(-pose, skeleton.joints)[0]
    return there, back


def template_vertices(
    body: BodyModel, points: torch.Tensor, neutral_transforms: torch.Tensor,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """The template vertex [N] that each of an avatar's `points` [N,3] (neutral pose) was skinned like.

    It is the vertex nearest to where the undoing of its own skinning brings the point. Where vertices with other
    weights lie at the same place, that may be a wrong one of them. on_step(done, total) may raise to cancel.
    """
    skin = blend(body.skinning.double(), torch.linalg.inv(neutral_transforms.double()))  # [V,3,4]
    back = torch.linalg.inv(skin[..., :3])
    miss = -(back @ skin[..., 3:]).squeeze(-1) - body.template
    # |back p + miss|² is a quadratic in p: ten coefficients per vertex, ten monomials per point.
    row, column = torch.triu_indices(3, 3)
    square = (back.mT @ back)[:, row, column] * torch.where(row == column, 1.0, 2.0)
    linear = 2 * (back.mT @ miss[..., None]).squeeze(-1)
    coefficients = torch.cat([square, linear, miss.square().sum(-1, keepdim=True)], dim=1)
    points = points.double()
    monomials = torch.cat([points[:, row] * points[:, column], points, torch.ones_like(points[:, :1])], dim=1)
    found = []
    for part in monomials.split(_CHUNK):
        found.append((part @ coefficients.T).argmin(dim=1))
        if on_step is not None:
            on_step(len(found), -(-len(monomials) // _CHUNK))
    return torch.cat(found)


def rig_from_body(
    body: BodyModel,
    points: torch.Tensor,
    neutral_transforms: torch.Tensor,
    constraint: torch.Tensor | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Rig:
    """The rig of an avatar with `points` [N,3] and `neutral_transforms` [55,4,4] (`standing.unposed`).

    on_step(done, total) may raise to cancel.

    `constraint` [V] bool is LHM's painted prior of `read_constraint`. Which vertices it holds cannot be told from the
    body model: without it no gaussian is constrained, and where it would have held, gaussians turn with the body and
    may be larger than 2 cm. LHM's own checkpoint brings it (`rig_from_lhm`).
    """
    vertex = template_vertices(body, points, neutral_transforms, on_step)
    if constraint is None:
        constraint = torch.zeros(len(body.template), dtype=torch.bool)
        logging.getLogger(__name__).warning("No human_prior_constrain.npz: every gaussian turns with the body.")
    if len(constraint) != len(body.template):
        raise BodyModelError(
            f"The constraint mask is for {len(constraint)} vertices, but the body has {len(body.template)}: "
            "use the human_prior_constrain.npz of LHM with SMPL-X."
        )
    return Rig(body.skinning[vertex], body.shape_dirs[vertex], constraint[vertex], body.skeleton, neutral_transforms)


def read_constraint(path: str | Path) -> torch.Tensor:
    """LHM's `human_prior_constrain.npz`: [V] bool, the template vertices whose gaussians keep their rotation."""
    path = Path(path)
    array = read_npz(path, ["masks"], 16 * MIB, BodyModelError, ": choose LHM's human_prior_constrain.npz")
    if "masks" not in array:
        raise BodyModelError(f"{path.name} has no `masks`: it is not LHM's human_prior_constrain.npz.")
    return torch.from_numpy(array["masks"].reshape(-1) > 0)


def rig_from_lhm(path: str | Path) -> Rig:
    """The rig that LHM's `model.safetensors` holds for its own points; the networks in it are not read.

    Raises CheckpointError with a sentence for a file that is missing, damaged, or holds no rig.
    """
    from safetensors import safe_open

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    try:
        with safe_open(path, "pt") as file:
            present = set(file.keys())
            missing = [name for name in _BUFFERS if _LHM + name not in present]
            if missing:
                raise CheckpointError(f"{path.name} has no {_LHM}{missing[0]}: it is not an LHM model with its body.")
            buffers = {name: file.get_tensor(_LHM + name) for name in _BUFFERS}
    except CheckpointError:
        raise
    except Exception as error:  # safetensors' own, and torch's for types it does not know
        raise CheckpointError(
            f"{path.name} is not a whole safetensors file ({brief(error)}): fetch it again."
        ) from error

    sizes = {"J": JOINTS, "B": BETAS, "3": 3}
    sizes |= {"N": buffers["skinning_weight"].numel() // JOINTS, "V": buffers["smplx_layer.v_template"].numel() // 3}
    for name, letters in _BUFFERS.items():
        expected = tuple(sizes[letter] for letter in letters)
        if tuple(buffers[name].shape) != expected:
            raise CheckpointError(
                f"{path.name}: {_LHM}{name} has the shape {tuple(buffers[name].shape)} instead of {expected}."
            )
    tree = buffers["smplx_layer.parents"].tolist()
    if not all(0 <= parent < joint for joint, parent in enumerate(tree[1:], 1)):
        raise CheckpointError(f"{path.name}: its joints hang on what is not there: fetch it again.")
    layer = {name.removeprefix("smplx_layer."): tensor for name, tensor in buffers.items()}
    skeleton = Skeleton.regress(
        layer["J_regressor"].float(), layer["v_template"].float(), layer["shapedirs"].float(), layer["parents"].tolist()
    )
    return Rig(
        layer["skinning_weight"].float(), layer["shape_dirs"].float(), layer["is_constrain_body"].bool(), skeleton
    )


_BUFFERS = {
    "skinning_weight": "NJ",
    "shape_dirs": "N3B",
    "is_constrain_body": "N",
    "smplx_layer.v_template": "V3",
    "smplx_layer.shapedirs": "V3B",
    "smplx_layer.J_regressor": "JV",
    "smplx_layer.parents": "J",
}
