"""Where in the picture a person is, by the pose alone: head, trunk and limbs of an average, dressed body."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..pose.keypoints import VISIBLE, Pose

AWAY, NEAR, LIKELY, SURE = range(4)  # how likely a pixel of `draw_body` is the person's
NOSE, NECK, SHOULDERS, HIPS, KNEES, ANKLES = 0, 1, [2, 5], [8, 11], [9, 12], [10, 13]
ARMS = ((2, 3, 4), (5, 6, 7))
EYES_EARS, EARS = [14, 15, 16, 17], [16, 17]
JAW, CHIN, BROWS = [0, 16], 8, slice(17, 27)  # of the face's 68 points
# Bones of the 18 joints: length in m, by which the picture's scale is told (seen from its end, one is shorter).
BONES = {(2, 3): 0.29, (5, 6): 0.29, (3, 4): 0.25, (6, 7): 0.25, (8, 9): 0.42, (11, 12): 0.42, (9, 10): 0.41,
         (12, 13): 0.41, (2, 5): 0.36, (2, 8): 0.5, (5, 11): 0.5, (16, 17): 0.16}
UNSHORTENED = 0.8  # quantile of the bones' scales that is taken for the picture's
# m, from a bone to the edge of the clothes around it.
UPPER_ARM, FOREARM, PALM, THIGH, SHIN, FOOT, SIDE, BELLY, THROAT = 0.075, 0.06, 0.05, 0.11, 0.08, 0.11, 0.08, 0.13, 0.06
HAND, ARM, TRUNK, LEG, TOES = 0.1, 0.29, 0.52, 0.42, 0.06  # m, what a joint that is not seen is that far away
HIP_WIDTH = 0.55  # of the shoulders'
SKULL = 0.09, 0.13  # m, half its width and height
FACE = 1.8, 1.15, 0.7  # head: height of chin to brows, width of the jaw's, and the least of its own height
FEWEST = 8  # points of a hand, or of a face, that must be seen
CORE, INNER = 0.5, 0.75  # of a part's thickness and of its extent: surely the person
ROOM = 0.11  # m beyond: possibly still the person, as hair and wide clothes
CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 24, endpoint=False)) for f in (np.cos, np.sin)], 1)


@dataclass(frozen=True)
class Part:
    """A convex piece of the body: the hull of points [N, 2], thickened by `radius`, both in px. sure: it is nowhere
    but there."""

    points: np.ndarray
    radius: float
    sure: bool = True

    def shrunk(self, share: float) -> np.ndarray:
        """Its points, of a hull with an inside drawn towards the middle."""
        middle = self.points.mean(0)
        return middle + (self.points - middle) * (share if len(self.points) > 2 else 1.0)

    def within(self) -> np.ndarray:
        """A few points well inside it, [N, 2]."""
        middle = self.points.mean(0)
        return np.stack([middle, *(middle + self.points[:: max(1, len(self.points) // 4)]) / 2])


def draw_body(pose: Pose, size: tuple[int, int]) -> np.ndarray | None:
    """AWAY, NEAR, LIKELY or SURE for every pixel, uint8 [height, width]; None where too little of a person is seen.

    pose: of one person; size: (width, height) to draw at.
    """
    found = find_parts(pose, size)
    if found is None:
        return None
    parts, scale = found
    levels = np.zeros(size[::-1], np.uint8)
    for level in (NEAR, LIKELY, SURE):
        for part in parts:
            if level == SURE and not part.sure:
                continue
            points = part.shrunk(INNER if level == SURE else 1.0)
            radius = part.radius * (CORE if level == SURE else 1.0) + (ROOM * scale if level == NEAR else 0.0)
            # The hull of discs; OpenCV's thick lines are cut wrongly where they leave the picture.
            discs = (points[:, None] + max(radius, 0.5) * CIRCLE).reshape(-1, 2).round().astype(np.int32)
            cv2.fillConvexPoly(levels, cv2.convexHull(discs), level)
    return levels


def find_parts(pose: Pose, size: tuple[int, int]) -> tuple[list[Part], float] | None:
    """The parts of the one person of `pose`, and px per m; None where fewer than two bones are seen.

    Joints that score too low are not used. A trunk whose hips are not seen goes straight down from the shoulders, and
    legs whose knees are not seen go on from it: out of the picture, if that ends before.
    """
    joints, pixels = pose.body[0], np.array(size, float)
    at, seen = np.nan_to_num(joints[:, :2]) * pixels, joints[:, 2] > VISIBLE
    scales = [np.linalg.norm(at[a] - at[b]) / length for (a, b), length in BONES.items() if seen[a] and seen[b]]
    if len(scales) < 2 or max(scales) < 1e-6:
        return None
    scale = float(np.quantile(scales, UNSHORTENED))
    parts = []

    def add(points: list[np.ndarray], thick: float, sure: bool = True) -> None:
        parts.append(Part(np.array(points), thick * scale, sure))

    def onward(start: np.ndarray, end: np.ndarray, length: float) -> np.ndarray:
        """From `end` on, as far again in m as one comes from `start`."""
        way = end - start
        return end + way / max(np.linalg.norm(way), 1e-6) * length * scale

    for (shoulder, elbow, wrist), hand in zip(ARMS, (pose.right_hand[0], pose.left_hand[0]), strict=True):
        if seen[[shoulder, elbow]].all():
            add([at[shoulder], at[elbow]], UPPER_ARM)
        if seen[[elbow, wrist]].all():
            add([at[elbow], at[wrist]], FOREARM)
        if is_seen(hand):
            add(list(hand[hand[:, 2] > VISIBLE, :2] * pixels), PALM / 2)
        elif seen[[elbow, wrist]].all():
            add([at[wrist], onward(at[elbow], at[wrist], HAND)], PALM)
    for hip, knee, ankle in zip(HIPS, KNEES, ANKLES, strict=True):
        if seen[[hip, knee]].all():
            add([at[hip], at[knee]], THIGH)
            if not seen[ankle]:
                add([at[knee], onward(at[hip], at[knee], LEG)], SHIN, sure=False)
        if seen[[knee, ankle]].all():
            add([at[knee], at[ankle]], SHIN)
            add([at[ankle], onward(at[knee], at[ankle], TOES)], FOOT, sure=False)
    trunk = _trunk(at, seen, scale)
    if trunk is not None:
        shoulders, hips = trunk
        top, middle = shoulders.mean(0), hips.mean(0)
        add([*shoulders, *hips[::-1]], SIDE)
        add([top, middle], BELLY)
        for (shoulder, elbow, _), start in zip(ARMS, shoulders, strict=True):
            if seen[shoulder] and not seen[elbow]:  # it hangs, as far as one knows
                add([start, onward(top, start + middle - top, ARM) - middle + top], UPPER_ARM, sure=False)
        if seen[NOSE]:
            add([top, top + 0.6 * (at[NOSE] - top)], THROAT)
        if not seen[KNEES].any():
            add([*hips, *(onward(top, middle, LEG) + hips - middle)[::-1]], THIGH)
    skull = _skull(pose, pixels, at, seen, scale)
    if skull is not None:
        parts.append(Part(skull, 0.0))
    return parts, scale


def is_seen(points: np.ndarray) -> bool:
    """Whether a hand's or a face's points [N, 3] (x, y, score) show it."""
    return int((points[:, 2] > VISIBLE).sum()) >= FEWEST


def _trunk(at: np.ndarray, seen: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Shoulders and hips [2, 2] each, right and left; those not seen are mirrored, or reckoned from the others."""
    if not seen[SHOULDERS].any():
        return None
    shoulders, hips = at[SHOULDERS].copy(), at[HIPS].copy()
    for side in (0, 1):
        if not seen[SHOULDERS[side]]:
            shoulders[side] = 2 * at[NECK] - shoulders[1 - side] if seen[NECK] else shoulders[1 - side]
    middle, across = shoulders.mean(0), shoulders[1] - shoulders[0]
    if not seen[HIPS].any():
        up = at[NOSE] - middle if seen[NOSE] else np.array([0.0, -1.0])
        down = np.array([-across[1], across[0]]) if np.linalg.norm(across) > 0.15 * scale else -up
        down = down * -np.sign(down @ up or -1.0) / max(np.linalg.norm(down), 1e-6)
        hips = middle + HIP_WIDTH * (shoulders - middle) + down * TRUNK * scale
    elif not seen[HIPS].all():
        missing = int(seen[HIPS[0]])
        hips[missing] = hips[1 - missing] + HIP_WIDTH * across * (1 if missing else -1)
    return shoulders, hips


def _skull(pose: Pose, pixels: np.ndarray, at: np.ndarray, seen: np.ndarray, scale: float) -> np.ndarray | None:
    """An outline [N, 2] of the head: by the face's points, else by nose, eyes and ears."""
    face, shown = pose.face[0, :, :2] * pixels, pose.face[0, :, 2] > VISIBLE
    if shown[[*JAW, CHIN]].all() and shown[BROWS].any():
        up = (face[BROWS][shown[BROWS]].mean(0) - face[CHIN]) * FACE[0] / 2
        middle, tall = face[CHIN] + up, float(np.linalg.norm(up))
        wide = max(float(np.linalg.norm(face[JAW[1]] - face[JAW[0]])) * FACE[1] / 2, FACE[2] * tall)
    else:
        points = [joint for joint in (NOSE, *EYES_EARS) if seen[joint]]
        if not points:
            return None
        middle, (wide, tall) = at[points].mean(0), (side * scale for side in SKULL)
        up = middle - at[NECK] if seen[NECK] else np.array([0.0, -1.0])
    up = up / max(np.linalg.norm(up), 1e-6)
    side = np.array([-up[1], up[0]])
    outline = middle + CIRCLE[:, 1:] * up * tall + CIRCLE[:, :1] * side * wide
    ears = [ear for ear in EARS if seen[ear]]
    if not ears:
        return outline
    # Of a face that is turned, the skull is behind: around the ears.
    turned = float(np.clip((at[ears].mean(0) - middle) @ side, -wide, wide))
    return np.concatenate([outline, outline + turned * side])
