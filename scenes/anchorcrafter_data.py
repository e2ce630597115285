"""Scenes as a training set, in the layouts of `training.datasets`.

AnchorCrafter's conditions are stored without any loss, so that their black is exactly 0, by which the HOI region is
found.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..files.whole import whole
from ..media.clip import write_video
from ..preprocessors.pose.draw_pose import draw_pose
from ..training.datasets.anchorcrafter import DEPTH, FILM, HAND, PEOPLE, PEOPLE_POSE, POSE, PRODUCTS
from . import LANDSCAPE, PORTRAIT
from .anicrafter_data import clip_folder, write_avatar_scene
from .person import make_person
from .scene import make_scene

SETTINGS = "demo-data.json"
CLIPS_PER_PERSON = 4  # each with its own product; people take the longest to make


def write_dataset(
    out: Path,
    system: str,
    split: str,
    seeds: Iterable[int],
    size: tuple[int, int],
    frames: int = 16,
    jobs: int = 1,
    on_step: Callable[[int, int], None] | None = None,
    fps: float = 15.0,
) -> int:
    """Write the scenes of `seeds` into the folder `out`, but not those that are there; how many it wrote.

    system: one of `LAYOUTS`. The same seed gives the same clip whatever the number of processes, `jobs`.
    on_step(done, total) comes after every person's clips. Raises ValueError when the folder holds clips of another
    system, split, size or length.
    """
    layout, seeds = LAYOUTS[system], sorted(set(seeds))
    _settle(out, {"system": system, "split": split, "size": list(size), "frames": frames, "fps": fps})
    missing = [seed for seed in seeds if not layout.clip(out, seed).exists()]
    people = [list(group) for _, group in groupby(missing, layout.person)]
    write = partial(layout.write, out, split, size, frames, fps)
    done = len(seeds) - len(missing)
    if on_step:
        on_step(done, len(seeds))
    one_core = get_context("spawn"), torch.set_num_threads, (1,)
    with ProcessPoolExecutor(jobs, *one_core) if jobs > 1 else nullcontext() as pool:
        for clips in (pool.map if pool else map)(write, people):
            done += clips
            if on_step:
                on_step(done, len(seeds))
    return len(missing)


def _write_clips(out: Path, split: str, size: tuple[int, int], frames: int, fps: float, seeds: Sequence[int]) -> int:
    """The clips of one person; how many. A clip's video comes last, so that it marks a whole one."""
    for folder in (FILM, POSE, HAND, DEPTH, PEOPLE, PEOPLE_POSE, PRODUCTS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    person = make_person(_person(seeds[0]), split)
    for seed in seeds:
        scene = make_scene(seed, split, size, frames, fps, person=person)
        name, product = _names(seed)
        _save(out / PEOPLE / f"{name}_0.png", scene.person_photo)
        _save(out / PEOPLE_POSE / f"{name}_0.png", draw_pose(scene.person_pose, *size, antialias=True))
        for view, picture in enumerate(scene.product_views):
            _save(out / PRODUCTS / f"{product}_{view}.png", picture)
        for folder, clip in ((POSE, scene.pose_frames), (HAND, scene.hand_mesh), (DEPTH, scene.object_depth)):
            write_video(_clip(out, seed, folder), clip, fps, "exact")
        write_video(_clip(out, seed), scene.frames, fps, "fine")
    return len(seeds)


def _write_avatar_clips(
    out: Path, split: str, size: tuple[int, int], frames: int, fps: float, seeds: Sequence[int]
) -> int:
    for seed in seeds:
        write_avatar_scene(out, seed, split, size, frames, fps)
    return len(seeds)


def _person(seed: int) -> int:
    return seed // CLIPS_PER_PERSON


def _names(seed: int) -> tuple[str, str]:
    """Of the person and of the product."""
    return f"person{_person(seed):06d}", f"product{seed:06d}"


def _clip(out: Path, seed: int, folder: str = FILM) -> Path:
    return out / folder / f"{'_'.join(_names(seed))}.mp4"


def _save(path: Path, picture: np.ndarray) -> None:
    with whole(path) as part:
        Image.fromarray(picture).save(part, "PNG")


def _settle(out: Path, settings: dict) -> None:
    """ValueError if the folder belongs to other clips."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / SETTINGS
    if not path.is_file():
        with whole(path) as part:
            part.write_text(json.dumps(settings), encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != settings:
        told = ", ".join(f"{name} {found.get(name)}" for name in settings if found.get(name) != settings[name])
        raise ValueError(f"{out} holds clips with other settings ({told}): use those, or another folder.")


class Layout(NamedTuple):
    """size: of the pictures, if nothing else is asked for; clip: the last thing of a seed's clip that is written;
    person: what seeds that are written together agree in; write: the clips of such seeds."""

    size: tuple[int, int]
    clip: Callable[[Path, int], Path]
    person: Callable[[int], int]
    write: Callable[..., int]


LAYOUTS = {
    "anchorcrafter": Layout(PORTRAIT, _clip, _person, _write_clips),
    "anicrafter": Layout(LANDSCAPE, clip_folder, int, _write_avatar_clips),
}
