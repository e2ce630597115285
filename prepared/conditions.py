"""The conditions of both systems as a folder of prepared clips holds them: which file each is, written and read how.

    clips/<clip>/         keypoints.json, product_mask.mp4, person_mask.mp4; the rest placed on a person's photo
    anchorcrafter/        a training set as `training.datasets.anchorcrafter` reads it
    anicrafter/<clip>/    a clip as `training.datasets.anicrafter` reads it, with bkgd_video.mp4 and motion.npz
"""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..files.bounded import MIB, read_json
from ..files.digest import content
from ..media.clip import load_clip, read_clip, write_video
from ..media.frames import Levels, as_image
from ..media.photo import read_photo
from ..models.body.motion import BodyMotion
from ..models.body.motion_files import read_motion, save_motion
from ..training.datasets import anchorcrafter as anchor_data
from ..training.datasets import anicrafter as anicrafter_data
from .folder import Prepared


@dataclass(frozen=True)
class Condition:
    """How one is kept. file: its path, `{clip}` standing for the clip's name; write(path, value, fps); read(path)."""

    file: str
    write: Callable[[Path, Any, float], None]
    read: Callable[[Path], Any]

    def of(self, clip: str) -> str:
        """The path of a clip's."""
        person, product = (clip.split("_") * 2)[:2]
        return self.file.format(clip=clip, person=person, product=product)

    def put(
        self, prepared: Prepared, clip: str, made_of: Any, value: Any, fps: float, sources: Iterable[str] = ()
    ) -> None:
        """Keep a clip's, unless it is held."""
        prepared.put(self.of(clip), made_of, lambda path: self.write(path, value, fps), sources)


def read_condition(prepared: Prepared, clip: str, what: str) -> Any:
    """One of a clip's CONDITIONS as it lies there; None if it does not."""
    path = prepared.path(CONDITIONS[what].of(clip))
    return CONDITIONS[what].read(path) if path.is_file() else None


def contents(prepared: Prepared, clip: str, own: bool = False) -> list[str]:
    """Digests of a clip's files, or of those alone that are the user's own."""
    files = [condition.of(clip) for condition in CONDITIONS.values()]
    return [content(prepared.path(file)) for file in files
            if (prepared.is_own(file) if own else prepared.path(file).is_file())]


def clip_names(prepared: Prepared) -> list[str]:
    """Of the clips that the folder holds, sorted."""
    names = {path.name for part in ("clips", "anicrafter") for path in prepared.path(part).glob("[!.]*/")}
    return sorted(names | {path.stem for path in prepared.path(CONDITIONS["hand"].of("*")).parent.glob("*.mp4")})


def clip_name(stem: str) -> str:
    """The name of a clip by its file's, as training sets have it: <person>_<product> or <person>_<product>_<more>.

    Where that says neither, the clip is of a person and a product of its own.
    """
    stem = stem.strip().replace(" ", "-").lstrip(".") or "clip"
    return stem if all(stem.split("_")[:2]) and "_" in stem else f"{stem.replace('_', '-')}_{stem.replace('_', '-')}"


def read_fps(path: Path) -> float:
    """Frames per second of a video."""
    return read_clip(path, frames=1)[1]


def _write_clip(path: Path, images: torch.Tensor, fps: float) -> None:
    images = images[..., :3]
    write_video(path, images.cpu().numpy() if images.dtype == torch.uint8 else Levels(images), fps)


def _read_clip(path: Path) -> torch.Tensor:
    return load_clip(path, keep=as_image).frames


def _write_mask(path: Path, mask: torch.Tensor, fps: float) -> None:
    """Black and white has no colours to lose: it comes back to the pixel."""
    white = np.where((mask > 0.5).cpu().numpy(), 255, 0).astype(np.uint8)
    write_video(path, np.broadcast_to(white[..., None], (*white.shape, 3)), fps)


def _read_mask(path: Path) -> torch.Tensor:
    return load_clip(path, keep=lambda picture: (picture[..., 0] >= 128).float()).frames


def _write_keypoints(path: Path, keypoints: list[dict], fps: float) -> None:
    path.write_text(json.dumps(keypoints, default=float), encoding="utf-8")


def _read_keypoints(path: Path) -> list[dict]:
    return read_json(path, 1024 * MIB)


def _write_motion(path: Path, motion: BodyMotion, fps: float) -> None:
    save_motion(motion, path)


def _write_copy(path: Path, source: Path, fps: float) -> None:
    shutil.copyfile(source, path)


def _write_photo(path: Path, photo: torch.Tensor, fps: float) -> None:
    from PIL import Image

    Image.fromarray((photo.clamp(0, 1) * 255).round().byte().cpu().numpy()).save(path)


def _read_photo(path: Path) -> torch.Tensor:
    return read_photo(path)[0]


MASK = _write_mask, _read_mask
CLIP = _write_clip, _read_clip  # plays in a browser, as ComfyUI's page shows it
PHOTO = _write_photo, _read_photo  # writes [H,W,3 or 4], reads [1,H,W,3]
COPY = _write_copy, Path  # of a file, by its path
ANCHOR, ANIMATED, ASIDE = "anchorcrafter", "anicrafter/{clip}", "clips/{clip}"

VIEWS = ("view_left", "view_front", "view_right")
# Videos and masks are [F,H,W,3] and [F,H,W] in 0…1 and alike in length and size; keypoints are POSE_KEYPOINT.
CONDITIONS = {
    "film": Condition(f"{ASIDE}/film.mp4", *CLIP),
    "anchor_film": Condition(f"{ANCHOR}/{anchor_data.FILM}/{{clip}}.mp4", *COPY),
    "source": Condition(f"{ANIMATED}/{anicrafter_data.SOURCE}", *COPY),
    "keypoints": Condition(f"{ASIDE}/keypoints.json", _write_keypoints, _read_keypoints),
    "product_mask": Condition(f"{ASIDE}/product_mask.mp4", *MASK),
    "object_depth": Condition(f"{ANCHOR}/{anchor_data.DEPTH}/{{clip}}.mp4", *CLIP),
    "hand": Condition(f"{ANCHOR}/{anchor_data.HAND}/{{clip}}.mp4", *CLIP),
    "pose": Condition(f"{ANCHOR}/{anchor_data.POSE}/{{clip}}.mp4", *CLIP),
    "person": Condition(f"{ANCHOR}/{anchor_data.PEOPLE}/{{person}}_0.png", *PHOTO),
    "person_pose": Condition(f"{ANCHOR}/{anchor_data.PEOPLE_POSE}/{{person}}_0.png", *PHOTO),
    **{
        view: Condition(f"{ANCHOR}/{anchor_data.PRODUCTS}/{{product}}_{number}.png", *PHOTO)
        for number, view in enumerate(VIEWS)
    },
    "person_mask": Condition(f"{ASIDE}/person_mask.mp4", *MASK),
    "background": Condition(f"{ANIMATED}/bkgd_video.mp4", *CLIP),
    "motion": Condition(f"{ANIMATED}/motion.npz", _write_motion, read_motion),
    "mesh": Condition(f"{ANIMATED}/{anicrafter_data.MESH}", *CLIP),
    "mesh_mask": Condition(f"{ANIMATED}/{anicrafter_data.MASK}", *MASK),
    "reference": Condition(f"{ANIMATED}/{anicrafter_data.REFERENCE}", *PHOTO),
    "blend": Condition(f"{ANIMATED}/{anicrafter_data.BLEND}", *CLIP),
    "photo": Condition(f"{ASIDE}/photo.png", *PHOTO),
    "photo_pose": Condition(f"{ASIDE}/photo_pose.png", *PHOTO),
    "placed_pose": Condition(f"{ASIDE}/placed_pose.mp4", *CLIP),
    "placed_hand": Condition(f"{ASIDE}/placed_hand.mp4", *CLIP),
    "placed_depth": Condition(f"{ASIDE}/placed_depth.mp4", *CLIP),
}
