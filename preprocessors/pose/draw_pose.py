"""The pose image that AnchorCrafter was trained with: limbs, joints, hands and face, darker where less certain."""

import colorsys
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...media.frames import gathered, stepped
from .keypoints import VISIBLE, Pose

SHORT_SIDE = 2160  # of the canvas that is drawn on before it is resized
LIMBS = [(1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)]
LIMBS += [(1, 0), (0, 14), (14, 16), (0, 15), (15, 17)]
BONES = [(0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21)]  # of a hand
# The published code names its colours as BGR and swaps the channels at the end; these are RGB.
WHEEL = [(0, 0, 255), (0, 85, 255), (0, 170, 255), (0, 255, 255), (0, 255, 170), (0, 255, 85), (0, 255, 0)]
WHEEL += [(85, 255, 0), (170, 255, 0), (255, 255, 0), (255, 170, 0), (255, 85, 0), (255, 0, 0), (255, 0, 85)]
WHEEL += [(255, 0, 170), (255, 0, 255), (170, 0, 255), (85, 0, 255)]
BONE_COLORS = [colorsys.hsv_to_rgb(bone / 20, 1, 1)[::-1] for bone in range(20)]


def draw_pose(pose: Pose, width: int, height: int, antialias: bool = False, faces: bool = True) -> np.ndarray:
    """The people of `pose` on black, RGB uint8 [height,width,3] (AnchorCrafter, pose drawing).

    Body joints that are not visible are left out; hands and faces are drawn whatever they score, only darker.
    antialias: keeps thin lines whole on pictures far below the published size, where the published drawing leaves
    dots of them. faces: with the 68 points; Wan-Animate learned poses without them.
    """
    import cv2

    if not pose.people:
        return np.zeros((height, width, 3), dtype=np.uint8)
    zoom = SHORT_SIDE / min(width, height)
    canvas = np.zeros((int(height * zoom), int(width * zoom), 3), dtype=np.uint8)
    _draw_bodies(canvas, pose.body)
    for hand in (*pose.left_hand, *pose.right_hand):
        _draw_hand(canvas, hand)
    for face in pose.face if faces else ():
        _draw_face(canvas, face)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA if antialias else cv2.INTER_LINEAR)


def draw_poses(
    poses: Sequence[Pose], width: int, height: int, antialias: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """A clip of `draw_pose`, uint8 [F,height,width,3]."""
    return gathered(pose_pictures(poses, width, height, antialias, on_step), len(poses)).numpy()


def pose_pictures(
    poses: Sequence[Pose], width: int, height: int, antialias: bool = False,
    on_step: Callable[[int, int], None] | None = None, faces: bool = True,
) -> Iterator[np.ndarray]:
    """The frames of `draw_poses`, each drawn when it is asked for."""
    return (draw_pose(pose, width, height, antialias, faces) for pose in stepped(poses, on_step))


def _draw_bodies(canvas: np.ndarray, bodies: np.ndarray) -> None:
    import cv2

    size = canvas.shape[1::-1]
    for color, limb in zip(WHEEL, LIMBS, strict=False):
        for body in bodies:
            if (body[limb, 2] > VISIBLE).all():
                (x1, y1), (x2, y2) = body[limb, :2] * size
                half_length = int(math.hypot(x1 - x2, y1 - y2) / 2)
                angle = int(math.degrees(math.atan2(y1 - y2, x1 - x2)))
                center = int((x1 + x2) / 2), int((y1 + y2) / 2)
                outline = cv2.ellipse2Poly(center, (half_length, 4), angle, 0, 360, 1)
                # Published: the whole canvas is darkened to 0.6 after the limbs; they do not blend, so it is the same.
                shade = _shade(color, body[limb[0], 2] * body[limb[1], 2])
                cv2.fillConvexPoly(canvas, outline, [int(channel * 0.6) for channel in shade])
    for joint, color in enumerate(WHEEL):
        for x, y, score in bodies[:, joint]:
            if score > VISIBLE:
                cv2.circle(canvas, (int(x * size[0]), int(y * size[1])), 4, _shade(color, score), thickness=-1)


def _shade(color: tuple[int, int, int], score: float) -> list[int]:
    return [min(int(channel * score), 255) for channel in color]


def _draw_hand(canvas: np.ndarray, hand: np.ndarray) -> None:
    import cv2

    points, scores = _pixels(canvas, hand), hand[:, 2]
    for (a, b), color in zip(BONES, BONE_COLORS, strict=True):
        if points[a] and points[b]:
            brightness = int(scores[a] * scores[b] * 255)
            cv2.line(canvas, points[a], points[b], [channel * brightness for channel in color], thickness=2)
    for point, score in zip(points, scores, strict=True):
        if point:
            cv2.circle(canvas, point, 4, (int(score * 255), 0, 0), thickness=-1)


def _draw_face(canvas: np.ndarray, face: np.ndarray) -> None:
    import cv2

    for point, score in zip(_pixels(canvas, face), face[:, 2], strict=True):
        if point:
            cv2.circle(canvas, point, 3, [int(score * 255)] * 3, thickness=-1)


def _pixels(canvas: np.ndarray, points: np.ndarray) -> list[tuple[int, int] | None]:
    """Pixel of every point; None where it was not found or lies on or beyond the left or upper edge (published)."""
    xy = points[:, :2] * canvas.shape[1::-1]
    return [(int(x), int(y)) if x >= 1 and y >= 1 else None for x, y in xy]
