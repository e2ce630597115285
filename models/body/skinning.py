"""Linear blend skinning: a chain of joints, and the points that it moves."""

from collections.abc import Sequence

import torch


def joint_transforms(rotations: torch.Tensor, rest: torch.Tensor, parents: Sequence[int]) -> torch.Tensor:
    """Forward kinematics: what `rotations` [F,J,3,3] do to a point that moves with a joint, [F,J,4,4].

    Each turns what follows its joint about the joint's own place. `rest` [J,3] or [F,J,3] m: the unposed joints;
    `parents` (root: -1) come before their children. In the dtype of `rotations`.
    """
    rest = rest.to(rotations).expand(rotations.shape[:-1])[..., None]
    turns, places = [], []
    for joint, parent in enumerate(parents):
        turn, place = rotations[:, joint], rest[:, joint]
        if parent >= 0:
            place = places[parent] + turns[parent] @ (place - rest[:, parent])
            turn = turns[parent] @ turn
        turns.append(turn)
        places.append(place)
    turn = torch.stack(turns, 1)
    affine = torch.cat([turn, torch.stack(places, 1) - turn @ rest], -1)
    return torch.cat([affine, affine.new_tensor([0, 0, 0, 1]).expand(*affine.shape[:2], 1, 4)], -2)


def posed_vertices(model, rotations: torch.Tensor, betas: torch.Tensor, parents: Sequence[int]) -> torch.Tensor:
    """Vertices [F,V,3] m of an SMPL mesh (SMPL, equations 2 to 6): shaped, bent by the pose blend shapes, skinned.

    model: what has `template` [V,3] m, `shape_dirs` [V,3,10], `pose_dirs` [9(J-1),3V], `regressor` [J,V] and
    `skinning` [V,J]; rotations [F,J,3,3] relative to the parents, betas [F,10], both in the model's dtype.
    """
    shaped = model.template + torch.einsum("vcb,fb->fvc", model.shape_dirs, betas)
    bent = (rotations[:, 1:] - torch.eye(3).to(rotations)).flatten(1) @ model.pose_dirs
    transforms = joint_transforms(rotations, model.regressor @ shaped, parents)
    return move(blend(model.skinning, transforms), shaped + bent.unflatten(1, (-1, 3)))


def blend(skinning: torch.Tensor, transforms: torch.Tensor) -> torch.Tensor:
    """The upper 3×4 of each point's weighted mean of transforms.

    `skinning` [N,J], `transforms` [...,J,4,4] → [...,N,3,4], in the dtype and on the device of `skinning`.
    """
    return (skinning @ transforms[..., :3, :].flatten(-2).to(skinning)).unflatten(-1, (3, 4))


def move(affine: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """`affine` [...,N,3,4], or what contains it, [...,N,4,4], applied to `points` [...,N,3]: [...,N,3]."""
    return (affine[..., :3, :3] * points[..., None, :]).sum(-1) + affine[..., :3, 3]
