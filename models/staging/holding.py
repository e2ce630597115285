"""Hands that hold a product and follow it, and those that are free."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..body.layout import ELBOW, FIRST_FINGER, PELVIS, SHOULDER, SIDES, WRIST
from ..body.rotation import axis_angle_to_matrix
from .grip import close_fingers, open_fingers, palm_hold, point_at, product_distance, side_hold
from .limbs import SIGN, Figure, Hand, globals_of, orthonormal, reach

Size = tuple[float, float, float]
NARROW = 0.1  # m: two hands at the sides of such a product would cover it
MEAN_ARM = 0.5  # m from shoulder to wrist: distances are given for such arms
AHEAD, ASIDE = 0.32, 0.13  # m from the shoulders to the product's back; to the side of the one hand that holds it
LEAST_LOW = 0.10  # m below the shoulders
_MARGIN = 0.05, 0.03  # m beside the product, where its hand is, and above and below
ELBOW_HINT = {side: torch.tensor([0.55 * SIGN[side], 1.0, 0.35], dtype=torch.float64) for side in SIDES}
# Free hands of the left, mirrored for the right: the wrist from the pelvis m, where the fingers and the palm point.
HANGING = (0.30, 0.12, -0.05), (0.06, 0.97, -0.2), (-0.95, 0.10, 0.3)


class Grip(NamedTuple):
    """Which `hands` hold a product of `size` (w, h, d) m, and how: `under` it; else with fingers raised by `angle`
    radians, `height` m below its centre."""

    size: Size
    hands: tuple[str, ...]
    under: bool
    angle: float
    height: float

    @classmethod
    def draw(cls, size: Size, hands: tuple[str, ...], under: bool, rng: np.random.Generator) -> "Grip":
        """One of those that people choose."""
        angle = rng.uniform(0.9, 1.3) if len(hands) == 2 else rng.uniform(0.4, 0.7)
        return cls(size, hands, under, angle, rng.uniform(0.1, 0.3) * size[1])

    def of(self, figure: Figure) -> dict[str, Hand]:
        """Each hand in the product's frame, [1,3]."""
        held = {}
        for i, side in enumerate(self.hands):
            if self.under or (i == 1 and self.size[0] < NARROW):
                held[side] = palm_hold(figure, self.size, side)
            else:
                held[side] = side_hold(figure, self.size, side, self.angle, self.height)
        return held


def home(size: Size, hands: Sequence[str], arm: float, lower: float = 0.0) -> torch.Tensor:
    """Where a product is held, from between the shoulders, of somebody who faces the camera: [3] m."""
    aside = 0.0 if len(hands) == 2 else ASIDE
    low = max(LEAST_LOW, size[1] / 2) + lower
    return torch.tensor([SIGN[hands[0]] * aside * arm, low, -AHEAD * arm - size[2] / 2], dtype=torch.float64)


def room_for(size: Size, seen: torch.Tensor) -> torch.Tensor:
    """How far [F,2] m to each side of the camera's axis a product's centre may go, so that the product and its hand's
    side stay where the camera sees `seen` [F,2] m to each side."""
    return seen - seen.new_tensor(size[:2]) / 2 - seen.new_tensor(_MARGIN)


def hold_product(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, grip: Grip, centre: torch.Tensor, yaw: torch.Tensor,
    roll: torch.Tensor, heading: torch.Tensor | None = None,
) -> torch.Tensor:
    """Set arms and fingers in `pose` [F,55,3] so that they hold the product at `centre` [F,3] m; its turn [F,3,3].

    yaw, roll [F] radians: its turns about the vertical and about the camera's axis. heading [3,3]: how the body is
    turned from facing the camera, which the elbows follow.
    """
    rotation = turn(yaw, roll)
    # A product turns on a hand that lies under it: the hand takes part in half of its turn.
    follow = turn(yaw / 2, 0 * roll) if grip.under else rotation
    distance = product_distance(grip.size)
    for side, hold in grip.of(figure).items():
        set_fingers(pose, side, close_fingers(figure, hold, side, distance))
        reach(figure, pose, trans, side, hold.carried(follow, centre), _turned(ELBOW_HINT[side], heading))
    return rotation


def point_to_product(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, side: str, size: Size, time: torch.Tensor,
    centre: torch.Tensor, rotation: torch.Tensor, heading: torch.Tensor | None = None,
) -> None:
    """The free hand's index finger goes back and forth before the product's side; `time` [F] s."""
    gap = 0.035 + 0.015 * torch.sin(2 * torch.pi * time / 1.6)
    finger = point_at(figure, size, side, gap).carried(rotation, centre)
    set_fingers(pose, side, open_fingers(side, "pointing"))
    reach(figure, pose, trans, side, finger, _turned(ELBOW_HINT[side], heading))


def free_hand(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, side: str, place: Size, along: Size, palm: Size,
    heading: torch.Tensor | None = None,
) -> None:
    """A relaxed hand at `place` m from the pelvis; all three as for the left hand of somebody who faces the camera.

    heading: as for `hold_product`.
    """
    mirror = torch.tensor([SIGN[side], 1, 1], dtype=torch.float64)
    place, along, palm = (_turned(mirror * torch.tensor(vector), heading) for vector in (place, along, palm))
    _, at = globals_of(figure, pose, trans)
    along, palm = (vector.expand(len(pose), 3) for vector in orthonormal(along, palm))
    hint = _turned(ELBOW_HINT[side] + torch.tensor([0, 0, 1.0]), heading)
    reach(figure, pose, trans, side, Hand(at[:, PELVIS] + arm_length(figure) * place, along, palm), hint)
    set_fingers(pose, side, open_fingers(side, "relaxed"))


def set_fingers(pose: torch.Tensor, side: str, fingers: torch.Tensor) -> None:
    """`fingers` [15,3] axis-angle in every frame of `pose` [F,55,3]."""
    first = FIRST_FINGER[side]
    pose[:, first : first + 15] = fingers.to(pose)


def turn(yaw: torch.Tensor, roll: torch.Tensor) -> torch.Tensor:
    """[F,3,3] of turns about the vertical and about the camera's axis, radians [F]."""
    return axis_angle_to_matrix(torch.stack([torch.zeros_like(yaw), yaw, roll], 1))


def check_size(size: Size, figure: Figure) -> None:
    """Raises ValueError, a sentence, for a product that is larger than the person."""
    tall = float(figure.joints[:, 1].max() - figure.joints[:, 1].min())
    if max(size) > tall:
        width, height, depth = (100 * side for side in size)
        raise ValueError(
            f"The product of {width:.0f} × {height:.0f} × {depth:.0f} cm is larger than the person: give its real size "
            "in centimetres."
        )


def arm_length(figure: Figure) -> float:
    """How long the arms are, compared to the mean."""
    shoulder, elbow, wrist = (figure.joints[of["left"]] for of in (SHOULDER, ELBOW, WRIST))
    return float((elbow - shoulder).norm() + (wrist - elbow).norm()) / MEAN_ARM


def _turned(vector: torch.Tensor, heading: torch.Tensor | None) -> torch.Tensor:
    """Of somebody who faces the camera, as it is of somebody turned by `heading` [3,3]."""
    return vector if heading is None else heading @ vector
