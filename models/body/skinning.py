"""Linear blend skinning: a chain of joints, and the points that it moves."""

from collections.abc import Sequence

import torch


def joint_transforms(rotations: torch.Tensor, rest: torch.Tensor, parents: Sequence[int]) -> torch.Tensor:
    """Forward kinematics: what `rotations` [F,J,3,3] do to a point that moves with a joint, [F,J,4,4].

    Each turns what follows its joint about the joint's own place. `rest` [J,3] or [F,J,3] m: the unposed joints;
    `parents` (root: -1) come before their children. In the dtype of `rotations`.
    """
    from smplx.lbs import batch_rigid_transform

    rest = rest.to(rotations).expand(rotations.shape[:-1])
    return batch_rigid_transform(rotations, rest, torch.tensor(parents))[1]


def blend(skinning: torch.Tensor, transforms: torch.Tensor) -> torch.Tensor:
    """The upper 3×4 of each point's weighted mean of transforms.

    `skinning` [N,J], `transforms` [...,J,4,4] → [...,N,3,4], in the dtype and on the device of `skinning`.
    """
    return (skinning @ transforms[..., :3, :].flatten(-2).to(skinning)).unflatten(-1, (3, 4))


def move(affine: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """`affine` [...,N,3,4], or what contains it, [...,N,4,4], applied to `points` [...,N,3]: [...,N,3]."""
    return (affine[..., :3, :3] * points[..., None, :]).sum(-1) + affine[..., :3, 3]
