"""Frames of synthetic scenes with their exact keypoints, kept on disk, and varied as real pictures vary."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...files.whole import whole
from ...media.box import box_of
from ...preprocessors.pose.dwpose import BODY, FACE, LEFT_HAND, NECK, RIGHT_HAND
from ...preprocessors.pose.keypoints import Pose

FPS = 2.0  # of a scene's frames: far enough apart to differ


@dataclass(frozen=True)
class Frame:
    """image [H,W,3] uint8 RGB; points [133,3] of COCO-WholeBody, x and y in pixels and the score that DWPose should
    give, (NaN, NaN, 0) if unknown; box [4] x1 y1 x2 y2 of the person, NaN if there is none."""

    image: np.ndarray
    points: np.ndarray
    box: np.ndarray


class PoseScenes:
    """`frames` frames of a clip, its person's photo and its empty room, from each of `scenes` scenes.

    Two scenes of three show a presenter in a portrait picture, the third a whole body in a landscape one. `folder`
    keeps what was rendered.
    """

    def __init__(self, folder: Path, split: str, scenes: int, frames: int):
        self.folder, self.split, self.scenes, self.frames = folder, split, scenes, frames

    def __len__(self) -> int:
        return self.scenes * (self.frames + 2)

    def __getitem__(self, index: int) -> Frame:
        scene, frame = divmod(index, self.frames + 2)
        with np.load(self._path(scene)) as data:
            return Frame(data["images"][frame], data["points"][frame], data["boxes"][frame])

    def render(self, rank: int = 0, ranks: int = 1) -> None:
        """Render the scenes that are missing; of these the share of process `rank` of `ranks`."""
        for seed in range(rank, self.scenes, ranks):
            path = self._path(seed)
            if not path.exists():
                with whole(path) as part, part.open("wb") as file:
                    np.savez(file, **self._scene(seed))

    def _path(self, seed: int) -> Path:
        return self.folder / f"{self.split}-{seed:05d}-{self.frames}.npz"

    def _scene(self, seed: int) -> dict[str, np.ndarray]:
        from ...models.staging.gestures import GESTURES
        from ...scenes import LANDSCAPE, PORTRAIT
        from ...scenes.exercise import EXERCISES
        from ...scenes.scene import make_scene

        kinds, size = (EXERCISES, LANDSCAPE) if seed % 3 == 2 else (GESTURES, PORTRAIT)
        scene = make_scene(seed, self.split, size, self.frames, FPS, kinds[seed // 3 % len(kinds)])
        room = scene.background[0]
        differs = np.abs(scene.person_photo.astype(int) - room).max(axis=2) > 16
        points = [keypoints_of(pose, *size) for pose in (*scene.poses, scene.person_pose)]
        return {
            "images": np.stack([*scene.frames, scene.person_photo, room]),
            "points": np.stack([*points, np.full((133, 3), (np.nan, np.nan, 0))]).astype(np.float32),
            "boxes": np.stack([_box(mask) for mask in (*scene.person_mask, differs, np.zeros_like(differs))]),
        }


def _box(mask: np.ndarray) -> np.ndarray:
    """[4] around what is set of [H,W]; NaN if nothing is."""
    return np.array(box_of(mask) if mask.any() else [np.nan] * 4, float)


def keypoints_of(pose: Pose, width: int, height: int) -> np.ndarray:
    """The first person of a frame as [133,3] in COCO-WholeBody's order: x, y in pixels, score.

    The feet, which DWPose drops, are unknown: (NaN, NaN, 0).
    """
    points = np.full((133, 3), (np.nan, np.nan, 0))
    points[np.delete(BODY, NECK)] = np.delete(pose.body[0], NECK, axis=0)
    for part, found in ((FACE, pose.face), (LEFT_HAND, pose.left_hand), (RIGHT_HAND, pose.right_hand)):
        points[part] = found[0]
    return points * (width, height, 1)


def vary(frame: Frame, draw: np.random.Generator) -> Frame:
    """The same scene as another camera and another person might have shown it, all chance from `draw`."""
    if draw.random() < 0.5:
        frame = mirror(frame)
    if draw.random() < 0.7:
        frame = _reframe(frame, draw)
    return Frame(_recolour(frame.image, draw), frame.points, frame.box)


def mirror(frame: Frame) -> Frame:
    """Left and right exchanged, in the keypoints' names too."""
    width = frame.image.shape[1]
    points = frame.points[MIRRORED]
    points[:, 0] = width - points[:, 0]
    left, top, right, bottom = frame.box
    return Frame(frame.image[:, ::-1], points, np.array([width - right, top, width - left, bottom]))


def _reframe(frame: Frame, draw: np.random.Generator) -> Frame:
    """Sides cut off, though no more than a third of the person at each, or added by repeating the edge.

    Keypoints outside score 0.
    """
    import cv2

    height, width = frame.image.shape[:2]
    x1, y1, x2, y2 = frame.box
    most = np.array([x1, y1, width - x2, height - y2]) + np.tile([x2 - x1, y2 - y1], 2) / 3
    sides = np.fmax(draw.uniform(-0.2, 0.2, 4) * (width, height, width, height), -most)  # without a box, any
    left, top, right, bottom = sides.round().astype(int)
    added = [max(side, 0) for side in (top, bottom, left, right)]
    image = cv2.copyMakeBorder(np.ascontiguousarray(frame.image), *added, cv2.BORDER_REPLICATE)
    y, x = max(-top, 0), max(-left, 0)
    size = np.array([width + left + right, height + top + bottom])
    image = image[y : y + size[1], x : x + size[0]]
    points = frame.points + np.array([left, top, 0], np.float32)
    with np.errstate(invalid="ignore"):
        points[:, 2] *= ((points[:, :2] >= 0) & (points[:, :2] < size)).all(axis=1)
    box = np.clip(frame.box + np.tile([left, top], 2), 0, np.tile(size, 2))
    return Frame(image, points, box)


def _recolour(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Other light, sharpness and noise."""
    import cv2

    if draw.random() < 0.4:
        height, width = image.shape[:2]
        smaller = draw.uniform(0.35, 1)
        image = cv2.resize(image, None, fx=smaller, fy=smaller, interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.linspace(0, 1, 256)[:, None] ** draw.uniform(0.7, 1.4) * draw.uniform(0.75, 1.2, 3) * 255
    levels = np.clip(levels + draw.uniform(-25, 25), 0, 255).round().astype(np.uint8)
    image = cv2.LUT(np.ascontiguousarray(image), levels[None])
    if draw.random() < 0.5:
        noise = draw.integers(-128, 128, (2, *image.shape), dtype=np.int8).astype(np.int16).sum(0)
        image = np.clip(image + (noise * draw.uniform(0, 0.1)).astype(np.int16), 0, 255).astype(np.uint8)
    return image


def _mirrored() -> np.ndarray:
    """For each of the 133 keypoints, the one that takes its place in a mirror."""
    order = np.arange(133)
    pairs = [(left, left + 1) for left in range(1, 16, 2)]  # eyes, ears and limbs
    pairs += [(17 + toe, 20 + toe) for toe in range(3)]
    pairs += [(91 + joint, 112 + joint) for joint in range(21)]
    face = [(i, 16 - i) for i in range(8)] + [(17 + i, 26 - i) for i in range(5)] + [(31, 35), (32, 34)]
    face += [(36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]
    face += [(48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)]
    pairs += [(23 + a, 23 + b) for a, b in face]
    a, b = np.array(pairs).T
    order[a], order[b] = b, a
    return order


MIRRORED = _mirrored()
