"""`crafters demo-data`."""

import argparse
from pathlib import Path


def register(commands) -> None:
    """Add `demo-data` to the sub-commands of `crafters`."""
    data = commands.add_parser(
        "demo-data",
        help="write a training set of synthetic scenes",
        description="Writes clips of made-up people, presenting made-up products or moving, with every condition, in "
        "the layout that `crafters train` reads. Clips that are already there are kept, so it can be interrupted.",
    )
    data.add_argument("--out", type=Path, required=True, metavar="DIR")
    data.add_argument("--system", choices=["anchorcrafter", "anicrafter"], default="anchorcrafter", help="whose layout")
    data.add_argument("--count", type=_count, default=100, metavar="N", help="clips; default: %(default)s")
    data.add_argument("--split", choices=["train", "test"], default="train", help="they share no person and no product")
    data.add_argument("--size", type=_size, metavar="WxH", help="default: 192x320, anicrafter 256x192")
    data.add_argument("--frames", type=_count, default=16, metavar="N", help="per clip; default: %(default)s")
    data.add_argument("--start", type=int, default=0, metavar="SEED", help="the first clip's; default: %(default)s")
    data.add_argument("--jobs", type=_count, default=1, metavar="J", help="processes; default: %(default)s")
    data.set_defaults(command=_write)


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT") from None
    if min(width, height) < 64 or width % 2 or height % 2:
        raise argparse.ArgumentTypeError(f"{text}: both sides must be even and at least 64")
    return width, height


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _write(args: argparse.Namespace) -> int:
    from ..host.progress import Progress
    from ..scenes.anchorcrafter_data import LAYOUTS, write_dataset

    seeds = range(args.start, args.start + args.count)
    size = args.size or LAYOUTS[args.system].size
    write_dataset(args.out, args.system, args.split, seeds, size, args.frames, args.jobs, Progress("Clips"))
    return 0
