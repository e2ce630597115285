"""The compositing of `rasterize` as a Warp kernel, which is compiled when it is first used and kept on the disk.

Warp comes with Anny. A thread draws one row of one tile and looks at those pixels only in which a gaussian counts: its
α is at least ALPHA_MIN between the roots of a quadratic. The numbers are those of the torch code to 1e-6.
"""

from contextlib import nullcontext
from threading import Lock

import torch
import warp as wp

TILE_SIDE, FEATURES = wp.constant(16), wp.constant(5)  # constants: the loops over them are unrolled
SLACK = 1e-2  # px on both sides of the roots, which are rounded: the pixels there are asked themselves
wp.config.log_level = wp.LOG_WARNING
wp.init()
# A name of its own: ComfyUI imports the pack under its folder's path, and Warp would make that a file's name.
_MODULE = wp.get_module("crafters_composite")
# Frames are drawn on several threads. The first compiles, the others wait.
_compiling, _compiled = Lock(), set()


@wp.kernel(enable_backward=False, module=_MODULE)
def _row_of_tile(
    table: wp.array2d(dtype=wp.float32),  # x, y, conic (xx, xy, yy), opacity, features
    power_least: wp.array(dtype=wp.float32),
    gaussian: wp.array(dtype=wp.int64),
    place: wp.array(dtype=wp.int64),
    tile_column: wp.array(dtype=wp.int64),
    tile_row: wp.array(dtype=wp.int64),
    start: wp.array(dtype=wp.int64),
    length: wp.array(dtype=wp.int64),
    alpha_max: wp.float32,
    alpha_skipped: wp.float32,
    transmittance_min: wp.float32,
    slack: wp.float32,
    picture: wp.array3d(dtype=wp.float32),  # features, place, transmittance
):
    tile, line = wp.tid()
    left = TILE_SIDE * wp.int32(tile_column[tile])
    y = TILE_SIDE * wp.int32(tile_row[tile]) + line
    going = TILE_SIDE  # pixels that have not ended
    for nth in range(wp.int32(start[tile]), wp.int32(start[tile] + length[tile])):
        i = wp.int32(gaussian[nth])
        dy = table[i, 1] - wp.float32(y)
        xx = table[i, 2]
        slope = table[i, 3] * dy
        rest = -0.5 * table[i, 4] * dy * dy
        root = slope * slope + 2.0 * xx * (rest - power_least[i])
        if root >= 0.0:
            reach = wp.sqrt(root) / xx + slack
            middle = table[i, 0] + slope / xx
            first = wp.max(left, wp.int32(wp.ceil(wp.max(middle - reach, wp.float32(left)))))
            end = wp.int32(wp.floor(wp.min(middle + reach, wp.float32(left + TILE_SIDE - 1)))) + 1
            for x in range(first, end):
                through = picture[y, x, FEATURES + 1]
                if through > 0.0:
                    dx = table[i, 0] - wp.float32(x)
                    alpha = wp.min(table[i, 5] * wp.exp(rest - 0.5 * xx * dx * dx - slope * dx), alpha_max)
                    if alpha > alpha_skipped:
                        after = through * (1.0 - alpha)
                        if after < transmittance_min:
                            picture[y, x, FEATURES + 1] = 0.0
                            going -= 1
                        else:
                            for c in range(FEATURES):
                                picture[y, x, c] += table[i, 6 + c] * (alpha * through)
                            picture[y, x, FEATURES] = wp.float32(place[nth])
                            picture[y, x, FEATURES + 1] = after
        if going == 0:
            break


def composite_tiles(
    picture: torch.Tensor, table: torch.Tensor, lists, alphas: tuple[float, float, float, float]
) -> None:
    """Composite all tiles of `lists` (`rasterize._TileLists`) on `picture` [rows·16, columns·16, 7], float32.

    Its last two channels: the place of the last gaussian that took part, and the transmittance, 1 at first. table: as
    `composite` makes it, with FEATURES features. alphas: the least that counts, the greatest that does not, the
    greatest there is, and the least transmittance.
    """
    least, skipped, most, transmittance = alphas
    arrays = table, (least / table[:, 5]).log(), lists.gaussian, lists.place, lists.column, lists.row
    device = wp.device_from_torch(table.device)
    stream = wp.ScopedStream(wp.stream_from_torch(table.device)) if table.is_cuda else nullcontext()
    with stream, nullcontext() if table.device in _compiled else _compiling:
        wp.launch(
            _row_of_tile, (len(lists.column), TILE_SIDE), device=device,
            inputs=[*arrays, lists.start, lists.length, most, skipped, transmittance, SLACK, picture],
        )
    _compiled.add(table.device)
