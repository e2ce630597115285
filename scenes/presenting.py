"""People who stand before the camera and present a product: its course, and hands that follow it."""

from typing import NamedTuple

import numpy as np
import torch

from ..models.body.layout import ELBOW, FIRST_FINGER, HIP, PELVIS, SHOULDER, SIDES, SPINES, WRIST
from ..models.body.rotation import axis_angle_to_matrix
from .grip import close_fingers, open_fingers, palm_hold, point_at, product_distance, side_hold
from .limbs import SIGN, Hand, globals_of, look_at, orthonormal, reach
from .person import Person

Size = tuple[float, float, float]
PRESENTATIONS = ("raise", "hold", "turn", "point", "offer", "lower", "shake", "aside")
DISTANCE = 1.5  # m from the camera to the pelvis
BELOW_HIPS = 0.06  # m: where the picture ends
NARROW = 0.1  # m: two hands at the sides of such a product would cover it
MEAN_ARM = 0.5  # m from shoulder to wrist: distances are given for such arms
ELBOW_HINT = {side: torch.tensor([0.55 * SIGN[side], 1.0, 0.35], dtype=torch.float64) for side in SIDES}
# Free hands of the left, mirrored for the right: the wrist from the pelvis m, where the fingers and the palm point.
HANGING = (0.30, 0.12, -0.05), (0.06, 0.97, -0.2), (-0.95, 0.10, 0.3)
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
    """The product's course: `offset` [F,3] m from where it is held, x towards the holding hand's side; its turns about
    the vertical and about the camera's axis [F]; who holds it, whether from below; whether the other hand points."""

    offset: torch.Tensor
    yaw: torch.Tensor
    roll: torch.Tensor
    hands: tuple[str, ...]
    under: bool = False
    pointing: bool = False


def present(kind: str, person: Person, size: Size, time: torch.Tensor, rng: np.random.Generator) -> Presentation:
    """`kind` of PRESENTATIONS at `time` [F] s, with a product of `size` (w, h, d) m."""
    pose, trans, extent = _stance(person, time, rng)
    plan = _plan(kind, time, rng)
    _, at = globals_of(person, pose, trans)
    sign, arm = SIGN[plan.hands[0]], _arm(person)
    aside = 0.0 if len(plan.hands) == 2 else 0.13
    low = max(0.10, size[1] / 2) + rng.uniform(0.0, 0.04)
    home = torch.tensor([sign * aside * arm, low, -0.32 * arm - size[2] / 2], dtype=torch.float64)
    home += at[:, list(SHOULDER.values())].mean((0, 1))
    centre = _inside(home + arm * plan.offset * torch.tensor([sign, 1, 1]), size, extent)
    rotation = _turn(plan.yaw, plan.roll)

    angle = rng.uniform(0.9, 1.3) if len(plan.hands) == 2 else rng.uniform(0.4, 0.7)
    height = rng.uniform(0.1, 0.3) * size[1]
    # A product turns on a hand that lies under it: the hand takes part in half of its turn.
    follow = _turn(plan.yaw / 2, 0 * plan.roll) if plan.under else rotation
    distance = product_distance(size)
    for i, side in enumerate(plan.hands):
        under = plan.under or (i == 1 and size[0] < NARROW)
        hold = palm_hold(person, size, side) if under else side_hold(person, size, side, angle, height)
        _set_fingers(pose, side, close_fingers(person, hold, side, distance))
        reach(person, pose, trans, side, hold.carried(follow, centre), ELBOW_HINT[side])
    for side in set(SIDES) - set(plan.hands):
        if plan.pointing:
            gap = 0.035 + 0.015 * torch.sin(2 * torch.pi * time / 1.6)
            finger = point_at(person, size, side, gap).carried(rotation, centre)
            _set_fingers(pose, side, open_fingers(side, "pointing"))
            reach(person, pose, trans, side, finger, ELBOW_HINT[side])
        else:
            _free_hand(person, pose, trans, side, *HANGING)
    attention = 0.5 + 0.5 * torch.tanh(3 * torch.sin(2 * torch.pi * time / 3.5 + rng.uniform(0, 2 * np.pi)))
    look_at(person, pose, trans, centre * attention[:, None])  # the camera is at the origin

    product = torch.eye(4, dtype=torch.float64).repeat(len(time), 1, 1)
    product[:, :3, :3], product[:, :3, 3] = rotation, centre
    return Presentation(pose, trans, product, plan.hands, extent)


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
        _free_hand(person, pose, trans, side, *places[side])
    look_at(person, pose, trans, torch.tensor([[0.1 * rng.standard_normal(), 0.0, 0.0]]).to(pose))
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

    def wave(period: float) -> torch.Tensor:
        return torch.sin(2 * torch.pi * (speed * time / period + start))

    def out(period: float) -> torch.Tensor:
        return 0.5 - 0.5 * torch.cos(2 * torch.pi * (speed * time / period + start))

    x, y, z = 0.008 * wave(2.7), 0.006 * wave(1.9), 0.006 * wave(2.3)
    yaw, roll = 0.12 * wave(2.4), 0.04 * wave(3.1)

    def at(x: torch.Tensor = x, y: torch.Tensor = y, z: torch.Tensor = z) -> torch.Tensor:
        return torch.stack([x, y, z], 1)

    return {
        "raise": lambda: _Plan(at(x + 0.06 * out(2.2), y - 0.11 * out(2.2)), yaw, roll, side, under),
        "hold": lambda: _Plan(at(), 2 * yaw, roll, SIDES),
        "turn": lambda: _Plan(at(), np.pi / 3 * wave(2.6), 0 * roll, side, under=True),
        "point": lambda: _Plan(at(), yaw, roll, side, pointing=True),
        "offer": lambda: _Plan(at(z=z + 0.04 - 0.08 * out(2.2)), yaw, roll, SIDES),
        "lower": lambda: _Plan(at(y=y + 0.11 * out(2.4), z=z + 0.05), yaw, roll, SIDES),
        "shake": lambda: _Plan(at(y=y + 0.012 * wave(0.55)), yaw, 0.14 * wave(0.55), side),
        "aside": lambda: _Plan(at(x=0.11 * wave(2.6)), 0.25 * wave(2.6), roll, SIDES),
    }[kind]()


def _inside(centre: torch.Tensor, size: Size, extent: float) -> torch.Tensor:
    """The product's course [F,3], bent so that it stays in a portrait picture of 3:4, with its hand's side."""
    seen = extent / 2 * centre[:, 2] / DISTANCE
    limit = torch.stack([0.75 * seen - size[0] / 2 - 0.05, seen - size[1] / 2 - 0.03], 1)
    return torch.cat([limit * torch.tanh(centre[:, :2] / limit), centre[:, 2:]], 1)


def _free_hand(
    person: Person, pose: torch.Tensor, trans: torch.Tensor, side: str, place: Size, along: Size, palm: Size
) -> None:
    """A relaxed hand at `place` m from the pelvis; all three as for the left hand."""
    mirror = torch.tensor([SIGN[side], 1, 1], dtype=torch.float64)
    place, along, palm = (mirror * torch.tensor(vector) for vector in (place, along, palm))
    _, at = globals_of(person, pose, trans)
    along, palm = (vector.expand(len(pose), 3) for vector in orthonormal(along, palm))
    hint = ELBOW_HINT[side] + torch.tensor([0, 0, 1.0])
    reach(person, pose, trans, side, Hand(at[:, PELVIS] + _arm(person) * place, along, palm), hint)
    _set_fingers(pose, side, open_fingers(side, "relaxed"))


def _set_fingers(pose: torch.Tensor, side: str, fingers: torch.Tensor) -> None:
    first = FIRST_FINGER[side]
    pose[:, first : first + 15] = fingers.to(pose)


def _turn(yaw: torch.Tensor, roll: torch.Tensor) -> torch.Tensor:
    return axis_angle_to_matrix(torch.stack([torch.zeros_like(yaw), yaw, roll], 1))


def _arm(person: Person) -> float:
    """How long the arms are, compared to the mean."""
    shoulder, elbow, wrist = (person.joints[of["left"]] for of in (SHOULDER, ELBOW, WRIST))
    return float((elbow - shoulder).norm() + (wrist - elbow).norm()) / MEAN_ARM
