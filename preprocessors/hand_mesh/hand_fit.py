"""A hand mesh laid onto 21 keypoints per frame: turned, brought near or far, its fingers bent, steady over time."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ...models.body.rotation import matrix_to_sixd, quaternion_to_matrix, sixd_to_matrix
from ...models.drawing.camera import project
from ..body_motion.losses import geman_mcclure, jitter, mean
from .hand_model import HandModel

STEPS = 120
_RATE = 0.05
_PALM = [0, 1, 2, 5, 9, 13, 17]  # of the 21 points, those that bending moves least
LEAST, _LEAST_PALM = 8, 3  # points that make a hand
_VIEWS = 160
_USUAL = 2000.0  # how much the usual distance counts
_CHANGE = 0.15  # of the palm's size, that a half turn from one frame to the next must save


class HandPose(NamedTuple):
    """F frames: angles [F,15,3] radians, turn [F,3,3], place [F,3] m of the wrist before the camera."""

    angles: torch.Tensor
    turn: torch.Tensor
    place: torch.Tensor

    def to_camera(self, points: torch.Tensor) -> torch.Tensor:
        """Points [F,N,3] of the hand before the camera."""
        return points @ self.turn.mT + self.place[:, None]


def fit_hand(
    model: HandModel, wanted: torch.Tensor, camera: torch.Tensor, usual: torch.Tensor,
    on_step: Callable[[int, int], None] | None = None,
) -> HandPose:
    """wanted [F,21,3]: x, y px, score (0 where it does not count); frames that follow one another. camera [3,3].

    usual: the distance in m [F] that hands have, about, which tells a hand that is far away from one seen from the end.
    A frame without a hand (`shows_hand`) gets what lies between those around it; some frame must show one.
    """
    shown = torch.nonzero(shows_hand(wanted))[:, 0]
    wanted, frames = wanted[shown], len(wanted)
    turn, place = _views(model, wanted, camera, usual[shown])
    sixd, place = (_between(x, shown, frames) for x in (matrix_to_sixd(turn), place))
    free = wanted.new_zeros(frames, 15, 3)
    parameters = [sixd.requires_grad_(), place.requires_grad_(), free.requires_grad_()]
    optimiser = torch.optim.Adam([{"params": [sixd, free]}, {"params": [place], "lr": _RATE / 10}], _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS, _RATE / 20)
    size = _extent(wanted)
    for step in range(STEPS):
        optimiser.zero_grad()
        pose = HandPose(model.angles(free), sixd_to_matrix(sixd), place)
        points = pose.to_camera(model.points(pose.angles))[shown]
        seen = project(points, camera.diagonal()[:2], camera[:2, 2])
        # In hundredths of the hand's size, so that small pictures are followed as closely.
        off = geman_mcclure((seen - wanted[..., :2]) * (100 / size)[:, None, None]) * wanted[..., 2:]
        trembling = sum(weight * mean(jitter(x)) for weight, x in ((8, sixd), (4, pose.angles), (60, place)))
        unusual = (place[:, 2].clamp(min=1e-3) / usual).log().square()
        (off.mean() + trembling + _USUAL * unusual.mean() + 0.5 * free.square().mean()).backward()
        optimiser.step()
        schedule.step()
        if on_step is not None:
            on_step(step + 1, STEPS)
    sixd, place, free = (_between(x.detach()[shown], shown, frames) for x in parameters)
    return HandPose(model.angles(free), sixd_to_matrix(sixd), place)


def shows_hand(points: torch.Tensor) -> torch.Tensor:
    """bool [F]: enough of the points [F,21,3] (x, y, score) count to lay a hand on."""
    counts = points[..., 2] > 0
    return (counts.sum(1) >= LEAST) & (counts[:, _PALM].sum(1) >= _LEAST_PALM)


def _between(x: torch.Tensor, known: torch.Tensor, frames: int) -> torch.Tensor:
    """[frames,...] of [K,...] in the frames `known`, in a straight line from each to the next."""
    frame = torch.arange(frames)
    after = torch.searchsorted(known, frame).clamp(max=len(known) - 1)
    before = torch.where(known[after] > frame, after - 1, after).clamp(min=0)
    part = (frame - known[before]) / (known[after] - known[before]).clamp(min=1)
    return torch.lerp(x[before], x[after], part.to(x).view(-1, *[1] * (x.dim() - 1)))


def hand_distance(model: HandModel, wanted: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """How far the hand is in each frame by its size alone, m [F]; NaN where there is none. See `fit_hand`."""
    distance, shown = wanted.new_full((len(wanted),), torch.nan), shows_hand(wanted)
    if shown.any():
        distance[shown] = _views(model, wanted[shown], camera)[1][:, 2]
    return distance


def _views(
    model: HandModel, wanted: torch.Tensor, camera: torch.Tensor, usual: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """For every frame how the hand is turned and where it is, by the palm alone: of many views the sequence that fits
    best, has the usual distance and does not jump (Viterbi). [F,3,3], [F,3]."""
    palm = model.points(model.angles(wanted.new_zeros(1, 15, 3)))[0, _PALM]
    views = _random_rotations()
    flat = torch.einsum("vrc,pc->vpr", views, palm)[..., :2]  # seen from afar
    xy, weight = wanted[:, _PALM, :2], wanted[:, _PALM, 2]
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
    middle = torch.einsum("fp,fpc->fc", weight, xy)
    centre = torch.einsum("fp,vpc->fvc", weight, flat)
    away, out = xy[:, None] - middle[:, None, None], flat[None] - centre[:, :, None]
    of = weight[:, None, :, None]
    scale = ((away * out * of).sum((-1, -2)) / (out * out * of).sum((-1, -2))).clamp(min=1e-3)  # px per m
    spread = (away * away * of).sum((-1, -2)).sqrt()
    cost = ((away - scale[..., None, None] * out).square() * of).sum((-1, -2)).sqrt() / spread.clamp(min=1e-3)
    if usual is not None:
        cost = cost + (camera[0, 0] / scale / usual[:, None]).log().abs()
    angle = (((views.flatten(1) @ views.flatten(1).T) - 1) / 2).clamp(-1, 1).acos()
    step = _CHANGE * angle / torch.pi * 4

    best, back = cost[0], []
    for now in cost[1:]:
        total = best[:, None] + step
        back.append(total.argmin(0))
        best = total.amin(0) + now
    chosen = [int(best.argmin())]
    for before in reversed(back):
        chosen.append(int(before[chosen[-1]]))
    chosen = torch.tensor(chosen[::-1])
    frame = torch.arange(len(wanted))
    distance = camera[0, 0] / scale[frame, chosen]
    wrist = middle - scale[frame, chosen, None] * centre[frame, chosen]
    xy = (wrist - camera[:2, 2]) / camera[[0, 1], [0, 1]] * distance[:, None]
    return views[chosen].clone(), torch.cat([xy, distance[:, None]], 1)


def _random_rotations() -> torch.Tensor:
    """[views,3,3], always the same."""
    generator = torch.Generator().manual_seed(0)
    return quaternion_to_matrix(F.normalize(torch.randn(_VIEWS, 4, generator=generator), dim=1))


def _extent(wanted: torch.Tensor) -> torch.Tensor:
    """The hand's size [F] px: the longer side of the box around it, in the clip's upper range."""
    seen = wanted[..., 2:] > 0
    low = torch.where(seen, wanted[..., :2], torch.inf).amin(1)
    high = torch.where(seen, wanted[..., :2], -torch.inf).amax(1)
    side = (high - low).amax(1)
    return side.quantile(0.75).clamp(min=4).expand_as(side)

