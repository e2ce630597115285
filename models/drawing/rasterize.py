"""3-D Gaussian splatting, in plain torch or quicker with Warp, by the rules of AniCrafter's own rasteriser.

The rules: what is nearer than 0.2 m is left out; the Jacobian is taken within 1.3 of the field of view; every splat
gains 0.3 px² of covariance; of the 16×16 tiles a splat covers those that its square of ±ceil(3σ) touches; it goes front
to back by z, equal depths in order of index; α = min(0.99, opacity·e^power) and counts from 1/255 on; a pixel ends
before its transmittance would fall below 1e-4. Quaternions are used as they are.
"""

import logging
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..body.rotation import quaternion_to_matrix
from .camera import NEAR_GAUSSIANS, Camera

BACKENDS = "auto", "torch", "warp", "gsplat"
TILE = 16
# The rules' numbers are those of float32, also when computing in float64.
NEAR, FOV_MARGIN, LOW_PASS, ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN = np.float32(
    (NEAR_GAUSSIANS, 1.3, 0.3, 0.99, 1 / 255, 1e-4)
).tolist()
ALPHA_SKIPPED = float(np.nextafter(np.float32(ALPHA_MIN), np.float32(0)))  # the greatest that does not count
Z_GUARD = 1e-7  # m, which the rules add to z when they divide by it: a ten-thousandth of a pixel
POWER_MIN = -60.0  # e^-60 is nothing, and still smaller numbers are slow to compute with

LAYERS = 32  # gaussians of a tile that are composited in one go
ELEMENTS = {"cpu": 1 << 20, "gpu": 1 << 24}  # (gaussian, pixel) pairs in one go; about 20 bytes each
PAIRS = 1 << 22  # (gaussian, tile) pairs listed at once, if no single row of tiles has more; about 100 bytes each


class Render(NamedTuple):
    """rgb [3, H, W]: colour times alpha, on black. alpha [1, H, W]: 0..1. depth [1, H, W] m: z times alpha."""

    rgb: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor


def rasterize(
    xyz: torch.Tensor,
    rgb: torch.Tensor,
    opacity: torch.Tensor,
    scale: torch.Tensor,
    rotation: torch.Tensor,
    camera: Camera,
    backend: str = "auto",
) -> Render:
    """Picture of N gaussians, on their device and in their precision (AniCrafter, avatar rendering).

    xyz [N, 3] m in camera space; rgb [N, 3]; opacity [N, 1] 0..1; scale [N, 3] m; rotation [N, 4] wxyz.
    backend: `torch` is the readable one; `warp` composites by a compiled kernel, equal to 1e-6; `auto` takes that on a
    CPU where the package is there. `gsplat` (needs that package, and gaussians on CUDA) differs by up to some
    hundredths: it rounds tiles and ends pixels in its own way, normalises quaternions, and takes the Jacobian within a
    margin of the picture's edges, not of its middle. Only `torch` computes in float64, whatever is asked for.
    A gaussian whose place, size or opacity is not finite is not seen.

    Raises ValueError for tensors that do not fit together and for an unknown backend, ImportError without its package.
    """
    for name, tensor, width in (
        ("xyz", xyz, 3), ("rgb", rgb, 3), ("opacity", opacity, 1), ("scale", scale, 3), ("rotation", rotation, 4)
    ):
        if tensor.shape != (len(xyz), width):
            raise ValueError(f"{name} of {len(xyz)} gaussians must be [{len(xyz)}, {width}], not {[*tensor.shape]}.")
    if backend not in BACKENDS:
        raise ValueError(f"There is no rasteriser {backend!r}: choose {', '.join(BACKENDS)}.")
    if backend == "gsplat":
        return _gsplat(xyz, rgb, opacity, scale, rotation, camera)
    by_warp = xyz.dtype == torch.float32 and (backend == "warp" or (backend == "auto" and xyz.is_cpu and _has_warp()))
    splats = project_gaussians(xyz, scale, rotation, camera)
    features = torch.cat([rgb, splats.depth[:, None], torch.ones_like(opacity)], -1)
    picture, _ = composite(splats, features, opacity, camera.size, by_warp)
    return Render(picture[:3], picture[4:], picture[3:4])


@cache
def _has_warp() -> bool:
    """Whether Warp's kernel can be compiled here: asked once, and said once if it cannot."""
    try:
        from .composite_warp import composite_tiles  # noqa: F401
    except ImportError:
        return False
    one = torch.ones(1, 1)
    try:
        rasterize(one.expand(1, 3), one.expand(1, 3), one, one.expand(1, 3), one.expand(1, 4),
                  Camera.centred(1.0, 1, 1), "warp")
    except Exception as error:  # of a compiler that is not ours: the same picture is drawn without it
        logging.getLogger(__name__).warning("Avatars are drawn without Warp, slower: its kernel fails (%s).", error)
        return False
    return True


class Splats(NamedTuple):
    """Gaussians as the camera sees them; all but `depth` is 0 for those that it does not see.

    xy [N, 2] px; conic [N, 3] 1/px²: the inverse covariance (xx, xy, yy); sigma [N, 2] px: standard deviations along x
    and y; depth [N] m: z; radii [N] int32 px; tiles [N, 4] int32: first column, first row, end column, end row.
    """

    xy: torch.Tensor
    conic: torch.Tensor
    sigma: torch.Tensor
    depth: torch.Tensor
    radii: torch.Tensor
    tiles: torch.Tensor


def project_gaussians(xyz: torch.Tensor, scale: torch.Tensor, rotation: torch.Tensor, camera: Camera) -> Splats:
    """Gaussians, as `rasterize` takes them, → splats on the picture (EWA splatting)."""
    (fx, fy), (cx, cy), (width, height) = camera.focal, camera.principal, camera.size
    x, y, z = xyz.unbind(-1)
    limit_x, limit_y = FOV_MARGIN * width / (2 * fx), FOV_MARGIN * height / (2 * fy)
    slope_x, slope_y = (x / z).clamp(-limit_x, limit_x), (y / z).clamp(-limit_y, limit_y)
    axes = quaternion_to_matrix(rotation) * scale[:, None]  # in columns
    # How far each axis reaches across and down the picture; the 2-D covariance is made of these vectors' products.
    across = (axes[:, 0] - axes[:, 2] * slope_x[:, None]) * (fx / z)[:, None]
    down = (axes[:, 1] - axes[:, 2] * slope_y[:, None]) * (fy / z)[:, None]
    xx, xy, yy = across.square().sum(-1), (across * down).sum(-1), down.square().sum(-1)
    # Sums of squares in place of differences of products: needles keep their digits, and nothing gets negative.
    determinant = torch.linalg.cross(across, down).square().sum(-1) + LOW_PASS * (xx + yy) + LOW_PASS**2
    spread = (((xx - yy) / 2).square() + xy.square()).clamp(min=0.1).sqrt()
    xx, yy = xx + LOW_PASS, yy + LOW_PASS
    radius = (3 * ((xx + yy) / 2 + spread).sqrt()).ceil()[:, None]
    conic = torch.stack([yy, -xy, xx], -1) / determinant[:, None]
    from_middle = torch.stack([fx * x + (cx - width / 2) * z, fy * y + (cy - height / 2) * z], -1)
    centre = from_middle / (z + Z_GUARD)[:, None] + xyz.new_tensor([(width - 1) / 2, (height - 1) / 2])

    grid = xyz.new_tensor(_grid(camera.size))
    first = ((centre - radius) / TILE).trunc().clamp(min=0).minimum(grid)
    end = ((centre + radius + (TILE - 1)) / TILE).trunc().clamp(min=0).minimum(grid)
    values = (centre, conic, torch.stack([xx, yy], -1).sqrt(), radius, torch.cat([first, end], -1))
    seen = (z > NEAR) & (end > first).all(-1) & torch.cat(values, -1).isfinite().all(-1)
    centre, conic, sigma, radius, tiles = (torch.where(seen[:, None], value, 0) for value in values)
    return Splats(centre, conic, sigma, z, radius[:, 0].int(), tiles.int())


def _grid(size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // TILE), -(-size[1] // TILE)


def composite(
    splats: Splats, features: torch.Tensor, opacity: torch.Tensor, size: tuple[int, int], by_warp: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend features [N, C] by opacity [N, 1], front to back, on a picture of `size`.

    Returns the picture [C, H, W], Σ feature·α·T, and the last gaussian that took part in each pixel, [H, W] int32: its
    place, from 1 on, among those of the tile; 0 where there is none.
    """
    (columns, rows), (width, height) = _grid(size), size
    order = torch.argsort(splats.depth, stable=True)
    order = order[splats.radii[order] > 0]
    # Farther out than this, plus 1 % for rounding, α stays below ALPHA_MIN; everywhere if it is NaN.
    reach = 1.01 * splats.sigma * (2 * (opacity / ALPHA_MIN).log()).sqrt()
    table = torch.cat([splats.xy, splats.conic, opacity, features], -1)[order]
    tiles, reach = splats.tiles[order].long(), reach[order]
    lists = (_TileLists.of(table, reach, band, columns) for band in _bands(tiles, rows))
    if by_warp:
        from .composite_warp import composite_tiles

        picture = features.new_zeros(rows * TILE, columns * TILE, features.shape[1] + 2)
        picture[..., -1] = 1
        for band in lists:
            composite_tiles(picture, table, band, (ALPHA_MIN, ALPHA_SKIPPED, ALPHA_MAX, TRANSMITTANCE_MIN))
        picture = picture[:height, :width, :-1].movedim(-1, 0)
    else:
        canvas = features.new_zeros(features.shape[1] + 1, rows, TILE, columns, TILE)
        for band in lists:
            _composite_band(canvas, table, band)
        picture = canvas.view(-1, rows * TILE, columns * TILE)[:, :height, :width]
    return picture[:-1], picture[-1].int()


def _bands(tiles: torch.Tensor, rows: int) -> Iterator[torch.Tensor]:
    """The rectangles `tiles` cut into bands of rows: each has at most PAIRS tiles in all, or is one row."""
    x0, y0, x1, y1 = tiles.unbind(-1)
    change = tiles.new_zeros(rows + 1).index_add_(0, y0, x1 - x0).index_add_(0, y1, x0 - x1)
    top, total = 0, 0
    for row, count in enumerate([*change.cumsum(0)[:-1].tolist(), PAIRS + 1]):
        total += count
        if row > top and total > PAIRS:
            yield torch.stack([x0, y0.clamp(top, row), x1, y1.clamp(top, row)], -1)
            top, total = row, count


class _TileLists(NamedTuple):
    """Whom to composite in which tile, front to back.

    gaussian, place [P]: rows of the table, tile by tile, and their places in the tile's whole list. column, row, start,
    length [T]: the tiles that have any, longest list first, and where their parts of [P] are.
    """

    gaussian: torch.Tensor
    place: torch.Tensor
    column: torch.Tensor
    row: torch.Tensor
    start: torch.Tensor
    length: torch.Tensor

    @classmethod
    def of(cls, table: torch.Tensor, reach: torch.Tensor, tiles: torch.Tensor, columns: int) -> "_TileLists":
        x0, y0, x1, y1 = tiles.unbind(-1)
        width = x1 - x0
        count = width * (y1 - y0)
        gaussian = torch.repeat_interleave(torch.arange(len(table), device=table.device), count)
        nth = torch.arange(len(gaussian), device=table.device) - (count.cumsum(0) - count)[gaussian]
        width = width[gaussian]
        tile = (y0[gaussian] + nth // width) * columns + x0[gaussian] + nth % width
        tile, by_tile = torch.sort(tile, stable=True)  # the table is in order of depth, and so each list stays
        gaussian = gaussian[by_tile]
        _, length = torch.unique_consecutive(tile, return_counts=True)
        place = torch.arange(1, len(tile) + 1, device=table.device)
        place -= torch.repeat_interleave(length.cumsum(0) - length, length)

        middle = TILE * torch.stack([tile % columns, tile // columns], -1) + (TILE - 1) / 2
        near = ((middle - table[gaussian, :2]).abs() <= reach[gaussian] + (TILE - 1) / 2).all(-1)
        tile, length = torch.unique_consecutive(tile[near], return_counts=True)
        start, longest = length.cumsum(0) - length, length.argsort(descending=True)
        tile = tile[longest]
        return cls(gaussian[near], place[near], tile % columns, tile // columns, start[longest], length[longest])


def _composite_band(canvas: torch.Tensor, table: torch.Tensor, lists: _TileLists) -> None:
    """Composite LAYERS gaussians of every tile at a time, until all lists end or all pixels of a tile are opaque.

    canvas: [C + 1, rows, 16, columns, 16], the last channel for the places.
    """
    gaussian, place, column, row, start, length = lists
    batch = max(1, ELEMENTS["cpu" if table.device.type == "cpu" else "gpu"] // (LAYERS * TILE * TILE))
    result = table.new_zeros(len(start), len(canvas), TILE * TILE)
    transmittance = table.new_ones(len(start), TILE * TILE)
    first = 0
    while len(start):
        for at in range(0, len(start), batch):
            part = slice(at, at + batch)
            layers = torch.arange(first, min(first + LAYERS, int(length[at])), device=table.device)[:, None]
            inside = layers < length[part]
            index = torch.where(inside, start[part] + layers, 0)
            chosen = table[gaussian[index]]  # [layers, tiles, …]
            alpha = _alpha(chosen[..., :6], column[part], row[part]).mul_(inside[..., None])
            passing = 1 - alpha
            through = table.new_empty(len(layers) + 1, *transmittance[part].shape)
            through[0] = transmittance[part]
            for layer in range(len(layers)):  # cumprod is many times slower on the CPU
                torch.mul(through[layer], passing[layer], out=through[layer + 1])
            weight = alpha.mul_(through[:-1])
            if (through[-1] < TRANSMITTANCE_MIN).any():
                weight.mul_(through[1:] >= TRANSMITTANCE_MIN)
            transmittance[part] = through[-1] * (through[-1] >= TRANSMITTANCE_MIN)  # 0: the pixel has ended
            result[part, :-1].baddbmm_(chosen[..., 6:].permute(1, 2, 0), weight.transpose(0, 1))
            last = weight.sign_().mul_(place[index][..., None]).amax(0)
            torch.maximum(result[part, -1], last, out=result[part, -1])
        first += LAYERS
        going = (length > first) & (transmittance > 0).any(-1)
        canvas[:, row[~going], :, column[~going]] = result[~going].unflatten(-1, (TILE, TILE))
        column, row, start, length = column[going], row[going], start[going], length[going]
        result, transmittance = result[going], transmittance[going]


def _alpha(splats: torch.Tensor, column: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """splats [L, T, 6] (x, y, conic, opacity) over the pixels of T tiles → [L, T, 256]."""
    x, y, xx, xy, yy, opacity = splats[..., None].unbind(-2)
    pixel = torch.arange(TILE, device=splats.device)
    dx, dy = x - (TILE * column[:, None] + pixel), y - (TILE * row[:, None] + pixel)
    # The conic is positive definite, so that the published test for power > 0 would only ever meet rounding errors.
    power = (-0.5 * xx * dx * dx)[..., None, :] + (-0.5 * yy * dy * dy)[..., None]
    power.addcmul_((-xy * dx)[..., None, :], dy[..., None])
    alpha = power.flatten(-2).clamp_(min=POWER_MIN).exp_().mul_(opacity).clamp_(max=ALPHA_MAX)
    return F.threshold_(alpha, ALPHA_SKIPPED, 0.0)


def _gsplat(xyz, rgb, opacity, scale, rotation, camera: Camera) -> Render:
    from gsplat import rasterization

    (fx, fy), (cx, cy), (width, height) = camera.focal, camera.principal, camera.size
    intrinsics = xyz.new_tensor([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]])
    picture, alpha, _ = rasterization(
        xyz, rotation, scale, opacity[:, 0].clamp(max=ALPHA_MAX), rgb, torch.eye(4).to(xyz)[None], intrinsics,
        width, height, near_plane=NEAR, eps2d=LOW_PASS, render_mode="RGB+D",
    )
    picture = picture[0].permute(2, 0, 1)
    return Render(picture[:3], alpha[0].permute(2, 0, 1), picture[3:])
