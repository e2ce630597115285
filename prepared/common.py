"""The stages that both systems need: the film and its poses; and what stages of both do."""

from typing import Any

import numpy as np
import torch

from ..media.clip import read_clip
from ..models.anicrafter.conditions import GRID
from ..preprocessors.pose.extract import extract_poses
from ..preprocessors.pose.keypoints import VISIBLE, Pose, to_openpose
from ..preprocessors.segment.flow import FlowTracker
from ..preprocessors.segment.video import all_objects, segment_video
from .stages import Clip, Stage

AS_GOOD = 0.9  # of what is seen of the person in the best frame: serves as a photo as well


def _film(clip: Clip) -> dict:
    cut = clip.options
    images, fps = read_clip(clip.source, cut.first, cut.every, cut.frames, cut.long_side, clip.progress("film"))
    height, width = (side // GRID * GRID for side in images.shape[1:3])
    if not height or not width:
        raise ValueError(f"{clip.source} is {images.shape[2]}×{images.shape[1]}; {GRID}×{GRID} is the least.")
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return {"film": images[:, top : top + height, left : left + width], "fps": fps}


def _keypoints(clip: Clip, dwpose) -> dict:
    if dwpose is None:
        raise ValueError(
            f"DWPose is not there: `crafters download dwpose`, or put the poses (OpenPose's JSON, a list with a frame "
            f"each) into {clip.path('keypoints')}."
        )
    poses = extract_poses(dwpose, clip.images, on_step=clip.progress("keypoints"))
    return {"keypoints": to_openpose(poses, *clip.size)}


STAGES = (
    Stage(makes=("film",), make=_film, settings=("first", "every", "frames", "long_side")),
    Stage(makes=("keypoints",), make=_keypoints, of=("film",), tools=("dwpose",)),
)


def segment(clip: Clip, what: str, sam, **options: Any) -> torch.Tensor:
    """The mask bool [F, H, W] of the condition `what`; options: of `segment_video`."""
    masks, _ = segment_video(sam or FlowTracker(), clip.images, on_step=clip.progress(what), **options)
    return all_objects(masks)


def best_frame(poses: list[Pose], hidden: torch.Tensor | None = None) -> int:
    """The frame in which most of the person is seen; among equals, least of `hidden` [F, H, W]."""
    scores = (pose.body[0, :, 2] if pose.people else np.zeros(1) for pose in poses)
    sure = [float(score[score > VISIBLE].clip(0, 1).sum()) for score in scores]
    good = [frame for frame, value in enumerate(sure) if value >= AS_GOOD * max(sure)]
    return max(good, key=lambda frame: sure[frame] if hidden is None else -float(hidden[frame].sum()))
