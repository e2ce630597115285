"""The box around what a mask shows."""

import numpy as np
import torch


def box_of(mask: np.ndarray | torch.Tensor) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is set of a mask [H,W], right and bottom one beyond it; something must be."""
    mask = mask.cpu().numpy() if isinstance(mask, torch.Tensor) else mask
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def around(mask: np.ndarray | torch.Tensor, margin: int = 0) -> tuple[slice, slice]:
    """The rows and columns of that box, larger by `margin` pixels where the frame goes on."""
    left, top, right, bottom = box_of(mask)
    return slice(max(top - margin, 0), bottom + margin), slice(max(left - margin, 0), right + margin)
