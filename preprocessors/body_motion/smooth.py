"""Smoothing over time: keypoints before the fit, motion after it."""

import math

import torch
import torch.nn.functional as F

from ...models.body.rotation import axis_angle_to_matrix, matrix_to_axis_angle, matrix_to_sixd, sixd_to_matrix

_CUTOFF, _SPEED, _SPEED_CUTOFF = 1.2, 0.3, 1.0  # Hz, per unit of speed, Hz


def one_euro_filter(x: torch.Tensor, fps: float = 30.0) -> torch.Tensor:
    """[F,...] followed by a One-Euro filter: steady when slow, without lag when fast."""
    out, speed = [x[0]], torch.zeros_like(x[0])
    for now in x[1:]:
        speed = torch.lerp(speed, (now - out[-1]) * fps, _smoothing_factor(_SPEED_CUTOFF, fps))
        step = now - out[-1]
        out.append(out[-1] + _smoothing_factor(_CUTOFF + _SPEED * speed.abs(), fps) * step)
    return torch.stack(out)


def _smoothing_factor(cutoff: float | torch.Tensor, fps: float) -> float | torch.Tensor:
    turn = 2 * math.pi * cutoff / fps
    return turn / (turn + 1)


def smooth_pose(pose: torch.Tensor, fps: float) -> torch.Tensor:
    """Axis-angles [F,J,3] smoothed as the first two rows of their matrices."""
    rows = matrix_to_sixd(axis_angle_to_matrix(pose).mT)
    return matrix_to_axis_angle(sixd_to_matrix(_gaussian(rows, 9, fps / 30)).mT)


def smooth_betas(betas: torch.Tensor, fps: float) -> torch.Tensor:
    """[F,10]."""
    return _gaussian(betas, 11, 5 * fps / 30)


def smooth_translation(translation: torch.Tensor, fps: float) -> torch.Tensor:
    """[F,3]; the first and the last frame stay where they are."""
    smooth = _gaussian(translation, 9, fps / 30)
    return torch.cat([translation[:1], smooth[1:-1], translation[-1:]]) if len(translation) > 1 else translation


def _gaussian(x: torch.Tensor, length: int, sigma: float) -> torch.Tensor:
    """[F,...] with a Gaussian window of odd `length` frames; beyond the ends the last frame goes on."""
    half = length // 2
    offset = torch.arange(-half, half + 1, dtype=x.dtype, device=x.device)
    kernel = torch.softmax(-(offset**2) / (2 * sigma**2), dim=0)
    rows = F.pad(x.flatten(1).T[:, None], (half, half), mode="replicate")
    return F.conv1d(rows, kernel[None, None])[:, 0].T.reshape(x.shape)
