"""A motion put onto the ground that a picture shows, before a camera that is tilted, but not rolled.

The world's axes are x right, y down, z away over the ground: those of a camera that looks ahead.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ...models.avatar.animate import Animator, Posed
from ...models.avatar.gaussians import Avatar
from ...models.avatar.rig import Rig
from ...models.body.body import VERTEX_CHUNK, BodyModel, Skeleton
from ...models.body.layout import ANKLE, EYES, HEAD, HIP, JAW, JOINTS, PELVIS, SHOULDER
from ...models.body.motion import BodyMotion
from ...models.body.rotation import axis_angle_to_matrix
from ...models.drawing.camera import Camera
from ...models.drawing.rasterize import rasterize

NEAREST, FARTHEST = 0.4, 2000.0  # m between the camera and who is staged
_STEPS, _EXACT = 60, 1e-6  # of a search, which ends at so few px or m
_TILTS = torch.linspace(-80, 80, 21).deg2rad().tolist()  # tried first
_MIDDLES = 6  # corrections until the feet's middle is in its place
_OPAQUE = 0.5  # of gaussians that count, and of pixels that they cover
_DRAWN, _RIM = 1024, 8  # px: the picture in which an avatar's edges are looked for, at most, and around it
_CONTACT = 0.5  # s within which a foot comes to the ground


class StageError(ValueError):
    """A place where nobody can stand so; the message says why, and what to do."""


@dataclass(frozen=True)
class Person:
    """Who is drawn. `pose(pose [F,55,3], betas [F,10], trans [F,3])`: their points [F,N,3] m; `owner` [N]: the joint
    that moves each most; `drawn(motion, camera)`: where the top of the head and the lowest point are drawn in the first
    frame, px from the picture's upper edge, if that is not where their points are."""

    pose: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    owner: torch.Tensor
    skeleton: Skeleton
    drawn: Callable[[BodyMotion, Camera], tuple[float, float]] | None = None

    @classmethod
    def of_body(cls, body: BodyModel) -> "Person":
        return cls(body.vertices, body.skinning.argmax(1), body.skeleton)

    @classmethod
    def of_avatar(cls, avatar: Avatar, rig: Rig) -> "Person":
        """Raises ValueError when avatar and rig are of different counts, StageError for one without head or feet."""
        animator, seen = Animator(avatar, rig), avatar.opacity[:, 0] >= _OPAQUE
        seen = seen if seen.any() else torch.ones_like(seen)
        owner = rig.skinning.argmax(1)
        head = _of_head(owner)

        def drawn(motion: BodyMotion, camera: Camera) -> tuple[float, float]:
            posed = animator(motion.pose[:1], motion.trans[:1])
            return _edges(posed, head, camera)[0], _edges(posed, torch.ones_like(head), camera)[1]

        whole = cls(lambda pose, _, trans: animator(pose, trans).xyz[:, seen], owner[seen], rig.skeleton, drawn)
        if not whole.head().any() or not whole.feet().any():
            raise StageError(
                "The avatar has no head or no feet to be placed by: leave avatar and rig unconnected, so that the body "
                "is measured in its place."
            )
        return whole

    def points(self, motion: BodyMotion) -> Iterator[torch.Tensor]:
        """[N,3] m, float64, in each frame."""
        for part in torch.arange(len(motion)).split(VERTEX_CHUNK):
            yield from self.pose(motion.pose[part], motion.betas[part], motion.trans[part]).double()

    def stature(self, motion: BodyMotion) -> float:
        """m from sole to crown, upright, in the shape of the motion's first frame."""
        zero = torch.zeros(1, JOINTS, 3, dtype=torch.float64)
        height = self.pose(zero, motion.betas[:1], zero[:, 0])[0, :, 1]
        return float(height.max() - height.min())

    def head(self) -> torch.Tensor:
        """[N] bool."""
        return _of_head(self.owner)

    def feet(self) -> torch.Tensor:
        """[N] bool."""
        return torch.isin(self.owner, torch.tensor([joint + toes for joint in ANKLE.values() for toes in (0, 3)]))


def _of_head(owner: torch.Tensor) -> torch.Tensor:
    return torch.isin(owner, torch.tensor([HEAD, JAW, *EYES]))


def _edges(posed: Posed, some: torch.Tensor, camera: Camera) -> tuple[float, float]:
    """The rows, px from the camera's upper edge, between which some [N] of the first frame's gaussians are opaque."""
    xyz, rotation = posed.xyz[0, some], posed.rotation[0, some]
    at = camera.project(xyz.double()) + 0.5
    low, high = at.amin(0), at.amax(0)
    zoom = min(1.0, _DRAWN / float((high - low).max()))
    # A picture of its own, in which nothing is cut off.
    principal = ((torch.tensor(camera.principal) - low) * zoom + _RIM).tolist()
    size = [math.ceil(side) + 2 * _RIM for side in ((high - low) * zoom).tolist()]
    own = Camera(tuple(zoom * focal for focal in camera.focal), tuple(principal), tuple(size))
    drawn = rasterize(xyz, posed.rgb[some], posed.opacity[some], posed.scale[some], rotation, own)
    rows = drawn.alpha[0].amax(1).tolist()
    covered = [row for row, alpha in enumerate(rows) if alpha > _OPAQUE]
    if not covered:
        return float(low[1]), float(high[1])

    def edge(row: int, out: int) -> float:
        """Where, from the centre of a covered row to that of the next, the picture is just opaque."""
        beyond = rows[min(max(row + out, 0), len(rows) - 1)]
        return row + 0.5 + out * (rows[row] - _OPAQUE) / max(rows[row] - beyond, 1e-6)

    top, bottom = edge(covered[0], -1), edge(covered[-1], 1)
    return (top - _RIM) / zoom + float(low[1]), (bottom - _RIM) / zoom + float(low[1])


def tilt(angle: float) -> torch.Tensor:
    """[3,3], from the world's axes to those of a camera that looks down by `angle`, radians."""
    return axis_angle_to_matrix(torch.tensor([angle, 0, 0], dtype=torch.float64))


def tilt_of_horizon(camera: Camera, y: float) -> float:
    """How far a camera looks down, radians, that sees the horizon `y` px below its picture's upper edge."""
    return math.atan((camera.principal[1] - y) / camera.focal[1])


def horizon_of_tilt(camera: Camera, angle: float) -> float:
    """The other way round."""
    return camera.principal[1] - camera.focal[1] * math.tan(angle)


def heading(person: Person, motion: BodyMotion, row: int) -> float:
    """Which way hips and shoulders face over the ground, radians from −z to +x; the motion is in the world's axes."""
    joints = motion.joints(person.skeleton)[row]
    left = sum(joints[of["left"]] - joints[of["right"]] for of in (HIP, SHOULDER))
    return math.atan2(left[2], left[0])


def bearing(point: torch.Tensor) -> float:
    """Where a point [3], in the world's axes, lies over the ground, radians from straight ahead to the right."""
    return math.atan2(point[0], point[2])


class Stand:
    """A person in one frame, `points` [N,3] m in the camera's axes, to be moved until the feet are seen at `at` px
    (x, y), from the picture's edges: x is the middle of both, y the lowest point of the person."""

    def __init__(self, person: Person, points: torch.Tensor, camera: Camera, at: tuple[float, float]):
        self._points, self._camera = points, camera
        self._head = points[person.head()]
        self._feet = points[person.feet()]
        self._slope = [(a - c) / f for a, c, f in zip(at, camera.principal, camera.focal, strict=True)]
        self._least = NEAREST - float(points[:, 2].min())

    def shift(self, depth: float) -> torch.Tensor:
        """[3] m that brings the person there, moved `depth` along the camera's axis."""
        x, z = self._feet[:, 0], self._feet[:, 2] + depth
        across = x.new_zeros(())
        for _ in range(_MIDDLES):
            seen = (x + across) / z
            across = across + (self._slope[0] - (seen.min() + seen.max()) / 2) * z.mean()
        return torch.stack([across, self._drop(depth), x.new_tensor(depth)])

    def _drop(self, depth: float) -> torch.Tensor:
        """m down until the lowest point is where it should be."""
        return (self._slope[1] * (self._points[:, 2] + depth) - self._points[:, 1]).min()

    def tall(self, depth: float) -> float:
        """px from the feet to the top of the head."""
        head = (self._head[:, 1] + self._drop(depth)) / (self._head[:, 2] + depth)
        return self._camera.focal[1] * float(self._slope[1] - head.min())

    def above(self, depth: float, down: torch.Tensor) -> float:
        """m from the ground that they stand on to the camera, which sees down along `down` [3] (x is 0)."""
        drop = torch.stack([self._feet.new_zeros(()), self._drop(depth), self._feet.new_tensor(depth)])
        return float(((self._points + drop) @ down).max())

    def for_tall(self, pixels: float) -> torch.Tensor:
        """The shift [3] that makes them so tall. Raises StageError."""
        return self.shift(self._search(self.tall, pixels, f"{pixels:.0f} px tall"))

    def for_above(self, metres: float, down: torch.Tensor) -> torch.Tensor:
        """The shift [3] that lets the camera be so far above the ground. Raises StageError."""
        return self.shift(self._search(lambda depth: self.above(depth, down), metres, "so far below the camera"))

    def _search(self, value: Callable[[float], float], wanted: float, what: str) -> float:
        """The depth at which `value`, which rises or falls with it, is as wanted, `what` in words."""
        middle = float(self._points[:, 2].mean())

        def off(inverse: float) -> float:
            """`value` less what is wanted, at an inverse distance: with that sizes grow evenly."""
            return value(1 / inverse - middle) - wanted

        near, far = (1 / (middle + self._least + away) for away in (0, FARTHEST))
        if off(near) * off(far) > 0:
            raise StageError(
                f"Nobody can stand there {what}: it would be less than {NEAREST} m from the "
                f"camera or more than {FARTHEST / 1000:g} km. Change the height, or the camera."
            )
        return 1 / _root(off, far, near) - middle


def tilt_for_height(height: Callable[[float], float], metres: float) -> float:
    """How far the camera looks down, radians, where its `height` above the ground, of that angle, is so many metres.

    The least such angle; height is NaN where nobody can stand so. Raises StageError.
    """
    tried = [(angle, height(angle)) for angle in _TILTS]
    tried = [(angle, above) for angle, above in tried if not math.isnan(above)]
    for (low, below), (high, above) in zip(tried, tried[1:], strict=False):
        if below <= metres <= above:
            return _root(lambda angle: height(angle) - metres, low, high)
    highest = max([0.0, *(above for _, above in tried)])
    raise StageError(
        f"No camera {metres:g} m above the ground sees a person so tall at that place: it is at most {highest:.2g} m "
        "above it. Make the person smaller, or the camera lower."
    )


def _root(value: Callable[[float], float], a: float, b: float) -> float:
    """Where `value`, of different signs at a and b, is 0: by false position (Illinois)."""
    at_a, at_b = value(a), value(b)
    for _ in range(_STEPS):
        if abs(at_b) < _EXACT:
            break
        c = b - at_b * (b - a) / (at_b - at_a)
        at_c = value(c)
        if at_c * at_b < 0:
            a, at_a = b, at_b
        else:
            at_a /= 2
        b, at_b = c, at_c
    return b


def ground_track(person: Person, motion: BodyMotion, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Below the pelvis, on the ground that the feet reach again and again, [F,3] m; and how far the lowest point of
    each frame is along `down` [3], [F] m."""
    low = torch.stack([(points @ down).max() for points in person.points(motion)])
    reach = int(_CONTACT * motion.fps)
    wide = F.pad(low[None], (reach, reach), mode="replicate")[0]
    level = F.max_pool1d(wide[None], 2 * reach + 1, 1)
    level = F.avg_pool1d(F.pad(level, (reach, reach), mode="replicate"), 2 * reach + 1, 1)[0]
    pelvis = motion.joints(person.skeleton)[:, PELVIS]
    return pelvis + (level - pelvis @ down)[:, None] * down, low
