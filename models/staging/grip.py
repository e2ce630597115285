"""How a hand holds a product: where the palm touches it, and fingers that close until they do."""

from collections.abc import Callable

import torch

from ..body.layout import FIRST_FINGER, WRIST
from ..body.rotation import axis_angle_to_matrix
from .limbs import SIGN, Figure, Hand, orthonormal

Distance = Callable[[torch.Tensor], torch.Tensor]  # [...,3] m in the product's frame → [...] m, below 0 inside
PALM = 0.021  # m from the wrist's and knuckles' plane to the palm's skin
FINGER, THUMB = 0.011, 0.013  # m: radii
FINGERTIP = 0.025  # m: from the last joint of the index finger
ROUND = 0.15  # products whose width and depth differ by less are round
# Radians, the least and the most that the joints bend, from the palm outwards.
FINGER_LIMITS = ((-0.5, 1.35), (-0.1, 1.55), (-0.1, 0.95))
THUMB_LIMITS = ((-1.8, 0.9), (-0.4, 0.9), (-0.4, 0.9))
POINTING = {"index": (0.05, 0.05, 0.05), "other": (1.2, 1.4, 0.7), "thumb": (0.5, 0.3, 0.3)}
RELAXED = (0.25, 0.30, 0.20)


def side_hold(figure: Figure, size: tuple[float, float, float], side: str, raise_angle: float, height: float) -> Hand:
    """A hand at one side of a product of `size` (w, h, d) m, in the product's frame: fingers go around its front.

    `raise_angle`: radians by which the fingers point upwards; `height` m below the product's centre.
    """
    half, front = size[0] / 2, size[2] / 2
    sign = SIGN[side]
    up, ahead = torch.tensor(raise_angle).sin(), torch.tensor(raise_angle).cos()
    if is_round(size):
        angle = torch.tensor(0.35)  # towards the product's back
        contact = torch.stack([sign * half * angle.cos(), torch.tensor(height), front * angle.sin()])
        palm = torch.stack([-sign * angle.cos(), torch.tensor(0.0), -angle.sin()])
        along = torch.stack([sign * angle.sin() * ahead, -up, -angle.cos() * ahead])
    else:
        # Fingers that point ahead begin at the front's edge; those that point up lie in the middle of the side.
        contact = torch.stack([torch.tensor(sign * half), torch.tensor(height), (0.008 - front) * ahead])
        palm = torch.tensor([-sign, 0.0, 0.0])
        along = torch.stack([torch.tensor(0.0), -up, -ahead])
    knuckle = 0.85 if not is_round(size) else 0.8
    return _placed(figure, side, contact, along, palm, knuckle)


def palm_hold(figure: Figure, size: tuple[float, float, float], side: str) -> Hand:
    """A hand under a product, palm up, fingers towards its front and the other side."""
    along = torch.tensor([-0.55 * SIGN[side], 0.0, -0.84])
    contact = torch.tensor([0.0, size[1] / 2, 0.0])
    return _placed(figure, side, contact, along, torch.tensor([0.0, -1.0, 0.0]), 0.78)


def point_at(figure: Figure, size: tuple[float, float, float], side: str, gap: torch.Tensor) -> Hand:
    """A hand whose index finger ends `gap` [F] m before the product's side, in the product's frame."""
    sign, first = SIGN[side], FIRST_FINGER[side]
    along, palm = orthonormal(torch.tensor([-0.80 * sign, -0.25, -0.30]), torch.tensor([-0.2 * sign, 0.75, 0.55]))
    target = torch.tensor([sign * size[0] / 2, 0.1 * size[1], -size[2] / 2])
    length = (figure.joints[first + 2] - figure.joints[WRIST[side]]).norm() + FINGERTIP
    place = target - (length + gap.float())[:, None] * along + gap.float()[:, None] * torch.tensor([sign, 0, 0])
    return Hand(place, along.expand_as(place), palm.expand_as(place))


def close_fingers(figure: Figure, hand: Hand, side: str, distance: Distance) -> torch.Tensor:
    """[15,3] axis-angle of the hand's joints: each bends until its bone touches, from the knuckles on.

    `hand`, one frame of it, and `distance` are in the product's frame.
    """
    pose = torch.zeros(15, 3)
    turn = hand.rotation(side)[0].float()
    rest = figure.joints
    first = FIRST_FINGER[side]
    for finger in range(5):
        joints = [first + 3 * finger + i for i in range(3)]
        thumb = finger == 4
        bones = rest[joints]
        tip = bones[2] + (1.1 if not thumb else 1.25) * (bones[2] - bones[1])
        ends = torch.cat([bones, tip[None]])
        place = hand.place[0] + turn @ (bones[0] - rest[WRIST[side]])
        along = turn
        for i in range(3):
            axis = _bend_axis(bones, i, thumb, side)
            angles = torch.linspace(*(THUMB_LIMITS if thumb else FINGER_LIMITS)[i], 64)
            turns = along @ axis_angle_to_matrix(angles[:, None] * axis)  # [A,3,3]
            # A thumb is laid on, straight; fingers wrap, bone by bone.
            ahead = range(i, 3 if thumb else i + 1)
            t = torch.linspace(0.35, 1, 5)[:, None]
            points = torch.cat([ends[k] + t * (ends[k + 1] - ends[k]) for k in ahead]) - ends[i]
            clearance = distance(place + points @ turns.mT).amin(-1) - (THUMB if thumb else FINGER)
            chosen = _until_touch(clearance, int(angles.abs().argmin()))
            pose[3 * finger + i] = angles[chosen] * axis
            along, place = turns[chosen], place + turns[chosen] @ (ends[i + 1] - ends[i])
    return pose


def open_fingers(side: str, kind: str) -> torch.Tensor:
    """[15,3] axis-angle of a hand that holds nothing: `relaxed`, or `pointing` with the index finger."""
    pose = torch.zeros(5, 3, 3)
    for finger in range(5):
        bends = RELAXED
        if kind == "pointing":
            bends = POINTING["index" if finger == 0 else "thumb" if finger == 4 else "other"]
        for i, bend in enumerate(bends):
            pose[finger, i] = bend * (_thumb_axis(side) if finger == 4 else torch.tensor([0.0, 0.0, -SIGN[side]]))
    return pose.view(15, 3)


def product_distance(size: tuple[float, float, float]) -> Distance:
    """To the product's surface, taken for an upright cylinder or box."""
    half = torch.tensor(size) / 2

    def distance(points: torch.Tensor) -> torch.Tensor:
        across = points[..., [0, 2]]
        if is_round(size):
            flat = ((across / half[[0, 2]]).norm(dim=-1) - 1) * half[[0, 2]].min()
        else:
            flat = (across.abs() - half[[0, 2]]).amax(-1)
        return torch.maximum(flat, points[..., 1].abs() - half[1])

    return distance


def is_round(size: tuple[float, float, float]) -> bool:
    """Whether a product of `size` (w, h, d) is taken for a cylinder."""
    return abs(size[0] - size[2]) < ROUND * max(size[0], size[2])


def _placed(
    figure: Figure, side: str, contact: torch.Tensor, along: torch.Tensor, palm: torch.Tensor, knuckle: float
) -> Hand:
    """A hand that touches `contact` with its palm, `knuckle` of the way from the wrist to the knuckles."""
    along, palm = orthonormal(along, palm)
    length = float((figure.joints[FIRST_FINGER[side] + 3] - figure.joints[WRIST[side]]).norm())
    return Hand((contact - PALM * palm - knuckle * length * along)[None], along[None], palm[None])


def _bend_axis(bones: torch.Tensor, joint: int, thumb: bool, side: str) -> torch.Tensor:
    if not thumb:
        return torch.tensor([0.0, 0.0, -SIGN[side]])
    if joint == 0:
        return torch.tensor([1.0, 0.0, 0.0])  # opposition: about the hand's length, under the palm
    return _thumb_axis(side)


def _thumb_axis(side: str) -> torch.Tensor:
    """About which the thumb's outer joints bend towards the fingers' tips, at rest."""
    return torch.nn.functional.normalize(torch.tensor([0.45, 0.55 * SIGN[side], -0.25 * SIGN[side]]), dim=0)


def _until_touch(clearance: torch.Tensor, start: int) -> int:
    """The last index from `start` on before something is in the way; if there is at `start`, the nearest free one."""
    free = clearance > 0
    if free[start]:
        blocked = torch.nonzero(~free[start:])
        return start + int(blocked[0]) - 1 if len(blocked) else len(free) - 1
    places = torch.nonzero(free)[:, 0]
    return int(places[(places - start).abs().argmin()]) if len(places) else int(clearance.argmax())
