"""How the camera turned between two frames, from points of the background: SIFT and a RANSAC homography."""

from functools import lru_cache

import numpy as np

LONGEST = 640  # px of the longer side that points are found at
POINTS = 1000
RATIO = 0.75  # Lowe's: the best match is that much nearer than the next
INLIER, FEWEST = 2.0, 12  # px off, and how many points must agree
STILL = 0.75  # px: a camera that moves no corner of the picture further is still
GROWN = 5  # px around the mask where points are not trusted


class Camera:
    """The camera of a clip; points are found once per frame and kept as bytes, some 130 kB each."""

    def __init__(self, frames: np.ndarray, masks: np.ndarray):
        """frames: uint8 [T,H,W,3]; masks: bool [T,H,W], True where the picture does not move with the background."""
        self.frames, self.masks = frames, masks
        self.size = masks.shape[1:]
        self.zoom = min(1, LONGEST / max(self.size))
        self._points = lru_cache(maxsize=None)(self._find_points)
        self.still = self._is_still()

    def between(self, source: int, target: int) -> np.ndarray | None:
        """[3,3] that carries pixels of frame `source` to frame `target`; None where the two share too little."""
        if self.still:
            return np.eye(3)
        import cv2

        (at_s, described_s), (at_t, described_t) = self._points(source), self._points(target)
        if min(len(at_s), len(at_t)) < FEWEST:
            return None
        matches = cv2.BFMatcher().knnMatch(described_s.astype(np.float32), described_t.astype(np.float32), k=2)
        good = [m[0] for m in matches if len(m) == 2 and m[0].distance < RATIO * m[1].distance]
        if len(good) < FEWEST:
            return None
        start, end = at_s[[m.queryIdx for m in good]], at_t[[m.trainIdx for m in good]]
        way, inliers = cv2.findHomography(start, end, cv2.RANSAC, INLIER)
        if way is None or inliers.sum() < FEWEST:
            return None
        small = np.diag([self.zoom, self.zoom, 1])
        way = np.linalg.inv(small) @ way @ small
        return way / way[2, 2]

    def _find_points(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Places [N,2] in the small picture and SIFT descriptors uint8 [N,128]."""
        import cv2

        height, width = self.size
        small = (max(1, round(width * self.zoom)), max(1, round(height * self.zoom)))
        grey = cv2.cvtColor(cv2.resize(self.frames[t], small, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        mask = cv2.resize(self.masks[t].astype(np.uint8), small, interpolation=cv2.INTER_NEAREST)
        background = 255 * (1 - cv2.dilate(mask, np.ones((2 * GROWN + 1,) * 2, np.uint8)))
        points, described = cv2.SIFT_create(POINTS).detectAndCompute(grey, background)
        if not points:
            return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8)
        return np.array([p.pt for p in points], np.float32), described.astype(np.uint8)

    def _is_still(self) -> bool:
        """Whether frames from all over the clip lie on the middle one; so does a clip without enough points."""
        count = len(self.frames)
        middle, self.still = count // 2, False
        height, width = self.size
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64).T
        for t in {round(i * (count - 1) / 6) for i in range(7)} - {middle}:
            way = self.between(t, middle)
            if way is not None:
                moved = way @ corners
                if np.abs(moved[:2] / moved[2] - corners[:2]).max() * self.zoom > STILL:
                    return False
        return True
