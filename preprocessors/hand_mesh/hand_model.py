"""Anny's hands (Apache-2.0, assets CC0), posed by the angles of their joints within what hands can do."""

from dataclasses import dataclass
from functools import lru_cache

import torch

from ...models.body.anny import anny
from ...models.body.rotation import axis_angle_to_matrix
from ..body_motion.body_points import finger_tip

SIDES = ("left", "right")
_WRIST = {"left": 20, "right": 21}
_FIRST = {"left": 25, "right": 40}
_FINGERS = (4, 0, 1, 3, 2)  # thumb, index, middle, ring, little among SMPL-X's index, middle, little, ring, thumb
# Least and greatest turn of a left hand's joints about x (twist), y (spread), z (bend; fingers close with −z), radians.
_KNUCKLE = ((-0.1, 0.1), (-0.35, 0.35), (-1.6, 0.35))
_MIDDLE = ((0.0, 0.0), (-0.05, 0.05), (-1.9, 0.1))
_LAST = ((0.0, 0.0), (0.0, 0.0), (-1.4, 0.15))
_THUMB = (((-0.7, 0.7),) * 3, ((-0.3, 0.3), (-0.9, 0.9), (-0.6, 0.6)), ((-0.2, 0.2), (-1.2, 1.2), (-0.5, 0.5)))


@dataclass(frozen=True)
class HandModel:
    """One hand in its T-pose, m, its wrist at the origin: `template` [V,3], `skinning` [V,16] of the wrist and 15
    finger joints (three from each finger's knuckle on), `joints` [16,3], `faces` [F,3] closed at the wrist, `tips`:
    the vertices that end thumb to little finger. `least`, `greatest` [15,3] radians."""

    template: torch.Tensor
    skinning: torch.Tensor
    joints: torch.Tensor
    faces: torch.Tensor
    tips: list[int]
    least: torch.Tensor
    greatest: torch.Tensor

    def angles(self, free: torch.Tensor) -> torch.Tensor:
        """Axis-angles [...,15,3] within the limits, of any numbers; 0 gives the middle."""
        half = (self.greatest - self.least) / 2
        return (self.greatest + self.least) / 2 + half * torch.tanh(free)

    def transforms(self, angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Turns [F,16,3,3] of the joints and what they add [F,16,3] to a turned point."""
        own = axis_angle_to_matrix(angles).unflatten(1, (5, 3))
        turn = torch.eye(3).to(own).expand(len(own), 5, 3, 3)
        knuckle = self.joints[1:].unflatten(0, (5, 3))
        at = knuckle[:, 0].expand(len(own), 5, 3)
        turns, places = [], []
        for bone in range(3):
            if bone:
                at = at + (turn @ (knuckle[:, bone] - knuckle[:, bone - 1])[..., None])[..., 0]
            turn = turn @ own[:, :, bone]
            turns.append(turn)
            places.append(at)
        turn, at = (torch.stack(x, 2).flatten(1, 2) for x in (turns, places))
        add = at - (turn @ self.joints[1:, :, None])[..., 0]
        still = torch.eye(3).to(turn).expand(len(turn), 1, 3, 3)
        return torch.cat([still, turn], 1), torch.cat([torch.zeros_like(add[:, :1]), add], 1)

    def points(self, angles: torch.Tensor) -> torch.Tensor:
        """OpenPose's 21 points [F,21,3] m: wrist, then four of each finger from the thumb on."""
        turn, add = self.transforms(angles)
        joints = (turn @ self.joints[:, :, None])[..., 0] + add
        tips = self._posed(turn, add, self.tips)
        rows = [joints[:, :1]]
        for finger, place in enumerate(_FINGERS):
            rows += [joints[:, 1 + 3 * place : 4 + 3 * place], tips[:, finger, None]]
        return torch.cat(rows, 1)

    def vertices(self, angles: torch.Tensor) -> torch.Tensor:
        """[F,V,3] m."""
        return self._posed(*self.transforms(angles), slice(None))

    def _posed(self, turn: torch.Tensor, add: torch.Tensor, which: slice | list[int]) -> torch.Tensor:
        points, weights = self.template[which], self.skinning[which]
        blend = torch.einsum("vj,fjrc->fvrc", weights, turn)
        return (blend @ points[:, :, None])[..., 0] + torch.einsum("vj,fjr->fvr", weights, add)


@lru_cache(maxsize=2)
def hand_model(side: str) -> HandModel:
    """The `left` or the `right` hand of Anny's mean adult. Raises BodyModelError when the package is not installed."""
    body = anny()
    model, wrist = body.model, _WRIST[side]
    own = [wrist, *range(_FIRST[side], _FIRST[side] + 15)]
    used, faces = body.hands[side].unique(return_inverse=True)
    skinning = model.skinning[used][:, own].clone()
    skinning[:, 0] += 1 - skinning.sum(1)  # the forearm ends here
    place = {int(vertex): i for i, vertex in enumerate(used)}
    tips = [place[finger_tip(model, _FIRST[side] + 3 * finger + 2)] for finger in _FINGERS]
    limits = torch.tensor([*(_KNUCKLE, _MIDDLE, _LAST) * 4, *_THUMB])
    least, greatest = limits.unbind(-1)
    if side == "right":  # the mirror image: turns about y and z go the other way
        flip = torch.tensor([1.0, -1.0, -1.0])
        least, greatest = torch.minimum(least * flip, greatest * flip), torch.maximum(least * flip, greatest * flip)
    origin = model.skeleton.joints[wrist]
    return HandModel(
        model.template[used] - origin, skinning, model.skeleton.joints[own] - origin, faces, tips, least, greatest
    )
