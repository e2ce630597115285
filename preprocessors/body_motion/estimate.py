"""`Body Motion from Video`: keypoints of a clip to a BodyMotion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from ...models.body.body import BodyModel
from ...models.body.motion import BodyMotion, MotionError
from ...models.body.rotation import matrix_to_axis_angle
from ...models.hmr.multihmr import intrinsics
from ...models.loaded import Loaded
from ..pose.keypoints import Pose
from .body_points import BodyPoints
from .fit import FIRST, SECOND, Fit, fit_motion, full_pose, placed, project_body
from .init_from_keypoints import STEPS, fit_from_keypoints
from .init_from_network import fit_from_network
from .smooth import one_euro_filter, smooth_betas, smooth_pose, smooth_translation
from .targets import person_box, targets, wholebody

BOX = 1.5  # the person's box is that much larger than its points, as Multi-HMR crops it
_PRIOR_WEIGHT = 0.1  # of a start that keypoints alone have given
_ANGLES = (35.0, 50.0, 65.0)  # degrees, tried when the field of view is not known
_TRIED = 12  # frames


@dataclass(frozen=True)
class MotionReport:
    """What the fit did. `frames`: how many the clip has; `first`, `last`: with the person, and `missing`: those between
    that were filled in, counted from 0; `error` px: mean distance of sure points; `shaking_before`, `shaking` m/s²:
    mean acceleration of the joints before and after smoothing; `field_of_view` degrees over the longer side."""

    frames: int
    first: int
    last: int
    missing: tuple[int, ...]
    error: float
    shaking_before: float
    shaking: float
    field_of_view: float

    def __str__(self) -> str:
        frames = "1 frame" if len(self.missing) == 1 else f"{len(self.missing)} frames"
        gaps = f"{frames} without the person filled in" if self.missing else ""
        whole = (self.first, self.last) == (0, self.frames - 1)
        span = "" if whole else f"person from frame {self.first + 1} to {self.last + 1} of {self.frames}"
        person = ", ".join(filter(None, (span, gaps))) or "person in every frame"
        return (
            f"{person}; points {self.error:.1f} px off on average; joints accelerate by {self.shaking:.1f} m/s² "
            f"({self.shaking_before:.1f} before smoothing); field of view {self.field_of_view:.0f}°."
        )


@torch.inference_mode(False)  # ComfyUI calls nodes in inference mode, in which nothing can be fitted
@torch.enable_grad()
def estimate_motion(
    model: BodyModel, poses: Sequence[Pose], size: tuple[int, int], fps: float, degrees: float | None = 60.0,
    network: Loaded | None = None, images: torch.Tensor | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[BodyMotion, MotionReport]:
    """The motion of the first person of each of `poses`, seen in pictures of `size` px (width, height).

    degrees: the camera's field of view over the longer side; None tries several. network: Multi-HMR, which looks at
    `images` [F,H,W,3] (0…1); without it the fit starts from somebody standing. Frames are numbered from 0. A run
    of fewer than a tenth of a second's frames is taken for a mistake; over gaps of up to a second the fit goes on, so
    that the person does not jump, and they are filled in.
    Raises MotionError when nothing is left.
    """
    keypoints = torch.stack([wholebody(pose, *size) for pose in poses]).float()
    wanted = targets(keypoints)
    box = person_box(wanted)
    shortest = min(len(poses), max(3, int(fps / 10)))  # a photo is a clip of one frame
    runs = _runs(box.isfinite().all(1) & ((wanted[:, :17, 2] > 0).sum(1) >= 4), shortest, int(fps))
    if not runs and len(poses) == 1:
        raise MotionError(
            "The photo does not show the person's pose: four points of the body must have a score above 0.5."
        )
    if not runs:
        raise MotionError(
            f"None of {len(poses)} frames shows a person for long enough: at least three frames in a row must show "
            "four points of the body with a score above 0.5."
        )
    body, height = BodyPoints(model), (box[:, 3] - box[:, 1]).clamp(min=1) * BOX
    if degrees is None:
        degrees = _field_of_view(body, wanted[runs[0]][:_TRIED], height[runs[0]][:_TRIED], size)
    camera = intrinsics(*size, degrees).float()

    looks = [STEPS if network is None else len(run) for run in runs]
    total, done = sum(looks) + len(runs) * (FIRST + SECOND), 0

    def step(_: int, __: int) -> None:
        nonlocal done
        done += 1
        if on_step is not None:
            on_step(min(done, total), total)

    fits = []
    for run in runs:
        aim, tall, start = wanted[run], height[run], None
        if network is not None:
            aim = torch.cat([one_euro_filter(aim[..., :2], fps), aim[..., 2:]], dim=-1)
            start = fit_from_network(network, body, images[run], keypoints[run], box[run], camera, step)
        prior_weight = _PRIOR_WEIGHT if start is None else 1.0
        start = fit_from_keypoints(body, aim, tall, camera, step) if start is None else start
        fits.append(fit_motion(body, aim, tall, camera, start, prior_weight=prior_weight, on_step=step))
    frames = torch.cat(runs).tolist()
    motion = torch.cat([_smoothed(body, fit, fps) for fit in fits]).double()
    pose, trans, betas = motion.split((165, 3, 10), dim=1)
    result = BodyMotion(
        pose.unflatten(1, (55, 3)), trans, betas, camera.diagonal()[:2].expand(len(frames), -1),
        camera[:2, 2].expand(len(frames), -1), size, tuple(frames), fps,
    ).filled()
    points = [_points(body, fit) for fit in fits]
    error = torch.cat([_errors(body, fit, wanted[run], camera) for fit, run in zip(fits, runs, strict=True)]).mean()
    missing = tuple(sorted({*result.frames} - {*frames}))
    away = [row for row, (a, b) in enumerate(pairwise(result.frames), 1) if b > a + 1]
    shakes = shaking(points, fps), shaking(result.joints(model.skeleton).tensor_split(away), fps)
    return result, MotionReport(len(poses), frames[0], frames[-1], missing, error.item(), *shakes, degrees)


def shaking(clips: Sequence[torch.Tensor], fps: float) -> float:
    """Mean acceleration, m/s², of joints [F,J,3] m over clips."""
    steps = [(x[2:] + x[:-2] - 2 * x[1:-1]).norm(dim=-1).flatten() for x in clips]
    steps = torch.cat(steps)
    return float(steps.mean() * fps**2) if len(steps) else 0.0


def _smoothed(body: BodyPoints, fit: Fit, fps: float) -> torch.Tensor:
    """[F,178]: pose, translation and betas of a fit, smoothed as published."""
    pose = full_pose(matrix_to_axis_angle(fit.rotations))
    trans = fit.translation(body)
    parts = smooth_pose(pose, fps).flatten(1), smooth_translation(trans, fps), smooth_betas(fit.betas, fps)
    return torch.cat(parts, dim=1)


def _points(body: BodyPoints, fit: Fit) -> torch.Tensor:
    """The body's joints [F,55,3] m before the camera."""
    at = body(fit.rotations[:, 1:], fit.betas)
    joints = body.joints(fit.rotations[:, 1:], fit.betas)
    return placed(joints, at, fit.rotations[:, 0], fit.head)


def _errors(body: BodyPoints, fit: Fit, wanted: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Distances in px of the sure points."""
    at = body(fit.rotations[:, 1:], fit.betas)
    seen = project_body(at.points, at, fit.rotations[:, 0], fit.head, camera)
    return (seen - wanted[..., :2]).norm(dim=-1)[wanted[..., 2] > 0]


def _field_of_view(body: BodyPoints, wanted: torch.Tensor, height: torch.Tensor, size: tuple[int, int]) -> float:
    """The angle under which the first frames can be explained best."""

    def misfit(degrees: float) -> float:
        camera = intrinsics(*size, degrees).to(wanted)
        return _errors(body, fit_from_keypoints(body, wanted, height, camera), wanted, camera).mean().item()

    return min(_ANGLES, key=misfit)


def _runs(seen: torch.Tensor, shortest: int, longest_gap: int) -> list[torch.Tensor]:
    """Numbers of the frames that are fitted together: those seen, up to a gap of more than `longest_gap` frames."""
    runs: list[list[int]] = []
    for frame in torch.nonzero(seen)[:, 0].tolist():
        if runs and frame - runs[-1][-1] - 1 <= longest_gap:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return [torch.tensor(run) for run in runs if len(run) >= shortest]
