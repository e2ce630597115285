"""People who stand before the camera and present a product: its course, and hands that follow it."""

from typing import NamedTuple

import numpy as np
import torch

from ..models.body.layout import HIP, PELVIS, SHOULDER, SIDES, SPINES
from ..models.staging.gestures import Course, course
from ..models.staging.holding import (
    HANGING,
    Grip,
    Size,
    arm_length,
    free_hand,
    hold_product,
    home,
    point_to_product,
    room_for,
)
from ..models.staging.limbs import SIGN, globals_of, look_at
from .person import Person

DISTANCE = 1.5  # m from the camera to the pelvis
BELOW_HIPS = 0.06  # m: where the picture ends
TWO_HANDED = ("hold", "offer", "lower", "aside")
# Free hands, as in `holding.HANGING`.
ON_HIP = (0.20, 0.02, -0.06), (-0.5, 0.7, -0.5), (-0.8, -0.5, 0.1)
BEFORE_BELLY = (0.15, 0.02, -0.20), (-0.9, 0.35, -0.2), (0.0, -0.15, 1.0)


class Presentation(NamedTuple):
    """`pose` [F,55,3], `trans` [F,3] m and `product` [F,4,4] in camera axes; the `hands` that hold it; the height m
    that the camera shows at DISTANCE."""

    pose: torch.Tensor
    trans: torch.Tensor
    product: torch.Tensor
    hands: tuple[str, ...]
    extent: float


class _Plan(NamedTuple):
    """The product's course; who holds it, whether from below; whether the other hand points."""

    course: Course
    hands: tuple[str, ...]
    under: bool
    pointing: bool


def present(kind: str, person: Person, size: Size, time: torch.Tensor, rng: np.random.Generator) -> Presentation:
    """`kind` of GESTURES at `time` [F] s, with a product of `size` (w, h, d) m."""
    pose, trans, extent = _stance(person, time, rng)
    (offset, yaw, roll), hands, under, pointing = _plan(kind, time, rng)
    figure = person.figure
    _, at = globals_of(figure, pose, trans)
    arm = arm_length(figure)
    place = home(size, hands, arm, rng.uniform(0.0, 0.04))
    place += at[:, list(SHOULDER.values())].mean((0, 1))
    centre = place + arm * offset * torch.tensor([SIGN[hands[0]], 1, 1])
    seen = extent / 2 * centre[:, 2:] / DISTANCE
    room = room_for(size, torch.cat([0.75 * seen, seen], 1))  # in a portrait picture of 3:4
    centre = torch.cat([room * torch.tanh(centre[:, :2] / room), centre[:, 2:]], 1)

    rotation = hold_product(figure, pose, trans, Grip.draw(size, hands, under, rng), centre, yaw, roll)
    for side in set(SIDES) - set(hands):
        if pointing:
            point_to_product(figure, pose, trans, side, size, time, centre, rotation)
        else:
            free_hand(figure, pose, trans, side, *HANGING)
    attention = 0.5 + 0.5 * torch.tanh(3 * torch.sin(2 * torch.pi * time / 3.5 + rng.uniform(0, 2 * np.pi)))
    look_at(figure, pose, trans, centre * attention[:, None])  # the camera is at the origin

    product = torch.eye(4, dtype=torch.float64).repeat(len(time), 1, 1)
    product[:, :3, :3], product[:, :3, 3] = rotation, centre
    return Presentation(pose, trans, product, hands, extent)


def stand(person: Person, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, float]:
    """One frame for a photo: arms down, a hand at the hip, or hands before the belly. pose, trans, the height shown."""
    pose, trans, extent = _stance(person, torch.zeros(1, dtype=torch.float64), rng)
    places = dict.fromkeys(SIDES, HANGING)
    style = rng.integers(3)
    if style == 1:
        places[SIDES[rng.integers(2)]] = ON_HIP
    elif style == 2:
        places = dict.fromkeys(SIDES, BEFORE_BELLY)
    for side in SIDES:
        free_hand(person.figure, pose, trans, side, *places[side])
    look_at(person.figure, pose, trans, torch.tensor([[0.1 * rng.standard_normal(), 0.0, 0.0]]).to(pose))
    return pose, trans, extent * rng.uniform(0.98, 1.12)


def _stance(person: Person, time: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Arms as in the T-pose, the trunk swaying a little: pose, trans, and the height m that is shown."""
    pose = torch.zeros(len(time), 55, 3, dtype=torch.float64)
    yaw, starts = rng.uniform(-0.15, 0.15), rng.uniform(0, 2 * np.pi, 3)
    sway = [
        torch.sin(2 * torch.pi * time / period + start) for period, start in zip((3.1, 4.3, 2.3), starts, strict=True)
    ]
    pose[:, PELVIS, 0] = torch.pi
    for spine in SPINES:
        pose[:, spine] = torch.stack([0.01 * sway[2], yaw / 3 + 0.02 * sway[0], 0.015 * sway[1]], 1)
    top = float(person.template[:, 1].max())
    bottom = float(person.joints[list(HIP.values()), 1].mean()) - BELOW_HIPS
    # The root turns over at the pelvis, which stays: from there the middle of what is shown lies upwards.
    pelvis = person.joints[PELVIS].double()
    trans = torch.tensor([rng.uniform(-0.03, 0.03), (top + bottom) / 2 - pelvis[1], DISTANCE], dtype=torch.float64)
    return pose, (trans - pelvis).repeat(len(time), 1), (top - bottom) * rng.uniform(1.04, 1.10)


def _plan(kind: str, time: torch.Tensor, rng: np.random.Generator) -> _Plan:
    side = (SIDES[rng.integers(2)],)
    speed, start, under = rng.uniform(0.85, 1.15), rng.uniform(0, 1), bool(rng.integers(2))
    hands = SIDES if kind in TWO_HANDED else side
    under = kind == "turn" or (kind == "raise" and under)
    return _Plan(course(kind, time, speed, start), hands, under, kind == "point")
