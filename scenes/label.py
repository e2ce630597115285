"""What is printed on a product: a word, a large simple shape, two colours and an ink."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1

PALETTE: tuple[Colour, ...] = (
    (214, 48, 49), (240, 128, 38), (248, 200, 52), (126, 178, 62), (38, 142, 92), (32, 158, 164), (52, 120, 200),
    (44, 62, 122), (122, 72, 168), (214, 84, 146), (126, 76, 50), (246, 240, 226), (40, 40, 46), (158, 206, 226),
)
WORDS = {
    "train": (
        "TEA COCO MINT SOAP JAM OATS SUN LIME FIZZ GLOW NOVA PLUM ECO RICE MILK BLOOM TOFU ALOE CORN PEAR WAVE "
        "LUX CHAI BIO FIG SALT MOSS DAY"
    ).split(),
    "test": "KIWI ZEST HONEY AQUA ROSE NUTS YUZU BERRY".split(),
}
MOTIFS = ("disc", "ring", "stripes", "bars", "slant", "dots", "star", "leaf", "heart", "sun", "check", "hills")
INKS: tuple[Colour, ...] = ((250, 248, 242), (30, 30, 36))
CONTRAST = 120  # between the two colours, and of the ink to what it is printed on; 0…441
TEST_SHARE = 5  # one pair of colours in so many is the test products'
SMOOTH = 2  # drawn so many times as large


@dataclass(frozen=True)
class Print:
    """Colours are RGB 0…255; `base` is the wrapper's, `accent` the motif's, `ink` the word's."""

    word: str
    motif: str
    base: Colour
    accent: Colour
    ink: Colour


def draw_print(rng: np.random.Generator, split: str) -> Print:
    """A print that no product of the other split has: neither its word nor its pair of colours."""
    pairs, words = _pairs(split), WORDS[split]
    base, accent = pairs[rng.integers(len(pairs))]
    inks = [ink for ink in INKS if _distance(ink, accent) > CONTRAST]
    word, motif = words[rng.integers(len(words))], MOTIFS[rng.integers(len(MOTIFS))]
    return Print(word, motif, base, accent, inks[rng.integers(len(inks))])


@lru_cache
def _pairs(split: str) -> list[tuple[Colour, Colour]]:
    """The split's colours for base and accent, no two alike."""
    return [
        (base, accent)
        for i, base in enumerate(PALETTE)
        for j, accent in enumerate(PALETTE)
        if _distance(base, accent) > CONTRAST and ((3 * i + j) % TEST_SHARE == 0) == (split == "test")
    ]


def _distance(a: Colour, b: Colour) -> float:
    return float(np.linalg.norm(np.subtract(a, b)))


def paint_label(size: tuple[int, int], label: Print, front: Box) -> np.ndarray:
    """uint8 [H, W, 3] of size (W, H) px in the base colour, with motif and word in the box `front`."""
    picture = Image.new("RGB", (size[0] * SMOOTH, size[1] * SMOOTH), label.base)
    x0, y0, x1, y1 = (side * SMOOTH for side in front)
    width, height = round(x1 - x0), round(y1 - y0)
    turned = height > 1.9 * width  # a narrow label is read from the top down
    art = _front((height, width) if turned else (width, height), label)
    picture.paste(art.transpose(Image.Transpose.ROTATE_270) if turned else art, (round(x0), round(y0)))
    return np.array(picture.reduce(SMOOTH))


def _front(size: tuple[int, int], label: Print) -> Image.Image:
    """Motif above and word on a band below; side by side where that suits the size better."""
    width, height = size
    art = Image.new("RGB", size, label.base)
    draw = ImageDraw.Draw(art)
    if width > 1.6 * height:
        motif, band = (0.03, 0.15, 0.33, 0.85), (0.36, 0.1, 0.97, 0.9)
    else:
        motif, band = (0.06, 0.07, 0.94, 0.55), (0.0, 0.6, 1.0, 0.9)
    motif, band = (tuple(side * length for side, length in zip(box, size * 2, strict=True)) for box in (motif, band))
    _motif(draw, label.motif, motif, label.accent)
    draw.rectangle(band, fill=label.accent)
    _word(draw, label.word, band, label.ink)
    return art


def _word(draw: ImageDraw.ImageDraw, word: str, box: Box, ink: Colour) -> None:
    """As large as it fits, in bold."""
    width, height = box[2] - box[0], box[3] - box[1]
    probe = ImageFont.load_default(100).getbbox(word)
    size = 100 * min(0.84 * width / (probe[2] - probe[0]), 0.72 * height / (probe[3] - probe[1]))
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    font = ImageFont.load_default(max(4.0, size))
    draw.text(middle, word, fill=ink, font=font, anchor="mm", stroke_width=size / 30, stroke_fill=ink)


def _motif(draw: ImageDraw.ImageDraw, motif: str, box: Box, colour: Colour) -> None:
    x0, y0, x1, y1 = box
    middle, width, height = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), x1 - x0, y1 - y0
    radius = min(width, height) / 2

    def polygon(points: np.ndarray) -> None:
        draw.polygon([tuple(point) for point in points], fill=colour)

    def disc(centre: np.ndarray, r: float) -> None:
        draw.ellipse((*(centre - r), *(centre + r)), fill=colour)

    def spiked(spikes: int, inner: float) -> np.ndarray:
        angle = np.arange(2 * spikes) * np.pi / spikes - np.pi / 2
        reach = np.where(np.arange(2 * spikes) % 2, inner, 1) * radius
        return middle + np.stack([np.cos(angle), np.sin(angle)], 1) * reach[:, None]

    if motif == "disc":
        disc(middle, radius)
    elif motif == "ring":
        draw.ellipse((*(middle - radius), *(middle + radius)), outline=colour, width=round(0.4 * radius))
    elif motif == "stripes":
        for k in range(3):
            draw.rectangle((x0, y0 + (2 * k + 0.5) * height / 6, x1, y0 + (2 * k + 1.5) * height / 6), fill=colour)
    elif motif == "bars":
        for k in range(4):
            draw.rectangle((x0 + (2 * k + 0.3) * width / 8, y0, x0 + (2 * k + 1.7) * width / 8, y1), fill=colour)
    elif motif == "slant":
        for k in range(2):
            left = x0 + k * width / 2
            polygon(np.array([(left, y1), (left + width / 4, y0), (left + width / 2, y0), (left + width / 4, y1)]))
    elif motif == "dots":
        columns = max(2, round(width / height * 2))
        for i in range(columns):
            for j in range(2):
                place = (x0 + (i + 0.5) * width / columns, y0 + (j + 0.5) * height / 2)
                disc(np.array(place), 0.36 * min(width / columns, height / 2))
    elif motif == "star":
        polygon(spiked(5, 0.45))
    elif motif == "sun":
        polygon(spiked(12, 0.66))
    elif motif == "leaf":
        t = np.linspace(0, np.pi, 24)
        edge = np.stack([np.cos(t), 0.5 * np.sin(t) ** 1.3], 1)
        leaf = np.concatenate([edge, edge[::-1] * (1, -1)]) * radius * 1.1
        for degrees in (-145, -35):
            c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
            root = middle + (0, 0.75 * radius)
            polygon((leaf + (1.1 * radius, 0)) * 0.75 @ np.array([[c, s], [-s, c]]) + root)
    elif motif == "heart":
        t = np.linspace(0, 2 * np.pi, 60)
        heart = np.stack([16 * np.sin(t) ** 3, -13 * np.cos(t) + 5 * np.cos(2 * t) + 2 * np.cos(3 * t) + np.cos(4 * t)])
        polygon(middle + heart.T / 16 * radius)
    elif motif == "check":
        columns = max(2, round(width / height * 3))
        for i in range(columns):
            for j in range(i % 2, 3, 2):
                corner = (x0 + i * width / columns, y0 + j * height / 3)
                draw.rectangle((*corner, corner[0] + width / columns, corner[1] + height / 3), fill=colour)
    elif motif == "hills":
        t = np.linspace(0, 1, 40)
        top = np.stack([x0 + t * width, y1 - height * (0.35 + 0.6 * np.abs(np.sin(1.2 + 5 * t)))], 1)
        polygon(np.concatenate([top, [(x1, y1), (x0, y1)]]))
