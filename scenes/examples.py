"""The inputs that the shipped graphs name, drawn, so that each can be run before its user has files of his own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ..files.whole import whole
from ..media.clip import write_video
from ..models.avatar.files import save_avatar
from ..models.body.motion_files import save_motion
from .anicrafter_data import make_avatar_scene
from .scene import make_scene

UPRIGHT, WIDE = (576, 1024), (1280, 720)  # width and height that the graphs work in
FRAMES, FPS = 16, 15.0
PRESENTING = ("person.png", "product_left.png", "product_front.png", "product_right.png", "driving.mp4",
              "hand_mesh.mp4", "object_depth.mp4")
MOVING = ("character.png", "background.mp4", "source.mp4", "motion.npz", "actor_gaussian.pth")


def write_examples(folder: Path, seed: int, on_step: Callable[[int, int], None] | None = None) -> list[str]:
    """Write a presenter's files and a character's into `folder`; the names of those written.

    What is there stays. seed: of both scenes. on_step: as for `make_scene`; it counts anew for the second one.
    """
    written = []
    for names, draw in ((PRESENTING, _presenting), (MOVING, _moving)):
        lacking = [name for name in names if not (folder / name).exists()]
        if lacking:
            drawn = dict(zip(names, draw(seed, on_step), strict=True))
            for name in lacking:
                _WRITE[Path(name).suffix](drawn[name], folder / name)
        written += lacking
    return written


def _presenting(seed: int, on_step: Callable[[int, int], None] | None) -> tuple:
    scene = make_scene(seed, "test", UPRIGHT, FRAMES, FPS, on_step=on_step)
    return scene.person_photo, *scene.product_views, scene.frames, scene.hand_mesh, scene.object_depth


def _moving(seed: int, on_step: Callable[[int, int], None] | None) -> tuple:
    shown = make_avatar_scene(seed, "test", WIDE, FRAMES, FPS, strength=1.0, on_step=on_step)
    return shown.photo, shown.scene.background, shown.scene.frames, shown.motion, shown.avatar


def _save_picture(picture: np.ndarray, path: Path) -> None:
    with whole(path) as part:
        Image.fromarray(picture).save(part, "PNG")


_WRITE = {
    ".png": _save_picture,
    ".mp4": lambda frames, path: write_video(path, frames, FPS),
    ".npz": save_motion,
    ".pth": save_avatar,
}
