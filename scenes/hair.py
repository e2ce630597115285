"""Hair (y up, m, on the mean body): layers over the scalp, and volumes that fall behind the face."""

import numpy as np
import torch

from ..models.body.layout import HEAD, NECK, SPINES
from ..models.drawing.solids import loft, tube
from .look import Colour, Look
from .surface import Surface, ellipsoid, ramp, rigid, upright

THICKNESS = {"afro": 0.045, "swept": 0.020, "bun": 0.009}  # m; 0.013 otherwise
# Rings of hair that hangs down: height, half width, half depth.
BOB = ((0.41, 0.050, 0.040), (0.385, 0.084, 0.064), (0.33, 0.099, 0.076), (0.26, 0.106, 0.080), (0.215, 0.098, 0.074),
       (0.205, 0.080, 0.056))
LONG = ((0.41, 0.050, 0.040), (0.385, 0.082, 0.064), (0.33, 0.096, 0.076), (0.25, 0.102, 0.074), (0.18, 0.108, 0.066),
        (0.10, 0.118, 0.052), (0.02, 0.112, 0.042), (-0.06, 0.090, 0.030), (-0.075, 0.070, 0.020))
# From the back of the head, and how thick it is along its way.
PONYTAIL = ((0.0, 0.05, 0.02), (0.02, 0.07, -0.03), (0.05, 0.03, -0.06), (0.065, -0.06, -0.055), (0.07, -0.16, -0.03),
            (0.07, -0.20, -0.03))
PONYTAIL_RADII = (0.012, 0.020, 0.030, 0.032, 0.020, 0.002)


def hair(head: Surface, look: Look) -> list[Surface]:
    """`head`: the skin of head and neck. Empty for the bald, but for a beard."""
    beard = [head.cut(_beard).smooth(2).shell(0.008, look.hair)] if look.beard else []
    return beard + _hair(head, look)


def _hair(head: Surface, look: Look) -> list[Surface]:
    style = look.hair_style
    if style == "bald":
        return []
    if style == "cap":
        cap = head.cut(lambda m: m[:, 1] - ramp(m[:, 2], (-0.05, 0.13), (0.34, 0.382))).smooth(4)
        return [
            cap.shell(lambda m: 0.014 + 0.012 * _up(m), look.second),
            _visor(head, tuple(0.8 * channel for channel in look.second)),
            head.cut(_scalp).smooth(2).shell(0.006, look.hair),
        ]
    if style == "scarf":
        return [head.cut(_around_face).smooth(4).shell(lambda m: 0.016 + 0.010 * _up(m), look.second)]

    thick = THICKNESS.get(style, 0.013)

    def depth(m: torch.Tensor) -> torch.Tensor:
        inward = (_scalp(m) / 0.025).clamp(0, 1).sqrt()
        extra = 0.0
        if style == "afro":
            extra = 0.004 * torch.sin(190 * m).prod(1)
        elif style == "swept":
            extra = 0.012 * (m[:, 0] / 0.07).clamp(-1, 1)
        return 0.004 + (thick - 0.004 + 0.45 * thick * _up(m) + extra) * inward

    layer = head.cut(_scalp).smooth(3).shell(depth, look.hair)
    if style in ("bob", "long"):
        return [layer, _volume(head, look.hair, BOB if style == "bob" else LONG)]
    if style == "bun":
        top = head.points[head.mean[:, 1].argmax()] + torch.tensor([0, 0.022, -0.03])
        return [layer, rigid(*ellipsoid(top, (0.042, 0.038, 0.042)), HEAD, look.hair)]
    if style == "ponytail":
        path = np.array(PONYTAIL) + head.points[head.mean[:, 2].argmin()].numpy()
        return [layer, upright(tube(path * (1, -1, -1), np.array(PONYTAIL_RADII), 14), HEAD, look.hair)]
    return [layer]


def _scalp(m: torch.Tensor) -> torch.Tensor:
    """Above the hairline, which leaves the ears free."""
    places = (-0.02, 0.012, 0.022, 0.070, 0.082, 0.10, 0.128)
    return m[:, 1] - ramp(m[:, 2], places, (0.262, 0.29, 0.352, 0.352, 0.335, 0.372, 0.405))


def _beard(m: torch.Tensor) -> torch.Tensor:
    x, y, z = m[:, 0].abs(), m[:, 1], m[:, 2]
    upper = ramp(z, (0.06, 0.085, 0.12, 0.16), (0.325, 0.285, 0.272, 0.282))
    lower = ramp(z, (0.05, 0.09, 0.16), (0.225, 0.205, 0.19))
    mouth = 0.01 * ((x / 0.026).square() + ((y - 0.2605) / 0.011).square()).sqrt() - 0.01
    return torch.stack([upper - y, y - lower, z - 0.058, mouth]).amin(0)


def _around_face(m: torch.Tensor) -> torch.Tensor:
    """Outside an oval around the face, seen from the front."""
    oval = ((m[:, 0] / 0.064).square() + ((m[:, 1] - 0.305) / 0.088).square()).sqrt()
    return torch.where(m[:, 2] > 0.05, 1 - 1 / oval.clamp(min=0.05), 1.0)


def _up(m: torch.Tensor) -> torch.Tensor:
    """0 at the ears' height, 1 on the crown."""
    return ((m[:, 1] - 0.34) / 0.10).clamp(0, 1)


def _volume(head: Surface, colour: Colour, rings: tuple[tuple[float, float, float], ...]) -> Surface:
    """Behind the face; below the chin it lies further back, and moves with the neck and the chest."""
    fine = np.linspace(0, len(rings) - 1, 4 * len(rings))
    table = np.stack([np.interp(fine, np.arange(len(rings)), column) for column in np.array(rings).T], 1)
    closed = np.concatenate([[(table[0, 0], 0, 0)], table, [(table[-1, 0], 0, 0)]])
    solid = loft(np.concatenate([closed * (-1, 1, 1), np.full((len(closed), 1), 2.0)], 1), 40)
    surface = upright(solid, HEAD, colour)
    height = surface.points[:, 1]
    points = surface.points + ramp(height, (0.10, 0.24), (-0.054, 0.022))[:, None] * torch.tensor([0.0, 0, 1])
    up, low = (ramp(height, places, (0, 1)) for places in ((0.16, 0.30), (0.02, 0.16)))
    skinning = torch.zeros_like(surface.skinning)
    skinning[:, HEAD], skinning[:, NECK], skinning[:, SPINES[-1]] = up, (1 - up) * low, (1 - up) * (1 - low)
    shift = head.points.mean(0) - head.mean.mean(0)
    return Surface(points + shift, points, skinning, surface.colours, surface.faces)


def _visor(head: Surface, colour: Colour) -> Surface:
    points, faces = ellipsoid((0, 0, 0), (0.078, 0.007, 0.085))
    brow = head.points[(head.mean - torch.tensor([0, 0.385, 0.145])).square().sum(1).argmin()]
    points[:, 1] -= 0.25 * points[:, 2].clamp(min=0) + 2.2 * points[:, 0].square()
    return rigid(points + brow + torch.tensor([0.0, 0.006, 0.004]), faces, HEAD, colour)
