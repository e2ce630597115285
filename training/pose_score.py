"""How well a DWPose finds the keypoints of frames whose keypoints are known."""

from collections.abc import Iterable

import numpy as np

from ..preprocessors.dwpose import DWPose
from ..preprocessors.keypoints import VISIBLE, select_person
from .pose_data import Frame, keypoints_of

PARTS = {"body": slice(0, 17), "face": slice(23, 91), "hands": slice(91, 133)}


def score_pose(dwpose: DWPose, frames: Iterable[Frame]) -> dict[str, float]:
    """Means over frames of one person each; frames without a person are passed over.

    body, face, hands: distance of the seen keypoints from where they were found, in % of the picture's short side.
    detected: share of frames in which the detector finds exactly one person. missed, imagined: share of the seen
    keypoints that score too low, and of the hidden ones that score as if seen.
    """
    rows = []
    for frame in frames:
        if np.isnan(frame.box).any():
            continue
        height, width = frame.image.shape[:2]
        (pose,) = select_person([dwpose(frame.image)])
        found = keypoints_of(pose, width, height)
        error = np.linalg.norm(found[:, :2] - frame.points[:, :2], axis=1) / min(width, height) * 100
        seen, shown = frame.points[:, 2] > VISIBLE, found[:, 2] > VISIBLE
        row = {name: _mean(error[part], seen[part]) for name, part in PARTS.items()}
        row["detected"] = float(len(dwpose.detect(frame.image)) == 1)
        row["missed"], row["imagined"] = _mean(~shown, seen), _mean(shown, ~seen & np.isfinite(error))
        rows.append(row)
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def _mean(values: np.ndarray, where: np.ndarray) -> float:
    return float(values[where].mean()) if where.any() else np.nan
