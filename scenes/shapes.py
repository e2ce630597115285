"""The shapes that products come in. All lengths in m; y grows downwards from the product's upper end."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..models.drawing.solids import Solid, closed, tube
from .label import Colour, Print

SILVER, WHITE, DARK, CREAM = (198, 202, 208), (242, 240, 234), (58, 58, 66), (244, 236, 220)
ROUND, SOFT, BOXY = 2.0, 4.0, 14.0  # exponents of superellipses


class Shape(NamedTuple):
    """rings [R, 4] as `loft` takes them; the label's width m and the rings it lies between; bands (from ring, to ring,
    colour) around the whole; trim (plain part, colour)."""

    rings: list[tuple[float, float, float, float]]
    label: tuple[float, int, int]
    bands: list[tuple[int, int, Colour]]
    trim: list[tuple[Solid, Colour]]


def _lid(rng: np.random.Generator, label: Print) -> Colour:
    return (WHITE, DARK, label.accent, SILVER)[rng.integers(4)]


def _box(rng: np.random.Generator, label: Print) -> Shape:
    h, w, d = rng.uniform(0.14, 0.25), rng.uniform(0.055, 0.09), rng.uniform(0.022, 0.045)
    rings = closed([(0, w, d, BOXY), (0.18 * h, w, d, BOXY), (h, w, d, BOXY)])
    bands = [(0, 3, label.accent)] if rng.random() < 0.5 else []
    return Shape(rings, (1.96 * w, 3 if bands else 2, 4), bands, [])


def _bottle(rng: np.random.Generator, label: Print) -> Shape:
    h, r = rng.uniform(0.21, 0.26), rng.uniform(0.038, 0.05)
    neck = rng.uniform(0.3, 0.42) * r
    power = (ROUND, SOFT)[rng.integers(2)]
    cap, glass = 0.12 * h, (label.base, CREAM, label.accent)[rng.integers(3)]
    t = np.linspace(0, np.pi / 2, 6)
    wide = [(cap + (0.1 + 0.2 * (1 - np.cos(a))) * h, neck + (r - neck) * np.sin(a), power) for a in t]
    rings = closed(
        [(0, 1.25 * neck, 1.25 * neck, ROUND), (cap, 1.25 * neck, 1.25 * neck, ROUND), (cap, neck, neck, ROUND)]
        + [(cap, neck, neck, ROUND)]
        + [(y, x, x, p) for y, x, p in wide]
        + [(0.97 * h, r, r, power), (h, 0.9 * r, 0.9 * r, power)]
    )
    shoulder = 6 + len(wide) - 1
    return Shape(rings, (2.0 * r, shoulder, shoulder + 1), [(0, 4, _lid(rng, label)), (4, shoulder, glass)], [])


def _can(rng: np.random.Generator, label: Print) -> Shape:
    h, r = rng.uniform(0.14, 0.19), rng.uniform(0.04, 0.052)
    rings = closed(
        [
            (0, 0.82 * r, 0.82 * r, ROUND),
            (0.06 * h, r, r, ROUND),
            (0.94 * h, r, r, ROUND),
            (h, 0.84 * r, 0.84 * r, ROUND),
        ]
    )
    return Shape(rings, (2.1 * r, 3, 4), [(0, 3, SILVER), (4, 7, SILVER)], [])


def _mug(rng: np.random.Generator, label: Print) -> Shape:
    h, r, wall = rng.uniform(0.115, 0.14), rng.uniform(0.046, 0.056), 0.004
    power = (ROUND, ROUND, 3.0)[rng.integers(3)]
    rings = [
        (h - 2 * wall, 0, 0, power),
        (h - 2 * wall, r - wall, r - wall, power),
        (h - 2 * wall, r - wall, r - wall, power),
    ]
    rings += [(wall / 2, r - wall, r - wall, power), (0, r - wall / 2, r - wall / 2, power), (wall / 2, r, r, power)]
    rings += [(0.97 * h, r, r, power), (h, 0.93 * r, 0.93 * r, power), (h, 0.93 * r, 0.93 * r, power), (h, 0, 0, power)]
    t = np.linspace(-0.5, 0.5, 14) * np.pi
    side = (1, -1)[rng.integers(2)]
    handle = np.stack([side * (0.96 * r + 0.55 * r * np.cos(t)), h * (0.5 + 0.3 * np.sin(t)), 0 * t], 1)
    return Shape(rings, (1.9 * r, 5, 6), [(0, 4, WHITE)], [(tube(handle, 0.0062), label.accent)])


def _tube(rng: np.random.Generator, label: Print) -> Shape:
    h, w = rng.uniform(0.18, 0.24), rng.uniform(0.036, 0.046)
    cap = 0.17 * h
    t = np.linspace(0, 1, 7)
    body = [((1 - cap / h) * a * h + 0.012, w, max(0.0025, 0.95 * w * np.sin(a * np.pi / 2) ** 0.8), ROUND) for a in t]
    end = body[-1][0]
    lid = [(end, 0.8 * w, 0.8 * w, ROUND), (end, 0.8 * w, 0.8 * w, ROUND), (end + cap, 0.74 * w, 0.74 * w, ROUND)]
    rings = closed([(0, w, 0.0025, ROUND), *body, *lid])
    return Shape(rings, (1.9 * w, 4, 9), [(10, len(rings) - 1, _lid(rng, label)), (0, 3, label.accent)], [])


def _pouch(rng: np.random.Generator, label: Print) -> Shape:
    h, w, d = rng.uniform(0.17, 0.24), rng.uniform(0.06, 0.085), rng.uniform(0.022, 0.034)
    seam = 0.09 * h
    t = np.linspace(0, 1, 11)
    rings = [(0, w, 0.002, 6.0), (seam, w, 0.002, 6.0)]
    rings += [
        (seam + a * (h - seam), w * (1 - 0.05 * np.sin(np.pi * a)), 0.002 + d * np.sin(np.pi * a**1.4) ** 0.6, 3.0)
        for a in t[1:-1]
    ]
    rings += [(h, w, 0.45 * d, 4.0)]
    rings = closed(rings)
    return Shape(rings, (1.75 * w, 4, len(rings) - 3), [(0, 3, label.accent)], [])


def _bag(rng: np.random.Generator, label: Print) -> Shape:
    h, w, d = rng.uniform(0.15, 0.19), rng.uniform(0.06, 0.085), rng.uniform(0.024, 0.036)
    rings = closed([(0, 0.96 * w, 0.9 * d, BOXY), (h, w, d, BOXY)])
    t = np.linspace(0, np.pi, 16)
    arc = np.stack([-0.45 * w * np.cos(t), -0.055 * np.sin(t) ** 0.7, 0 * t], 1)
    handles = [(tube(arc + (0, 0.002, z), 0.003), label.accent) for z in (-0.8 * d, 0.8 * d)]
    return Shape(rings, (1.9 * w, 2, 3), [], handles)


def _jar(rng: np.random.Generator, label: Print) -> Shape:
    h, r = rng.uniform(0.12, 0.16), rng.uniform(0.046, 0.058)
    power = (ROUND, SOFT)[rng.integers(2)]
    lid = 0.24 * h
    rings = closed(
        [(0, 0.93 * r, 0.93 * r, ROUND), (0.02 * h, 0.97 * r, 0.97 * r, ROUND), (lid, 0.97 * r, 0.97 * r, ROUND)]
        + [
            (lid, 0.86 * r, 0.86 * r, ROUND),
            (lid, 0.86 * r, 0.86 * r, ROUND),
            (lid + 0.04 * h, 0.88 * r, 0.88 * r, power),
        ]
        + [(lid + 0.12 * h, r, r, power), (0.96 * h, r, r, power), (h, 0.9 * r, 0.9 * r, power)]
    )
    return Shape(rings, (2.0 * r, 8, 9), [(0, 5, _lid(rng, label)), (5, 7, CREAM)], [])


def _spray(rng: np.random.Generator, label: Print) -> Shape:
    h, r = rng.uniform(0.175, 0.215), rng.uniform(0.038, 0.048)
    power = (ROUND, 3.0)[rng.integers(2)]
    collar, colour = 0.014, (WHITE, DARK, label.accent)[rng.integers(3)]
    wide = [(a, r * (0.34 + 0.66 * np.sin(a * np.pi / 2))) for a in np.linspace(0.15, 1, 5)]
    rings = closed(
        [(0, 0.36 * r, 0.36 * r, ROUND), (collar, 0.4 * r, 0.4 * r, ROUND), (collar, 0.34 * r, 0.34 * r, ROUND)]
        + [(collar, 0.34 * r, 0.34 * r, ROUND)]
        + [(collar + 0.2 * h * a, x, x, power) for a, x in wide]
        + [(0.97 * h, r, r, power), (h, 0.92 * r, 0.92 * r, power)]
    )
    head = [(28, -22, 1), (27, -22, 11), (10, -24, 13), (-22, -20, 11), (-34, -18, 7), (-35, -18, 0.5)]
    stem = [(0, -20, 8.5), (0, 4, 8.5)]
    trigger = [(-18, -14, 5), (-24, 0, 4.5), (-22, 16, 4), (-22, 17, 0.5)]
    trim = []
    for part in (head, stem, trigger):  # x, y, radius in mm
        x, y, radius = np.array(part, np.float64).T / 1000
        trim.append((tube(np.stack([x, y, 0 * x], 1), radius), colour))
    return Shape(rings, (2.0 * r, 9, 11), [(0, 5, colour)], trim)


SHAPES: dict[str, Callable[[np.random.Generator, Print], Shape]] = {
    "box": _box,
    "bottle": _bottle,
    "can": _can,
    "mug": _mug,
    "tube": _tube,
    "pouch": _pouch,
    "bag": _bag,
    "jar": _jar,
    "spray": _spray,
}
