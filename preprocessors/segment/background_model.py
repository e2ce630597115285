"""A background model of a clip: what other frames show behind somebody, and where a frame is unlike it."""

from collections.abc import Sequence

import cv2
import numpy as np

from ..background.camera import Camera
from .masks import square

STILL_SOURCES = 21  # frames of a still camera, from all over the clip
OFFSETS = (2, 3, 4, 6, 10, 18)  # frames before and after one of a moving camera
FEWEST = 2  # of them that must show a pixel
UNLIKE, ALIKE = 36.0, 14.0  # levels between frame and background: more is something else, less is the same
FAR = 999  # beyond any level
SHAKE = 1  # px that an edge of the background may be off


class BackgroundModel:
    """The background of a clip, by the median of frames in which nobody hides it, as the camera moved."""

    def __init__(self, frames: Sequence[np.ndarray], hidden: np.ndarray):
        """frames: uint8 [H, W, 3]; hidden: bool [T, H, W], True where somebody may be."""
        self.frames, self.hidden = frames, hidden
        self.camera = Camera(frames, hidden)
        self.still = None
        if self.camera.still:
            count = len(frames)
            sources = sorted({round(i * (count - 1) / (STILL_SOURCES - 1)) for i in range(STILL_SOURCES)})
            self.still = _median(np.stack([frames[s] for s in sources]), ~hidden[sources])
        else:
            steps = [self.camera.between(t - 1, t) for t in range(1, len(frames))]
            self.path, self.take = [np.eye(3)], [0]  # from the first frame of a take to each
            for step in steps:
                self.path.append(np.eye(3) if step is None else step @ self.path[-1])
                self.take.append(self.take[-1] + (step is None))

    def compare(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Where frame t surely differs from the background, and where it is like it: bool [H, W] each; where neither,
        nobody knows."""
        middle, spread, known = self._seen_from(t) if self.still is None else self.still
        frame = self.frames[t].astype(np.float32)
        # The nearest within reach, so that an edge that lies a little off is no difference.
        below = cv2.erode(np.where(known[..., None], middle, np.float32(FAR)), square(SHAKE))
        above = cv2.dilate(np.where(known[..., None], middle, np.float32(-FAR)), square(SHAKE))
        off = np.maximum(np.maximum(below - frame, frame - above), 0).max(-1)
        off = cv2.GaussianBlur(np.where(known, off, 0).astype(np.float32), (0, 0), 1.0)
        return known & (off > UNLIKE + 2 * spread), known & (off < ALIKE) & (spread < ALIKE)

    def _seen_from(self, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        height, width = self.hidden.shape[1:]
        sources = [t + side * offset for offset in OFFSETS for side in (-1, 1)]
        sources = [s for s in sources if 0 <= s < len(self.frames) and self.take[s] == self.take[t]]
        if len(sources) < FEWEST:
            return np.zeros((height, width, 3), np.float32), np.zeros((height, width)), np.zeros((height, width), bool)
        views, seen = [], []
        for s in sources:
            way = self.path[t] @ np.linalg.inv(self.path[s])
            views.append(cv2.warpPerspective(self.frames[s], way, (width, height), flags=cv2.INTER_LINEAR))
            hidden = self.hidden[s].astype(np.float32)
            seen.append(cv2.warpPerspective(hidden, way, (width, height), borderValue=1) < 1e-3)
        return _median(np.stack(views), np.stack(seen))


def _median(views: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median float32 [H, W, 3] of views uint8 [N, H, W, 3] where seen [N, H, W]; how far its middle half is apart; and
    where at least `FEWEST` show it."""
    ordered = np.sort(np.where(seen[..., None], views.astype(np.int16), FAR), axis=0)
    last = np.maximum(seen.sum(0) - 1, 0)

    def at(place: np.ndarray) -> np.ndarray:
        return np.take_along_axis(ordered, place[None, ..., None], 0)[0].astype(np.float32)

    known = last >= FEWEST - 1
    spread = (at(3 * last // 4) - at(last // 4)).max(-1)
    return np.where(known[..., None], at(last // 2), 0).astype(np.float32), spread, known
