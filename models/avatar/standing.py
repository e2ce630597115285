"""In which pose an avatar's gaussians stand: for splats from elsewhere, whose file does not say it."""

import logging

import torch

from ..body.body import Skeleton
from ..body.layout import JOINTS
from ..body.skinning import move
from .gaussians import Avatar
from .poses import ANGLES, AS_STORED

BODY = 22  # joints without fingers and face
HEAD, HAND = 0.2, 0.15  # m, how far head and hands go on after their joints
REACH, COVER = 0.2, 0.15  # m, from a bone to what belongs to it; from a bone to the nearest that covers it
PERSON, COVERED = 0.7, 0.7  # shares of a person's gaussians that are in reach, and of its bones that are covered
CLOSER = 0.97  # another pose is told of where the gaussians lie so much closer to it
SAMPLE, SEEN = 2000, 0.1  # gaussians looked at, of at least this opacity


def unposed(avatar: Avatar, skeleton: Skeleton, pose: str = AS_STORED) -> torch.Tensor:
    """From where the avatar's joints stand to the T-pose, [55,4,4]: its own, or for it in another of `POSES`.

    Of the poses A that which fits the gaussians best is taken. Raises ValueError where the avatar's file did not say
    its pose and `pose` does not either, and for gaussians that are no person in that pose.
    """
    if pose == AS_STORED:
        if not avatar.posed:
            raise ValueError(
                "The avatar's file does not say in which pose it stands, so it cannot be moved: choose the pose (Rig "
                "Avatar's; neutral is LHM's, T is LHM++'s), or take the avatar as .pth or .safetensors."
            )
        return avatar.neutral_transforms
    points = avatar.xyz()[avatar.opacity[:, 0] >= SEEN]
    points = points[:: len(points) // SAMPLE + 1]
    misfit = {}
    for name, angles in ANGLES.items():
        for legs_and_arms in angles:
            there = _turned(skeleton, *legs_and_arms)
            far = _distances(points, _bones(skeleton, there)).amin(1)
            misfit[name, legs_and_arms] = float(far.clamp(max=1).mean()) if len(points) else 1.0
    chosen = min((key for key in misfit if key[0] == pose), key=misfit.get)
    best = min(misfit, key=misfit.get)
    there = _turned(skeleton, *chosen[1])
    _check_person(points, _bones(skeleton, there), pose)
    if misfit[best] < CLOSER * misfit[chosen]:
        logging.getLogger(__name__).warning(
            "The avatar's gaussians lie closer to the pose %s than to %s: choose that if limbs are bent wrongly.",
            *(best[0], pose),
        )
    return torch.linalg.inv(there)


def _turned(skeleton: Skeleton, legs: float, arms: float) -> torch.Tensor:
    """[55,4,4] from the T-pose of the mean shape to legs spread and arms lowered by degrees."""
    pose = skeleton.joints.new_zeros(1, JOINTS, 3)
    legs, arms = torch.pi * legs / 180, torch.pi * arms / 180
    pose[0, [1, 2, 16, 17], 2] = pose.new_tensor([legs, -legs, -arms, arms])
    return skeleton.transforms(pose, skeleton.joints)[0]


def _bones(skeleton: Skeleton, there: torch.Tensor) -> torch.Tensor:
    """Ends of the body's bones, head and hands included, [B,2,3] m."""
    at = move(there, skeleton.joints)[:BODY]
    hands = at[[20, 21]] + HAND * torch.nn.functional.normalize(at[[20, 21]] - at[[18, 19]], dim=-1)
    starts = torch.cat([at[list(skeleton.parents[1:BODY])], at[[15, 20, 21]]])
    return torch.stack([starts, torch.cat([at[1:], at[15:16] + at.new_tensor([0, HEAD, 0]), hands])], 1)


def _distances(points: torch.Tensor, bones: torch.Tensor) -> torch.Tensor:
    """[n,B] m from points [n,3] to bones."""
    start, along = bones[:, 0], bones[:, 1] - bones[:, 0]
    away = points[:, None] - start
    t = ((away * along).sum(-1) / along.square().sum(-1).clamp(min=1e-9)).clamp(0, 1)
    return (away - t[..., None] * along).norm(dim=-1)


def _check_person(points: torch.Tensor, bones: torch.Tensor, pose: str) -> None:
    person = covered = 0.0
    if len(points):
        person = float((_distances(points, bones).amin(1) < REACH).float().mean())
        places = torch.lerp(bones[:, :1], bones[:, 1:], torch.linspace(0, 1, 5)[:, None]).flatten(0, 1)
        covered = float((torch.cdist(places, points).amin(1) < COVER).float().mean())
    if person < PERSON or covered < COVERED:
        raise ValueError(
            f"The avatar is no person in the pose {pose}: {person:.0%} of its gaussians lie about the bones of a body, "
            f"and cover {covered:.0%} of them. It must be one person alone in SMPL-X's place: in metres, y up, facing "
            "+z, the pelvis 0.35 m below the origin. Of another size, place or pose, take Avatar from Splat."
        )
