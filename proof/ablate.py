"""What AnchorCrafter's parts are worth, as in Table 1 of the paper: small ones trained without each, and judged alike.

    python -m crafters.proof.ablate FOLDER [--seeds 3] [--steps 600] [--first 0] [--count 4] [--set NAME=VALUE …]

Every variant is trained from nothing, once for each seed, by anchorcrafter-small.yaml, and judged on held-out scenes.
What is finished lies in FOLDER and is not made again, so that it may be stopped and goes on. Printed is what is there:
means, and standard deviations over the seeds.
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import torch

from ..scenes import PORTRAIT
from ..scenes.scene import make_scene
from ..training.anchorcrafter.settings import AnchorSettings
from ..training.anchorcrafter.task import EXPORT, AnchorTask
from ..training.loop import train
from ..training.settings import read_settings
from .demo import FRAMES, SMALL, small_dwpose
from .judge import judge_presenting
from .judge_anchorcrafter import ABLATIONS, generate, load

RECIPE = Path(__file__).parent / "recipes" / "anchorcrafter-small.yaml"
VARIANTS = {  # by the paper's names, what is left out
    "full": (),
    "− dual adapter": ("dual_adapter",),
    "− multi-view fusion": ("view_fusion",),
    "− hand mesh": ("hand_mesh",),
    "− HOI-region loss": ("hoi_loss",),
}
MEASURES = ("product PSNR, dB", "Obj-IoU", "body LMD, %", "PSNR, dB")


def trained(folder: Path, ablate: tuple[str, ...], seed: int, steps: int, changes: list[str]) -> Path:
    """The weights of a variant, and in `folder` the run. Raises what training raises."""
    own = [f"seed={seed}", f"stages=[{{steps: {steps}, batch: 2, frames: 4}}]", f"task.ablate=[{', '.join(ablate)}]",
           "preview_every=0"]
    settings, task = read_settings(RECIPE, [*own, *changes], AnchorSettings)
    torch.manual_seed(seed)
    train(AnchorTask(task, settings.frames, seed), settings, folder, lambda line: print(line, flush=True))
    return folder / "export" / EXPORT


@torch.inference_mode()
def judged(weights: Path, settings: AnchorSettings, ablate: tuple[str, ...], seeds: range) -> dict[str, float]:
    """Means over the scenes."""
    networks, dwpose = load(weights, settings.svd, settings.dinov2), small_dwpose()
    sampler = SMALL["CraftersAnchorSampler"]
    hidden = [name for name in ablate if name in ABLATIONS]
    sampling = {"steps": sampler["steps"], "guidance": (sampler["guidance_min"],) * 2, "window": sampler["window"]}
    rows = []
    for seed in seeds:
        scene = make_scene(seed, "test", PORTRAIT, FRAMES)
        rows.append(judge_presenting(scene, generate(networks, scene, ablate=hidden, **sampling), dwpose))
    return {name: float(np.nanmean([row[name] for row in rows])) for name in MEASURES}


def table(folder: Path) -> str:
    lines = [f"| | {' | '.join(MEASURES)} | trainings |", f"|{'---|' * (len(MEASURES) + 2)}"]
    for name, ablate in VARIANTS.items():
        rows = [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob(f"{_name(ablate)}-*.json"))]
        cells = [f"{np.mean(values):.2f} ± {np.std(values):.2f}"
                 for values in ([row[measure] for row in rows] for measure in MEASURES) if values]
        if rows:
            lines.append(f"| {name} | {' | '.join(cells)} | {len(rows)} |")
    return "\n".join(lines)


def _name(ablate: tuple[str, ...]) -> str:
    return "-".join(ablate) or "full"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant; default: %(default)s")
    parser.add_argument("--steps", type=int, default=600, help="of a training; default: %(default)s")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first held-out scene")
    parser.add_argument("--count", type=int, default=4, help="held-out scenes; default: %(default)s")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE", help="as in train")
    args = parser.parse_args()
    _, settings = read_settings(RECIPE, args.changes, AnchorSettings)
    for seed, ablate in product(range(args.seeds), VARIANTS.values()):
        name = f"{_name(ablate)}-{seed}"
        result = args.folder / f"{name}.json"
        if not result.exists():
            weights = trained(args.folder / name, ablate, seed, args.steps, args.changes)
            scenes = range(args.first, args.first + args.count)
            result.write_text(json.dumps(judged(weights, settings, ablate, scenes)), "utf-8")
    print(table(args.folder))


if __name__ == "__main__":
    main()
