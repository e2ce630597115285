"""Which of COCO-WholeBody's 133 points the fit follows, and SMPL-X's joint behind each."""

import torch

from ..pose.dwpose import BODY, LEFT_HAND, NECK, RIGHT_HAND
from ..pose.keypoints import Pose

SURE = 0.5  # a keypoint scoring less than or just that does not count
# 17 points of the body, 6 of the feet, 20 of each hand (its wrist is the body's): (COCO-WholeBody, SMPL-X).
_BODY = tuple(
    zip(range(23), (55, 57, 56, 59, 58, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8, *range(60, 66)), strict=True)
)
_FINGERS = {92: (37, 38, 39, 66, 25, 26, 27, 67, 28, 29, 30, 68, 34, 35, 36, 69, 31, 32, 33, 70),
            113: (52, 53, 54, 71, 40, 41, 42, 72, 43, 44, 45, 73, 49, 50, 51, 74, 46, 47, 48, 75)}
PAIRS = _BODY + tuple((first + i, joint) for first, joints in _FINGERS.items() for i, joint in enumerate(joints))
COCO = torch.tensor([coco for coco, _ in PAIRS])
SMPLX = torch.tensor([joint for _, joint in PAIRS])
KEYPOINTS = torch.where(COCO < 23, COCO, COCO - 68)  # rows of `BodyModel.keypoints`, which has no face
TRUNK = [5, 6, 11, 12]  # shoulders and hips, in COCO's order and in that of the pairs
_ANKLES = {15: [17, 18, 19], 16: [20, 21, 22]}


def targets(keypoints: torch.Tensor) -> torch.Tensor:
    """The points to follow [F,63,3] (x, y px, confidence) of COCO-WholeBody points [F,133,3]; unsure ones count 0.

    A foot is no surer than its ankle.
    """
    points = keypoints.clone()
    for ankle, foot in _ANKLES.items():
        points[:, foot, 2] *= points[:, ankle, None, 2]
    points = points[:, COCO.to(points.device)]
    seen = points[..., 2:] > SURE
    return torch.where(seen, points, torch.cat([points[..., :2].nan_to_num(), torch.zeros_like(points[..., 2:])], -1))


def wholebody(pose: Pose, width: int, height: int) -> torch.Tensor:
    """The first person of a frame as COCO-WholeBody points [133,3] px, float64; OpenPose's poses have no feet."""
    points = torch.zeros(133, 3, dtype=torch.float64)
    if pose.people:
        scale = torch.tensor([width, height, 1.0], dtype=torch.float64)
        parts = [torch.from_numpy(part[0]).nan_to_num() * scale for part in pose.parts]
        coco = [(index, i) for i, index in enumerate(BODY) if i != NECK]
        for index, i in coco:
            points[index] = parts[0][i]
        points[23:91], points[LEFT_HAND], points[RIGHT_HAND] = parts[1:]
    return points


def person_box(points: torch.Tensor) -> torch.Tensor:
    """[F,4] x1, y1, x2, y2 px around the sure of the points [F,N,3]; a frame without any gets NaN."""
    seen = points[..., 2:] > SURE
    low = torch.where(seen, points[..., :2], torch.inf).amin(1)
    high = torch.where(seen, points[..., :2], -torch.inf).amax(1)
    box = torch.cat([low, high], dim=1)
    return torch.where(seen.any(1), box, torch.nan)
