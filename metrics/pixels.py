"""Likeness pixel by pixel: PSNR and SSIM, of whole frames or of a region."""

import cv2
import numpy as np

from ..media.box import around

ALIKE = 100.0  # dB, the most a frame can get; equal frames would have no finite PSNR
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(truth: np.ndarray, result: np.ndarray, region: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 frames [H,W,3], within `region` (bool [H,W]) if there is one.

    NaN for an empty region.
    """
    error = (truth.astype(np.float64) - result) ** 2
    error = error if region is None else error[region]
    if not error.size:
        return float("nan")
    return float(min(ALIKE, 10 * np.log10(255**2 / max(error.mean(), 1e-12))))


def ssim(truth: np.ndarray, result: np.ndarray, region: np.ndarray | None = None) -> float:
    """Structural similarity, at most 1, of two uint8 frames [H,W,3]; see `psnr` for `region`.

    Wang et al. 2004: a Gaussian window of 11 pixels, sigma 1.5, each channel for itself; only where the window lies
    inside the frame. NaN for frames smaller than that.
    """
    edge = WINDOW // 2
    inner = slice(edge, -edge), slice(edge, -edge)
    if region is not None and region.any():  # no window far from the region is needed
        near = around(region, edge)
        truth, result, region = truth[near], result[near], region[near]
    x, y = truth.astype(np.float64), result.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y, cov = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2, _blur(x * y) - mean_x * mean_y
    structure = (2 * mean_x * mean_y + C1) * (2 * cov + C2) / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))
    structure = structure[inner] if region is None else structure[inner][region[inner]]
    return float(structure.mean()) if structure.size else float("nan")


def _blur(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (WINDOW, WINDOW), SIGMA)
