"""COCO-WholeBody's 133 keypoints on a body."""

from functools import lru_cache

import torch
import torch.nn.functional as F

from .body import BodyModel
from .layout import EYES, HEAD, JAW

# The left half of the 68 face points (the right half mirrors it), m on the mean Anny; the nearest skin is taken.
_JAW = ((0.074, 0.325, 0.055), (0.072, 0.300, 0.058), (0.068, 0.276, 0.063), (0.061, 0.255, 0.072),
        (0.053, 0.238, 0.090), (0.043, 0.226, 0.106), (0.030, 0.219, 0.122), (0.015, 0.214, 0.134),
        (0.0, 0.213, 0.140))
_BROW = ((0.052, 0.356, 0.125), (0.044, 0.361, 0.135), (0.034, 0.362, 0.142), (0.024, 0.360, 0.147),
         (0.013, 0.357, 0.150))
_NOSE = ((0, 0.333, 0.150), (0, 0.320, 0.156), (0, 0.307, 0.163), (0, 0.295, 0.169))
_NOSTRIL = ((0.014, 0.286, 0.148), (0.008, 0.283, 0.154), (0.0, 0.281, 0.158))
_EYE = ((0.0145, 0.330, 0.140), (0.023, 0.338, 0.143), (0.037, 0.338, 0.141), (0.0455, 0.331, 0.132),
        (0.037, 0.324, 0.139), (0.023, 0.324, 0.142))  # inner corner first
_LIP = ((0.025, 0.2615, 0.140), (0.016, 0.268, 0.149), (0.007, 0.271, 0.155), (0.0, 0.2695, 0.156),
        (0.016, 0.2545, 0.149), (0.008, 0.2515, 0.153), (0.0, 0.2505, 0.155))
_INNER_LIP = ((0.022, 0.2615, 0.142), (0.010, 0.263, 0.151), (0.0, 0.263, 0.152), (0.010, 0.260, 0.150),
              (0.0, 0.2598, 0.152))


# Its eyes: where they are, m, and how far apart. On another body the face lies by its own eyes.
_EYES_AT, _EYES_APART = (0.0, 0.332, 0.126), 0.060


@lru_cache(maxsize=2)
def wholebody_regressor(body: BodyModel) -> tuple[torch.Tensor, torch.Tensor]:
    """[133,n], [n]: each keypoint as a mean of some of the body's vertices and, from number V on, its joints.

    Raises BodyModelError for a body whose points are not known.
    """
    points = body.known_keypoints()
    face = torch.tensor(_face())
    if "head" in body.parts:
        skin = body.faces[body.parts["head"]].unique()
    else:
        eyes = body.skeleton.joints[list(EYES)]
        zoom = (eyes[0] - eyes[1]).norm() / _EYES_APART
        face = (face - torch.tensor(_EYES_AT)) * zoom + eyes.mean(0)
        owner = body.skinning.argmax(1)
        skin = torch.nonzero((owner == HEAD) | (owner == JAW))[:, 0]
    face = skin[torch.cdist(face, body.template[skin]).argmin(1)]
    points = torch.cat([points[:23], F.one_hot(face, points.shape[1]).to(points), points[23:]])
    used = points.any(0)
    return points[:, used], torch.nonzero(used)[:, 0]


def wholebody_points(body: BodyModel, vertices: torch.Tensor, joints: torch.Tensor) -> torch.Tensor:
    """[F,133,3] m: body 17, feet 6, face 68, left hand 21, right hand 21, of the posed body's vertices [F,V,3] and
    joints [F,55,3] m. Raises BodyModelError for a body whose points are not known."""
    weights, used = wholebody_regressor(body)
    count = len(body.template)
    places = torch.cat([vertices[:, used[used < count]], joints[:, used[used >= count] - count].to(vertices)], dim=1)
    return weights @ places


def _face() -> list[tuple[float, float, float]]:
    """The 68 points in order: jaw from the right ear, brows, nose, eyes, lips."""

    def mirrored(points: tuple[tuple[float, float, float], ...]) -> list[tuple[float, float, float]]:
        return [(-x, y, z) for x, y, z in points]

    right_eye = [mirrored(_EYE)[i] for i in (3, 2, 1, 0, 5, 4)]
    left_lip, right_lip = _LIP, mirrored(_LIP)
    outer = [right_lip[0], right_lip[1], right_lip[2], _LIP[3], left_lip[2], left_lip[1], left_lip[0],
             left_lip[4], left_lip[5], _LIP[6], right_lip[5], right_lip[4]]
    inner_right = mirrored(_INNER_LIP)
    inner = [inner_right[0], inner_right[1], _INNER_LIP[2], _INNER_LIP[1], _INNER_LIP[0], _INNER_LIP[3], _INNER_LIP[4],
             inner_right[3]]
    return [
        *mirrored(_JAW), *_JAW[-2::-1], *mirrored(_BROW), *_BROW[::-1], *_NOSE,
        *mirrored(_NOSTRIL), *_NOSTRIL[-2::-1], *right_eye, *_EYE, *outer, *inner,
    ]
