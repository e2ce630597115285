"""Similarity of features: cosine (Obj-CLIP, Face-Cos), VBench's consistency, and the Fréchet distance (FID, FVD)."""

import torch
import torch.nn.functional as F


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """[T] cosines of the rows of two [T,D] (or [1,D]) feature tables."""
    return F.cosine_similarity(a.double(), b.double(), dim=-1)


def consistency(features: torch.Tensor) -> torch.Tensor:
    """[T-1] for the frames from the second on: how like the frame before and the first one it is (VBench).

    features: [T,D] of consecutive frames. The mean of both cosines, negative ones counted as 0.
    """
    after = features[1:]
    return (cosine(after, features[:-1]).clamp(min=0) + cosine(after, features[:1]).clamp(min=0)) / 2


def frechet_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """|mean a − mean b|² + Tr(A + B − 2(AB)^½) of features [N,D], [M,D]; A and B their covariances (N−1).

    Tr (AB)^½ is the sum of the singular values of X·Yᵀ, X and Y the centred and scaled features: no matrix root, and
    exact where there are fewer features than dimensions. Raises ValueError with fewer than two on a side.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"A Fréchet distance needs at least two features on each side, not {len(a)} and {len(b)}.")
    a, b = a.double(), b.double()
    # The triangle of a QR decomposition has the same singular values and at most D rows.
    x, y = (torch.linalg.qr((f - f.mean(0)) / (len(f) - 1) ** 0.5, mode="r").R for f in (a, b))
    common = torch.linalg.svdvals(x @ y.T).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * common)
