"""Gaussians about a posed body, made an avatar: each is brought to the neutral pose by what moves its vertex."""

import torch

from ..body.body import BodyModel
from ..body.rotation import matrix_to_quaternion, quaternion_product
from ..body.skinning import blend, move
from .animate import Posed
from .gaussians import Avatar
from .rig import neutral_pose

FARTHEST = 0.5  # m from its vertex, in the neutral pose: beyond, a gaussian is left out


def bind(
    gaussians: Posed, vertex: torch.Tensor, body: BodyModel, pose: torch.Tensor, trans: torch.Tensor,
    betas: torch.Tensor, visible_ratio: float = 1.0,
) -> Avatar:
    """The avatar that a rig of `body` (`rig_from_body`) brings, in that pose, to where the gaussians are.

    gaussians: of one frame, so `xyz` [N,3] m and `rotation` [N,4]; vertex [N]: the body's, which each moves with.
    pose [55,3], trans [3] m, betas [10]: how the body stands there.
    """
    there, back = neutral_pose(body.skeleton)
    affine = blend(body.skinning, body.skeleton.transforms(pose[None], body.skeleton.rest(betas))[0])
    undone = blend(body.skinning, back).double()[vertex]  # from the neutral pose to the T-pose
    posed = affine.double()[vertex]

    def before(transform: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(transform[..., :3], (points - transform[..., 3])[..., None])[..., 0]

    shape = body.shape_dirs.double()[vertex] @ betas.double()
    neutral = before(undone, before(posed, gaussians.xyz.double() - trans.double()) - shape).float()
    anchor = move(blend(body.skinning, there), body.template)[vertex]
    turn = matrix_to_quaternion(posed[..., :3] @ undone[..., :3]).float()
    rotation = quaternion_product(turn * torch.tensor([1.0, -1, -1, -1]), gaussians.rotation)
    kept = (neutral - anchor).norm(dim=1) < FARTHEST
    return Avatar(
        (neutral - anchor)[kept], anchor[kept], gaussians.rgb[kept], gaussians.opacity[kept], gaussians.scale[kept],
        rotation[kept], back, betas.float(), visible_ratio, 0,
    )
