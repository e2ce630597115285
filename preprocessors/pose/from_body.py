"""The pose of a body whose place is known exactly, as DWPose would find it in a picture of that body."""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ...media.frames import frame_ranges
from ...models.avatar.render import fit_camera
from ...models.body.body import VERTEX_CHUNK, BodyModel
from ...models.body.motion import BodyMotion
from ...models.body.wholebody import wholebody_points
from ...models.drawing.camera import Camera
from ...models.drawing.mesh import visible_depth
from .dwpose import to_pose
from .keypoints import VISIBLE, Pose

# Scores; DWPose takes what is above 0.3 for seen. What a product hides is guessed from the rest.
SEEN, GUESSED, HIDDEN, OUTSIDE = 0.95, 0.4, 0.2, 0.05
INSIDE = 0.2  # m: joints lie that far below clothes, or behind an arm that points at the camera, and are still found


def motion_poses(
    body: BodyModel, motion: BodyMotion, width: int = 0, height: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[list[Pose], tuple[int, int]]:
    """The pose in every frame of the motion's film, from frame 0 to its last; empty where the motion has none. And the
    picture's size px: `width`, `height`, or the motion's own where they are 0.

    Points that the body itself hides, or that lie outside the picture, score low. Raises BodyModelError for a body
    whose points are not known, ValueError for a size that would stretch it. Warns of frames with nobody in the picture.
    """
    motion = fit_camera(motion, width or motion.size[0], height or motion.size[1])
    poses = [Pose.empty()] * (motion.frames[-1] + 1)
    for row, (vertices, points) in enumerate(posed_frames(body, motion)):
        camera = Camera.of(motion, row)
        depth = visible_depth(vertices, body.faces, camera).numpy()
        poses[motion.frames[row]] = seen_pose(points, camera, depth)
        if on_step is not None:
            on_step(row + 1, len(motion))
    away = [frame + 1 for frame in motion.frames if not (poses[frame].body[..., 2] > VISIBLE).any()]
    if away:
        logging.getLogger(__name__).warning(
            "The person of the motion is outside the picture in frames %s: no pose is drawn there. Edit Motion moves "
            "the person.", frame_ranges(away),
        )
    return poses, motion.size


def posed_frames(body: BodyModel, motion: BodyMotion) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Of each frame the body's vertices [V,3] and COCO-WholeBody's points [133,3], m before the camera."""
    joints = motion.joints(body.skeleton)
    for part in torch.arange(len(motion)).split(VERTEX_CHUNK):
        vertices = body.vertices(motion.pose[part], motion.betas[part], motion.trans[part])
        yield from zip(vertices, wholebody_points(body, vertices, joints[part]), strict=True)


def seen_pose(points: torch.Tensor, camera: Camera, person: np.ndarray, product: np.ndarray | None = None) -> Pose:
    """Keypoints [133,3] m as DWPose would find them; `person` and `product`: z [H,W] m where each is seen, else 0."""
    xy, z = camera.project(points.double()).numpy() + 0.5, points[:, 2].numpy()
    column, row = np.floor(xy).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < camera.size[0]) & (row < camera.size[1])
    column, row = column.clip(0, camera.size[0] - 1), row.clip(0, camera.size[1] - 1)
    hides = np.zeros_like(person) if product is None else product
    hides, before = hides[row, column], person[row, column]
    score = np.select(
        [~inside, (before > 0) & (before < z - INSIDE), (hides > 0) & (hides < z)], [OUTSIDE, HIDDEN, GUESSED], SEEN
    )
    return to_pose(np.column_stack([xy / camera.size, score])[None])
