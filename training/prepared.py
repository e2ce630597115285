"""A folder of prepared clips: every condition of both systems, and what each was made of.

    clips/<clip>/         keypoints.json, product_mask.mp4, person_mask.mp4; the rest placed on a person's photo
    anchorcrafter/        a training set as `anchor_data` reads it
    anicrafter/<clip>/    a clip as `anicrafter_data` reads it, with bkgd_video.mp4 and motion.npz
    manifest.json         of each file made here: what it was made of, and the digest of its content

A file whose content is not what the manifest notes, or that it does not know, is the user's own: it is used as it is
and never overwritten, and what is made of it is made again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..models.avatar.motion import BodyMotion
from ..models.avatar.motion_files import read_motion, save_motion
from ..preprocessors.clip import read_clip, write_video
from ..preprocessors.photo import read_photo
from . import anchor_data, anicrafter_data

MANIFEST, UNFINISHED = "manifest.json", ".part"


class Prepared:
    """The folder. `file` is a path in it with forward slashes; `made_of` anything that JSON can say.

    A process that is killed at any time leaves no file that is taken for whole: files are written elsewhere, and noted
    before they get their name.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def clips(self) -> list[str]:
        """The names of its clips, sorted."""
        names = {path.name for part in ("clips", "anicrafter") for path in self.path(part).glob("[!.]*/")}
        return sorted(names | {path.stem for path in self.path(CONDITIONS["hand"].of("*")).parent.glob("*.mp4")})

    def path(self, file: str) -> Path:
        """Where it lies."""
        return self.folder / file

    def noted(self, file: str) -> Any:
        """What it was made of; None if it was not made here, or is not there any more."""
        entry = self._manifest().get(file)
        return entry["made_of"] if entry and self.path(file).is_file() else None

    def is_own(self, file: str) -> bool:
        """Whether it is there and the user's own."""
        path, entry = self.path(file), self._manifest().get(file)
        return path.is_file() and (entry is None or entry["content"] != content(path))

    def holds(self, file: str, made_of: Any) -> bool:
        """Whether nothing is to be done for it."""
        return self.path(file).is_file() and (self.is_own(file) or self.noted(file) == made_of)

    def put(self, file: str, made_of: Any, write: Callable[[Path], None]) -> None:
        """`write` it, unless it is held."""
        if self.holds(file, made_of):
            return
        part = self.path(UNFINISHED) / file.replace("/", "-")
        part.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        path = self.path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        # In this order: an old file beside the new note would be taken for the user's own.
        path.unlink(missing_ok=True)
        self._note(file, {"made_of": made_of, "content": content(part)})
        os.replace(part, path)

    def _note(self, file: str, entry: dict) -> None:
        entries = dict(sorted({**self._manifest(), file: entry}.items()))
        part = self.path(UNFINISHED) / MANIFEST
        part.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.path(MANIFEST))

    def _manifest(self) -> dict[str, dict]:
        path = self.path(MANIFEST)
        try:
            entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            if all({"made_of", "content"} <= entry.keys() for entry in entries.values()):
                return entries
        except (ValueError, AttributeError):
            pass
        raise ValueError(f"{path} is damaged: delete it together with what was made in {self.folder}.")


def content(path: Path) -> str:
    """A digest of a file."""
    status = path.stat()
    return _content(path, status.st_size, status.st_mtime_ns)


@lru_cache(10_000)
def _content(path: Path, size: int, changed: int) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            whole.update(piece)
    return whole.hexdigest()[:32]


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

    def put(self, prepared: Prepared, clip: str, made_of: Any, value: Any, fps: float) -> None:
        """Keep a clip's, unless it is held."""
        prepared.put(self.of(clip), made_of, lambda path: self.write(path, value, fps))


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
    images = images[..., :3].cpu()
    levels = images if images.dtype == torch.uint8 else (images.clamp(0, 1) * 255).round().byte()
    write_video(path, levels.numpy(), fps)


def _read_clip(path: Path) -> torch.Tensor:
    return read_clip(path)[0].float() / 255


def _write_mask(path: Path, mask: torch.Tensor, fps: float) -> None:
    """Black and white has no colours to lose: it comes back to the pixel."""
    white = np.where((mask > 0.5).cpu().numpy(), 255, 0).astype(np.uint8)
    write_video(path, [np.repeat(frame[..., None], 3, -1) for frame in white], fps)


def _read_mask(path: Path) -> torch.Tensor:
    return (read_clip(path)[0][..., 0] >= 128).float()


def _write_keypoints(path: Path, keypoints: list[dict], fps: float) -> None:
    path.write_text(json.dumps(keypoints, default=float), encoding="utf-8")


def _read_keypoints(path: Path) -> list[dict]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error


def _write_motion(path: Path, motion: BodyMotion, fps: float) -> None:
    save_motion(motion, path)


def _write_photo(path: Path, photo: torch.Tensor, fps: float) -> None:
    from PIL import Image

    Image.fromarray((photo.clamp(0, 1) * 255).round().byte().cpu().numpy()).save(path)


def _read_photo(path: Path) -> torch.Tensor:
    return read_photo(path)[0]


MASK = {"write": _write_mask, "read": _read_mask}
CLIP = {"write": _write_clip, "read": _read_clip}  # plays in a browser, as ComfyUI's page shows it
PHOTO = {"write": _write_photo, "read": _read_photo}  # writes [H,W,3 or 4], reads [1,H,W,3]
ANCHOR, ANIMATED, ASIDE = "anchorcrafter", "anicrafter/{clip}", "clips/{clip}"
COPY = {"write": lambda path, source, fps: shutil.copyfile(source, path), "read": lambda path: path}

VIEWS = ("view_left", "view_front", "view_right")
# Videos and masks are [F,H,W,3] and [F,H,W] in 0…1 and alike in length and size; keypoints are POSE_KEYPOINT.
CONDITIONS = {
    "film": Condition(f"{ASIDE}/film.mp4", **CLIP),
    "anchor_film": Condition(f"{ANCHOR}/{anchor_data.FILM}/{{clip}}.mp4", **COPY),
    "source": Condition(f"{ANIMATED}/{anicrafter_data.SOURCE}", **COPY),
    "keypoints": Condition(f"{ASIDE}/keypoints.json", _write_keypoints, _read_keypoints),
    "product_mask": Condition(f"{ASIDE}/product_mask.mp4", **MASK),
    "object_depth": Condition(f"{ANCHOR}/{anchor_data.DEPTH}/{{clip}}.mp4", **CLIP),
    "hand": Condition(f"{ANCHOR}/{anchor_data.HAND}/{{clip}}.mp4", **CLIP),
    "pose": Condition(f"{ANCHOR}/{anchor_data.POSE}/{{clip}}.mp4", **CLIP),
    "person": Condition(f"{ANCHOR}/{anchor_data.PEOPLE}/{{person}}_0.png", **PHOTO),
    "person_pose": Condition(f"{ANCHOR}/{anchor_data.PEOPLE_POSE}/{{person}}_0.png", **PHOTO),
    **{
        view: Condition(f"{ANCHOR}/{anchor_data.PRODUCTS}/{{product}}_{number}.png", **PHOTO)
        for number, view in enumerate(VIEWS)
    },
    "person_mask": Condition(f"{ASIDE}/person_mask.mp4", **MASK),
    "background": Condition(f"{ANIMATED}/bkgd_video.mp4", **CLIP),
    "motion": Condition(f"{ANIMATED}/motion.npz", _write_motion, read_motion),
    "mesh": Condition(f"{ANIMATED}/{anicrafter_data.MESH}", **CLIP),
    "mesh_mask": Condition(f"{ANIMATED}/{anicrafter_data.MASK}", **MASK),
    "reference": Condition(f"{ANIMATED}/{anicrafter_data.REFERENCE}", **PHOTO),
    "blend": Condition(f"{ANIMATED}/{anicrafter_data.BLEND}", **CLIP),
    "photo": Condition(f"{ASIDE}/photo.png", **PHOTO),
    "photo_pose": Condition(f"{ASIDE}/photo_pose.png", **PHOTO),
    "placed_pose": Condition(f"{ASIDE}/placed_pose.mp4", **CLIP),
    "placed_hand": Condition(f"{ASIDE}/placed_hand.mp4", **CLIP),
    "placed_depth": Condition(f"{ASIDE}/placed_depth.mp4", **CLIP),
}
