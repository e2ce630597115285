"""Drawn product photos of the kinds that shops have, with the product's true silhouette.

Beside `scenes`, whose products lie on black, for what makes cutting out hard: glass, white on white, shadows, JPEG.
"""

import cv2
import numpy as np

FINE = 3  # drawn so many times larger, then reduced: outlines are antialiased
KINDS = (
    "bottle", "white bottle", "white label", "silver can", "glass", "mug", "white mug", "black tube", "plush", "box",
)
BACKGROUNDS = ("white", "off-white", "shadow", "contact shadow", "gradient", "vignette", "coloured", "noisy")


def draw_product_photo(kind: str, background: str, seed: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """The photo, float32 [size, size, 3] in 0…1 as a JPEG gives it, and the silhouette, bool [size, size]."""
    rng = np.random.default_rng([seed, KINDS.index(kind), BACKGROUNDS.index(background)])
    side = size * FINE
    behind = _background(background, side, rng)
    paint, alpha, shape = _product(kind, side, rng, behind)
    if "shadow" in background:
        behind = behind * _shadow(background, shape, rng)[..., None]
    photo = behind * (1 - alpha[..., None]) + paint * alpha[..., None]
    photo = cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA)
    photo += rng.normal(0, 4 if background == "noisy" else rng.uniform(0, 0.8), photo.shape)
    photo = photo.clip(0, 255).round().astype(np.uint8)
    quality = int(rng.integers(85, 98))
    _, coded = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])
    photo = cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.float32) / 255
    return photo, cv2.resize(shape.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.5


def _background(name: str, side: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] / side
    if name == "gradient":
        level = rng.uniform(215, 252) - rng.uniform(50, 100) * (y if rng.random() < 0.7 else x)
    elif name == "vignette":
        level = rng.uniform(225, 250) - rng.uniform(40, 110) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    elif name == "coloured":
        return np.ones((side, side, 1)) * rng.uniform(60, 235, 3)
    else:
        level = {"off-white": rng.uniform(225, 250), "noisy": rng.uniform(200, 235)}.get(name, 255) * np.ones_like(x)
    return np.repeat(level[..., None], 3, -1)


def _shadow(name: str, shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What it leaves of the light, [side, side]: fallen to one side, or under the product."""
    side = len(shape)
    rows, columns = np.nonzero(shape)
    if name == "shadow":
        move = np.float32([[1, 0, side * rng.uniform(0.02, 0.07)], [0, 1, side * rng.uniform(0.01, 0.04)]])
        fallen = cv2.warpAffine(shape.astype(np.float32), move, (side, side))
    else:
        fallen = np.zeros(shape.shape, np.float32)
        middle, width = (columns.min() + columns.max()) / 2, columns.max() - columns.min()
        centre = int(middle + width * rng.uniform(0, 0.3)), int(rows.max())
        cv2.ellipse(fallen, centre, (int(width * 0.75), int(side * 0.04)), 0, 0, 360, 1, -1)
    return 1 - rng.uniform(0.25, 0.5) * cv2.GaussianBlur(fallen, (0, 0), side * rng.uniform(0.018, 0.035))


def _product(kind: str, side: int, rng: np.random.Generator, behind: np.ndarray):
    """Its paint [side, side, 3], opacity [side, side] and silhouette, bool [side, side]."""
    draw = {"mug": _mug, "white mug": _mug, "plush": _plush, "box": _box}.get(kind, _bottle)
    return draw(kind, side, rng, behind)


def _colour(rng: np.random.Generator) -> np.ndarray:
    hsv = np.uint8([[[rng.integers(180), rng.integers(120, 255), rng.integers(60, 230)]]])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(float)


def _rounded(side: int, left: float, top: float, right: float, bottom: float, corner: float) -> np.ndarray:
    """A box with round corners, bool; all in shares of the side."""
    y, x = np.mgrid[0:side, 0:side] / side
    dx = np.abs(x - (left + right) / 2) - ((right - left) / 2 - corner)
    dy = np.abs(y - (top + bottom) / 2) - ((bottom - top) / 2 - corner)
    return np.hypot(dx.clip(0), dy.clip(0)) <= corner


def _bottle(kind: str, side: int, rng: np.random.Generator, behind: np.ndarray):
    middle, half = rng.uniform(0.42, 0.58), rng.uniform(0.11, 0.2)
    top, bottom = rng.uniform(0.1, 0.2), rng.uniform(0.8, 0.92)
    neck = rng.uniform(0.35, 0.6) if kind in ("bottle", "white bottle", "white label", "glass") else 0.9
    shoulder, cap_end = top + rng.uniform(0.16, 0.24), top + 0.08
    body = _rounded(side, middle - half, shoulder, middle + half, bottom, min(half, rng.uniform(0.01, 0.1)))
    stem = _rounded(side, middle - half * neck, top, middle + half * neck, shoulder + 0.12, 0.005)
    shape = body | stem
    y, x = np.mgrid[0:side, 0:side] / side
    across = ((x - middle) / half).clip(-1, 1)
    colour = {
        "white bottle": np.full(3, rng.uniform(246, 253)), "silver can": np.full(3, 225.0),
        "black tube": np.full(3, rng.uniform(8, 40)),
    }.get(kind, _colour(rng))
    light = 1 - rng.uniform(0.06, 0.25) * across**2
    if kind == "silver can":
        light = 0.75 + 0.35 * np.cos(across * rng.uniform(4, 6) + rng.uniform(-1, 1)) * (1 - 0.3 * across**2)
    paint, alpha = colour * light[..., None], shape.astype(float)
    label = (y > shoulder + 0.2) & (y < bottom - rng.uniform(0.1, 0.2)) & shape
    if kind == "glass":
        clear = 0.97 - rng.uniform(0.25, 0.45) * np.abs(across) ** 8
        paint = behind * clear[..., None] * rng.uniform(0.96, 1, 3)
        label &= np.abs(across) < 0.6
    if kind == "white label":
        paint[label] = behind[label]
    elif kind in ("bottle", "glass", "black tube"):
        paint[label & (np.abs(across) < rng.uniform(0.6, 1.0))] = _colour(rng)
    for line in range(3):  # print
        row = shoulder + 0.24 + 0.05 * line
        paint[(np.abs(y - row) < 0.012) & (np.abs(across) < rng.uniform(0.3, 0.6)) & label] = 40
    cap = (y < cap_end) & shape
    paint[cap] = _colour(rng) if rng.random() < 0.5 else (colour * light[..., None] * 0.97)[cap]
    return paint.clip(0, 255), alpha, shape


def _mug(kind: str, side: int, rng: np.random.Generator, behind: np.ndarray):
    left, right = rng.uniform(0.2, 0.28), rng.uniform(0.6, 0.68)
    top, bottom = rng.uniform(0.2, 0.3), rng.uniform(0.75, 0.85)
    body = _rounded(side, left, top, right, bottom, rng.uniform(0.01, 0.06))
    y, x = np.mgrid[0:side, 0:side] / side
    wide, high, thick = rng.uniform(0.12, 0.17), rng.uniform(0.14, 0.18), rng.uniform(0.035, 0.05)
    far = np.hypot((x - right) / wide, (y - (top + bottom) / 2) / high)
    inner = np.hypot((x - right) / (wide - thick), (y - (top + bottom) / 2) / (high - thick))
    shape = body | ((far < 1) & (inner > 1))
    white = kind == "white mug"
    colour = np.full(3, rng.uniform(244, 252)) if white else _colour(rng)
    across = ((x - (left + right) / 2) / ((right - left) / 2)).clip(-1, 1)
    light = 1 - rng.uniform(0.08, 0.25) * np.where(body, across**2, 0.5)
    paint = colour * light[..., None]
    badge = np.hypot(x - (left + right) / 2, y - (top + bottom) / 2) < rng.uniform(0.05, 0.1)
    paint[badge] = behind[badge] if not white and rng.random() < 0.5 else _colour(rng)
    if rng.random() < 0.5:  # the handle on the other side
        paint, shape = paint[:, ::-1], shape[:, ::-1]
    return paint, shape.astype(float), shape


def _plush(kind: str, side: int, rng: np.random.Generator, behind: np.ndarray):
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    angle, far = np.arctan2(y, x), np.hypot(x, y)
    wave = sum(rng.uniform(-0.03, 0.03) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(2, 8))
    shape = far < 0.28 + wave
    fur = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), FINE) * 60
    paint = _colour(rng) + fur[..., None] + 30 * (-x - y)[..., None]
    for eye in (-0.1, 0.1):
        paint[np.hypot(x - eye, y + 0.08) < 0.06] = 252
        paint[np.hypot(x - eye, y + 0.08) < 0.02] = 20
    return paint.clip(0, 255), shape.astype(float), shape


def _box(kind: str, side: int, rng: np.random.Generator, behind: np.ndarray):
    """A carton seen over its corner."""
    left, edge, right = rng.uniform(0.15, 0.25), rng.uniform(0.45, 0.6), rng.uniform(0.75, 0.85)
    top, bottom, tilt = rng.uniform(0.25, 0.35), rng.uniform(0.7, 0.8), rng.uniform(0.04, 0.08)
    back = left + right - edge, top - 2 * tilt
    faces = [
        [(left, top - tilt), (edge, top), (edge, bottom), (left, bottom - tilt)],
        [(edge, top), (right, top - tilt), (right, bottom - tilt), (edge, bottom)],
        [(left, top - tilt), back, (right, top - tilt), (edge, top)],
    ]
    paint, shape = np.zeros((side, side, 3)), np.zeros((side, side), np.uint8)
    colour = np.full(3, 250.0) if rng.random() < 0.5 else _colour(rng)
    for face, light in zip(faces, rng.permutation([1.0, 0.9, 0.8]), strict=True):
        points = (np.array(face) * side).round().astype(np.int32)
        cv2.fillPoly(paint, [points], (colour * light).tolist())
        cv2.fillPoly(shape, [points], 1)
    y, x = np.mgrid[0:side, 0:side] / side
    paint[(np.abs(x - (left + edge) / 2) < 0.06) & (np.abs(y - 0.5) < 0.07)] = _colour(rng)
    return paint, shape.astype(float), shape > 0
