"""Where the fit starts when no network has seen the pose: somebody standing, turned and bent by the keypoints alone."""

import math
from collections.abc import Callable

import torch

from ...models.body.rotation import axis_angle_to_matrix, matrix_to_sixd, sixd_to_matrix
from .body_points import BodyPoints
from .fit import Fit, placed, project_body
from .losses import geman_mcclure, second_stage_losses

STEPS, RATE = 520, 0.04
_PRIOR_WEIGHT = 0.03  # of the standing pose, which nothing has seen
_LIMITS = 60.0
_SHAPE = 0.5  # without it a person becomes large and far away, as one camera cannot tell
_BACK = 0.3  # sine of how far fingers bend back
_CLEARLY = 0.5  # of the hanging arm's misfit, that the other must have
_TRIAL = 60  # steps, after which it is decided how each arm starts
# How a left arm may start, radians (the right one mirrored): hanging, or its hand before the chest. From the one the
# other is hardly found: on the way an arm's picture becomes shorter first, or the hand goes through the body.
_ARMS = ({16: (0.0, 0.0, -1.1), 18: (0.0, -0.3, 0.0)}, {16: (0.0, 0.2, -1.2), 18: (0.0, -1.8, 0.0)})
_LEFT, _RIGHT, _NOSE, _BODY = 5, 6, 0, slice(0, 17)
# Points of the left and the right arm among the 63: elbow, wrist, fingers.
_ARM_POINTS = [7, 9, *range(23, 43)], [8, 10, *range(43, 63)]
# Pairs of points that hardly come nearer to each other, unless they are seen at a slant.
_STIFF = ((5, 6), (11, 12), (5, 11), (6, 12), (5, 12), (6, 11), (11, 13), (12, 14), (13, 15), (14, 16), (3, 4))


def standing_fit(body: BodyPoints, wanted: torch.Tensor, camera: torch.Tensor, arms: tuple[int, int] = (0, 0)) -> Fit:
    """Standing in every frame: as far away as its longest stiff part looks, turned as its shoulders and nose look.

    wanted [F,63,3]: x, y px, confidence. arms: how the left and the right one are held, of `_ARMS`.
    """
    count, like = len(wanted), wanted.new_zeros(())
    pose = wanted.new_zeros(53, 3)
    for side, (how, mirror) in enumerate(zip(arms, ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0)), strict=True)):
        for joint, bend in _ARMS[how].items():
            pose[joint + side] = wanted.new_tensor(bend) * wanted.new_tensor(mirror)
    rotations = axis_angle_to_matrix(pose).expand(count, 53, 3, 3).clone()
    betas = wanted.new_zeros(count, 10)
    at = body(rotations[:, 1:], betas)
    sure, xy = wanted[..., 2] > 0, wanted[..., :2]

    seen, real = (torch.stack([(of[:, a] - of[:, b]).norm(dim=-1) for a, b in _STIFF], 1) for of in (xy, at.points))
    both = torch.stack([sure[:, a] & sure[:, b] for a, b in _STIFF], 1)
    scale = torch.where(both, seen / real, like).amax(1)  # px per m
    known = scale > 0
    scale = torch.where(known, scale, scale[known].median() if known.any() else like + 100)
    distance = (camera[0, 0] / _running_median(scale)).clamp(0.3, 50)

    shoulders = xy[:, [_LEFT, _RIGHT]]
    wide = (shoulders[:, 0, 0] - shoulders[:, 1, 0]) / (real[:, 0] * scale)
    ahead = (xy[:, _NOSE, 0] - shoulders[..., 0].mean(1)) / (real[:, 0] * scale)
    side = torch.where(sure[:, _NOSE], ahead, like)
    yaw = torch.where(both[:, 0], wide.clamp(-1, 1).acos() * torch.where(side < 0, -1.0, 1.0), like)
    yaw = torch.where(yaw.abs() < math.radians(25), like, yaw)  # the shoulders of whoever faces us tell little
    facing = axis_angle_to_matrix(wanted.new_tensor([math.pi, 0, 0]))
    # Turned before it faces us: about the body's own axis, to the picture's right where the nose is there.
    rotations[:, 0] = facing @ axis_angle_to_matrix(torch.stack([yaw * 0, yaw, yaw * 0], -1))

    head = torch.stack([distance * 0, distance * 0, distance], -1)
    body_points = placed(at.points, at, rotations[:, 0], head)[:, _BODY]
    weight = sure[:, _BODY].to(wanted)[..., None]
    total = weight.sum(1).clamp(min=1)
    middle = (xy[:, _BODY] * weight).sum(1) / total
    centre = (body_points * weight).sum(1) / total
    shift = (middle - camera[:2, 2]) / camera[[0, 1], [0, 1]] * centre[:, 2:] - centre[:, :2]
    return Fit(rotations, betas, head + torch.cat([shift, shift[:, :1] * 0], -1))


def fit_from_keypoints(
    body: BodyPoints, wanted: torch.Tensor, height: torch.Tensor, camera: torch.Tensor,
    on_step: Callable[[int, int], None] | None = None,
) -> Fit:
    """`standing_fit`, moved in all its joints onto the points, elbows and knees only bending as they can.

    Each arm starts as it comes nearer to its points. on_step(done, `STEPS`) may raise to cancel.
    """
    done, off = 0, []

    def step() -> None:
        nonlocal done
        done += 1
        if on_step is not None:
            on_step(done, STEPS)

    for how in range(len(_ARMS)):
        tried = _optimised(body, standing_fit(body, wanted, camera, (how, how)), wanted, height, camera, _TRIAL, step)
        with torch.no_grad():
            at = body(tried.rotations[:, 1:], tried.betas)
            seen = project_body(at.points, at, tried.rotations[:, 0], tried.head, camera)
            away = (geman_mcclure(seen - wanted[..., :2]).sum(-1) * wanted[..., 2]).sum(0)
            off.append([float(away[points].sum()) for points in _ARM_POINTS])
    arms = tuple(int(off[1][side] < _CLEARLY * off[0][side]) for side in (0, 1))
    start = standing_fit(body, wanted, camera, arms)
    return _optimised(body, start, wanted, height, camera, STEPS - len(_ARMS) * _TRIAL, step)


def _optimised(
    body: BodyPoints, start: Fit, wanted: torch.Tensor, height: torch.Tensor, camera: torch.Tensor, steps: int,
    on_step: Callable[[], None],
) -> Fit:
    before = matrix_to_sixd(start.rotations.mT)
    pose, place = before.clone().requires_grad_(), start.head.clone().requires_grad_()
    betas = start.betas[:1].clone().requires_grad_()
    optimiser = torch.optim.Adam([pose, place, betas], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, RATE / 10)
    for _ in range(steps):
        optimiser.zero_grad()
        matrix, shape = sixd_to_matrix(pose).mT, betas.expand_as(start.betas)
        at = body(matrix[:, 1:], shape)
        seen = project_body(at.points, at, matrix[:, 0], place, camera)
        losses = second_stage_losses(seen, wanted, height, pose, before, shape, place, _PRIOR_WEIGHT)
        (losses.total + _LIMITS * joint_limit_loss(matrix) + _SHAPE * betas.square().mean()).backward()
        optimiser.step()
        schedule.step()
        on_step()
    with torch.no_grad():
        return Fit(sixd_to_matrix(pose).mT, betas.expand_as(start.betas).clone(), place.detach())


def joint_limit_loss(rotations: torch.Tensor) -> torch.Tensor:
    """How far elbows and knees bend the wrong way or sideways; rotations [F,53,3,3]. A scalar, 0 for a healthy pose."""
    left, right, knees = rotations[:, 18, :, 0], -rotations[:, 19, :, 0], -rotations[:, [4, 5], :, 1]
    elbows = torch.stack([left, right], 1)  # where the forearms point: forwards is +z; shins may only point back
    wrong = torch.cat([(-elbows[..., 2]).relu(), knees[..., 2].relu()], 1)
    aside = torch.cat([elbows[..., 1], knees[..., 0]], 1)
    # Fingers point away from the body and close downwards; thumbs turn more freely.
    fingers = torch.stack([rotations[:, 22:34], rotations[:, 37:49]], 1)
    along = torch.stack([fingers[:, 0, ..., 0], -fingers[:, 1, ..., 0]], 1)
    back, spread, twist = (along[..., 1] - _BACK).relu(), along[..., 2], fingers[..., 2, 1]
    hands = back.square().mean() + 0.3 * (spread.square() + twist.square()).mean()
    return wrong.square().mean() + 0.3 * aside.square().mean() + hands


def _running_median(x: torch.Tensor, reach: int = 3) -> torch.Tensor:
    padded = torch.cat([x[:1].expand(reach), x, x[-1:].expand(reach)])
    return padded.unfold(0, 2 * reach + 1, 1).median(-1).values
