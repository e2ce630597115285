"""A generated clip beside the true one, with what is known of both."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..media.frames import Levels
from .landmarks import People
from .masks import grey

# Everything beside the true clip, in words.
PARTS = {
    "result": "generated frames",
    "truth_mask": "masks of the true clip",
    "result_mask": "masks of the generated clip",
    "truth_people": "poses of the true clip",
    "result_people": "poses of the generated clip",
    "person": "a reference photo of the person",
    "person_people": "the pose of the reference photo",
}


@dataclass(frozen=True)
class Pair:
    """Raises ValueError for clips that cannot be compared: other lengths, or other shapes of frame.

    truth [T,H,W,3], result [T,h,w,3]: uint8 RGB; the result is resized to the truth's size. truth_mask, result_mask:
    uint8 masks of the product, [T,h,w] grey or [T,h,w,3] in one colour on black. All are read frame by frame.
    truth_people, result_people: the poses of T frames. person: uint8 RGB [h,w,3], the reference photo; person_people:
    its pose.
    """

    truth: np.ndarray | Levels
    result: np.ndarray | Levels
    truth_mask: np.ndarray | Levels | None = None
    result_mask: np.ndarray | Levels | None = None
    truth_people: Sequence[People] | None = None
    result_people: Sequence[People] | None = None
    person: np.ndarray | None = None
    person_people: People | None = None

    def __post_init__(self):
        for name in ("result", "truth_mask", "result_mask", "truth_people", "result_people"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.truth):
                raise ValueError(
                    f"The true clip has {len(self.truth)} frames, but there are {len(value)} {PARTS[name]}: "
                    "cut both to the same frames."
                )
        for name in ("truth_mask", "result_mask"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, grey(getattr(self, name)))
        object.__setattr__(self, "result", fit(self.result, *self.truth.shape[1:3]))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        return self.truth.shape[2], self.truth.shape[1]


def fit(frames: np.ndarray | Levels, height: int, width: int) -> np.ndarray | Levels:
    """`frames` [T,h,w,3] resized to that size. Raises ValueError if their shape is another."""
    h, w = frames.shape[1:3]
    if (h, w) == (height, width):
        return frames
    if abs(w / h / (width / height) - 1) > 0.02:
        raise ValueError(
            f"The true clip is {width}x{height} but the generated one {w}x{h}: they must show the same picture; "
            "crop or pad one of them."
        )
    how = cv2.INTER_AREA if h > height else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=how) for frame in frames])
