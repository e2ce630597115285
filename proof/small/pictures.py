"""Films and photos that an autoencoder or image encoder learns from, held in memory."""

from collections.abc import Sequence
from glob import glob
from pathlib import Path

import cv2
import numpy as np
import torch

from ...media.clip import read_clip
from ...training.datasets.anchorcrafter import read_photo

FILMS = (".mp4", ".mov", ".webm", ".mkv")


class Pictures:
    """Clips, uint8 [F, H, W, 3] each: films, and photos as clips of one frame."""

    def __init__(self, patterns: Sequence[str], long_side: int, shortest: int = 1):
        """patterns: paths with `*`, or `**` for any folders. long_side: nothing stays longer than that; shortest: side
        that every picture must have. Raises ValueError for a pattern without files, and for files that do not serve.
        """
        self.clips = []
        for path in find(patterns):
            clip = read(path, long_side)
            if min(clip.shape[1:3]) < shortest:
                raise ValueError(f"{path} is {clip.shape[2]}×{clip.shape[1]}; sides of {shortest} or more are wanted.")
            self.clips.append(clip)

    def __len__(self) -> int:
        return len(self.clips)

    def window(self, index: int, draw: np.random.Generator, frames: int, side: int) -> torch.Tensor:
        """A square cut out of consecutive frames of a clip, mirrored at times: uint8 [3, F, side, side].

        Its corner is a multiple of 8, a latent's size. A clip that is too short stands still at its end.
        """
        clip = self.clips[index]
        first = draw.integers(max(1, len(clip) - frames + 1))
        top, left = (8 * draw.integers((length - side) // 8 + 1) for length in clip.shape[1:3])
        clip = clip[first : first + frames, top : top + side, left : left + side]
        if draw.random() < 0.5:
            clip = clip[:, :, ::-1]
        return hold(np.ascontiguousarray(clip), frames)

    def frame(self, index: int, draw: np.random.Generator) -> torch.Tensor:
        """Any frame of a clip, mirrored at times: uint8 [H, W, 3]."""
        frame = self.clips[index][draw.integers(len(self.clips[index]))]
        return torch.from_numpy(frame[:, ::-1].copy() if draw.random() < 0.5 else frame)

    def whole(self, index: int, frames: int) -> torch.Tensor:
        """The beginning of a clip, both sides cut to multiples of 8: uint8 [3, F, H, W]."""
        clip = self.clips[index]
        height, width = (length // 8 * 8 for length in clip.shape[1:3])
        return hold(np.ascontiguousarray(clip[:frames, :height, :width]), frames)


def hold(clip: np.ndarray, frames: int) -> torch.Tensor:
    """[f, H, W, 3] → [3, frames, H, W]; the last frame stays on."""
    clip = torch.from_numpy(clip).movedim(-1, 0)
    return torch.cat([clip, clip[:, -1:].expand(-1, frames - clip.shape[1], -1, -1)], 1)


def find(patterns: Sequence[str]) -> list[Path]:
    """The files of all patterns, sorted. Raises ValueError for a pattern without any."""
    found = []
    for pattern in patterns:
        paths = sorted(path for path in map(Path, glob(pattern, recursive=True)) if path.is_file())
        if not paths:
            raise ValueError(f"No file is called {pattern}: write clips with `crafters demo-data`, or name others.")
        found += paths
    return found


def read(path: Path, long_side: int = 0) -> np.ndarray:
    """A film or photo, uint8 [F, H, W, 3]; what is longer than long_side shrinks to it, unless 0. Raises ValueError."""
    if path.suffix.lower() in FILMS:
        return read_clip(path, long_side=long_side)[0].numpy()
    photo = read_photo(path)
    scale = long_side / max(photo.shape[:2]) if long_side else 1
    if scale < 1:
        height, width = (round(length * scale) for length in photo.shape[:2])
        photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    return photo[None]
