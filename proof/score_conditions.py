"""Score every stage that makes conditions without weights, on held-out synthetic scenes whose truth is rendered.

    python -m crafters.proof.score_conditions [--count N] [--frames N] [--sheet PICTURE]

One line per scene, then the means: half of the scenes show somebody presenting a product, half somebody moving before
a moving camera.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np

from ..scenes.exercise import EXERCISES
from ..scenes.scene import make_scene
from .score import find_conditions, score, sheet

SIZE = (216, 384)  # of who presents; turned for who moves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=4, help="scenes; default: %(default)s")
    parser.add_argument("--frames", type=int, default=8, help="of each scene; default: %(default)s")
    parser.add_argument("--sheet", type=Path, help="write a picture of the first two scenes there")
    args = parser.parse_args()
    # A product that has no depth in it has no correlation either.
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    tables, pictures = {}, []
    for seed in range(args.count):
        presents = seed % 2 == 0
        kind, size = (None, SIZE) if presents else (EXERCISES[seed // 2 % len(EXERCISES)], SIZE[::-1])
        scene = make_scene(seed, "test", size, args.frames, kind=kind)
        found = find_conditions(scene)
        scores = score(scene, found)
        for name, value in scores.items():
            tables.setdefault((presents, name), []).append(value)
        print(f"{seed} {scene.kind}:", ", ".join(f"{name} {value:.3g}" for name, value in scores.items()), flush=True)
        if seed < 2:
            pictures.append(sheet(scene, found, args.frames // 2))
    for (presents, name), values in tables.items():
        print(f"{'presenting' if presents else 'moving':>10} {name:>20} {np.nanmean(values):8.3g}")
    if args.sheet:
        from PIL import Image

        width = max(picture.shape[1] for picture in pictures)
        padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0))) for p in pictures]
        Image.fromarray(np.concatenate(padded)).save(args.sheet, quality=85)


if __name__ == "__main__":
    main()
