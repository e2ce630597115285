"""How well a DWPose finds the keypoints of frames whose keypoints are known."""

from collections.abc import Iterable

import numpy as np

from ...preprocessors.pose.dwpose import DWPose
from ...preprocessors.pose.follow import follow_person
from ...preprocessors.pose.keypoints import VISIBLE
from .pose_data import Frame, keypoints_of

PARTS = {"body": slice(0, 17), "face": slice(23, 91), "hands": slice(91, 133)}


def score_pose(dwpose: DWPose, frames: Iterable[Frame]) -> dict[str, float]:
    """Means over all keypoints of frames of one person each; frames without a person are passed over.

    body, face, hands: distance of the seen keypoints from where they were found, in % of the picture's short side.
    detected: share of the frames in which the detector finds exactly one person. missed, imagined: share of the seen
    keypoints that score too low, and of those hidden or outside that score as if seen.
    """
    frames = [frame for frame in frames if not np.isnan(frame.box).any()]
    sizes = np.array([frame.image.shape[1::-1] for frame in frames])
    found = np.stack([_largest(dwpose, frame.image) for frame in frames])
    true = np.stack([frame.points for frame in frames])
    error = np.linalg.norm(found[..., :2] - true[..., :2], axis=2) / sizes.min(axis=1)[:, None] * 100
    seen, shown, known = true[..., 2] > VISIBLE, found[..., 2] > VISIBLE, np.isfinite(error)
    return {
        **{name: float(error[:, part][seen[:, part]].mean()) for name, part in PARTS.items()},
        "detected": float(np.mean([len(dwpose.detect(frame.image)) == 1 for frame in frames])),
        "missed": float((~shown)[seen].mean()),
        "imagined": float(shown[known & ~seen].mean()),
    }


def _largest(dwpose: DWPose, image: np.ndarray) -> np.ndarray:
    pose = dwpose(image)
    (largest,) = follow_person([pose])
    return keypoints_of(largest if largest.people else pose.person(0), *image.shape[1::-1])
