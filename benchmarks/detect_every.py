"""What does it save, and cost, to look for people in every k-th frame only?

    python benchmarks/detect_every.py [--clips 4] [--frames 30] [--size 192x320] [--write]

The demo's small pose networks on made-up clips of people who present a product, whose poses are known: how often the
detector is asked, the processor time of all, and how far the joints are from the truth (LMD, share of the short side).
"""

import argparse
import time

import numpy as np
from crafters.metrics.landmarks import body, body_distance
from crafters.preprocessors.pose.dwpose import DWPose
from crafters.proof.demo import small_dwpose
from crafters.scenes.presenting import PRESENTATIONS
from crafters.scenes.scene import Scene, make_scene
from results import RESULTS, note

EVERY = 1, 2, 5, 10


def follow(dwpose: DWPose, scenes: list[Scene], every: int) -> tuple[int, float, float]:
    """How often the detector was asked, seconds, and the LMD in percent."""
    asked, detect, distances = 0, dwpose.detect, []

    def counted(image: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += 1
        return detect(image)

    dwpose.detect = counted
    start = time.process_time()
    found = [list(dwpose.follow(scene.frames, every)) for scene in scenes]
    seconds = time.process_time() - start
    dwpose.detect = detect
    for scene, poses in zip(scenes, found, strict=True):
        pairs = zip(scene.poses, poses, strict=True)
        distances += [body_distance(*(body(pose, *scene.size) for pose in pair)) / min(scene.size) for pair in pairs]
    return asked, seconds, 100 * float(np.nanmean(distances))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--size", default="192x320")
    parser.add_argument("--write", action="store_true", help=f"add the table to {RESULTS.name}")
    args = parser.parse_args()
    size = tuple(int(side) for side in args.size.split("x"))
    kinds = [PRESENTATIONS[seed % len(PRESENTATIONS)] for seed in range(args.clips)]
    scenes = [make_scene(seed, "test", size, args.frames, 15.0, kind) for seed, kind in enumerate(kinds)]
    dwpose, total = small_dwpose(), args.clips * args.frames
    follow(dwpose, scenes[:1], 1)  # not counted
    heading = (
        "\n## DWPose's detector in every k-th frame (`benchmarks/detect_every.py`)\n\n"
        f"{args.clips} clips of {args.frames} frames, {args.size}, the demo's small networks; shares of k = 1.\n\n"
        "| k | detector asked, share | time, share | LMD % |\n|---|---|---|---|\n"
    )
    rows, base = [], 0.0
    for every in EVERY:
        asked, seconds, lmd = follow(dwpose, scenes, every)
        base = base or seconds
        rows.append(f"| {every} | {asked / total:.2f} | {seconds / base:.2f} | {lmd:.2f} |")
    print(heading + "\n".join(rows))
    if args.write:
        note(heading, *rows)


if __name__ == "__main__":
    main()
