"""The product of the demo scene: a box of tea, turned in three dimensions."""

from dataclasses import dataclass

import cv2
import numpy as np
from crafters.scenes.paint import Canvas, Colour, capsule, ellipse, point, rectangle, rotate, smooth

WIDTH, HEIGHT, DEPTH = 112.0, 150.0, 66.0  # drawing units
PITCH = np.deg2rad(14)  # the camera looks slightly down on the box
PAPER: Colour = (246, 238, 220)
LETTERS: Colour = (88, 76, 78)

# Face: the corner at the top left of its picture, and the picture's right and down edges, in (right, down, near).
_W, _H, _D = WIDTH / 2, HEIGHT / 2, DEPTH / 2
FACES = {
    "front": ((-_W, -_H, _D), (WIDTH, 0, 0), (0, HEIGHT, 0)),
    "left": ((-_W, -_H, -_D), (0, 0, DEPTH), (0, HEIGHT, 0)),
    "right": ((_W, -_H, _D), (0, 0, -DEPTH), (0, HEIGHT, 0)),
    "top": ((-_W, -_H, -_D), (WIDTH, 0, 0), (0, 0, DEPTH)),
}
BRIGHTNESS = {"front": 1.0, "left": 0.84, "right": 0.84, "top": 1.1}


def _leaf(centre: np.ndarray, length: float, degrees: float) -> np.ndarray:
    tip, side = point(0, -length), point(0.42 * length, 0)
    return rotate(smooth(tip, tip, side, -tip * 0.8, -side) + centre, degrees, centre)


def _print_faces(colour: Colour) -> dict[str, np.ndarray]:
    faces = {}
    for name, (_, across, down) in FACES.items():
        canvas = Canvas(round(4 * np.linalg.norm(across)), round(4 * np.linalg.norm(down)))
        half = 500 * canvas.width / canvas.height
        canvas.paint(rectangle(-half, 0, half, 1000), colour)
        if name == "front":
            _print_front(canvas, half, colour)
        elif name == "left":
            canvas.paint(rectangle(-half, 780, half, 850), PAPER)
            for y in (180, 390, 600):
                canvas.paint(_leaf(point(0, y), 90, 35), PAPER)
        elif name == "right":
            canvas.paint(rectangle(-half, 780, half, 850), PAPER)
            canvas.paint(smooth(*rectangle(-0.7 * half, 120, 0.7 * half, 680)), PAPER)
            for y, reach in ((260, 0.45), (350, 0.5), (440, 0.4), (530, 0.48)):
                canvas.paint(capsule(point(-reach * half, y), point(reach * half, y), 15, 15), LETTERS)
        else:
            canvas.paint(rectangle(-half, 440, half, 560), PAPER)
        faces[name] = canvas.image()
    return faces


def _print_front(canvas: Canvas, half: float, colour: Colour) -> None:
    canvas.paint(rectangle(-half, 780, half, 850), PAPER)
    canvas.paint(ellipse(point(0, 400), 0.8 * half, 0.8 * half), PAPER)
    canvas.paint(_leaf(point(-46, 270), 86, -38), colour)
    canvas.paint(_leaf(point(46, 270), 86, 38), colour)
    strokes = (((-215, 390), (-85, 390)), ((-150, 390), (-150, 545)),  # T
               ((-45, 390), (-45, 545)), ((-45, 390), (45, 390)), ((-45, 467), (35, 467)), ((-45, 545), (45, 545)),  # E
               ((90, 545), (150, 390)), ((150, 390), (210, 545)), ((115, 495), (185, 495)))  # fmt: skip  # A
    for start, end in strokes:
        canvas.paint(capsule(point(*start), point(*end), 17, 17), LETTERS)


@dataclass(frozen=True)
class TeaBox:
    """The printed faces: RGB pictures by name."""

    faces: dict[str, np.ndarray]

    @classmethod
    def printed(cls, colour: Colour) -> "TeaBox":
        return cls(_print_faces(colour))

    def draw(self, canvas: Canvas, bottom: np.ndarray, yaw: float, roll: float = 0, size: float = 1) -> np.ndarray:
        """Paint the box standing on `bottom` (the middle of its base, drawing units).

        `yaw` and `roll` are degrees; a positive yaw shows the box's left face. Returns the box's relief, uint8 of the
        size of `canvas.pixels`: 190 (farthest point of the box) to 225 (nearest), 0 outside.
        """
        c, s = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        c, s = np.cos(PITCH), np.sin(PITCH)
        view = np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) @ turn
        radius = np.linalg.norm([_W, _H, _D])
        height, width = canvas.pixels.shape[:2]
        relief = np.zeros((height, width), np.uint8)
        base = (view @ (0, _H, 0))[:2]
        for name, (corner, across, down) in FACES.items():
            normal = view @ np.cross(across, down)
            if normal[2] < 0.01 * np.linalg.norm(normal):  # turned away, or a mere line
                continue
            corners = np.array([corner, np.add(corner, across), np.add(corner, across) + down, np.add(corner, down)])
            seen = corners @ view.T
            outline = rotate(bottom + size * (seen[:, :2] - base), roll, bottom)
            target = canvas.to_pixels(outline).astype(np.float32)
            picture = self.faces[name]
            rows, columns = picture.shape[:2]
            source = np.array([(0, 0), (columns, 0), (columns, rows)], np.float32) - 0.5
            warp = cv2.getAffineTransform(source, target[:3])
            face = cv2.warpAffine(picture, warp, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
            inside = canvas.mask(outline)
            canvas.pixels[inside] = np.clip(face[inside] * BRIGHTNESS[name], 0, 255)
            nearness = np.linalg.solve(np.c_[target[:3], np.ones(3)].astype(np.float64), seen[:3, 2] / radius)
            y, x = np.nonzero(inside)
            relief[y, x] = np.round(207.5 + 17.5 * (nearness[0] * x + nearness[1] * y + nearness[2])).clip(190, 225)
        return relief

    def photo(self, yaw: float, side: int = 512) -> np.ndarray:
        """A studio view, cropped to the box: [H, W, 4] uint8 RGBA with a transparent background."""
        canvas = Canvas(side, side)
        alpha = Canvas(side, side)
        mask = self.draw(canvas, point(0, 860), yaw, size=4.4) > 0
        alpha.pixels[mask] = 255
        coverage = alpha.image()[..., :1]
        colour = np.clip(canvas.image() * (255 / np.maximum(coverage, 1)), 0, 255)
        x, y, width, height = cv2.boundingRect(coverage)
        return np.concatenate([colour.astype(np.uint8), coverage], 2)[y : y + height, x : x + width]
