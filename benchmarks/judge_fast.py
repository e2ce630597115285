"""What are the sampler's fast settings worth beside the published ones? The same scenes, seeds and network for both.

    python benchmarks/judge_fast.py FOLDER [--first 0] [--scenes 8] [--noises 3]

Held-out scenes of the demo, each with so many seeds of the initial noise, by the demo's network at guidance 3. A run
that is finished is a row of FOLDER/judged.csv and is not made again, so that it may be stopped and goes on; a picture
of each is beside it. Printed is what is there: means, and fast minus published in pairs.
"""

import argparse
import csv
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from crafters.models.anchorcrafter.schedule import FAST
from crafters.proof.demo import FRAMES, SMALL, WEIGHTS, small_dwpose
from crafters.proof.judge import judge_presenting, sheet_presenting
from crafters.proof.judge_anchorcrafter import OWN, generate, load
from crafters.scenes import PORTRAIT
from crafters.scenes.scene import make_scene
from PIL import Image

SAMPLER = SMALL["CraftersAnchorSampler"]
SETTINGS = {"published": {"steps": 30}, "fast": FAST}
MEASURES = {"Obj-IoU": 1, "body LMD, %": -1, "product PSNR, dB": 1, "PSNR, dB": 1}  # and which way is better
FIELDS = ["scene", "noise", "setting", "CPU seconds", *MEASURES]


def judged(file: Path) -> dict[tuple[int, int, str], dict[str, float]]:
    """By scene, noise and setting."""
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        return {(int(row["scene"]), int(row["noise"]), row["setting"]): {name: float(row[name]) for name in FIELDS[3:]}
                for row in csv.DictReader(lines)}


def judge(folder: Path, runs: list[tuple[int, int, str]]) -> None:
    checkpoint = SMALL["CraftersLoadAnchorCrafter"]["checkpoint"]
    networks = load(OWN / checkpoint, WEIGHTS / "diffusers" / "svd-small", OWN / "dinov2-small")
    dwpose, file = small_dwpose(), folder / "judged.csv"
    there = judged(file)
    for seed, noise, setting in runs:
        if (seed, noise, setting) in there:
            continue
        scene = make_scene(seed, "test", PORTRAIT, FRAMES)
        start = time.process_time()
        clip = generate(networks, scene, guidance=(3.0, 3.0), window=SAMPLER["window"], seed=noise, **SETTINGS[setting])
        seconds = time.process_time() - start
        values = judge_presenting(scene, clip, dwpose)
        Image.fromarray(sheet_presenting(scene, clip)).save(folder / f"{seed}-{noise}-{setting}.png")
        new = not file.exists()
        with file.open("a", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, FIELDS)
            if new:
                writer.writeheader()
            writer.writerow({"scene": seed, "noise": noise, "setting": setting, "CPU seconds": f"{seconds:.1f}",
                             **{name: f"{values[name]:.5g}" for name in MEASURES}})


def table(found: dict[tuple[int, int, str], dict[str, float]]) -> str:
    """Of the pairs: the means with their standard deviations, and the mean difference with its standard error, for
    which a scene counts once, as its mean over the noises."""
    pairs = sorted(key[:2] for key in found if key[2] == "fast" and (*key[:2], "published") in found)
    if not pairs:
        return "No pair is finished yet."
    lines = ["| | published | fast | fast − published | fast is better in |", "|---|---|---|---|---|"]
    for name, sign in MEASURES.items():
        one, other = (np.array([found[(*pair, setting)][name] for pair in pairs]) for setting in SETTINGS)
        gain = other - one
        by_scene = [gain[[pair[0] == scene for pair in pairs]].mean() for scene in dict(pairs)]
        error = np.std(by_scene, ddof=1) / len(by_scene) ** 0.5 if len(by_scene) > 1 else np.nan
        lines.append(f"| {name} | {one.mean():.2f} ± {one.std():.2f} | {other.mean():.2f} ± {other.std():.2f} | "
                     f"{gain.mean():+.2f} ± {error:.2f} | {(gain * sign > 0).sum()} of {len(gain)} |")
    seconds = [sum(found[(*pair, setting)]["CPU seconds"] for pair in pairs) for setting in SETTINGS]
    lines.append(f"\nProcessor time of fast: {seconds[1] / seconds[0]:.2f} of the published.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first held-out scene")
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--noises", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    scenes = range(args.first, args.first + args.scenes)
    judge(args.folder, [(scene, noise, setting)
                        for noise, scene, setting in product(range(args.noises), scenes, SETTINGS)])
    print(table(judged(args.folder / "judged.csv")))


if __name__ == "__main__":
    main()
