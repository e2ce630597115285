"""AniCrafter's training clips: a film and everything the node graph would show AniCrafter to make it again.

One folder per clip, all of one size with sides that are multiples of 16; the four videos have as many frames as each
other and run frame by frame alongside:

    source_video.mp4  the film that should come out
    blend_video.mp4   the avatar over the background without the person (Compose Scene's `blend`); may be lossy
    smplx_video.mp4   the body's grey mesh on black (Render Body Mesh's `image`); may be lossy
    mask_video.mp4    white where that mesh is (its `mask`), else black
    reference.png     the character's photo on white; of a transparent one only the opaque part is shown
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ...files.digest import digest
from ...media.clip import measure, read_clip, read_frames
from ...media.photo import read_photo
from ...models.anicrafter.conditions import GRID, STRIDE, Scene, assemble, fit_reference

SOURCE, BLEND, MESH, MASK = VIDEOS = ("source_video.mp4", "blend_video.mp4", "smplx_video.mp4", "mask_video.mp4")
REFERENCE = "reference.png"
GREY_SHARE = 0.01  # of a mask's pixels; more is no mask


@dataclass(frozen=True)
class Clip:
    """frames: of each of its videos; size: (width, height)."""

    folder: Path
    frames: int
    size: tuple[int, int]

    @cached_property
    def content(self) -> str:
        """A digest of all its files."""
        return digest(*(self.folder / name for name in (*VIDEOS, REFERENCE)))


@dataclass(frozen=True)
class Window:
    """T−1 consecutive driving frames of a clip, from `first` on: what one sample shows, with T = 4n+1."""

    clip: Clip
    first: int
    frames: int

    def film(self) -> torch.Tensor:
        """What should come out, the reference still in front: IMAGE [T, H, W, 3]."""
        return torch.cat([self._reference(), self._video(SOURCE)])

    def scene(self) -> Scene:
        """What AniCrafter is shown, T frames, as at inference."""
        blend, mesh, mask = (self._video(name) for name in (BLEND, MESH, MASK))
        return assemble(self._reference(), blend, mesh, (mask[..., 0] < 0.5).float())

    def _video(self, name: str) -> torch.Tensor:
        frames = read_frames(self.clip.folder / name, range(self.first, self.first + self.frames - 1))
        return torch.from_numpy(np.stack(frames)).float() / 255

    def _reference(self) -> torch.Tensor:
        photo, opacity = read_photo(self.clip.folder / REFERENCE)
        width, height = self.clip.size
        return fit_reference(photo, height, width, opacity)


def find_clips(folder: str | Path, frames: int) -> tuple[list[Clip], list[str]]:
    """The usable clips of a data set, by name, and a sentence about every folder that is none.

    frames: T = 4n+1 of the longest sample, which every clip must allow. Raises ValueError for a folder without clips,
    or another T.
    """
    folder = Path(folder)
    if frames <= 1 or frames % STRIDE != 1:
        raise ValueError(f"A sample has {frames} frames; 5, 9, 13 … are wanted: the still and a multiple of {STRIDE}.")
    folders = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
    if not folders:
        raise ValueError(f"{folder} holds no clips: a folder for each is wanted, with {', '.join(VIDEOS)}.")
    clips, faults = [], []
    for path in folders:
        try:
            clips.append(_check(path, frames))
        except (ValueError, OSError) as error:
            faults.append(f"{path.name}: {error}")
    size = clips[0].size if clips else None
    odd = [clip for clip in clips if clip.size != size]
    faults += [f"{clip.folder.name}: its size is {clip.size}, that of {clips[0].folder.name} {size}." for clip in odd]
    return [clip for clip in clips if clip.size == size], faults


def windows(clips: list[Clip], frames: int) -> Iterator[Window]:
    """As many windows of `frames` frames as fit into each clip without overlap."""
    for clip in clips:
        for first in range(0, clip.frames - frames + 2, frames - 1):
            yield Window(clip, first, frames)


def _check(folder: Path, frames: int) -> Clip:
    """Raises ValueError or OSError: what is wrong with a clip."""
    missing = [name for name in (*VIDEOS, REFERENCE) if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing.")
    mask = read_clip(folder / MASK)[0][..., 0]
    count, height, width = mask.shape
    if width % GRID or height % GRID:
        raise ValueError(f"its frames are {width}×{height}; both sides must be multiples of {GRID}.")
    if count < frames - 1:
        raise ValueError(f"it has {count} frames; at least {frames - 1} are wanted.")
    for name in VIDEOS[:3]:
        shape = measure(folder / name)
        if shape != (count, height, width):
            raise ValueError(f"(frames, height, width) of {name} are {shape}, of {MASK} {(count, height, width)}.")
    if ((mask > 48) & (mask < 208)).float().mean() > GREY_SHARE:
        raise ValueError(f"{MASK} is not black and white.")
    if not (mask >= 128).any():
        raise ValueError(f"{MASK} shows nobody.")
    read_photo(folder / REFERENCE)
    return Clip(folder, count, (width, height))
