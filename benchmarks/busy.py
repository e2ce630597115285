"""How fast are avatars drawn while every core has other work? By torch's own threads, and frames side by side.

    python benchmarks/busy.py [--frames 2] [--write]

As many processes as there are cores compute beside it. 40 000 gaussians (`benchmarks/rasterize.py`) at 640×360.
"""

import argparse
import datetime
import multiprocessing
import os
import time
from collections.abc import Callable

import torch
from crafters.models.drawing.rasterize import rasterize
from crafters.models.threads import on_threads
from rasterize import SIZES, camera, gaussians
from results import RESULTS, note

HEADING = """
## Drawing on a busy CPU (`benchmarks/busy.py`)

Seconds a frame, 40000 gaussians at 640×360, with as many other busy processes as cores, or more.

| date | rasteriser | threads | torch's own threads | frames side by side | times quicker | pictures differ by |
|---|---|---|---|---|---|---|
"""


def spin() -> None:
    while True:
        pass


def timed(draw: Callable[[], list], frames: int) -> tuple[float, list]:
    start = time.perf_counter()
    pictures = draw()
    return (time.perf_counter() - start) / frames, pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"add the table to {RESULTS.name}")
    args = parser.parse_args()
    torch.set_num_threads(max(2, torch.get_num_threads()))
    threads, (_, values) = torch.get_num_threads(), gaussians()
    others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count())]
    for other in others:
        other.start()
    print(HEADING, end="")
    for backend in ("torch", "warp"):

        def draw(_, backend=backend) -> torch.Tensor:
            return torch.cat(rasterize(*values, camera(SIZES[0]), backend))

        list(on_threads(draw, range(1), 2))  # compiled
        together, ours = timed(lambda draw=draw: list(on_threads(draw, range(args.frames), threads)), args.frames)
        alone, plain = timed(lambda draw=draw: list(map(draw, range(args.frames))), args.frames)
        error = max((a - b).abs().max().item() for a, b in zip(ours, plain, strict=True))
        row = (f"| {datetime.date.today()} | {backend} | {threads} | {alone:.2f} | {together:.2f} | "
               f"{alone / together:.1f} | {error:.0e} |")
        print(row, flush=True)
        if args.write:
            note(HEADING, row)
    for other in others:
        other.terminate()


if __name__ == "__main__":
    main()
