"""`crafters train`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..host.comfyui import PACK

if TYPE_CHECKING:
    from ..training.anicrafter.task import AniCrafterSettings, AniCrafterTask
    from ..training.settings import Settings

# Shipped recipes, those of the small networks too, by their file's name.
_FOLDERS = PACK / "training" / "recipes", PACK / "proof" / "recipes"
RECIPES = {path.name: path for folder in _FOLDERS for path in sorted(folder.glob("*.yaml"))}


def _without_amx() -> None:
    """For tasks that train 3-D convolutions: torch 2.13's oneDNN writes past its memory in their bf16 backward pass on
    CPUs with AMX. It reads this at its first operation; whoever set it, knows better."""
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")


def _anchorcrafter():
    from ..training.anchorcrafter.settings import AnchorSettings
    from ..training.anchorcrafter.task import AnchorTask

    return AnchorSettings, lambda own, run: AnchorTask(own, run.frames, run.seed)


def _anicrafter():
    from ..training.anicrafter.task import AniCrafterSettings, AniCrafterTask

    def make(own: AniCrafterSettings, run: Settings) -> AniCrafterTask:
        if "adapters" in own.train:
            _without_amx()
        return AniCrafterTask(own, run.frames, run.seed)

    return AniCrafterSettings, make


def _yolox():
    from ..proof.small.pose import DetectorTask, PoseSettings

    return PoseSettings, lambda own, run: DetectorTask(own)


def _dwpose():
    from ..proof.small.pose import PoseSettings, WholeBodyTask

    return PoseSettings, lambda own, run: WholeBodyTask(own)


def _svd_vae():
    from ..proof.small.svd_vae import SvdVaeSettings, SvdVaeTask

    return SvdVaeSettings, lambda own, run: SvdVaeTask(own, run.frames)


def _wan_vae():
    _without_amx()
    from ..proof.small.wan_vae import WanVaeSettings, WanVaeTask

    return WanVaeSettings, lambda own, run: WanVaeTask(own, run.frames)


def _clip():
    from ..proof.small.image_encoder import ClipSettings, ClipTask

    return ClipSettings, lambda own, run: ClipTask(own)


def _dinov2():
    from ..proof.small.dinov2 import DinoSettings, DinoTask

    return DinoSettings, lambda own, run: DinoTask(own)


# By name, a function that answers the type of the task's own settings, and what makes the task of them and the run's.
TASKS: dict[str, Callable[[], tuple[type, Callable[[object, Settings], object]]]] = {
    "anchorcrafter": _anchorcrafter,
    "anicrafter": _anicrafter,
    "yolox": _yolox,
    "dwpose": _dwpose,
    "svd-vae": _svd_vae,
    "wan-vae": _wan_vae,
    "clip": _clip,
    "dinov2": _dinov2,
}


def register(commands) -> None:
    """Add `train` to the sub-commands of `crafters`."""
    recipes = ", ".join(RECIPES)
    train = commands.add_parser(
        "train",
        help="train networks, or go on with it",
        description="Trains until the last step, or until it is stopped; the same command goes on from the newest "
        "checkpoint in --out. On several GPUs: accelerate launch -m crafters train …",
    )
    train.add_argument("name", choices=sorted(TASKS), metavar="NAME", help=", ".join(sorted(TASKS)))
    train.add_argument("--config", type=Path, required=True, metavar="FILE", help=f"own, or a recipe: {recipes}")
    train.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting, e.g. seed=1, stages.0.steps=100 or task.data=clips",
    )
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoints, export, previews, log")
    train.set_defaults(command=_train)


def _train(args: argparse.Namespace) -> int:
    import torch

    from ..training.loop import train
    from ..training.settings import read_settings

    config = args.config if args.config.is_file() else RECIPES.get(str(args.config), args.config)
    kind, make = TASKS[args.name]()
    settings, own = read_settings(config, args.changes, kind)
    torch.manual_seed(settings.seed)  # for new networks
    train(make(own, settings), settings, args.out, lambda line: print(line, flush=True))
    return 0
