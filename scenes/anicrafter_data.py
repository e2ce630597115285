"""Scenes as AniCrafter sees them, one by one or as a training set in the layout of `training.datasets.anicrafter`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..files.whole import whole
from ..media.clip import write_video
from ..models.anicrafter.conditions import compose
from ..models.avatar.gaussians import Avatar
from ..models.avatar.render import render_avatar, render_body
from ..models.body.anny import anny_body
from ..models.body.motion import BodyMotion
from ..models.drawing.camera import Camera
from ..training.datasets.anicrafter import BLEND, MASK, MESH, REFERENCE, SOURCE
from . import LANDSCAPE
from .avatar import avatar_rig, degrade, misjudge, scene_avatar
from .exercise import EXERCISES
from .motion import photo_pose
from .person import Person
from .render import Mesh, render
from .scene import Scene, make_scene

GAUSSIANS = 9000  # before the avatar is made worse
STRENGTHS = (0.3, 1.1)  # of what is wrong with avatar and motion
STANDS, FILLS, ASPECT = 5.0, 0.9, 5 / 8  # for photos: m from the camera; share of the height; width by height


@dataclass(frozen=True)
class AvatarScene:
    """A scene and what AniCrafter is shown of it, F frames of H×W pixels.

    photo uint8 [h, w, 3]: the character on white. avatar, motion: as estimated from photo and film, a little wrong.
    blend uint8 [F, H, W, 3]: that avatar over the scene's background; mesh uint8 [F, H, W, 3], mask bool [F, H, W]: the
    body in that motion.
    """

    scene: Scene
    photo: np.ndarray
    avatar: Avatar = field(repr=False)
    motion: BodyMotion = field(repr=False)
    blend: np.ndarray
    mesh: np.ndarray
    mask: np.ndarray


def make_avatar_scene(
    seed: int,
    split: str,
    size: tuple[int, int] = LANDSCAPE,
    frames: int = 16,
    fps: float = 15.0,
    kind: str | None = None,
    strength: float | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> AvatarScene:
    """The scene of a seed in which somebody moves, in pictures of `size` (width, height).

    split, on_step: as for `make_scene`. kind: one of `EXERCISES`; strength: how wrong avatar and motion are, usually 1;
    both by chance if not given.
    """
    draw = np.random.default_rng([seed, split == "test", 3])
    chosen, drawn = EXERCISES[draw.integers(len(EXERCISES))], draw.uniform(*STRENGTHS)
    strength = drawn if strength is None else strength
    scene = make_scene(seed, split, size, frames, fps, kind or chosen, on_step=on_step)
    avatar = degrade(scene_avatar(scene.person, GAUSSIANS, seed), draw, draw.uniform(0.4, 0.9), strength)
    motion = misjudge(scene.motion, draw, strength)
    blend = composite(avatar, motion, scene.background)
    mesh, mask = render_body(anny_body(), motion, *size)
    photo = character_photo(scene.person, size[1] * 4 // 3)
    return AvatarScene(scene, photo, avatar, motion, blend, _bytes(mesh), mask.bool().numpy())


def composite(avatar: Avatar, motion: BodyMotion, background: np.ndarray) -> np.ndarray:
    """The avatar so moved over a background, both uint8 [F, H, W, 3]."""
    height, width = background.shape[1:3]
    clip = render_avatar(avatar, avatar_rig(avatar), motion, width, height)
    return _bytes(compose(clip.image, clip.alpha, torch.from_numpy(background).float() / 255))


def character_photo(person: Person, height: int) -> np.ndarray:
    """The whole person on white, uint8 [height, w, 3], in a pose of their own."""
    still = photo_pose(person.seed, person.split, person)
    vertices = person.vertices(still.pose[:1], still.trans[:1])[0]
    low, high = vertices.amin(0), vertices.amax(0)
    vertices = vertices - (low + high) / 2 + torch.tensor([0, 0, STANDS])
    focal = FILLS * height * (STANDS - 0.5) / float(high[1] - low[1])
    width = round(height * ASPECT)
    picture = render([[Mesh(vertices, person.faces, person.colours)]], Camera.centred(focal, width, height))
    return picture.over(np.full((height, width, 3), 255.0))


def write_avatar_scene(out: Path, seed: int, split: str, size: tuple[int, int], frames: int, fps: float) -> None:
    """One clip of a training set in the folder `out`; it gets its name when it is whole."""
    made = make_avatar_scene(seed, split, size, frames, fps)
    folder = clip_folder(out, seed)
    mask = np.repeat(np.where(made.mask, 255, 0).astype(np.uint8)[..., None], 3, -1)
    with whole(folder) as part:
        part.mkdir()
        for name, clip in ((SOURCE, made.scene.frames), (BLEND, made.blend), (MESH, made.mesh), (MASK, mask)):
            write_video(part / name, clip, fps, "exact" if name == MASK else "fine")
        Image.fromarray(made.photo).save(part / REFERENCE)


def clip_folder(out: Path, seed: int) -> Path:
    return out / f"scene{seed:06d}"


def _bytes(images: torch.Tensor) -> np.ndarray:
    return (images * 255).round().byte().numpy()
