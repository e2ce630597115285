"""A motion as stick figures, for a quick look at it: no body model is needed."""

import torch

from ..body.layout import PARENTS
from ..body.motion import BodyMotion
from ..body.rotation import axis_angle_to_matrix
from ..body.skinning import joint_transforms, move
from .camera import NEAR_POINTS, project

# The mean adult at rest by Anny (CC0), m: pelvis and 21 body joints, jaw, eyes; fingers are not drawn.
_REST = (
    (0, -0.351, 0.012), (0.112, -0.367, 0.004), (-0.112, -0.367, 0.004), (0, -0.27, -0.027), (0.112, -0.748, 0.004),
    (-0.112, -0.748, 0.004), (0, -0.118, -0.015), (0.112, -1.183, 0.004), (-0.112, -1.183, 0.004), (0, 0.008, -0.026),
    (0.112, -1.234, 0.149), (-0.112, -1.234, 0.149), (0, 0.192, 0.013), (0.023, 0.116, 0.027), (-0.023, 0.116, 0.027),
    (0, 0.289, 0.047), (0.175, 0.095, 0.023), (-0.175, 0.095, 0.023), (0.435, 0.095, 0.023), (-0.435, 0.095, 0.023),
    (0.666, 0.099, 0.017), (-0.666, 0.099, 0.017), (0, 0.284, 0.035), (0.03, 0.332, 0.126), (-0.03, 0.332, 0.126),
)
_LEFT, _RIGHT, _MIDDLE = (90, 170, 255), (255, 150, 70), (230, 230, 230)  # RGB
_SMOOTH = 3  # drawn so many times as large, and reduced


def stick_figures(motion: BodyMotion, most: int = 4, side: int = 384) -> torch.Tensor:
    """At most `most` frames from the first to the last, as the motion's camera sees them: IMAGE [n, h, w, 3] on black.

    The person's left is blue, their right orange. The longer side has `side` px.
    """
    index = torch.linspace(0, len(motion) - 1, min(most, len(motion))).round().long()
    ratio = side / max(motion.size)
    size = tuple(max(1, round(length * ratio)) for length in motion.size)
    rest = torch.tensor(_REST, dtype=torch.float64)
    rotations = axis_angle_to_matrix(motion.pose[index, : len(rest)])
    joints = move(joint_transforms(rotations, rest, PARENTS[: len(rest)]), rest) + motion.trans[index, None]
    place = project(joints, motion.focal[index, None], motion.principal[index, None])
    seen = joints[..., 2] > NEAR_POINTS
    return torch.stack([_draw(*frame, size, _SMOOTH * ratio) for frame in zip(place, seen, strict=True)])


def _draw(place: torch.Tensor, seen: torch.Tensor, size: tuple[int, int], zoom: float) -> torch.Tensor:
    """place [25, 2] px of the motion's own picture; seen [25] bool."""
    import numpy as np
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", tuple(_SMOOTH * length for length in size))
    pen, limit = ImageDraw.Draw(picture), 10 * max(picture.size)
    place = (place * zoom).clamp(-limit, limit)
    for joint, parent in enumerate(PARENTS[: len(place)]):
        if parent >= 0 and seen[joint] and seen[parent]:
            x = _REST[joint][0]
            colour = _MIDDLE if abs(x) < 0.01 else _LEFT if x > 0 else _RIGHT
            ends = [tuple(place[end].tolist()) for end in (parent, joint)]
            pen.line(ends, colour, max(1, max(picture.size) // 120))
    return torch.from_numpy(np.array(picture.resize(size, Image.Resampling.BOX))).float() / 255
