"""A folder of prepared clips: every condition of both systems, and what each was made of.

    clips/<clip>/         keypoints.json, product_mask.mp4, person_mask.mp4; the rest placed on a person's photo
    anchorcrafter/        a training set as `anchor_data` reads it
    anicrafter/<clip>/    a clip as `anicrafter_data` reads it, with bkgd_video.mp4 and motion.npz
    manifest.json         of each file made here: what it was made of, the digest of its content, and of which clip

A file whose content is not what the manifest notes, or that it does not know, is the user's own: it is used as it is,
for the clip it was made for and for no other, and never overwritten, and what is made of it is made again.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..files.bounded import MIB, read_json
from ..files.digest import content
from ..files.whole import alone, whole, writing
from ..media.clip import read_clip, write_video
from ..media.photo import read_photo
from ..models.body.motion import BodyMotion
from ..models.body.motion_files import read_motion, save_motion
from ..training.datasets import anchorcrafter as anchor_data
from ..training.datasets import anicrafter as anicrafter_data

MANIFEST, UNFINISHED, LOCK = "manifest.json", ".part", "lock"


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
        while path.is_file():
            try:
                own = entry is None or entry["content"] != content(path)
            except FileNotFoundError:
                continue
            before, entry = entry, self._manifest().get(file)
            if not own or entry == before:  # else another process has put it meanwhile
                return own
        return False

    def holds(self, file: str, made_of: Any) -> bool:
        """Whether nothing is to be done for it."""
        return self.path(file).is_file() and (self.is_own(file) or self.noted(file) == made_of)

    def put(self, file: str, made_of: Any, write: Callable[[Path], None], sources: Iterable[str] = ()) -> None:
        """`write` it, unless it is held. sources: what tells the clip it is of, see `claim`. One process at a time."""
        if self.holds(file, made_of):
            return
        path, part = self.path(file), self.path(UNFINISHED) / file.replace("/", "-")
        with writing(path, part), self._alone():
            if self.holds(file, made_of):
                return
            write(part)
            path.parent.mkdir(parents=True, exist_ok=True)
            # In this order: an old file beside the new note would be taken for the user's own.
            path.unlink(missing_ok=True)
            entry = {"made_of": made_of, "content": content(part)}
            self._note({file: entry | ({"sources": sorted(sources)} if sources else {})})
            os.replace(part, path)

    def claim(self, files: dict[str, Iterable[str]]) -> None:
        """Note for which clip the user's own among `files`, all of one clip's name, were made: of each its sources.

        A clip is told by its sources, any words, of which two files of it have one or more in common. An own file that
        is new belongs to the clip that is there, by what is noted of its neighbours, or else to this one.
        """
        entries = self._manifest()
        noted = {file: entries.get(file, {}).get("sources") for file in files if self.path(file).is_file()}
        there = {word for words in noted.values() for word in words or ()}
        there = sorted(there or {word for words in files.values() for word in words})
        new = [file for file, words in noted.items() if not words and self.is_own(file)]
        if new and there:
            unknown = {"made_of": None, "content": None}
            with self._alone():
                entries = self._manifest()
                self._note({file: {**entries.get(file, unknown), "sources": there} for file in new})

    def question(self, file: str, sources: Iterable[str]) -> str | None:
        """What to ask the user who has made `file` for another clip than that of these sources; None if not so."""
        noted = self._manifest().get(file, {}).get("sources")
        if not noted or not sources or not set(noted).isdisjoint(sources) or not self.is_own(file):
            return None
        return (
            f"{self.path(file)} is your own, made for another clip or cut: give this clip another name (and copy the "
            "file to that, if it is this clip's), or delete the file."
        )

    def _alone(self) -> AbstractContextManager:
        return alone(self.path(UNFINISHED) / LOCK)

    def _note(self, entries: dict[str, dict]) -> None:
        entries = dict(sorted({**self._manifest(), **entries}.items()))
        with whole(self.path(MANIFEST)) as part:
            part.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")

    def _manifest(self) -> dict[str, dict]:
        path = self.path(MANIFEST)
        try:
            entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            if all({"made_of", "content"} <= entry.keys() for entry in entries.values()):
                return entries
        except (ValueError, AttributeError):
            pass
        raise ValueError(f"{path} is damaged: delete it together with what was made in {self.folder}.")


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
    return read_json(path, 1024 * MIB)


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
