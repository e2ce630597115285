"""The temporal fit: a whole clip's poses moved until the body's points lie on the picture's (AniCrafter, SMPLify)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch

from ...models.body.rotation import matrix_to_sixd, sixd_to_matrix
from ...models.drawing.camera import project
from .losses import Losses, first_stage_losses, second_stage_losses

RATE = 0.01
FIRST, SECOND = 30, 50  # steps
BETWEEN = 21  # body rotations, behind the root's; then 15 of each hand, and the jaw


class Points(NamedTuple):
    """Of an unturned body in F frames, m: the 63 points that are followed [F,63,3], its pelvis and its head [F,3]."""

    points: torch.Tensor
    pelvis: torch.Tensor
    head: torch.Tensor


class Body(Protocol):
    """What can be fitted."""

    def __call__(self, rotations: torch.Tensor, betas: torch.Tensor) -> Points:
        """rotations [F,52,3,3]: 21 of the body, 15 of the left hand, 15 of the right, jaw. betas [F,10]."""


@dataclass
class Fit:
    """F frames: rotations [F,53,3,3] (the root's first), betas [F,10], `head` [F,3] m: where it is before the camera.
    `trace`: the loss before every step."""

    rotations: torch.Tensor
    betas: torch.Tensor
    head: torch.Tensor
    trace: list[float] = field(default_factory=list)

    def translation(self, body: Body) -> torch.Tensor:
        """SMPL-X's translation [F,3] m."""
        at = body(self.rotations[:, 1:], self.betas)
        return self.head - turned(at.head, at, self.rotations[:, 0]) - at.pelvis


def fit_motion(
    body: Body, wanted: torch.Tensor, height: torch.Tensor, camera: torch.Tensor, start: Fit,
    first: int = FIRST, second: int = SECOND, prior_weight: float = 1.0,
    on_step: Callable[[int, int], None] | None = None,
) -> Fit:
    """`start` moved onto `wanted` [F,63,3] (x, y px, confidence): first its place and its root, then all of it.

    height [F] px: of the person's box; camera [3,3]; first, second: steps of each stage; prior_weight: of the
    distance from the pose before the second stage (1: it comes from a network). All in the dtype of `wanted`.
    """
    sixd = _rows(start.rotations)
    betas = start.betas.mean(0).expand_as(start.betas).clone()
    root, place = sixd[:, :1].clone().requires_grad_(), start.head.clone().requires_grad_()
    trace = []
    with torch.no_grad():
        still = body(start.rotations[:, 1:], betas)

    def descend(parameters: list[torch.Tensor], steps: int, loss: Callable[[], Losses]) -> None:
        optimiser = torch.optim.Adam(parameters, RATE)
        for _ in range(steps):
            optimiser.zero_grad()
            total = loss().total
            total.backward()
            optimiser.step()
            trace.append(total.item())
            if on_step is not None:
                on_step(len(trace), first + second)

    def trunk() -> Losses:
        seen = project_body(still.points, still, _matrix(root)[:, 0], place, camera)
        return first_stage_losses(seen, wanted, height, root, place)

    descend([root, place], first, trunk)
    pose = torch.cat([root.detach(), sixd[:, 1:]], dim=1)
    before = pose.clone()
    for parameter in (pose, betas):
        parameter.requires_grad_()

    def whole() -> Losses:
        matrix = _matrix(pose)
        at = body(matrix[:, 1:], betas)
        seen = project_body(at.points, at, matrix[:, 0], place, camera)
        return second_stage_losses(seen, wanted, height, pose, before, betas, place, prior_weight)

    descend([pose, betas, place], second, whole)
    return Fit(_matrix(pose).detach(), betas.detach(), place.detach(), trace)


def turned(points: torch.Tensor, at: Points, root: torch.Tensor) -> torch.Tensor:
    """Points [F,3] or [F,N,3] of the unturned body from its pelvis on, turned by `root` [F,3,3]."""
    if points.ndim == 2:
        return turned(points[:, None], at, root)[:, 0]
    return (points - at.pelvis[:, None]) @ root.mT


def placed(points: torch.Tensor, at: Points, root: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """Points [F,N,3] of the unturned body before the camera: turned, then moved until its head is at `head` [F,3]."""
    return turned(points, at, root) + (head - turned(at.head, at, root))[:, None]


def project_body(
    points: torch.Tensor, at: Points, root: torch.Tensor, head: torch.Tensor, camera: torch.Tensor
) -> torch.Tensor:
    """Where the camera [3,3] sees them: [F,N,2] px."""
    return project(placed(points, at, root, head), camera.diagonal()[:2], camera[:2, 2])


def full_pose(axis_angle: torch.Tensor) -> torch.Tensor:
    """[F,55,3] in SMPL-X's order of [F,53,3] in the fit's, where the jaw is last; eyes at rest."""
    hands = axis_angle[:, 1 + BETWEEN : -1]
    return torch.cat([axis_angle[:, : 1 + BETWEEN], axis_angle[:, -1:], torch.zeros_like(hands[:, :2]), hands], dim=1)


def _rows(matrix: torch.Tensor) -> torch.Tensor:
    """The two first rows, which are what moves: as published."""
    return matrix_to_sixd(matrix.mT)


def _matrix(rows: torch.Tensor) -> torch.Tensor:
    return sixd_to_matrix(rows).mT
