"""Arms that reach: two-bone inverse kinematics on SMPL-X's skeleton, in the frame of the camera (y down)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ..body.body import Skeleton
from ..body.layout import COLLAR, ELBOW, HEAD, NECK, SHOULDER, SPINES, WRIST
from ..body.rotation import axis_angle_to_matrix, frame, matrix_to_axis_angle, matrix_to_quaternion
from ..body.skinning import move

SIGN = {"left": 1.0, "right": -1.0}  # of x, at rest and, for somebody who faces the camera, in the picture
REACH = 0.985  # of the arm's length: the elbow is never quite straight


class Figure(NamedTuple):
    """A body of one shape: its skeleton and the `joints` [55,3] m at rest."""

    skeleton: Skeleton
    joints: torch.Tensor


@dataclass(frozen=True)
class Hand:
    """Where a hand is to be: `place` [F,3] m of the wrist, `along` [F,3] from there to the middle finger, `palm` [F,3]:
    where the palm looks; both unit and orthogonal."""

    place: torch.Tensor
    along: torch.Tensor
    palm: torch.Tensor

    def rotation(self, side: str) -> torch.Tensor:
        """[F,3,3] from the rest pose."""
        rest = frame(SIGN[side] * _axis(self.along, 0), -_axis(self.along, 1))
        return frame(self.along, self.palm) @ rest.mT

    def carried(self, rotation: torch.Tensor, centre: torch.Tensor) -> "Hand":
        """From the frame of a thing into the camera's, where that is turned by `rotation` [F,3,3] at `centre` [F,3]."""
        place, along, palm = ((rotation @ v.to(centre)[..., None])[..., 0] for v in (self.place, self.along, self.palm))
        return Hand(place + centre, along, palm)


def reach(figure: Figure, pose: torch.Tensor, trans: torch.Tensor, side: str, hand: Hand, hint: torch.Tensor) -> None:
    """Set shoulder, elbow and wrist in `pose` [F,55,3] so that the hand is where it should be; the rest is kept.

    `hint` [3]: where the elbow rather points. A place too far away is approached. Half of the forearm's twist is the
    elbow's, as the skin of a forearm twists over its length.
    """
    joints = figure.joints.to(pose)
    shoulder, elbow, wrist = (joints[of[side]] for of in (SHOULDER, ELBOW, WRIST))
    turn, at = globals_of(figure, pose, trans)
    start, parent = at[:, SHOULDER[side]], turn[:, COLLAR[side]]
    upper, fore = (elbow - shoulder).norm(), (wrist - elbow).norm()

    way = hand.place - start
    distance = way.norm(dim=-1, keepdim=True)
    way, distance = way / distance, distance.clamp(abs(upper - fore) + 0.02, REACH * (upper + fore))
    along = (upper**2 - fore**2 + distance**2) / (2 * distance)
    aside = F.normalize(hint - (hint * way).sum(-1, keepdim=True) * way, dim=-1)
    bend = start + along * way + (upper**2 - along**2).clamp(min=0).sqrt() * aside
    first, second = bend - start, start + distance * way - bend
    hinge = torch.linalg.cross(first, second)
    hinge_rest = -SIGN[side] * _axis(first, 1)  # flexing the elbow of the T-pose takes the forearm forward
    upper_turn = frame(first, hinge) @ frame((elbow - shoulder).expand_as(first), hinge_rest).mT
    fore_turn = frame(second, hinge) @ frame((wrist - elbow).expand_as(first), hinge_rest).mT

    goal = hand.rotation(side)
    axis = F.normalize(wrist - elbow, dim=0)
    twist = twist_angle(fore_turn.mT @ goal, axis) / 2
    fore_turn = fore_turn @ axis_angle_to_matrix(twist[:, None] * axis)
    pose[:, SHOULDER[side]] = matrix_to_axis_angle(parent.mT @ upper_turn)
    pose[:, ELBOW[side]] = matrix_to_axis_angle(upper_turn.mT @ fore_turn)
    pose[:, WRIST[side]] = matrix_to_axis_angle(fore_turn.mT @ goal)


def look_at(figure: Figure, pose: torch.Tensor, trans: torch.Tensor, target: torch.Tensor, limit: float = 0.6) -> None:
    """Turn neck and head of `pose` towards `target` [F,3] by at most `limit` radians."""
    turn, at = globals_of(figure, pose, trans)
    x, y, z = (turn[:, SPINES[-1]].mT @ (target - at[:, HEAD])[..., None])[..., 0].unbind(-1)
    angles = torch.stack([torch.atan2(-y, (x**2 + z**2).sqrt()), torch.atan2(x, z), torch.zeros_like(x)], -1)
    angles = limit * torch.tanh(angles / limit)
    pose[:, NECK], pose[:, HEAD] = 0.4 * angles, 0.6 * angles


def globals_of(figure: Figure, pose: torch.Tensor, trans: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each joint's rotation from the rest pose [F,55,3,3] and place [F,55,3] m."""
    joints = figure.joints.to(pose)
    transforms = figure.skeleton.transforms(pose, joints)
    return transforms[..., :3, :3], move(transforms, joints) + trans[:, None]


def twist_angle(rotation: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
    """How far rotations [F,3,3] turn about `axis` [3], radians, without jumps from frame to frame: [F]."""
    w, vector = matrix_to_quaternion(rotation).split((1, 3), dim=-1)
    angle = 2 * torch.atan2((vector * axis).sum(-1), w[:, 0])
    step = torch.diff(angle)
    turns = torch.cat([step.new_zeros(1), (step / (2 * torch.pi)).round().cumsum(0)])
    return angle - 2 * torch.pi * turns


def orthonormal(along: torch.Tensor, normal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first two columns of their `frame`."""
    return frame(along, normal)[..., :2].unbind(-1)


def _axis(like: torch.Tensor, index: int) -> torch.Tensor:
    unit = torch.zeros_like(like)
    unit[..., index] = 1
    return unit
