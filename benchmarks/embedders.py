"""What do tiles save? AniCrafter's full-size embedders over the same clip, whole and in tiles.

    python benchmarks/embedders.py [--size 832x480] [--frames 33] [--dtype fp32] [--tile 8,16,16] [--write]

Prints seconds and peak memory beyond the clip itself, of both ways, in turns, each in a process of its
own; the faster of two rounds counts.
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import torch
from crafters.models.anicrafter.conditions import Scene
from crafters.models.anicrafter.embedders import TILE, Embedders, embed
from crafters.models.checkpoint import DTYPES
from crafters.models.loaded import Loaded
from results import RESULTS, note

DIM = 5120


def resident() -> tuple[float, float]:
    """Present and peak resident memory of this process in GiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return tuple(int(status.split(name)[1].split()[0]) / 2**20 for name in ("VmRSS:", "VmHWM:"))


@torch.no_grad()
def measure(size: tuple[int, int], frames: int, dtype: str, tile: tuple[int, int, int]) -> tuple[float, float]:
    """(seconds, of processor time on a CPU; GiB at the peak beyond what there was before)."""
    cuda = torch.cuda.is_available()
    width, height = size
    scene = Scene(*(torch.rand(frames, height, width, 3) for _ in range(2)), torch.ones(frames, height, width))
    model = Loaded(Embedders(DIM).to("cuda" if cuda else "cpu", DTYPES[dtype]))
    # The first convolution loads what the library needs, once and for all.
    embed(model, Scene(*(clip[:1, :64, :64] for clip in (scene.blend, scene.mesh, scene.free))))
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() / 2**30 if cuda else resident()[0]
    clock = time.monotonic if cuda else time.process_time  # a CPU may have other work besides
    start = clock()
    embed(model, scene, tile)
    seconds = clock() - start
    return seconds, (torch.cuda.max_memory_allocated() / 2**30 if cuda else resident()[1]) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="832x480", type=lambda text: tuple(map(int, text.split("x"))))
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--dtype", choices=list(DTYPES), default="fp32")
    parser.add_argument("--tile", default=TILE, type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--write", action="store_true", help=f"append the row to {RESULTS.name}")
    args = parser.parse_args()
    width, height = args.size
    whole = ((args.frames - 1) // 4 + 1, height // 16, width // 16)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rounds = [
            [pool.apply(measure, (args.size, args.frames, args.dtype, tile)) for tile in (whole, tuple(args.tile))]
            for _ in range(2)
        ]
    (a, b), (c, d) = (min(way) for way in zip(*rounds, strict=True))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} cores"
    row = (
        f"| {args.dtype} | {width}×{height} | {args.frames} | {'×'.join(map(str, args.tile))} | {a:.1f} | {c:.1f} "
        f"| {b:.2f} | {d:.2f} | {b / d:.1f} | {device} |"
    )
    print(row)
    if args.write:
        heading = (
            "\n## AniCrafter's embedders, whole and in tiles (tokens of both stacks, 5120 wide)\n\n"
            "Seconds on a CPU are processor time over all cores.\n\n"
            "| dtype | size | frames | tile | s whole | s tiles | GiB whole | GiB tiles | memory ratio | device |\n"
            "|---|---|---|---|---|---|---|---|---|---|\n"
        )
        note(heading, row)


if __name__ == "__main__":
    main()
