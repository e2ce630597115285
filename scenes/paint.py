"""Flat shapes and the canvas they are painted on.

Drawing units: the frame is 1000 units high, x grows to the right from the frame's centre line, y grows downwards.
Every shape is a polygon, [N, 2] float64 in these units.
"""

import cv2
import numpy as np

Colour = tuple[int, int, int]
SUPERSAMPLING = 3


def point(x: float, y: float) -> np.ndarray:
    return np.array([x, y], np.float64)


def rotate(points: np.ndarray, degrees: float, centre: np.ndarray) -> np.ndarray:
    """Clockwise as seen on the screen."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return (points - centre) @ np.array([[c, s], [-s, c]]) + centre


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)


def ellipse(centre: np.ndarray, rx: float, ry: float, start: float = 0, stop: float = 360) -> np.ndarray:
    """The part from `start` to `stop` degrees, clockwise from the right."""
    angles = np.deg2rad(np.linspace(start, stop, 73))
    return centre + np.stack([rx * np.cos(angles), ry * np.sin(angles)], 1)


def capsule(a: np.ndarray, b: np.ndarray, radius_a: float, radius_b: float) -> np.ndarray:
    """The hull of two discs: a limb."""
    discs = np.concatenate([ellipse(a, radius_a, radius_a), ellipse(b, radius_b, radius_b)])
    return cv2.convexHull(discs.astype(np.float32))[:, 0].astype(np.float64)


def smooth(*corners: tuple[float, float] | np.ndarray) -> np.ndarray:
    """A polygon with rounded corners (Chaikin's corner cutting)."""
    points = np.array(corners, np.float64)
    for _ in range(4):
        following = np.roll(points, -1, 0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1).reshape(-1, 2)
    return points


class Canvas:
    """An RGB picture of `width` x `height` pixels, painted at `SUPERSAMPLING` times that size."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.scale = SUPERSAMPLING * height / 1000
        self.pixels = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING, 3), np.uint8)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Drawing units to coordinates in `pixels`, a whole number being a pixel's centre."""
        return points * self.scale + (self.pixels.shape[1] / 2 - 0.5, -0.5)

    def paint(self, shape: np.ndarray, colour: Colour, outline: float = 0) -> None:
        corners = np.round(self.to_pixels(shape) * 16).astype(np.int32)
        cv2.fillPoly(self.pixels, [corners], colour, shift=4)
        if outline:
            edge = tuple(int(0.72 * channel) for channel in colour)
            cv2.polylines(self.pixels, [corners], True, edge, max(1, round(outline * self.scale)), shift=4)

    def mask(self, shape: np.ndarray) -> np.ndarray:
        """Bool, of the size of `pixels`."""
        mask = np.zeros(self.pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(self.to_pixels(shape) * 16).astype(np.int32)], 1, shift=4)
        return mask.astype(bool)

    def image(self) -> np.ndarray:
        """The picture with smooth edges, [height, width, 3] uint8."""
        return cv2.resize(self.pixels, (self.width, self.height), interpolation=cv2.INTER_AREA)


def sample(picture: np.ndarray) -> np.ndarray:
    """A picture of a canvas's `pixels` size at the canvas's own size, with hard edges."""
    return np.ascontiguousarray(picture[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING])
