"""Whole-body motions for a character in a landscape picture: waving, walking, dancing, …"""

from collections.abc import Callable

import numpy as np
import torch

from ..models.body.layout import ANKLE, ELBOW, HEAD, HIP, KNEE, NECK, PELVIS, SHOULDER, SIDES, SPINES
from ..models.body.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from ..models.staging.limbs import SIGN, globals_of
from .person import Person

DISTANCE = 4.2  # m from the camera to the pelvis
FLOOR = 0.43  # of the picture's height, below its middle
ANKLES_AND_TOES = (7, 8, 10, 11)
HANGING = 1.2  # radians that an arm turns down from the T-pose


class _Body:
    """A pose that is built up joint by joint; `set` takes turns about single axes, the last one applied first."""

    def __init__(self, time: torch.Tensor):
        self.time = time
        self.pose = torch.zeros(len(time), 55, 3, dtype=torch.float64)
        self.yaw = torch.zeros_like(time)
        self.shift = torch.zeros_like(time)  # m to the side
        self.jump = torch.zeros_like(time)  # m above the floor
        self.faces_camera = True

    def set(self, joint: int, **turns: torch.Tensor | float) -> None:
        """`turns`: x, y, z in radians, in the order in which they are given."""
        matrix = torch.eye(3, dtype=torch.float64)
        for axis, angle in turns.items():
            vector = torch.zeros(len(self.time), 3, dtype=torch.float64)
            vector[:, "xyz".index(axis)] = angle
            matrix = matrix @ axis_angle_to_matrix(vector)
        self.pose[:, joint] = matrix_to_axis_angle(matrix)

    def arm(self, side: str, swing: torch.Tensor | float = 0.0, down: torch.Tensor | float = HANGING,
            bend: torch.Tensor | float = 0.25) -> None:
        """`swing`: forwards, about the shoulders' axis; `down` from the T-pose; `bend`: of the elbow, forwards."""
        self.set(SHOULDER[side], x=-torch.as_tensor(swing), z=-SIGN[side] * down)
        self.set(ELBOW[side], y=-SIGN[side] * bend)

    def leg(
        self, side: str, lift: torch.Tensor | float, bend: torch.Tensor | float, out: torch.Tensor | float = 0.0
    ) -> None:
        """`lift`: the thigh forwards; `bend`: of the knee; `out`: to the side. The foot stays level."""
        self.set(HIP[side], z=SIGN[side] * out, x=-torch.as_tensor(lift))
        self.set(KNEE[side], x=bend)
        self.set(ANKLE[side], x=torch.as_tensor(lift) - bend, z=-SIGN[side] * out)


def exercise(
    kind: str, person: Person, time: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """`kind` of EXERCISES at `time` [F] s: pose [F,55,3], trans [F,3] m, the camera's distance and the height it
    shows, m.

    The lower foot always stands on the floor, but for jumps.
    """
    body = _Body(time * rng.uniform(0.85, 1.15) + rng.uniform(0, 3))
    for side in SIDES:
        body.arm(side)
    breath = torch.sin(2 * torch.pi * body.time / 2.6)
    for spine in SPINES:
        body.set(spine, y=0.03 * breath, z=0.012 * torch.sin(2 * torch.pi * body.time / 3.7))
    _KINDS[kind](body, SIDES[rng.integers(2)])
    if body.faces_camera:
        body.yaw = body.yaw + rng.uniform(-0.35, 0.35)

    upside = torch.zeros_like(body.pose[:, 0])
    upside[:, 0] = torch.pi
    turn = torch.zeros_like(upside)
    turn[:, 1] = body.yaw
    lean = axis_angle_to_matrix(body.pose[:, PELVIS])
    body.pose[:, PELVIS] = matrix_to_axis_angle(axis_angle_to_matrix(upside) @ axis_angle_to_matrix(turn) @ lean)

    height = float(person.template[:, 1].max() - person.template[:, 1].min())
    extent = height / rng.uniform(0.71, 0.79)
    pelvis = person.joints[PELVIS].double()
    trans = (torch.tensor([0, 0, DISTANCE], dtype=torch.float64) - pelvis).repeat(len(time), 1)
    trans[:, 0] += body.shift + rng.uniform(-0.15, 0.15)
    _, at = globals_of(person.figure, body.pose, trans)
    soles = at[:, ANKLES_AND_TOES, 1] + person.joints[list(ANKLES_AND_TOES), 1] - person.template[:, 1].min()
    lowest = torch.logsumexp(soles / 0.01, 1) * 0.01  # smoother than the maximum when the feet change
    trans[:, 1] += FLOOR * extent - lowest - body.jump
    return body.pose, trans, DISTANCE, extent


def _wave(body: _Body, side: str) -> None:
    sign = SIGN[side]
    body.set(SHOULDER[side], z=sign * 0.25, y=-0.15 * sign)
    body.set(ELBOW[side], z=sign * (1.15 + 0.35 * torch.sin(2 * torch.pi * body.time / 0.8)), x=-1.3)
    body.set(HEAD, z=0.08 * sign + 0.05 * torch.sin(2 * torch.pi * body.time / 1.6), y=0.15 * sign)


def _dance(body: _Body, side: str) -> None:
    beat = torch.sin(2 * torch.pi * body.time / 1.0)
    half = torch.sin(torch.pi * body.time / 1.0)
    body.shift = 0.10 * half
    body.yaw = 0.30 * half
    for each in SIDES:
        sign = SIGN[each]
        body.arm(each, swing=0.5 + 0.35 * sign * beat, down=0.75 + 0.25 * sign * half, bend=1.2 + 0.3 * sign * beat)
        bent = 0.25 + 0.18 * sign * half
        body.leg(each, bent, 2 * bent, out=0.10)
    body.set(SPINES[0], z=0.10 * half, y=-0.15 * half)
    body.set(NECK, z=-0.10 * half)
    body.set(HEAD, x=0.08 * beat)


def _walk(body: _Body, side: str) -> None:
    stride = 2 * torch.pi * body.time / 1.1
    for each in SIDES:
        sign = SIGN[each]
        swing = sign * torch.sin(stride)
        lifted = torch.relu(sign * torch.cos(stride)).square()
        body.leg(each, 0.12 + 0.38 * swing + 0.25 * lifted, 0.15 + 0.95 * lifted)
        body.arm(each, swing=-0.5 * swing, bend=0.45 - 0.2 * swing)
    body.set(SPINES[1], y=-0.12 * torch.sin(stride))
    body.yaw = torch.full_like(body.time, 0.3 * SIGN[side]) + 0.05 * torch.sin(stride)


def _squat(body: _Body, side: str) -> None:
    depth = 0.5 - 0.5 * torch.cos(2 * torch.pi * body.time / 2.0)
    for each in SIDES:
        body.leg(each, 1.25 * depth, 1.6 * depth, out=0.15)
        body.arm(each, swing=1.35 * depth, bend=0.15)
    body.set(PELVIS, x=0.35 * depth)
    body.set(SPINES[0], x=0.15 * depth)
    body.set(NECK, x=-0.35 * depth)


def _jumping_jack(body: _Body, side: str) -> None:
    phase = 2 * torch.pi * body.time / 1.1
    spread = 0.5 - 0.5 * torch.cos(phase)
    for each in SIDES:
        body.arm(each, down=HANGING - 2.15 * spread, bend=0.15)
        body.leg(each, 0.08, 0.16, out=0.05 + 0.33 * spread)
    body.jump = 0.07 * torch.sin(phase).square()


def _arm_circles(body: _Body, side: str) -> None:
    angle = 2 * torch.pi * body.time / 1.5
    for each in SIDES:
        sign = SIGN[each]
        body.set(SHOULDER[each], y=-sign * (0.25 + 0.45 * torch.sin(angle)), z=sign * (0.10 + 0.50 * torch.cos(angle)))
        body.set(ELBOW[each], y=-sign * 0.12)
        body.leg(each, 0.03, 0.06, out=0.10)


def _turn_around(body: _Body, side: str) -> None:
    body.yaw = SIGN[side] * 2 * torch.pi * body.time / 3.2
    body.faces_camera = False
    steps = 2 * torch.pi * body.time / 0.8
    for each in SIDES:
        lifted = torch.relu(SIGN[each] * torch.sin(steps)).square()
        body.leg(each, 0.30 * lifted, 0.60 * lifted, out=0.05)
        body.arm(each, down=0.85, bend=0.5)


_KINDS: dict[str, Callable[[_Body, str], None]] = {
    "wave": _wave, "dance": _dance, "walk": _walk, "squat": _squat, "jumping_jack": _jumping_jack,
    "arm_circles": _arm_circles, "turn_around": _turn_around,
}
EXERCISES = tuple(_KINDS)
