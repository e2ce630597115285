"""The jointed paper doll of the demo scene: proportions, pose, keypoints and drawing.

A doll wears one coloured pin per COCO body keypoint, which the networks of `doll_pose` find again.
"""

from dataclasses import dataclass

import numpy as np
from crafters.scenes.paint import Canvas, Colour, capsule, ellipse, point, rotate, smooth

# One pin per COCO body keypoint, in COCO order. Of every pair at least one channel differs by 127 or more, and each has
# a zero channel, so that mixing with the white rim (at edges, in subsampled chroma) never yields another pin's colour.
PIN_COLOURS: dict[str, Colour] = {
    "nose": (255, 0, 0),
    "left_eye": (0, 0, 255),
    "right_eye": (0, 128, 255),
    "left_ear": (255, 0, 255),
    "right_ear": (255, 0, 128),
    "left_shoulder": (0, 255, 0),
    "right_shoulder": (255, 255, 0),
    "left_elbow": (0, 255, 255),
    "right_elbow": (128, 0, 255),
    "left_wrist": (255, 128, 0),
    "right_wrist": (0, 255, 128),
    "left_hip": (0, 0, 128),
    "right_hip": (128, 0, 0),
    "left_knee": (0, 128, 0),
    "right_knee": (128, 0, 128),
    "left_ankle": (128, 255, 0),
    "right_ankle": (0, 128, 128),
}
PIN_RADIUS, RIM_RADIUS = 11.0, 14.5
WHITE: Colour = (250, 248, 244)


@dataclass(frozen=True)
class Doll:
    """Proportions in drawing units, and colours."""

    head: float  # radius
    shoulder: float  # half the shoulder width
    hip: float  # half the hip width
    torso: float
    leg: float
    upper_arm: float
    forearm: float
    skirt: bool
    bun: bool
    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    shoes: Colour


@dataclass(frozen=True)
class Pose:
    """Angles in degrees; wrists in drawing units relative to their shoulder."""

    left_wrist: tuple[float, float]
    right_wrist: tuple[float, float]
    sway: float = 0  # of the hips, units to the right
    lean: float = 0  # of the torso
    tilt: float = 0  # of the head
    turn: float = 0  # of the head, -1 to 1


def _elbow(shoulder: np.ndarray, wrist: np.ndarray, upper: float, fore: float, side: float) -> np.ndarray:
    """The two-bone elbow; `side` +1 or -1 chooses between its two positions."""
    reach = wrist - shoulder
    distance = np.linalg.norm(reach)
    along = (upper**2 - fore**2 + distance**2) / (2 * distance)
    across = np.sqrt(max(upper**2 - along**2, 0.0))
    x, y = reach / distance
    return shoulder + along * point(x, y) + side * across * point(-y, x)


def joints_of(doll: Doll, pose: Pose) -> dict[str, np.ndarray]:
    """The 17 COCO keypoints plus `head` (its centre), in drawing units. Left is the doll's own left (image right)."""
    joints = {}
    pelvis = point(pose.sway, 888 - doll.leg)
    neck = rotate(pelvis - point(0, doll.torso), pose.lean, pelvis)
    tilt = pose.lean + pose.tilt
    joints["head"] = head = rotate(neck - point(0, doll.head + 16), tilt, neck)

    def on_head(x: float, y: float) -> np.ndarray:
        return rotate(head + doll.head * point(x, y), tilt, head)

    joints["nose"] = on_head(0.2 * pose.turn, 0.28)
    for side, sign, wrist in (("left", 1, pose.left_wrist), ("right", -1, pose.right_wrist)):
        joints[f"{side}_eye"] = on_head(sign * 0.38 + 0.14 * pose.turn, -0.04)
        joints[f"{side}_ear"] = on_head(sign - 0.04 * pose.turn, 0.12)
        shoulder = rotate(neck + point(sign * doll.shoulder, 8), pose.lean, neck)
        joints[f"{side}_shoulder"] = shoulder
        joints[f"{side}_elbow"] = _elbow(shoulder, shoulder + wrist, doll.upper_arm, doll.forearm, sign)
        joints[f"{side}_wrist"] = shoulder + wrist
        hip, ankle = pelvis + point(sign * doll.hip, 0), point(sign * (doll.hip + 6), 888)
        joints[f"{side}_hip"] = hip
        joints[f"{side}_knee"] = (hip + ankle) / 2 + point(sign * 4 + 0.3 * pose.sway, 0)
        joints[f"{side}_ankle"] = ankle
    return joints


def open_hand(wrist: np.ndarray, degrees: float, thumb: float) -> list[np.ndarray]:
    """An open hand: palm, thumb and four fingers, pointing up at 0 degrees; `thumb` +1 puts it on the right."""
    shapes = [capsule(wrist, wrist - point(0, 32), 15, 20)]
    shapes.append(capsule(wrist + point(thumb * 8, -16), wrist + point(thumb * 36, -38), 9, 7))
    for finger in (-1.5, -0.5, 0.5, 1.5):
        base, length = wrist + point(finger * 10, -40), 30 - 4 * abs(finger + 0.5 * thumb)
        shapes.append(capsule(base, base + point(finger * 4, -length), 7.5, 6))
    return [rotate(shape, degrees, wrist) for shape in shapes]


def grip(wrist: np.ndarray, roll: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A hand holding the box from below: the shapes behind the box, and the fingers in front of it."""
    palm = [capsule(wrist, wrist - point(0, 34), 15, 24)]
    palm.append(capsule(wrist + point(14, -14), wrist + point(38, -44), 10, 8))
    fingers = []
    for finger in (-1.5, -0.5, 0.5, 1.5):
        base = wrist + point(finger * 14, -34)
        fingers.append(capsule(base, base - point(finger, 34 - 5 * abs(finger - 0.5)), 8.5, 7))
    return [rotate(shape, roll, wrist) for shape in palm], [rotate(shape, roll, wrist) for shape in fingers]


def draw_doll(canvas: Canvas, doll: Doll, joints: dict[str, np.ndarray]) -> None:
    """Everything but the hands and pins."""
    left_hip, right_hip = joints["left_hip"], joints["right_hip"]
    left_shoulder, right_shoulder = joints["left_shoulder"], joints["right_shoulder"]
    head, neck = joints["head"], (left_shoulder + right_shoulder) / 2

    for side, sign in (("left", 1), ("right", -1)):
        hip, knee, ankle = (joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        cloth = doll.skin if doll.skirt else doll.bottom
        canvas.paint(capsule(ankle + point(0, 20), ankle + point(sign * 22, 24), 21, 17), doll.shoes, 4)
        canvas.paint(capsule(knee, ankle, 27, 20), cloth, 4)
        canvas.paint(capsule(hip, knee, 36, 28), cloth, 4)
    if doll.skirt:
        hem = (joints["left_knee"][1] - left_hip[1]) / 2 + 26
        left_half = ((26, -50), (78, hem), (40, hem + 24))
        canvas.paint(_between(left_hip, right_hip, left_half), doll.bottom, 4)
    canvas.paint(capsule(neck + point(0, 6), (neck + head) / 2, 26, 24), doll.skin, 4)
    upper, lower = ((-34, -30), (26, -22), (24, 40)), ((18, -70), (44, 22))
    left = [left_shoulder + corner for corner in upper] + [left_hip + corner for corner in lower]
    right = [right_shoulder + (-x, y) for x, y in upper] + [right_hip + (-x, y) for x, y in lower]
    canvas.paint(smooth(*left, *reversed(right)), doll.top, 4)
    canvas.paint(ellipse(neck + point(0, -20), 30, 22, 0, 180), doll.skin, 3)
    for side in ("left", "right"):
        shoulder, elbow, wrist = (joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist"))
        canvas.paint(capsule(elbow, wrist, 22, 16), doll.skin, 4)
        canvas.paint(capsule(shoulder, elbow, 28, 24), doll.top, 4)
    _draw_head(canvas, doll, joints)


def _between(left: np.ndarray, right: np.ndarray, corners: tuple[tuple[float, float], ...]) -> np.ndarray:
    """The rounded polygon of `corners` off the left point and their mirror images off the right one."""
    return smooth(*(left + corner for corner in corners), *(right + (-x, y) for x, y in reversed(corners)))


# Half outlines, in head radii from the head's centre.
_BOB = ((0.7, -1.25), (1.25, -0.6), (1.3, 0.9), (0.9, 1.12))
_FACE = ((0.75, -1.1), (1.12, -0.2), (0.98, 0.75), (0.42, 1.14))
_FRINGE = ((-1.1, -0.1), (-1.08, -0.8), (-0.5, -1.24), (0.5, -1.24), (1.08, -0.8), (1.1, -0.1), (0.92, -0.36),
           (0.5, -0.62), (-0.2, -0.42), (-0.7, -0.5), (-0.92, -0.3))


def _draw_head(canvas: Canvas, doll: Doll, joints: dict[str, np.ndarray]) -> None:
    """Built upright in head radii about (0, 0), then tilted with the ears."""
    head, centre = joints["head"], point(0, 0)
    across = joints["left_ear"] - joints["right_ear"]
    tilt = float(np.rad2deg(np.arctan2(across[1], across[0])))
    eyes = (joints["left_eye"] + joints["right_eye"]) / 2 - head
    turn = float(eyes @ across / np.linalg.norm(across) / doll.head)

    def paint(shape: np.ndarray, colour: Colour, outline: float = 0) -> None:
        canvas.paint(rotate(shape * doll.head, tilt, centre) + head, colour, outline)

    if doll.bun:
        paint(ellipse(point(0, -1.14), 0.42, 0.36), doll.hair, 4)
        paint(ellipse(point(0, -0.1), 1.04, 1.02), doll.hair, 4)
    else:
        paint(_between(centre, centre, _BOB), doll.hair, 4)
    for sign in (-1, 1):
        paint(ellipse(point(sign * 0.98, 0.1), 0.17, 0.2), doll.skin, 3)
    paint(_between(centre, centre, _FACE), doll.skin, 4)
    paint(smooth(*_FRINGE), doll.hair, 3)
    blush = tuple(int(0.75 * skin + 0.25 * red) for skin, red in zip(doll.skin, (232, 120, 120), strict=True))
    for sign in (-1, 1):
        paint(ellipse(point(sign * 0.56 + turn, 0.42), 0.17, 0.1), blush)
        paint(ellipse(point(sign * 0.38 + turn, -0.2), 0.15, 0.09, 200, 340), doll.hair)
    paint(ellipse(point(1.2 * turn, 0.52), 0.24, 0.2, 10, 170), (148, 84, 88))


def draw_pins(canvas: Canvas, joints: dict[str, np.ndarray]) -> None:
    """One pin per COCO keypoint, above everything else."""
    for name, colour in PIN_COLOURS.items():
        canvas.paint(ellipse(joints[name], RIM_RADIUS, RIM_RADIUS), WHITE, 2)
        canvas.paint(ellipse(joints[name], PIN_RADIUS, PIN_RADIUS), colour)
