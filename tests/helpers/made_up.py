"""A person of `scenes` who waves, in any size and length, and the files that AniCrafter's graphs load.

`proof.demo` writes those of the demo, which all have one size.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from crafters.media.clip import write_video
from crafters.models.avatar.files import save_avatar
from crafters.models.avatar.gaussians import Avatar
from crafters.models.body.motion import BodyMotion
from crafters.models.body.motion_files import save_motion
from crafters.scenes.anicrafter_data import character_photo
from crafters.scenes.avatar import scene_avatar
from crafters.scenes.motion import make_motion
from crafters.scenes.person import Person, make_person
from crafters.scenes.room import make_room
from PIL import Image

SEED, SPLIT, FPS = 1, "test", 15.0
PHOTO_HEIGHT = 256


@lru_cache(maxsize=1)
def performer() -> Person:
    return make_person(SEED, SPLIT)


@lru_cache
def performers_avatar(gaussians: int) -> Avatar:
    return scene_avatar(performer(), gaussians, SEED)


@lru_cache(maxsize=1)
def performers_photo() -> np.ndarray:
    """On white, uint8 [256, 160, 3]."""
    return character_photo(performer(), PHOTO_HEIGHT)


def waving(frames: int, width: int, height: int, fps: float = FPS) -> BodyMotion:
    """The right hand waves, the left hangs; seen whole."""
    motion = make_motion(SEED, SPLIT, performer(), None, frames, fps, "wave")
    return motion.body_motion(performer(), (width, height))


def write_moving(folder: Path, frames: int = 8, width: int = 160, height: int = 96, gaussians: int = 4000) -> dict:
    """The performer before a camera that moves; the files' paths by the titles of the nodes that load them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = "character_gaussian.pth", "motion.npz", "Background Video.mp4", "Character Photo.png"
    avatar, motion, background, photo = paths = [folder / name for name in names]
    save_avatar(performers_avatar(gaussians), avatar)
    save_motion(waving(frames, width, height), motion)
    write_video(background, make_room(SEED, SPLIT, (width, height), frames, moving=True).frames(), FPS)
    Image.fromarray(performers_photo()).save(photo)
    return dict(zip(("Load Avatar", "Load Motion", "Background Video", "Character Photo"), paths, strict=True))
