"""Avatars in motion: canonical gaussians → gaussians in front of the camera (AniCrafter, avatar animation)."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from ..body.motion import BodyMotion
from ..body.rotation import matrix_to_quaternion, quaternion_product
from ..body.skinning import blend, move
from .gaussians import Avatar
from .rig import Rig

CONSTRAINED_SCALE = 0.02  # m
UPSIDE_DOWN = (0.0, 1.0, 0.0, 0.0)  # wxyz, half a turn about x: from y up, facing +z, to the camera's y down, z away
CHUNK = 1 << 17  # gaussians posed at a time, over all frames: about 60 MB; more is slower on a CPU


class Posed(NamedTuple):
    """An avatar's gaussians in consecutive frames, in the camera's frame.

    `xyz` [f,N,3] m, `rotation` [f,N,4] wxyz, and the same in all frames: `scale` [N,3] m, `opacity` [N,1], `rgb` [N,3].
    """

    xyz: torch.Tensor
    rotation: torch.Tensor
    scale: torch.Tensor
    opacity: torch.Tensor
    rgb: torch.Tensor


class Animator:
    """An avatar on its rig, with all that does not change over frames computed once."""

    @torch.no_grad()
    def __init__(self, avatar: Avatar, rig: Rig, device: torch.device | str = "cpu"):
        """Raises ValueError when the avatar and the rig are of different counts."""
        if len(avatar.points) != len(rig.skinning):
            raise ValueError(
                f"The avatar has {len(avatar.points)} gaussians, but the rig is for {len(rig.skinning)}: "
                "make the rig from the body model for this avatar, or use the LHM model that made the avatar."
            )
        self.skeleton = rig.skeleton
        self.rest = rig.skeleton.rest(avatar.betas)
        skinning = rig.skinning.to(avatar.points)
        undo = avatar.neutral_transforms if rig.neutral_transforms is None else rig.neutral_transforms
        neutral = blend(skinning, undo)  # [N,3,4]
        points = move(neutral, avatar.points + avatar.offset) + rig.shape_dirs.to(avatar.points) @ avatar.betas

        # TF32, which others may have switched on for all matrix products, would shake every gaussian by a millimetre.
        exact = torch.float64 if torch.device(device).type == "cuda" else points.dtype
        self.skinning, self.points = skinning.to(device, exact), points.to(device, exact)
        self.neutral_rotation = neutral[..., :3].to(device, exact)
        self.constrained = rig.constrained.to(device)[:, None]
        self.rotation, self.scale, self.opacity, self.rgb = (
            tensor.to(device) for tensor in (avatar.rotation, avatar.scale, avatar.opacity, avatar.rgb)
        )
        self.scale = torch.where(self.constrained, self.scale.clamp(max=CONSTRAINED_SCALE), self.scale)

    @torch.no_grad()
    def __call__(self, pose: torch.Tensor, trans: torch.Tensor) -> Posed:
        """`pose` [f,55,3] axis-angle and `trans` [f,3] m of f frames. The performer's shape has no influence."""
        affine = blend(self.skinning, self.skeleton.transforms(pose, self.rest.to(pose)))  # [f,N,3,4]
        xyz = move(affine, self.points) + trans.to(self.points)[:, None]
        rotation = quaternion_product(self.turn(affine), self.rotation)
        return Posed(xyz.to(self.scale), rotation.to(self.scale), self.scale, self.opacity, self.rgb)

    def turn(self, affine: torch.Tensor) -> torch.Tensor:
        """How each gaussian turns from the neutral pose, wxyz: the product of two blends, neither orthonormal."""
        turn = matrix_to_quaternion(affine[..., :3] @ self.neutral_rotation)
        return torch.where(self.constrained, torch.tensor([1.0, 0.0, 0.0, 0.0]).to(turn), turn)


def animate(
    avatar: Avatar, rig: Rig, motion: BodyMotion, device: torch.device | str = "cpu"
) -> Iterator[tuple[slice, Posed]]:
    """All frames of `motion`, a few at a time so that memory does not grow with its length: (which frames, gaussians).

    Raises ValueError when the avatar and the rig are of different counts.
    """
    animator = Animator(avatar, rig, device)
    step = max(1, CHUNK // len(avatar.points))
    for first in range(0, len(motion), step):
        frames = slice(first, min(first + step, len(motion)))
        yield frames, animator(motion.pose[frames], motion.trans[frames])


def as_stored(avatar: Avatar) -> Posed:
    """One frame, `xyz` [N,3]: the avatar as it stands in its file, in a camera's axes and facing it, at the origin."""
    rotation = quaternion_product(torch.tensor(UPSIDE_DOWN).expand_as(avatar.rotation), avatar.rotation)
    xyz = avatar.xyz() * torch.tensor([1.0, -1.0, -1.0])
    return Posed(xyz, rotation, avatar.scale, avatar.opacity, avatar.rgb)


def in_motion(avatar: Avatar, rig: Rig, motion: BodyMotion, frame: int) -> Posed:
    """One frame, `xyz` [N,3], of the motion's film, counted from 0.

    Raises ValueError where the motion has no such frame, or the avatar and the rig are of different counts.
    """
    if frame not in motion.frames:
        raise ValueError(
            f"The motion has no frame {frame + 1}: it goes from {motion.frames[0] + 1} to {motion.frames[-1] + 1}"
            + (", with gaps." if motion.missing else ".")
        )
    row = motion.frames.index(frame)
    posed = Animator(avatar, rig)(motion.pose[row : row + 1], motion.trans[row : row + 1])
    return posed._replace(xyz=posed.xyz[0], rotation=posed.rotation[0])
