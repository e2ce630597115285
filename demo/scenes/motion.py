"""People who present a product, in front of a camera that shows them from the head to the hip."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ...models.avatar.motion import BodyMotion
from ...models.avatar.rasterize import Camera
from ...models.avatar.rotation import axis_angle_to_matrix
from .exercise import EXERCISES, exercise
from .grip import close_fingers, open_fingers, palm_hold, point_at, product_distance, side_hold
from .keypoints import FIRST_FINGER
from .limbs import HEAD, PELVIS, SHOULDER, SIDES, SIGN, SPINES, Hand, globals_of, look_at, reach
from .look import SPLITS
from .person import Person

Size = tuple[float, float, float]
PRESENTATIONS = ("raise", "hold", "turn", "point", "offer", "lower", "shake", "aside")
DISTANCE = 1.5  # m from the camera to the pelvis of somebody who presents
ELBOW_HINT = {side: torch.tensor([0.55 * SIGN[side], 1.0, 0.35], dtype=torch.float64) for side in SIDES}
HIPS = (1, 2)
NARROW = 0.1  # m: two hands at the sides of such a product would cover it


@dataclass(frozen=True)
class SceneMotion:
    """`pose` [F,55,3] axis-angle and `trans` [F,3] m (SMPL-X, camera axes); `product` [F,4,4]: the product's pose in
    front of the camera, None without one; `holding`: the hands that hold it. The camera sees `extent` m of height at
    `distance` m, with (0, 0, distance) in the middle of the picture."""

    kind: str
    pose: torch.Tensor
    trans: torch.Tensor
    product: torch.Tensor | None
    holding: tuple[str, ...]
    distance: float
    extent: float
    fps: float

    def __len__(self) -> int:
        return len(self.pose)

    def camera(self, size: tuple[int, int]) -> Camera:
        """For a picture of `size` (width, height) px."""
        focal = size[1] * self.distance / self.extent
        return Camera((focal, focal), (size[0] / 2, size[1] / 2), tuple(size))

    def body_motion(self, person: Person, size: tuple[int, int]) -> BodyMotion:
        """As the avatar's nodes take it, frames numbered from 0."""
        camera, count = self.camera(size), len(self)
        betas, focal, principal = (torch.as_tensor(x, dtype=torch.float64).expand(count, -1)
                                   for x in (person.betas, camera.focal, camera.principal))  # fmt: skip
        return BodyMotion(self.pose, self.trans, betas, focal, principal, camera.size, tuple(range(count)), self.fps)


class _Plan(NamedTuple):
    """The product's course: `offset` [F,3] m from where it is held (x is towards the holding hand's side), its turn
    about the vertical, `yaw`, and about the camera's axis, `roll` [F]; and who holds it how."""

    offset: torch.Tensor
    yaw: torch.Tensor
    roll: torch.Tensor
    hands: tuple[str, ...]
    under: bool
    pointing: bool


def make_motion(
    seed: int,
    split: str,
    person: Person,
    product_size: Size | None,
    frames: int,
    fps: float = 15.0,
    kind: str | None = None,
) -> SceneMotion:
    """A motion of `person`: one of PRESENTATIONS with a product of `product_size` (w, h, d) m, or one of EXERCISES with
    None; `kind` chosen by the seed if not given.

    Raises ValueError for a kind there is not, or one that does not go with the product or its absence.
    """
    kinds = EXERCISES if product_size is None else PRESENTATIONS
    if kind is not None and kind not in kinds:
        raise ValueError(
            f"There is no motion {kind!r} with{'out' * (product_size is None)} a product: {', '.join(kinds)}."
        )
    if frames < 1 or fps <= 0:
        raise ValueError(f"A motion needs at least one frame and a rate above 0, not {frames} frames at {fps:g}.")
    rng = np.random.default_rng([seed, SPLITS.index(split), 7])
    chosen = kinds[rng.integers(len(kinds))]
    kind = kind or chosen
    time = torch.arange(frames, dtype=torch.float64) / fps
    if product_size is None:
        pose, trans, distance, extent = exercise(kind, person, time, rng)
        return SceneMotion(kind, pose, trans, None, (), distance, extent, fps)
    return _present(kind, person, product_size, time, fps, rng)


def photo_pose(seed: int, split: str, person: Person) -> SceneMotion:
    """One frame of the same person standing for a photo: arms down, a hand at the hip, or hands before the belly."""
    rng = np.random.default_rng([seed, SPLITS.index(split), 8])
    pose, trans, extent = _stance(person, torch.zeros(1, dtype=torch.float64), rng)
    style = ("down", "hip", "front")[rng.integers(3)]
    for side in SIDES:
        sign = SIGN[side]
        if style == "hip" and side == SIDES[rng.integers(2)]:
            place, along, palm = (0.20 * sign, 0.02, -0.06), (-0.5 * sign, 0.7, -0.5), (-0.8 * sign, -0.5, 0.1)
        elif style == "front":
            place, along, palm = (0.15 * sign, 0.02, -0.20), (-0.9 * sign, 0.35, -0.2), (0.0, -0.15, 1.0)
        else:
            place, along, palm = _HANGING
            place, along, palm = ((sign * v[0], *v[1:]) for v in (place, along, palm))
        _free_hand(person, pose, trans, side, place, along, palm, "relaxed")
    turn, at = globals_of(person, pose, trans)
    look_at(person, pose, trans, torch.tensor([[0.1 * rng.standard_normal(), 0.0, 0.0]]).to(pose))
    return SceneMotion("photo", pose, trans, None, (), DISTANCE, extent * rng.uniform(0.98, 1.12), 15.0)


_HANGING = (0.30, 0.12, -0.05), (0.06, 0.97, -0.2), (-0.95, 0.10, 0.3)  # wrist from the hip, along, palm; mirrored


def _present(
    kind: str, person: Person, size: Size, time: torch.Tensor, fps: float, rng: np.random.Generator
) -> SceneMotion:
    pose, trans, extent = _stance(person, time, rng)
    plan = _plan(kind, time, rng)
    sign = SIGN[plan.hands[0]]
    _, at = globals_of(person, pose, trans)
    shoulders = ((at[:, SHOULDER["left"]] + at[:, SHOULDER["right"]]) / 2).mean(0)
    arm = float((person.joints[20] - person.joints[16]).norm())
    aside = 0.0 if len(plan.hands) == 2 else 0.26 * arm
    low = max(0.10, size[1] / 2) + rng.uniform(0.0, 0.04)
    home = shoulders + torch.tensor([sign * aside, low, -(0.64 * arm + size[2] / 2)], dtype=torch.float64)
    centre = home + plan.offset * torch.tensor([sign, 1, 1], dtype=torch.float64) * (arm / 0.5)
    centre = _inside(centre, size, extent)

    turn = torch.zeros(len(time), 3, dtype=torch.float64)
    turn[:, 1], turn[:, 2] = plan.yaw, plan.roll
    rotation = axis_angle_to_matrix(turn)
    product = torch.eye(4, dtype=torch.float64).repeat(len(time), 1, 1)
    product[:, :3, :3], product[:, :3, 3] = rotation, centre

    distance = product_distance(size)
    angle = rng.uniform(0.9, 1.3) if len(plan.hands) == 2 else rng.uniform(0.4, 0.7)
    height = rng.uniform(0.1, 0.3) * size[1]
    follow = _half_yaw(plan) if plan.under else rotation
    for i, side in enumerate(plan.hands):
        under = plan.under or (i == 1 and size[0] < NARROW)
        local = palm_hold(person, size, side) if under else side_hold(person, size, side, angle, height)
        fingers = close_fingers(person, local, side, distance)
        first = FIRST_FINGER[side]
        pose[:, first : first + 15] = fingers.to(pose)
        reach(person, pose, trans, side, _carried(local, follow, centre), ELBOW_HINT[side])
    for side in set(SIDES) - set(plan.hands):
        if plan.pointing:
            gap = 0.035 + 0.015 * torch.sin(2 * torch.pi * time / 1.6)
            local = point_at(person, size, side, 0.0)
            local = Hand(
                local.place - gap[:, None] * local.along,
                local.along.expand(len(time), 3),
                local.palm.expand(len(time), 3),
            )
            first = FIRST_FINGER[side]
            pose[:, first : first + 15] = open_fingers(side, "pointing").to(pose)
            reach(person, pose, trans, side, _carried(local, rotation, centre), ELBOW_HINT[side])
        else:
            _free_hand(person, pose, trans, side, *((SIGN[side] * v[0], *v[1:]) for v in _HANGING), "relaxed")
    attention = 0.5 + 0.5 * torch.tanh(3 * torch.sin(2 * torch.pi * time / 3.5 + rng.uniform(0, 6.28)))
    look_at(person, pose, trans, centre * attention[:, None])
    return SceneMotion(kind, pose, trans, product, plan.hands, DISTANCE, extent, fps)


def _inside(centre: torch.Tensor, size: Size, extent: float) -> torch.Tensor:
    """The product's course [F,3], bent so that its hand's side and its ends stay in a 3:4 portrait picture."""
    seen = extent / 2 * centre[:, 2] / DISTANCE
    limit = torch.stack([0.75 * seen - size[0] / 2 - 0.05, seen - size[1] / 2 - 0.03], 1)
    return torch.cat([limit * torch.tanh(centre[:, :2] / limit), centre[:, 2:]], 1)


def _stance(person: Person, time: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Standing before the camera, the trunk swaying a little: pose, trans, and the height m that is shown."""
    pose = torch.zeros(len(time), 55, 3, dtype=torch.float64)
    yaw = rng.uniform(-0.15, 0.15)
    phase = rng.uniform(0, 6.28, 3)
    sway = [
        torch.sin(2 * torch.pi * time / period + start) for period, start in zip((3.1, 4.3, 2.3), phase, strict=True)
    ]
    pose[:, PELVIS] = torch.tensor([torch.pi, 0.0, 0.0])
    for spine in SPINES:
        pose[:, spine] = torch.stack([0.01 * sway[2], yaw / 3 + 0.02 * sway[0], 0.015 * sway[1]], 1)
    top = float(person.template[:, 1].max())
    bottom = float(person.joints[list(HIPS), 1].mean()) - 0.06
    extent = (top - bottom) * rng.uniform(1.04, 1.10)
    trans = torch.zeros(len(time), 3, dtype=torch.float64)
    pelvis = person.joints[PELVIS].double()
    # The pelvis stays in place when the root turns over; half way up from it to the head is the picture's middle.
    trans[:] = torch.tensor([0, 0, DISTANCE], dtype=torch.float64) - pelvis
    trans[:, 1] += (top + bottom) / 2 - float(pelvis[1])
    trans[:, 0] += rng.uniform(-0.03, 0.03)
    return pose, trans, extent


def _plan(kind: str, time: torch.Tensor, rng: np.random.Generator) -> _Plan:
    side = SIDES[rng.integers(2)]
    zero = torch.zeros_like(time)
    speed = rng.uniform(0.85, 1.15)
    start = rng.uniform(0, 1)

    def wave(period: float) -> torch.Tensor:
        return torch.sin(2 * torch.pi * (speed * time / period + start))

    def out(period: float) -> torch.Tensor:
        return 0.5 - 0.5 * torch.cos(2 * torch.pi * (speed * time / period + start))

    x, y, z = 0.008 * wave(2.7), 0.006 * wave(1.9), 0.006 * wave(2.3)
    yaw, roll = 0.12 * wave(2.4), 0.04 * wave(3.1)
    both = SIDES
    if kind == "raise":
        return _Plan(
            torch.stack([x + 0.06 * out(2.2), y - 0.11 * out(2.2), z], 1),
            yaw,
            roll,
            (side,),
            bool(rng.integers(2)),
            False,
        )
    if kind == "turn":
        return _Plan(torch.stack([x, y, z], 1), 1.05 * wave(2.6), zero, (side,), True, False)
    if kind == "point":
        return _Plan(torch.stack([x, y, z], 1), yaw, roll, (side,), False, True)
    if kind == "offer":
        return _Plan(torch.stack([x, y, z + 0.02 - 0.08 * out(2.2)], 1), yaw, roll, both, False, False)
    if kind == "lower":
        return _Plan(torch.stack([x, y + 0.12 * out(2.4), z + 0.02], 1), yaw, roll, both, False, False)
    if kind == "shake":
        return _Plan(torch.stack([x, y + 0.012 * wave(0.55), z], 1), yaw, 0.14 * wave(0.55), (side,), False, False)
    if kind == "aside":
        return _Plan(torch.stack([0.11 * wave(2.6), y, z], 1), 0.25 * wave(2.6), roll, both, False, False)
    return _Plan(torch.stack([x, y, z], 1), 2 * yaw, roll, both, False, False)


def _half_yaw(plan: _Plan) -> torch.Tensor:
    """The turn of a hand that lies under the product: half of the product's, which slides on it for the rest."""
    turn = torch.zeros(len(plan.yaw), 3, dtype=torch.float64)
    turn[:, 1] = plan.yaw / 2
    return axis_angle_to_matrix(turn)


def _carried(local: Hand, rotation: torch.Tensor, centre: torch.Tensor) -> Hand:
    """A hand in the product's frame, in the camera's: `rotation` [F,3,3], `centre` [F,3]."""
    place, along, palm = ((rotation @ v.double()[..., None])[..., 0] for v in (local.place, local.along, local.palm))
    return Hand(place + centre, along, palm)


def _free_hand(
    person: Person, pose: torch.Tensor, trans: torch.Tensor, side: str, place: tuple[float, float, float],
    along: tuple[float, float, float], palm: tuple[float, float, float], fingers: str,
) -> None:  # fmt: skip
    """A hand `place` m from the pelvis, in camera axes."""
    _, at = globals_of(person, pose, trans)
    scale = float((person.joints[20] - person.joints[16]).norm()) / 0.5
    count = len(pose)
    goal = at[:, PELVIS] + scale * torch.tensor(place, dtype=torch.float64)
    along, palm = (torch.nn.functional.normalize(torch.tensor(v, dtype=torch.float64), dim=0) for v in (along, palm))
    palm = torch.nn.functional.normalize(palm - (palm @ along) * along, dim=0)
    reach(
        person,
        pose,
        trans,
        side,
        Hand(goal, along.expand(count, 3), palm.expand(count, 3)),
        ELBOW_HINT[side] + torch.tensor([0, 0, 1.0]),
    )
    first = FIRST_FINGER[side]
    pose[:, first : first + 15] = open_fingers(side, fingers).to(pose)
