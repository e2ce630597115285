"""AnchorCrafter's training clips, in the published layout.

    video_cut/<person>_<object>[_<clip>].mp4   the film
    video_pose/, hand_cut/, depth_cut/         its drawn pose, hand mesh and coloured object depth, of the same name
    people_cut/<person>_0.png                  the person's photo (or .jpg), or <person>.mp4, any frame of which serves
    people_pose/<person>_0.png                 the photo's drawn pose; only for `reference_frame`
    masked_object_cut/<object>_{0,1,2}.png     the product from one side, the front and the other (or .jpg), on black

The four videos of a clip are of one size and run frame by frame alongside. Films, photos and conditions are scaled to
cover the size that is trained, and what sticks out is cut off evenly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ...media import clip, photo
from ...preprocessors.product.views import fit_to_square

FILM, POSE, HAND, DEPTH = "video_cut", "video_pose", "hand_cut", "depth_cut"
PEOPLE, PEOPLE_POSE, PRODUCTS = "people_cut", "people_pose", "masked_object_cut"
PHOTOS = (".png", ".jpg", ".jpeg")
VISIBLE = 16  # of 255: a green above it is the product, not the noise of lossy video


@dataclass(frozen=True)
class Clip:
    """One film and what belongs to it; `frames` is its length."""

    film: Path
    pose: Path
    hand: Path
    depth: Path
    person: Path
    person_pose: Path | None
    views: tuple[Path, Path, Path]
    frames: int

    @cached_property
    def person_frames(self) -> int:
        return clip.measure(self.person)[0] if self.person.suffix == ".mp4" else 1


def find_clips(folder: Path, span: int, reference_frame: bool = False) -> tuple[list[Clip], list[str]]:
    """The usable clips of a data set, by name, and a sentence for every fault of the others.

    span: frames that a sample reaches over; reference_frame: whether the drawn poses of the photos are needed. A clip
    is faulty if a partner is missing or unreadable, its videos differ in length or size, it is shorter than `span`, or
    its depth video shows no product. Reads no more than it has to: damage in the middle of a film is found in training.
    """
    clips, faults = [], []
    films = sorted((folder / FILM).glob("*.mp4"))
    if not films:
        return [], [f"{folder} has no clips: there is no {FILM}/<person>_<object>.mp4."]
    for film in films:
        try:
            clips.append(_clip(folder, film, span, reference_frame))
        except ValueError as error:
            faults.append(f"{film.stem}: {error}")
    return clips, faults


def _clip(folder: Path, film: Path, span: int, reference_frame: bool) -> Clip:
    names = film.stem.split("_")
    if len(names) < 2:
        raise ValueError("the name is not <person>_<object> or <person>_<object>_<clip>.")
    person, product = names[:2]
    videos = [film, *(folder / kind / film.name for kind in (POSE, HAND, DEPTH))]
    missing = [f"{path.parent.name}/{path.name}" for path in videos if not path.is_file()]
    portrait = _photo(folder / PEOPLE, f"{person}_0") or folder / PEOPLE / f"{person}.mp4"
    pose = _photo(folder / PEOPLE_POSE, f"{person}_0")
    views = [_photo(folder / PRODUCTS, f"{product}_{view}") for view in range(3)]
    if not portrait.is_file():
        missing.append(f"{PEOPLE}/{person}_0.png")
    if reference_frame and pose is None:
        missing.append(f"{PEOPLE_POSE}/{person}_0.png")
    if views[0] is None:
        missing.append(f"{PRODUCTS}/{product}_0.png")
    if missing:
        raise ValueError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.")
    shapes = {path: clip.measure(path) for path in videos}
    frames, height, width = shapes[film]
    for path, (length, *other) in shapes.items():
        if (length, *other) != shapes[film]:
            raise ValueError(
                f"{path.parent.name} has {length} frames of {other[1]}×{other[0]}, {FILM} {frames} of {width}×{height}."
            )
    if frames < span:
        raise ValueError(f"it has {frames} frames, a sample needs {span}.")
    if not any((frame[..., 1] > VISIBLE).any() for i in range(frames) for frame in read_frames(videos[3], [i])):
        raise ValueError(f"{DEPTH} shows no product in any frame.")
    for path in (portrait, pose, *views):
        if path is not None and path.suffix != ".mp4":
            read_photo(path)
    # The published loader lets the first view stand in for those that are not there.
    views = tuple(view or views[0] for view in views)
    return Clip(*videos, portrait, pose if reference_frame else None, views, frames)


def _photo(folder: Path, name: str) -> Path | None:
    return next((folder / f"{name}{end}" for end in PHOTOS if (folder / f"{name}{end}").is_file()), None)


def read_frames(path: Path, frames: Sequence[int], size: tuple[int, int] | None = None) -> list[np.ndarray]:
    """`clip.read_frames`, covering `size` (width, height) if given. Raises ValueError."""
    if size is None:
        return clip.read_frames(path, frames)
    return [_cut(picture, size) for picture in clip.read_frames(path, frames, lambda *whole: _cover(*whole, size))]


def _cover(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    scale = max(size[0] / width, size[1] / height)
    return max(size[0], math.ceil(width * scale - 1e-6)), max(size[1], math.ceil(height * scale - 1e-6))


def _cut(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, left = (picture.shape[0] - size[1]) // 2, (picture.shape[1] - size[0]) // 2
    return np.ascontiguousarray(picture[top : top + size[1], left : left + size[0]])


def read_photo(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 [H, W, 3], covering `size` (width, height) if given. Raises ValueError."""
    from PIL import Image

    image = (photo.read_photo(path)[0][0] * 255).round().byte().numpy()
    if size is None:
        return image
    whole = _cover(image.shape[1], image.shape[0], size)
    return _cut(np.array(Image.fromarray(image).resize(whole, Image.Resampling.BILINEAR)), size)


def read_person(path: Path, frame: int, size: tuple[int, int]) -> np.ndarray:
    """The photo, or that frame of the clip that stands for one; uint8 [H, W, 3]."""
    return read_frames(path, [frame], size)[0] if path.suffix == ".mp4" else read_photo(path, size)


def read_views(paths: Sequence[Path]) -> torch.Tensor:
    """The product's views as at inference, [3, 518, 518, 3] in 0…1."""
    return torch.stack([_view(*photo.read_photo(path)) for path in paths])


def _view(image: torch.Tensor, opacity: torch.Tensor | None) -> torch.Tensor:
    shown = image[0] if opacity is None else image[0] * opacity[0, ..., None]
    return fit_to_square(shown, torch.ones(shown.shape[:2]))[0]
