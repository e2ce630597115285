"""The two convolution stacks that turn frames into tokens added to Wan's, in pieces that fit in memory."""

from collections.abc import Callable, Iterator
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import nn

from ..loaded import Loaded
from .conditions import STRIDE, Scene

WIDTH = 16
# (kernel, stride, padding) as (time, height, width), SiLU between (AniCrafter, blend and SMPL-X embedding).
LAYERS = (
    *[((3, 3, 3), (1, 1, 1), (1, 1, 1))] * 3,
    ((3, 3, 3), (1, 2, 2), (1, 1, 1)),
    *[((3, 3, 3), (2, 2, 2), (1, 1, 1))] * 2,
    ((1, 2, 2), (1, 2, 2), (0, 0, 0)),
)
# Tokens (frames, rows, columns) made at once: 0.12 GB per activation in fp32. A tile's border is computed again by its
# neighbours, and each layer makes the border in time thicker than in space: so the tiles are long and narrow.
TILE = (21, 8, 8)


class Embedders(nn.Module):
    """Both stacks under the published names (`blend_embedding.0.weight` …), for a transformer of width `dim`."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.blend_embedding, self.smplx_embedding = _stack(dim), _stack(dim)


class _Conv(nn.Conv3d):
    """Its weights are used outside of its call, so that nobody may replace that."""


def _stack(dim: int) -> nn.Sequential:
    layers = []
    for i, (kernel, stride, padding) in enumerate(LAYERS):
        last = i == len(LAYERS) - 1
        layers += [_Conv(WIDTH if i else 4, dim if last else WIDTH, kernel, stride, padding), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def embed(
    model: Loaded,
    scene: Scene,
    tile: tuple[int, int, int] = TILE,
    dtype: torch.dtype = torch.bfloat16,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """The tokens to add to Wan's, both stacks' sum: [1, dim, n+1, H/16, W/16] of `dtype`, on the CPU.

    model: a loaded `Embedders` in fp32 (as published) or bf16. tile: how many tokens are made at once; the result does
    not depend on it beyond rounding. dtype: each stack's answer is rounded to it, bf16 as published, before the sum.
    on_step(done, total) is called per tile and may raise to cancel.
    """
    frames, height, width = scene.latent_size
    size = (frames, height // 2, width // 2)
    tiles = list(_tiles(size, tile))
    tokens = torch.empty(1, model.module.dim, *size, dtype=dtype)
    device = model.load(_tile_bytes(size, tile, model.dtype))
    for done, window in enumerate(tiles):
        blend, mesh = (
            _tile(stack, scene.free, clip, window, device, model.dtype).to(dtype)
            for stack, clip in ((model.module.blend_embedding, scene.blend), (model.module.smplx_embedding, scene.mesh))
        )
        tokens[(slice(None), slice(None), *window)] = (blend + mesh).cpu()
        if on_step:
            on_step(done + 1, len(tiles))
    return tokens


def _tile(stack: nn.Sequential, free, clip, window, device, dtype) -> torch.Tensor:
    """The stack's output in `window` alone, from just the input that it depends on.

    Every convolution runs without padding on what the next one needs; zeros come in only where the clip truly ends.
    """
    # The first frame stands for four, so that it fills a latent frame: input frame i is clip frame max(0, i − 3).
    lead = STRIDE - 1
    lengths = (len(free) + lead, *free.shape[1:])
    traces = [_trace(w.start, w.stop, lengths[axis], axis) for axis, w in enumerate(window)]
    (first, last), rows, columns = (needed for needed, _ in traces)
    at = (torch.arange(first, last) - lead).clamp(min=0)
    part = (slice(at[0], at[-1] + 1), slice(*rows), slice(*columns))
    colour = clip[part][at - at[0]] * 2 - 1
    x = torch.cat([free[part][at - at[0], ..., None], colour], -1)
    x = x.movedim(-1, 0)[None].to(device, dtype)  # [1, 4, t, h, w]
    for i, (_, stride, _) in enumerate(LAYERS):
        zeros = [n for axis in (2, 1, 0) for n in traces[axis][1][i]]
        if any(zeros):
            x = F.pad(x, zeros)
        x = F.conv3d(x, stack[2 * i].weight, stack[2 * i].bias, stride)
        if i < len(LAYERS) - 1:
            x = F.silu(x, inplace=True)
    return x


def _trace(start: int, stop: int, length: int, axis: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Along one axis, what the outputs start…stop−1 depend on, of `length` inputs; and each layer's zeros around it."""
    steps = [(kernel[axis], stride[axis], padding[axis]) for kernel, stride, padding in LAYERS]
    lengths = [length]
    for kernel, stride, padding in steps[:-1]:
        lengths.append((lengths[-1] + 2 * padding - kernel) // stride + 1)
    zeros = []
    for (kernel, stride, padding), length in zip(reversed(steps), reversed(lengths), strict=True):
        start, stop = start * stride - padding, (stop - 1) * stride - padding + kernel
        zeros.insert(0, (max(0, -start), max(0, stop - length)))
        start, stop = max(0, start), min(stop, length)
    return (start, stop), zeros


def _tiles(size: tuple[int, int, int], tile: tuple[int, int, int]) -> Iterator[tuple[slice, slice, slice]]:
    """Windows that cover `size`, none larger than `tile`, all about equally large."""
    axes = []
    for length, largest in zip(size, tile, strict=True):
        count = -(-length // largest)
        edges = [i * length // count for i in range(count + 1)]
        axes.append([slice(a, b) for a, b in pairwise(edges)])
    return product(*axes)


def _tile_bytes(size: tuple[int, int, int], tile: tuple[int, int, int], dtype: torch.dtype) -> int:
    """About three activations of a tile at the full resolution, halo included."""
    t, h, w = (min(n, most) for n, most in zip(size, tile, strict=True))
    return 3 * WIDTH * (4 * t + 11) * (16 * h + 13) * (16 * w + 13) * dtype.itemsize
