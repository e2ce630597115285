"""Carrying a driving clip's pose and condition videos into the frame of the reference person."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...media.frames import gathered, resize, stepped
from .keypoints import VISIBLE, Pose

# Nose, neck, shoulders, legs, eyes and ears: what keeps its place while someone presents a product.
JOINTS = [0, 1, 2, 5, *range(8, 18)]
LEGS = [9, 10, 12, 13]  # knees and ankles, which keep it only while both stand
SCALE_LIMITS = 0.05, 20.0
VISIBLE_JOINTS, PUBLISHED = FITS = ("visible joints", "published")
FEWEST = 3  # joints seen in both that tell a scale
REFITS, UNLIKE = 10, 0.1  # of the figure's size: joints that are so far from their place count a quarter


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
    driving: Sequence[Pose],
    reference: Pose,
    source_size: tuple[int, int],
    target_size: tuple[int, int],
    fit: str = VISIBLE_JOINTS,
) -> Placement:
    """The placement that brings the driving person's joints onto the reference's (AnchorCrafter, pose alignment).

    Least squares over all frames with exactly one person and the joints of `reference`'s first person; the same number
    of pixels per pixel in width and height. Sizes are (width, height). fit: "visible joints" counts what is seen in
    both by its scores, each frame's figure by its shape, legs as far as they stand alike; "published" fits the heights
    alone, of joints visible in `reference` and wherever they were guessed to be in the clip. Raises ValueError if
    there is nothing to fit, or if what comes out would not be a placement of one person on another.
    """
    if not reference.people:
        raise ValueError("No person was found in the reference photo: choose a photo that shows head and shoulders.")
    joints = [joint for joint in JOINTS if reference.body[0, joint, 2] > VISIBLE]
    if not joints:
        raise ValueError(
            "The reference photo shows no shoulder, hip, leg or face clearly enough to place a pose on: "
            "choose a photo that shows head and shoulders."
        )
    bodies = [pose.body[0, joints] for pose in driving if pose.people == 1]
    if not bodies:
        raise ValueError(
            f"None of the {len(driving)} driving frames has exactly one person: "
            "check the clip, or choose one of its people in Extract Pose."
        )
    fitted = _fit_published if fit == PUBLISHED else _fit_visible
    scale, source, target = fitted(np.stack(bodies), reference.body[0, joints], joints, source_size, target_size)
    if not SCALE_LIMITS[0] <= scale <= SCALE_LIMITS[1]:
        raise ValueError(
            f"The driving pose cannot be placed on the reference person: {len(joints)} common joints ask for a scale "
            f"of {scale:.3g}. Both must stand or sit upright and show more than one of head, shoulders, hips, legs."
        )
    scale_x = scale * (source_size[0] / source_size[1]) * (target_size[1] / target_size[0])
    bias = target[0] - scale_x * source[0], target[1] - scale * source[1]
    return Placement(
        (float(scale_x), float(scale)), (float(bias[0]), float(bias[1])), tuple(source_size), tuple(target_size)
    )


Fit = tuple[float, np.ndarray, np.ndarray]


def _fit_published(bodies: np.ndarray, wanted: np.ndarray, *_) -> Fit:
    """The scale of heights, and the places x, y of which the first comes onto the second: of bodies [F,J,3] onto
    `wanted` [J,3]. A joint's score does not count."""
    found = np.isfinite(bodies[..., :2]).all(axis=-1)
    (x, y), (wanted_x, wanted_y) = bodies[found][:, :2].T, np.broadcast_to(wanted, bodies.shape)[found][:, :2].T
    if not len(y):
        raise ValueError("No joint that is visible in the reference photo was found in any driving frame.")
    spread = ((y - y.mean()) ** 2).sum()
    scale = ((y - y.mean()) * (wanted_y - wanted_y.mean())).sum() / spread if spread > 0 else 0.0
    return scale, np.array([x.mean(), y.mean()]), np.array([wanted_x.mean(), wanted_y.mean()])


def _fit_visible(
    bodies: np.ndarray, wanted: np.ndarray, joints: list[int], source: tuple[int, int], target: tuple[int, int]
) -> Fit:
    """As `_fit_published`, of the joints that are seen in both, in pixels of which a picture's height has one."""
    seen = (bodies[..., 2] > VISIBLE) & np.isfinite(bodies).all(-1)
    usual = seen.sum(1) >= FEWEST
    if not usual.any():
        raise ValueError(
            "The driving clip and the reference photo show too few of the same joints to place one on the other: in "
            f"no frame are {FEWEST} of nose, neck, shoulders, hips, legs, eyes and ears seen in both. Choose a photo "
            "that shows what the clip shows."
        )
    sides = [np.array([width / height, 1.0]) for width, height in (source, target)]
    here = np.where(seen[..., None], bodies[..., :2], 0)[usual] * sides[0]
    there = np.broadcast_to(wanted[:, :2] * sides[1], here.shape)
    scores = (np.where(seen, bodies[..., 2], 0) * wanted[:, 2])[usual]
    without_legs = scores * ~np.isin(joints, LEGS)
    weight = np.where((without_legs > 0).sum(1, keepdims=True) >= FEWEST, without_legs, scores)

    def middle(points: np.ndarray) -> np.ndarray:
        return (points * weight[..., None]).sum(1, keepdims=True) / weight.sum(1)[:, None, None]

    for _ in range(REFITS):
        shape, wished = here - middle(here), there - middle(there)
        spread = (weight * np.square(shape).sum(-1)).sum()
        scale = (weight * (shape * wished).sum(-1)).sum() / spread if spread > 0 else 0.0
        size = np.sqrt((weight * np.square(wished).sum(-1)).sum() / weight.sum())
        away = np.linalg.norm(scale * shape - wished, axis=-1) / max(size, 1e-9)
        weight = scores / (1 + np.square(away / UNLIKE)) ** 2
    places = [(points * weight[..., None]).sum((0, 1)) / weight.sum() for points in (here, there)]
    return scale, places[0] / sides[0], places[1] / sides[1]


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

    def placed(frame: torch.Tensor) -> torch.Tensor:
        picture = resize(frame, width, height)[rows[:, None], columns]
        picture[outside] = 0
        return picture

    return gathered(map(placed, stepped(frames, on_step)), len(frames))


def _source_index(size: int, scale: float, bias: float) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of `size` target rows (or columns) the source row, truncated as published, and whether it exists."""
    source = ((torch.arange(size, dtype=torch.float64) - bias * size) / scale).trunc().long()
    return source.clamp(0, size - 1), (source >= 0) & (source < size)
