"""A painted room as background, and the camera's way over it."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .paint import Canvas, Colour, ellipse, point, rectangle, rotate, smooth

MARGIN = 1.3  # of the picture that the camera moves over, in frames
SOFTNESS = 1 / 300  # of the frame's height: the room is a little out of focus
# wall, floor, furniture, accent, second accent
PALETTES: tuple[tuple[Colour, ...], ...] = (
    ((236, 226, 210), (206, 178, 146), (150, 112, 82), (206, 120, 96), (126, 158, 148)),
    ((212, 224, 228), (186, 170, 154), (112, 128, 142), (232, 178, 96), (88, 120, 152)),
    ((228, 214, 224), (196, 176, 172), (146, 116, 138), (228, 158, 148), (112, 142, 128)),
    ((216, 226, 206), (190, 172, 138), (124, 134, 96), (238, 196, 116), (108, 146, 152)),
    ((244, 236, 222), (172, 150, 132), (92, 84, 86), (94, 150, 164), (224, 150, 108)),
    ((196, 208, 216), (150, 138, 130), (226, 218, 206), (196, 98, 84), (236, 204, 132)),
    ((232, 206, 188), (178, 148, 126), (128, 92, 82), (98, 132, 118), (244, 226, 196)),
    ((186, 204, 196), (202, 184, 160), (236, 230, 218), (218, 142, 104), (78, 104, 112)),
)
FRAME: Colour = (250, 246, 238)


@dataclass(frozen=True)
class Room:
    """`picture` uint8 [h, w, 3], larger than a frame of `size` (width, height), and how the camera moves over it."""

    picture: np.ndarray
    size: tuple[int, int]
    track: np.ndarray  # [F, 3]: shift to the right and down, in px of a frame, and zoom

    def frames(self) -> np.ndarray:
        """uint8 [F, H, W, 3]."""
        return np.stack([self._frame(*place) for place in self.track])

    def _frame(self, x: float, y: float, zoom: float) -> np.ndarray:
        height, width = self.picture.shape[:2]
        middle = np.array([(width - 1) / 2 + x, (height - 1) / 2 + y])
        half = (np.array(self.size) - 1) / 2 / zoom
        matrix = np.column_stack([np.eye(2) / zoom, middle - half])
        return cv2.warpAffine(
            self.picture,
            matrix,
            self.size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )


def make_room(seed: int, split: str, size: tuple[int, int], frames: int, moving: bool) -> Room:
    """The room of a seed: for a standing person in a landscape picture with a floor, else the wall behind a presenter.

    A moving camera pans, zooms or is held by hand; the room is never seen beyond its picture.
    """
    rng = np.random.default_rng([seed, split == "test", 2])
    width, height = size
    canvas = Canvas(round(width * MARGIN), round(height * MARGIN))
    _paint(canvas, rng, floor=740 if width > height else 930)
    picture = cv2.GaussianBlur(canvas.image(), (0, 0), max(0.3, SOFTNESS * height))
    # Daylight falls off to one side and downwards.
    side = rng.choice((-1, 1))
    x, y = np.linspace(-1, 1, picture.shape[1]), np.linspace(-1, 1, picture.shape[0])
    light = 1 - 0.05 * (1 + side * x[None]) - 0.04 * (1 + y[:, None])
    picture = (picture * light[..., None] + 0.5).astype(np.uint8)
    track = _track(rng, size, frames) if moving else np.tile((0.0, 0.0, 1.0), (frames, 1))
    return Room(picture, size, track)


def _track(rng: np.random.Generator, size: tuple[int, int], frames: int) -> np.ndarray:
    room = (MARGIN - 1) / 2 * np.array(size) - 1  # px on each side
    time = np.linspace(-1, 1, frames)
    shift, zoom = np.zeros((frames, 2)), np.ones(frames)
    kind = rng.integers(3)
    if kind == 0:
        shift += 0.8 * room * time[:, None] * rng.uniform(0.5, 1, 2) * rng.choice((-1, 1), 2) * (1, 0.2)
    elif kind == 1:
        zoom += (0.04 + 0.12 * rng.random()) * (1 + rng.choice((-1, 1)) * time) / 2
    hand = sum(np.sin(np.pi * f * time[:, None] + rng.uniform(0, 2 * np.pi, 2)) / f for f in (1, 2.3, 4.1))
    shift += (0.15 if kind == 2 else 0.04) * room * hand / 1.7
    return np.column_stack([np.clip(shift, -room, room), zoom])


def _paint(canvas: Canvas, rng: np.random.Generator, floor: float) -> None:
    """A room whose floor begins at `floor`, in the canvas's units."""
    wall, ground, *colours = PALETTES[rng.integers(len(PALETTES))]
    edge = 500 * canvas.width / canvas.height + 1
    canvas.paint(rectangle(-edge, 0, edge, 1000), wall)
    pattern = rng.integers(4)
    tint = tuple(channel - 8 for channel in wall)
    if pattern == 0:
        for x in np.arange(-edge // 70 * 70, edge, 70):
            canvas.paint(rectangle(x, 0, x + 30, floor), tint)
    elif pattern == 1:
        canvas.paint(rectangle(-edge, 0.62 * floor, edge, floor), tuple(channel - 22 for channel in wall))
        canvas.paint(rectangle(-edge, 0.61 * floor, edge, 0.62 * floor + 6), FRAME)
    elif pattern == 2:
        canvas.paint(ellipse(point(rng.uniform(-0.5, 0.5) * edge, 0.6 * floor), 0.6 * edge, 0.6 * edge), tint)
    canvas.paint(rectangle(-edge, floor, edge, 1000), ground)
    canvas.paint(rectangle(-edge, floor - 18, edge, floor + 4), FRAME)

    columns = max(2, round(edge / 160))
    middles = np.linspace(-edge, edge, 2 * columns + 1)[1::2] + rng.uniform(-15, 15, columns)
    width = min(0.8 * 2 * edge / columns, 270)
    upper = rng.permutation(len(UPPER))
    for column, x in enumerate(middles):
        colours = [colours[i] for i in rng.permutation(len(colours))]
        if rng.random() < 0.85:
            UPPER[upper[column % len(UPPER)]](canvas, rng, x, width, colours)
        if rng.random() < 0.75:
            LOWER[rng.integers(len(LOWER))](canvas, rng, x, floor, width, colours)


def _window(canvas: Canvas, rng: np.random.Generator, x: float, width: float, colours: list[Colour]) -> None:
    half, top, bottom = width / 2, rng.uniform(110, 170), rng.uniform(430, 500)
    canvas.paint(rectangle(x - half, top, x + half, bottom), FRAME, 3)
    canvas.paint(rectangle(x - half + 12, top + 12, x + half - 12, bottom - 12), (192, 220, 236))
    hill = [(x - half + 12, bottom - 12), (x - half + 12, bottom - 70), (x - 0.2 * half, bottom - 110)]
    canvas.paint(smooth(*hill, (x + half - 12, bottom - 50), (x + half - 12, bottom - 12)), (160, 186, 148))
    canvas.paint(rectangle(x - 5, top, x + 5, bottom), FRAME)
    for side in (-1, 1):
        curtain = sorted((x + side * half * 1.12, x + side * half * 0.66))
        canvas.paint(rectangle(curtain[0], top - 22, curtain[1], bottom + 40), colours[0], 3)
    canvas.paint(rectangle(x - 1.2 * half, top - 32, x + 1.2 * half, top - 20), colours[1])


def _picture(canvas: Canvas, rng: np.random.Generator, x: float, width: float, colours: list[Colour]) -> None:
    half, top, height = 0.36 * width, rng.uniform(140, 220), width * rng.uniform(0.8, 1.1)
    canvas.paint(rectangle(x - half - 10, top - 10, x + half + 10, top + height + 10), colours[0], 3)
    canvas.paint(rectangle(x - half, top, x + half, top + height), FRAME)
    canvas.paint(ellipse(point(x - 0.25 * half, top + 0.4 * height), 0.5 * half, 0.5 * half), colours[1])
    hill = ((x - half, top + height), (x - half, top + 0.65 * height), (x + 0.3 * half, top + 0.5 * height))
    canvas.paint(smooth(*hill, (x + half, top + 0.7 * height), (x + half, top + height)), colours[2])


def _shelf(canvas: Canvas, rng: np.random.Generator, x: float, width: float, colours: list[Colour]) -> None:
    half = 0.48 * width
    for y in (270, 440):
        left = x - half + 8
        while left < x + half - 30:
            wide, tall = rng.uniform(14, 40), rng.uniform(60, 120)
            colour = (*colours, FRAME)[rng.integers(len(colours) + 1)]
            if rng.random() < 0.75:
                canvas.paint(rectangle(left, y - tall, min(left + wide, x + half), y), colour, 2)
            left += wide + 3
        canvas.paint(rectangle(x - half, y, x + half, y + 14), colours[0], 3)


def _clock(canvas: Canvas, rng: np.random.Generator, x: float, width: float, colours: list[Colour]) -> None:
    centre, radius = point(x, rng.uniform(200, 280)), 0.27 * width
    canvas.paint(ellipse(centre, radius, radius), colours[0], 3)
    canvas.paint(ellipse(centre, 0.84 * radius, 0.84 * radius), FRAME)
    for degrees, length in ((rng.uniform(0, 360), 0.7), (rng.uniform(0, 360), 0.48)):
        hand = rectangle(centre[0] - 5, centre[1] - length * radius, centre[0] + 5, centre[1] + 5)
        canvas.paint(rotate(hand, degrees, centre), colours[1])


def _hanging_lamp(canvas: Canvas, rng: np.random.Generator, x: float, width: float, colours: list[Colour]) -> None:
    y = rng.uniform(120, 200)
    canvas.paint(rectangle(x - 3, 0, x + 3, y), (90, 86, 84))
    half = 0.34 * width
    canvas.paint(ellipse(point(x, y + 0.8 * half), 0.3 * half, 0.3 * half), (255, 240, 190))
    canvas.paint(
        smooth((x - 0.3 * half, y - 10), (x + 0.3 * half, y - 10), (x + half, y + 90), (x - half, y + 90)),
        colours[0],
        3,
    )


def _plant(
    canvas: Canvas, rng: np.random.Generator, x: float, floor: float, width: float, colours: list[Colour]
) -> None:
    green = ((116, 156, 110), (142, 168, 120), (92, 138, 118))[rng.integers(3)]
    tall, base = rng.uniform(170, 290), floor - 70
    for degrees in np.linspace(-58, 58, rng.integers(5, 8)):
        leaf = smooth((0, -tall), (26, -0.5 * tall), (6, 0), (-6, 0), (-26, -0.5 * tall)) + point(x, base)
        canvas.paint(rotate(leaf, degrees, point(x, base)), green, 3)
    pot = smooth((x - 46, base - 20), (x + 46, base - 20), (x + 34, floor + 40), (x - 34, floor + 40))
    canvas.paint(pot, colours[0], 3)


def _cabinet(
    canvas: Canvas, rng: np.random.Generator, x: float, floor: float, width: float, colours: list[Colour]
) -> None:
    half, top = 0.5 * width, floor - rng.uniform(180, 260)
    canvas.paint(rectangle(x - half, top, x + half, floor + 30), colours[0], 4)
    for side in (-1, 1):
        door = sorted((x + side * 8, x + side * (half - 12)))
        canvas.paint(rectangle(door[0], top + 26, door[1], floor + 10), tuple(min(255, c + 16) for c in colours[0]), 2)
        canvas.paint(ellipse(point(x + side * 22, top + 90), 6, 6), FRAME)
    vase = (
        (x - 26, top),
        (x - 34, top - 50),
        (x - 12, top - 84),
        (x + 12, top - 84),
        (x + 34, top - 50),
        (x + 26, top),
    )
    canvas.paint(smooth(*vase), colours[1], 3)


def _standing_lamp(
    canvas: Canvas, rng: np.random.Generator, x: float, floor: float, width: float, colours: list[Colour]
) -> None:
    top = floor - rng.uniform(380, 460)
    canvas.paint(rectangle(x - 5, top, x + 5, floor + 24), (96, 92, 90))
    canvas.paint(ellipse(point(x, floor + 24), 50, 11), (96, 92, 90))
    canvas.paint(smooth((x - 40, top - 70), (x + 40, top - 70), (x + 78, top + 40), (x - 78, top + 40)), colours[0], 3)


def _armchair(
    canvas: Canvas, rng: np.random.Generator, x: float, floor: float, width: float, colours: list[Colour]
) -> None:
    half = min(0.55 * width, 130)
    back = ((x - half, floor - 260), (x + half, floor - 260), (x + half, floor), (x - half, floor))
    canvas.paint(smooth(*back), colours[0], 4)
    dark = tuple(int(0.88 * channel) for channel in colours[0])
    canvas.paint(rectangle(x - half, floor - 100, x + half, floor + 20), dark, 4)
    for side in (-1, 1):
        arm = sorted((x + side * half * 0.72, x + side * half * 1.16))
        canvas.paint(rectangle(arm[0], floor - 140, arm[1], floor + 26), colours[0], 4)


UPPER: tuple[Callable[..., None], ...] = (_window, _picture, _shelf, _clock, _hanging_lamp)
LOWER: tuple[Callable[..., None], ...] = (_plant, _cabinet, _standing_lamp, _armchair)
