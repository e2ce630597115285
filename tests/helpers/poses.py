"""Synthetic poses."""

import numpy as np
from crafters.preprocessors.pose.keypoints import Pose

# x, y of OpenPose's 18 joints of someone standing, in a unit square.
STANDING = [(50, 10), (50, 22), (38, 22), (33, 38), (30, 53), (62, 22), (67, 38), (70, 53), (43, 54), (42, 75)]
STANDING += [(42, 96), (57, 54), (58, 75), (58, 96), (47, 8), (53, 8), (44, 10), (56, 10)]


def standing(center=(0.5, 0.5), size=0.8, score=0.9, wobble=0.0, seed=0):
    """A Pose with one person; `size` is the height of the figure's square in frame heights (and widths)."""
    rng = np.random.default_rng(seed)
    body = np.array(STANDING) / 100
    angle = np.linspace(0, 2 * np.pi, 68)
    face = body[0] + 0.05 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    fan = np.stack([np.linspace(-0.04, 0.04, 21), np.tile(np.linspace(0.01, 0.05, 3), 7)], axis=1)
    parts = (body, face, body[7] + fan, body[4] + fan)
    parts = [(part - 0.5) * size + center + wobble * rng.standard_normal(part.shape) for part in parts]
    return Pose(*(np.concatenate([part, np.full((len(part), 1), score)], axis=1)[None] for part in parts))


def together(*poses):
    """One frame with the people of all `poses`."""
    return Pose(*(np.concatenate(parts) for parts in zip(*(pose.parts for pose in poses), strict=True)))


def with_joint(pose, joint, value):
    """`pose` with one body joint of its first person replaced by (x, y, score)."""
    body = pose.body.copy()
    body[0, joint] = value
    return Pose(body, *pose.parts[1:])
