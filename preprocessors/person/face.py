"""The face of a clip by itself, as Wan-Animate is shown it: square crops that stay steady."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from ...media.frames import frame_ranges, levels, stepped, to_image
from ..pose.keypoints import VISIBLE, Pose

SIDE = 512  # px of a crop
ROOM = 1.3  # times the face's own box, in area (Wan-Animate, preprocessing)
ABOVE = 0.25  # of the room that is added in height: as far the crop's middle lies above the face's
FEWEST = 17  # of the 68 points, seen: a profile's jaw; fewer are a guess
STEADY = 2.0  # frames: deviation of the Gaussian that the box is smoothed by over time
JUMP = 1.0  # of its side: a box that is farther from the frames around is a mistake, or the next shot's
AROUND = 5  # frames that a box is compared with


def face_clip(
    images: torch.Tensor, poses: Sequence[Pose], on_step: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """The face in every frame, [F,512,512,3] in 0…1 (WanAnimateToVideo takes it to -1…1 itself).

    images: [F,H,W,3] in 0…1; poses: of the same frames, each of the one person. The box is smoothed over time; where
    no face is seen it stays on its way between the frames that show one, with a warning. What lies beyond the picture
    repeats its edge. Raises ValueError if no frame shows a face.
    """
    height, width = images.shape[1:3]
    boxes = np.array([_face_box(pose, width, height) for pose in poses])
    seen = np.isfinite(boxes).all(1)
    seen[seen] = _likely(boxes[seen])
    if not seen.any():
        raise ValueError(
            f"No face is seen in any of the {len(images)} frames: choose a clip whose face is in the picture and "
            "turned to the camera, or leave the face video out."
        )
    if not seen.all():
        held = frame_ranges((np.flatnonzero(~seen) + 1).tolist())
        logging.getLogger(__name__).warning("No face is seen in frames %s: its place is kept there.", held)
    boxes = _steady(boxes, seen)
    crops = (_crop(image, *box) for image, box in zip(stepped(images, on_step), boxes, strict=True))
    return to_image(crops, len(images))


def _face_box(pose: Pose, width: int, height: int) -> tuple[float, float, float]:
    """Middle x, y and side px of the square around the face; NaN where none is seen in the picture."""
    if not pose.people:
        return np.nan, np.nan, np.nan
    points = pose.face[0]
    inside = ((points[:, :2] >= 0) & (points[:, :2] <= 1)).all(1)
    if (inside & (points[:, 2] > VISIBLE)).sum() < FEWEST:
        return np.nan, np.nan, np.nan
    xy = points[points[:, 2] > VISIBLE, :2] * (width, height)
    low, high = xy.min(0), xy.max(0)
    side = ROOM**0.5 * (high - low).max()
    x, y = (low + high) / 2
    return x, y - ABOVE * (ROOM**0.5 - 1) * (high - low)[1], max(side, 2.0)


def _likely(boxes: np.ndarray) -> np.ndarray:
    """Which of boxes [N,3] lie where those around them do."""
    if not len(boxes):
        return np.zeros(0, bool)
    around = np.pad(boxes, ((AROUND // 2, AROUND // 2), (0, 0)), "edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(around, AROUND, axis=0), axis=-1)
    return np.abs(boxes - usual)[:, :2].max(1) <= JUMP * usual[:, 2]


def _steady(boxes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Boxes [F,3] in every frame, without a tremble: filled in where not `seen`, then smoothed within each shot."""
    frames, known = np.arange(len(boxes)), np.flatnonzero(seen)
    moved = np.abs(np.diff(boxes[known, :2], axis=0)).max(1, initial=0)
    cuts = known[1:][(moved > JUMP * boxes[known[1:], 2]) & (np.diff(known) == 1)]
    steady = np.empty_like(boxes)
    for shot in np.split(frames, cuts):
        there = shot[seen[shot]]
        filled = np.stack([np.interp(shot, there, boxes[there, part]) for part in range(3)], 1)
        reach = round(3 * STEADY)
        weight = np.exp(-np.square(np.arange(-reach, reach + 1) / STEADY) / 2)
        beyond = np.pad(filled, ((reach, reach), (0, 0)), "reflect", reflect_type="odd")  # whoever moves, goes on
        windows = np.lib.stride_tricks.sliding_window_view(beyond, len(weight), axis=0)
        steady[shot] = windows @ weight / weight.sum()
    return steady


def _crop(image: torch.Tensor, x: float, y: float, side: float) -> np.ndarray:
    """The square of that middle and side px out of image [H,W,3] in 0…1; uint8 [512,512,3]."""
    height, width = image.shape[:2]
    left, top = x - side / 2, y - side / 2
    first = np.floor([left, top]).astype(int) - 1
    last = np.ceil([left + side, top + side]).astype(int) + 1
    columns, rows = (np.arange(a, b).clip(0, size - 1)
                     for a, b, size in zip(first, last, (width, height), strict=True))
    part = Image.fromarray(levels(image[rows[:, None], columns, :3]))
    box = left - first[0], top - first[1], left + side - first[0], top + side - first[1]
    return np.array(part.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box))
