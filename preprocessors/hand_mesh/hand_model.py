"""Anny's hands (Apache-2.0, assets CC0), posed by the angles of their joints within what hands can do."""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from ...models.body.anny import anny_body
from ...models.body.layout import FIRST_FINGER, WRIST
from ...models.body.rotation import axis_angle_to_matrix
from ...models.body.skinning import blend, joint_transforms, move

_PARENTS = (-1, *(joint - 1 if joint % 3 != 1 else 0 for joint in range(1, 16)))
_KEYPOINTS = {"left": slice(23, 44), "right": slice(44, 65)}  # rows of `BodyModel.keypoints`
# Least and greatest turn of a left hand's joints about x (twist), y (spread), z (bend; fingers close with −z), radians.
_KNUCKLE = ((-0.1, 0.1), (-0.35, 0.35), (-1.6, 0.35))
_MIDDLE = ((0.0, 0.0), (-0.05, 0.05), (-1.9, 0.1))
_LAST = ((0.0, 0.0), (0.0, 0.0), (-1.4, 0.15))
_THUMB = (((-0.7, 0.7),) * 3, ((-0.3, 0.3), (-0.9, 0.9), (-0.6, 0.6)), ((-0.2, 0.2), (-1.2, 1.2), (-0.5, 0.5)))


@dataclass(frozen=True)
class HandModel:
    """One hand in its T-pose, m, its wrist at the origin: `template` [V,3], `skinning` [V,16] of the wrist and 15
    finger joints (three from each finger's knuckle on), `joints` [16,3], `faces` [F,3] closed at the wrist,
    `keypoints` [21]: which of the vertices and, behind them, of the joints are OpenPose's points; `least`, `greatest`
    [15,3] radians."""

    template: torch.Tensor
    skinning: torch.Tensor
    joints: torch.Tensor
    faces: torch.Tensor
    keypoints: torch.Tensor
    least: torch.Tensor
    greatest: torch.Tensor

    def angles(self, free: torch.Tensor) -> torch.Tensor:
        """Axis-angles [...,15,3] within the limits, of any numbers; 0 gives the middle."""
        half = (self.greatest - self.least) / 2
        return (self.greatest + self.least) / 2 + half * torch.tanh(free)

    def points(self, angles: torch.Tensor) -> torch.Tensor:
        """OpenPose's 21 points [F,21,3] m: wrist, then four of each finger from the thumb on."""
        points, skinning = torch.cat([self.template, self.joints]), torch.cat([self.skinning, torch.eye(16)])
        return self._posed(angles, points[self.keypoints], skinning[self.keypoints])

    def vertices(self, angles: torch.Tensor) -> torch.Tensor:
        """[F,V,3] m."""
        return self._posed(angles, self.template, self.skinning)

    def _posed(self, angles: torch.Tensor, points: torch.Tensor, skinning: torch.Tensor) -> torch.Tensor:
        rotations = axis_angle_to_matrix(F.pad(angles, (0, 0, 1, 0)))  # the wrist's first, which is still
        return move(blend(skinning, joint_transforms(rotations, self.joints, _PARENTS)), points)


@lru_cache(maxsize=2)
def hand_model(side: str) -> HandModel:
    """The `left` or the `right` hand of Anny's mean adult. Raises BodyModelError when the package is not installed."""
    body = anny_body()
    own = [WRIST[side], *range(FIRST_FINGER[side], FIRST_FINGER[side] + 15)]
    used, faces = body.hands[side].unique(return_inverse=True)
    skinning = body.skinning[used][:, own].clone()
    skinning[:, 0] += 1 - skinning.sum(1)  # the forearm ends here
    place = torch.cat([used, len(body.template) + torch.tensor(own)])
    keypoints = (place == body.keypoints[_KEYPOINTS[side]].argmax(1)[:, None]).int().argmax(1)
    limits = torch.tensor([*(_KNUCKLE, _MIDDLE, _LAST) * 4, *_THUMB])
    least, greatest = limits.unbind(-1)
    if side == "right":  # the mirror image: turns about y and z go the other way
        flip = torch.tensor([1.0, -1.0, -1.0])
        least, greatest = torch.minimum(least * flip, greatest * flip), torch.maximum(least * flip, greatest * flip)
    joints = body.skeleton.joints[own]
    return HandModel(
        body.template[used] - joints[0], skinning, joints - joints[0], faces, keypoints, least, greatest
    )
