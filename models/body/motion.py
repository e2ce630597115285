"""A person's motion: SMPL-X poses, where the body stands, and the camera that sees it, frame by frame."""

import logging
import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from ...files.bounded import RefusedError
from .body import Skeleton
from .layout import BETAS, JOINTS, PELVIS_AT_REST
from .rotation import (
    axis_angle_to_matrix,
    axis_angle_to_quaternion,
    matrix_to_quaternion,
    quaternion_product,
    quaternion_to_axis_angle,
    slerp,
)
from .skinning import move

MOST_MISSING = 100_000  # frames between the first and the last


class MotionError(RefusedError):
    """A motion that cannot be used; the message says which, why, and what to do."""


@dataclass(frozen=True)
class BodyMotion:
    """F frames of motion in the camera's frame: x right, y down, z forward; the camera does not move.

    `pose` [F,55,3]: axis-angle, radians, of the pelvis, 21 body joints, jaw, left eye, right eye, 15 joints of the left
    hand and 15 of the right. `trans` [F,3]: m, SMPL-X's translation. `betas` [F,10]: the performer's shape. `focal` and
    `principal` [F,2]: px (x, y). All float64 on the CPU. `size`: (width, height) in px. `frames`: which frame of its
    film each is, rising, counted from 0 (users are told numbers from 1, as in file names); `fps`: frames per second.
    """

    pose: torch.Tensor
    trans: torch.Tensor
    betas: torch.Tensor
    focal: torch.Tensor
    principal: torch.Tensor
    size: tuple[int, int]
    frames: tuple[int, ...]
    fps: float

    def __post_init__(self) -> None:
        count = len(self.frames)
        shapes = {"pose": (JOINTS, 3), "trans": (3,), "betas": (BETAS,), "focal": (2,), "principal": (2,)}
        if not count:
            raise MotionError("A motion needs at least one frame.")
        for name, shape in shapes.items():
            value = getattr(self, name).detach().to("cpu", torch.float64)
            object.__setattr__(self, name, value)
            if value.shape != (count, *shape):
                raise MotionError(f"A motion's {name} must have the shape {(count, *shape)}, not {tuple(value.shape)}.")
            if not value.isfinite().all():
                raise MotionError(f"A motion's {name} holds values that are no numbers.")
        if not (self.focal > 0).all() or min(self.size) < 1 or not self.fps > 0:
            raise MotionError(f"A motion's focal length, size {self.size} and fps {self.fps} must be above 0.")
        if any(b <= a for a, b in pairwise(self.frames)):
            raise MotionError("A motion's frame numbers must rise.")
        if self.frames[0] < 0:
            raise MotionError(f"A motion's frame numbers count from 0; {self.frames[0]} lies before its film.")
        first, last = self.frames[0], self.frames[-1]
        if last - first >= count + MOST_MISSING:
            raise MotionError(
                f"Frames {first} to {last} have {count} poses between them: number the frames in a row, or take out "
                "what is not one of them."
            )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def missing(self) -> list[int]:
        """Frame numbers that lie between the first and the last and have no pose."""
        present = set(self.frames)
        return [frame for frame in range(self.frames[0], self.frames[-1]) if frame not in present]

    def joints(self, skeleton: Skeleton) -> torch.Tensor:
        """Where the joints of such a body are before the camera, [F,55,3] m."""
        rest = skeleton.rest(self.betas[0])
        return move(skeleton.transforms(self.pose, rest), rest) + self.trans[:, None]

    def filled(self) -> "BodyMotion":
        """Gaps of up to a second interpolated between their neighbours. Who is not seen for longer has left."""
        longest = max(1.0, self.fps)
        frames = [f for a, b in pairwise(self.frames) for f in (range(a, b) if b - a - 1 <= longest else (a,))]
        frames.append(self.frames[-1])
        filled = len(frames) - len(self)
        away = len(self.missing) - filled
        say = logging.getLogger(__name__).warning
        if filled:
            say("Frames of the motion without the person that were filled in between their neighbours: %d.", filled)
        if away:
            say("The person is away for %d frames of the motion: nobody is drawn in them.", away)
        return replace(self._at(torch.tensor(frames, dtype=torch.float64)), frames=tuple(frames))

    def since(self, first: int) -> "BodyMotion":
        """For a film that begins with what was its frame `first`: what lies before is cut off."""
        kept = [row for row, frame in enumerate(self.frames) if frame >= first]
        if not kept:
            raise MotionError(f"The motion ends at frame {self.frames[-1] + 1}: none is left after {first} frames.")
        return replace(self._take(kept), frames=tuple(self.frames[row] - first for row in kept))

    def retimed(self, fps: float) -> "BodyMotion":
        """The same movement at the same time of a film that has another frame rate."""
        if not fps > 0:
            raise MotionError(f"The frame rate must be above 0, not {fps:g}.")
        first, last, ratio = self.frames[0], self.frames[-1], fps / self.fps
        start = round(first * ratio)
        stop = max(start + 1, round((last + 1) * ratio))  # the last frame lasts as long as any other
        present, times = set(self.frames), {}
        for frame in range(start, stop):
            time = min(max(frame / ratio, first), last)
            if not {math.floor(time), math.ceil(time)} <= present:  # nothing is drawn towards the far side of a gap
                time = round(time)
            if math.floor(time) in present:
                times[frame] = time
        rows = self._at(torch.tensor(list(times.values()), dtype=torch.float64))
        return replace(rows, frames=tuple(times), fps=fps)

    def for_film(self, fps: float) -> "BodyMotion":
        """The motion at the rate of the film it goes with; where that is another, it is retimed and said."""
        if math.isclose(self.fps, fps, rel_tol=1e-6):
            return self
        logging.getLogger(__name__).warning(
            "The motion has %.5g frames a second, the film %.5g: it was retimed to the film's.", self.fps, fps
        )
        return self.retimed(fps)

    def looped(self, frames: int, back_and_forth: bool = True) -> "BodyMotion":
        """For a film of `frames` frames: from where it begins, the motion again and again (or cut short) to the end.

        Back and forth it never jumps; otherwise its end must suit its beginning.
        """
        first, last = self.frames[0], self.frames[-1]
        if frames <= first:
            raise MotionError(f"The motion begins at frame {first + 1}: a film of {frames} frames shows none of it.")
        rows = {frame: row for row, frame in enumerate(self.frames)}
        order = list(range(first, last + 1))
        if back_and_forth:
            order += order[-2:0:-1]
        shown = {frame: order[(frame - first) % len(order)] for frame in range(first, frames)}
        shown = {frame: rows[source] for frame, source in shown.items() if source in rows}
        return replace(self._take(list(shown.values())), frames=tuple(shown))

    def still(self) -> "BodyMotion":
        """The first frame alone, as the only one of its film."""
        return self.only(0)

    def only(self, row: int) -> "BodyMotion":
        """One of the frames alone, as the only one of its film."""
        return self._take([row])

    def resized(self, width: int, height: int) -> "BodyMotion":
        """The same view at another picture size; another aspect stretches it like the picture."""
        if width < 1 or height < 1:
            raise MotionError(f"The size {width}×{height} must be above 0.")
        ratio = torch.tensor([width / self.size[0], height / self.size[1]], dtype=torch.float64)
        return replace(self, focal=self.focal * ratio, principal=self.principal * ratio, size=(width, height))

    def seen_by(self, focal: torch.Tensor, principal: torch.Tensor, size: tuple[int, int]) -> "BodyMotion":
        """The same before another camera: focal and principal [2] or, frame by frame, [F,2] px."""
        pair = [torch.as_tensor(of, dtype=torch.float64).expand(len(self), 2) for of in (focal, principal)]
        return replace(self, focal=pair[0], principal=pair[1], size=size)

    def moved(self, x: float = 0, y: float = 0, z: float = 0, degrees: float = 0) -> "BodyMotion":
        """Moved by x (right), y (down), z (away) m, after a turn about the vertical axis through its first pelvis.

        Seen from above a positive turn is counter-clockwise: whoever faces the camera turns to the picture's right.
        """
        turn = axis_angle_to_matrix(torch.tensor([0, -torch.pi * degrees / 180, 0], dtype=torch.float64))
        turned = self.turned(turn) if degrees else self
        return turned.shifted(torch.tensor([x, y, z], dtype=torch.float64))

    def turned(self, matrix: torch.Tensor) -> "BodyMotion":
        """Turned by `matrix` [3,3], float64, about its first pelvis."""
        quaternion = matrix_to_quaternion(matrix)
        root = quaternion_to_axis_angle(quaternion_product(quaternion, axis_angle_to_quaternion(self.pose[:, 0])))
        # The body turns about its own pelvis, so the rest pelvis cancels.
        path = (self.trans - self.trans[0]) @ matrix.T + self.trans[0]
        return replace(self, pose=torch.cat([root[:, None], self.pose[:, 1:]], dim=1), trans=path)

    def shifted(self, shift: torch.Tensor) -> "BodyMotion":
        """Moved by `shift` [3] or, frame by frame, [F,3] m."""
        return replace(self, trans=self.trans + shift)

    def scaled(self, factor: float) -> "BodyMotion":
        """The person appears `factor` times as large, the pelvis at the same place in the picture.

        Bodies are metric, so this brings the person nearer or farther.
        """
        if not factor > 0:
            raise MotionError(f"The scale must be above 0, not {factor:g}.")
        pelvis = torch.tensor(PELVIS_AT_REST, dtype=torch.float64)
        return replace(self, trans=(self.trans + pelvis) / factor - pelvis)

    def _take(self, index: list[int] | torch.Tensor) -> "BodyMotion":
        rows = {name: getattr(self, name)[index] for name in ("pose", "trans", "betas", "focal", "principal")}
        return replace(self, **rows, frames=tuple(range(len(index))))

    def _at(self, times: torch.Tensor) -> "BodyMotion":
        """The motion at frame numbers `times`, fractions allowed: rotations by slerp, the rest linearly."""
        numbers = torch.tensor(self.frames, dtype=torch.float64)
        after = torch.searchsorted(numbers, times).clamp(max=len(self) - 1)
        before = (after - (numbers[after] > times).long()).clamp(min=0)
        span = (numbers[after] - numbers[before]).clamp(min=1)
        t = (times - numbers[before]) / span
        a, b = self._take(before), self._take(after)
        rows = {
            name: torch.lerp(getattr(a, name), getattr(b, name), t[:, None])
            for name in ("trans", "betas", "focal", "principal")
        }
        return replace(a, pose=slerp(a.pose, b.pose, t[:, None, None]), **rows)
