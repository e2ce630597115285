"""Carrying a driving clip's pose and condition videos into the frame of the reference person."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .frames import each_frame, resize
from .keypoints import VISIBLE, Pose

# Nose, neck, shoulders, legs, eyes and ears: what keeps its place while someone presents a product.
JOINTS = [0, 1, 2, 5, *range(8, 18)]
SCALE_LIMITS = 0.05, 20.0


@dataclass(frozen=True)
class Placement:
    """reference xy = driving xy * scale + bias, in coordinates divided by each frame's width and height.

    `source_size` and `target_size` are (width, height) in pixels of the driving clip and of the reference person.
    """

    scale: tuple[float, float]
    bias: tuple[float, float]
    source_size: tuple[int, int]
    target_size: tuple[int, int]


def fit_placement(
    driving: Sequence[Pose], reference: Pose, source_size: tuple[int, int], target_size: tuple[int, int]
) -> Placement:
    """The placement that brings the driving person's joints onto the reference's (AnchorCrafter, pose alignment).

    Least squares in height over all frames with exactly one person and all joints visible in `reference` (its first
    person); in width the same number of pixels per pixel. Sizes are (width, height). Raises ValueError if there is
    nothing to fit, or if what comes out would not be a placement of one person on another.
    """
    if not reference.people:
        raise ValueError("No person was found in the reference photo: choose a photo that shows head and shoulders.")
    joints = [joint for joint in JOINTS if reference.body[0, joint, 2] > VISIBLE]
    if not joints:
        raise ValueError(
            "The reference photo shows no shoulder, hip, leg or face clearly enough to place a pose on: "
            "choose a photo that shows head and shoulders."
        )
    bodies = [pose.body[0, joints, :2] for pose in driving if pose.people == 1]
    if not bodies:
        raise ValueError(
            f"None of the {len(driving)} driving frames has exactly one person: "
            "check the clip, or choose one of its people in Extract Pose."
        )
    xy = np.stack(bodies)
    wanted = np.broadcast_to(reference.body[0, joints, :2], xy.shape)
    found = np.isfinite(xy).all(axis=-1)
    (x, y), (wanted_x, wanted_y) = xy[found].T, wanted[found].T
    if not len(y):
        raise ValueError("No joint that is visible in the reference photo was found in any driving frame.")

    spread = ((y - y.mean()) ** 2).sum()
    scale_y = ((y - y.mean()) * (wanted_y - wanted_y.mean())).sum() / spread if spread > 0 else 0.0
    if not SCALE_LIMITS[0] <= scale_y <= SCALE_LIMITS[1]:
        raise ValueError(
            f"The driving pose cannot be placed on the reference person: {len(joints)} common joints ask for a scale "
            f"of {scale_y:.3g}. Both must stand or sit upright and show more than one of head, shoulders, hips, legs."
        )
    scale_x = scale_y * (source_size[0] / source_size[1]) * (target_size[1] / target_size[0])
    bias = wanted_x.mean() - scale_x * x.mean(), wanted_y.mean() - scale_y * y.mean()
    return Placement(
        (float(scale_x), float(scale_y)), (float(bias[0]), float(bias[1])), tuple(source_size), tuple(target_size)
    )


def place_pose(pose: Pose, placement: Placement) -> Pose:
    """`pose` of a driving frame in the coordinates of the reference frame; scores stay."""
    scale, bias = np.array([*placement.scale, 1.0]), np.array([*placement.bias, 0.0])
    return Pose(*(part * scale + bias for part in pose.parts))


def place_video(
    frames: torch.Tensor, placement: Placement, on_step: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """A condition video of the driving clip in the reference frame (AnchorCrafter, track alignment).

    `frames` [F,H,W,3], uint8 or float, of any size with the driving clip's shape; returns the same dtype in
    [F,*target,3], black where the clip does not reach. The published code gives landscape frames a portrait size;
    here every frame takes the target's size.
    """
    width, height = placement.target_size
    source_aspect = placement.source_size[0] / placement.source_size[1]
    if abs(frames.shape[2] / frames.shape[1] / source_aspect - 1) > 0.05:
        logging.getLogger(__name__).warning(
            "The video to place is %dx%d but the driving clip %dx%d: it is stretched to the same shape, "
            "which is right only if it shows the same picture.",
            *(frames.shape[2], frames.shape[1], *placement.source_size),
        )
    rows, row_inside = _source_index(height, placement.scale[1], placement.bias[1])
    columns, column_inside = _source_index(width, placement.scale[0], placement.bias[0])
    outside = ~(row_inside[:, None] & column_inside)
    placed = frames.new_empty((len(frames), height, width, frames.shape[3]))

    def place(i: int) -> None:
        placed[i] = resize(frames[i], width, height)[rows[:, None], columns]
        placed[i][outside] = 0

    each_frame(range(len(frames)), place, on_step)
    return placed


def _source_index(size: int, scale: float, bias: float) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of `size` target rows (or columns) the source row, truncated as published, and whether it exists."""
    source = ((torch.arange(size, dtype=torch.float64) - bias * size) / scale).trunc().long()
    return source.clamp(0, size - 1), (source >= 0) & (source < size)
