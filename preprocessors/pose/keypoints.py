"""Whole-body keypoints of one frame, and their way in and out of OpenPose's JSON (ComfyUI's POSE_KEYPOINT)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

VISIBLE = 0.3  # a point scoring more than this counts as seen (DWPose)

# part: (OpenPose key, points we hold, points others may write)
PARTS = {
    "body": ("pose_keypoints_2d", 18, (18, 25)),
    "face": ("face_keypoints_2d", 68, (68, 70)),
    "left_hand": ("hand_left_keypoints_2d", 21, (21,)),
    "right_hand": ("hand_right_keypoints_2d", 21, (21,)),
}
# OpenPose's BODY_25 is the 18 joints with a mid-hip (8) put in and the feet appended.
BODY_25_TO_18 = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
EYES = [14, 15]  # right and left eye of the 18; OpenPose ends a face with the two pupils


@dataclass(frozen=True)
class Pose:
    """All people of one frame. Every part is float64 [P, points, 3]: x, y, score.

    x and y are divided by the frame's width and height (0..1 inside the frame, beyond it outside); the score is the
    network's, about 0..1. A point that was not found at all is (NaN, NaN, 0).

    body [P,18,3]: OpenPose order, 0 nose, 1 neck, 2-4 right arm, 5-7 left arm, 8-10 right leg, 11-13 left leg,
    14 right eye, 15 left eye, 16 right ear, 17 left ear. face [P,68,3]. left_hand, right_hand [P,21,3]: wrist, then
    four points per finger from thumb to little finger.
    """

    body: np.ndarray
    face: np.ndarray
    left_hand: np.ndarray
    right_hand: np.ndarray

    def __post_init__(self):
        for (name, (_, points, _)), part in zip(PARTS.items(), self.parts, strict=True):
            if part.shape != (len(self.body), points, 3):
                raise ValueError(f"{name} must be [{len(self.body)}, {points}, 3], not {list(part.shape)}.")

    @classmethod
    def empty(cls) -> "Pose":
        """A frame without people."""
        return cls(*(np.zeros((0, points, 3)) for _, points, _ in PARTS.values()))

    @property
    def parts(self) -> tuple[np.ndarray, ...]:
        return self.body, self.face, self.left_hand, self.right_hand

    @property
    def people(self) -> int:
        return len(self.body)

    def person(self, index: int) -> "Pose":
        """The same frame with that one person only; without people if there is no such person."""
        return Pose(*(part[index : index + 1] for part in self.parts))

    def seen(self) -> "Pose":
        """The same with score 1 where a point is seen and 0 where not: some readers drop every score below 1."""
        return Pose(*(np.dstack([part[..., :2], part[..., 2] > VISIBLE]) for part in self.parts))


def to_openpose(poses: Sequence[Pose], width: int, height: int) -> list[dict]:
    """OpenPose's JSON, one dict per frame, in pixels of a `width` x `height` canvas, third value = score.

    A face has OpenPose's 70 points: the 68 and, for the pupils, the body's eyes. A point not found is 0, 0, 0.
    """
    scale = np.array([width, height, 1.0])
    frames = []
    for pose in poses:
        face = np.concatenate([pose.face, pose.body[:, EYES]], axis=1)
        parts = [np.nan_to_num(part * scale) for part in (pose.body, face, pose.left_hand, pose.right_hand)]
        people = [
            {key: part[person].flatten().tolist() for (key, _, _), part in zip(PARTS.values(), parts, strict=True)}
            for person in range(pose.people)
        ]
        frames.append({"people": people, "canvas_width": width, "canvas_height": height})
    return frames


def from_openpose(frames: list[dict]) -> tuple[list[Pose], tuple[int, int]]:
    """Poses and (width, height) of the canvas from OpenPose's JSON, also as other node packs write it.

    Understood too: coordinates already divided by the canvas, parts that are missing, null or empty, null frames
    (no people), 25-point bodies, 70-point faces, a single frame's dict. Raises ValueError for anything else.
    """
    frames = [frames] if isinstance(frames, dict) else frames
    if not isinstance(frames, list) or not any(isinstance(frame, dict) for frame in frames):
        raise ValueError("POSE_KEYPOINT must be a list with one OpenPose dict per frame; this holds no frame.")
    size = _canvas(frames)
    poses = [Pose.empty() if frame is None else _read_frame(frame, f"frame {i}") for i, frame in enumerate(frames)]

    xy = np.concatenate([part[..., :2].ravel() for pose in poses for part in pose.parts])
    # No canvas is so small that all its pixels lie within 2; coordinates of 0..1 may reach a little beyond.
    if np.nanmax(np.abs(xy), initial=0) > 2:
        poses = [Pose(*(part / (*size, 1) for part in pose.parts)) for pose in poses]
    return poses, size


def _canvas(frames: list) -> tuple[int, int]:
    sizes = {}
    for i, frame in enumerate(frames):
        if frame is None:
            continue
        if not isinstance(frame, dict):
            raise ValueError(f"POSE_KEYPOINT, frame {i}: expected an OpenPose dict, not {type(frame).__name__}.")
        size = frame.get("canvas_width"), frame.get("canvas_height")
        if not all(isinstance(side, int | float) and 1 <= side < 1 << 20 for side in size):
            raise ValueError(f"POSE_KEYPOINT, frame {i}: canvas_width and canvas_height must be given, not {size}.")
        sizes.setdefault((int(size[0]), int(size[1])), i)
    if len(sizes) > 1:
        told = ", ".join(f"{w}x{h} from frame {i}" for (w, h), i in sizes.items())
        raise ValueError(f"POSE_KEYPOINT: all frames must have one canvas size, these have {told}.")
    return next(iter(sizes))


def _read_frame(frame: dict, where: str) -> Pose:
    people = frame.get("people") or []
    if not isinstance(people, list) or not all(isinstance(person, dict | None) for person in people):
        raise ValueError(f"POSE_KEYPOINT, {where}: people must be a list of OpenPose dicts.")
    people = [person for person in people if person is not None]
    return Pose(
        *(
            np.stack([_read_points(person.get(key), *points, f"{where}, {key}") for person in people])
            if people
            else np.zeros((0, points[0], 3))
            for key, *points in PARTS.values()
        )
    )


def _read_points(flat: list | None, count: int, accepted: tuple[int, ...], where: str) -> np.ndarray:
    """[count,3] from a flat x, y, score list; nothing found if the list is missing or empty."""
    try:
        points = np.array([] if flat is None else flat, dtype=np.float64)  # a null becomes NaN
    except (TypeError, ValueError):
        points = np.array(np.nan)
    if points.ndim != 1 or points.size not in [0, *(3 * n for n in accepted)]:
        counts = " or ".join(str(n) for n in accepted)
        raise ValueError(f"POSE_KEYPOINT, {where}: expected {counts} points as a flat list of x, y, score.")
    points = points.reshape(-1, 3) if points.size else np.zeros((count, 3))
    points = points[BODY_25_TO_18] if len(points) == 25 else points[:count]
    missing = ~np.isfinite(points).all(axis=1) | (points == 0).all(axis=1)
    return np.where(missing[:, None], (np.nan, np.nan, 0), points)
