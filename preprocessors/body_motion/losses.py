"""The losses of AniCrafter's temporal SMPLify; the weights are in them."""

from typing import NamedTuple

import torch

from .targets import SURE, TRUNK

_ROBUST = 100.0  # px: residuals beyond count less and less
_NECK, _HEAD = 12, 15


class Losses(NamedTuple):
    """Scalars: how far points lie from the picture's, how far the pose has gone, how unlikely the shape is, and how
    much it all trembles; `total` is their sum."""

    reprojection: torch.Tensor
    regularize: torch.Tensor
    shape: torch.Tensor
    smooth: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        return sum(self)


def first_stage_losses(
    points: torch.Tensor, wanted: torch.Tensor, height: torch.Tensor, root: torch.Tensor, place: torch.Tensor
) -> Losses:
    """For the placing of the trunk. points [F,63,2] px, wanted [F,63,3], height [F] px of the person's box, root
    [F,1,6], place [F,3] m. Frames that do not show both shoulders and both hips do not count."""
    aim = wanted[:, TRUNK]
    valid = (aim[..., 2] > SURE).all(1)
    off = (points[:, TRUNK] - aim[..., :2]).square().sum(-1) * aim[..., 2] / height[:, None]
    reprojection = 100 * off[valid].sum() / max(1, len(TRUNK) * int(valid.sum()))
    zero = torch.zeros_like(reprojection)
    return Losses(reprojection, zero, zero, 30 * (mean(jitter(place)) + mean(jitter(root))))


def second_stage_losses(
    points: torch.Tensor, wanted: torch.Tensor, height: torch.Tensor, pose: torch.Tensor, start: torch.Tensor,
    betas: torch.Tensor, place: torch.Tensor, prior_weight: float = 1.0,
) -> Losses:
    """For everything: pose and start [F,53,6], betas [F,10]; the others as in `first_stage_losses`.

    prior_weight: of the distance from the start; 1 is for one that a network has seen.
    """
    off = geman_mcclure(points - wanted[..., :2]) * wanted[..., 2:] / height[:, None, None]
    moved = (pose - start).norm(dim=-1)
    return Losses(
        100 * off.mean(),
        prior_weight * (100 * moved.mean() + 40 * (moved[:, _NECK].mean() + moved[:, _HEAD].mean())),
        0.04 * betas.norm(dim=-1).mean() + (20 * betas.std(0).mean() if len(betas) > 1 else 0),
        30 * (mean(jitter(pose)) + mean(jitter(place))),
    )


def geman_mcclure(residual: torch.Tensor) -> torch.Tensor:
    """The square of small residuals, at most 100² of large ones."""
    square = residual.square()
    return _ROBUST**2 * square / (_ROBUST**2 + square)


def jitter(x: torch.Tensor) -> torch.Tensor:
    """How far each frame of [F,...,C] lies from between its neighbours, twice: [F-2,...]; they do not feel it."""
    around = (x[2:] + x[:-2]).detach()
    return (around - 2 * x[1:-1]).norm(dim=-1)


def mean(x: torch.Tensor) -> torch.Tensor:
    """0 of nothing, where torch's is NaN."""
    return x.mean() if x.numel() else x.sum()
