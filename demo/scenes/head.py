"""Face and hair (y up, m, on the mean body): painted brows and lips, large eyes, hair as layers over the scalp."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from .look import Colour, Look
from .solids import Solid, loft, tube
from .surface import Surface, ellipsoid, ramp, rigid

NECK, HEAD, CHEST, EYE_JOINTS = 12, 15, 9, (23, 24)
EYE_RADII = (0.0195, 0.0175, 0.0165)
PUPIL, IRIS = 0.26, 0.58  # angles from the gaze to their borders
INK: Colour = (0.06, 0.05, 0.06)


def paint_face(skin: Surface, look: Look) -> Surface:
    """Lips, cheeks and brows on the body's surface."""
    base = np.array(look.skin)
    lips = tuple(np.clip(base * (0.84, 0.56, 0.56), 0, 1))
    blush = tuple(np.clip(base * (1.0, 0.82, 0.80), 0, 1))
    brow = tuple(np.clip(0.7 * np.array(look.hair), 0, 1))

    def on_face(field: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda m: torch.where(m[:, 2] > 0.095, field(m[:, 0].abs(), m[:, 1]), -1.0)

    x, y, z = skin.mean.unbind(1)
    cheek = (-((x.abs() - 0.045).square() + (y - 0.290).square()) / (2 * 0.010**2)).exp() * (z > 0.06)
    skin = replace(skin, colours=torch.lerp(skin.colours, torch.tensor(blush).float(), 0.8 * cheek[:, None]))
    skin = skin.painted(
        on_face(lambda x, y: 0.0085 * (1 - (x / 0.027).square()) - (y - 0.2615 - 4.0 * x.square()).abs()), lips
    )
    return skin.painted(
        on_face(
            lambda x, y: torch.minimum(
                0.0042 - 0.05 * (x - 0.03).clamp(min=0) - (y - 0.361 + 6.0 * (x - 0.033).square()).abs(),
                0.020 - (x - 0.031).abs(),
            )
        ),
        brow,
    )


def eyes(centres: torch.Tensor, look: Look) -> list[Surface]:
    """Balls at `centres` [2,3] (left, right) that turn with the eye joints, and lids of the head."""
    rings = [0, PUPIL, PUPIL + 0.03, IRIS, IRIS + 0.03, 1.0, 1.4, 1.9]
    white, iris, ink = (torch.tensor(colour) for colour in ((0.97, 0.97, 0.96), look.eyes, INK))
    colours = torch.stack([ink, ink, iris, iris, white, white, white, white]).repeat_interleave(24, 0)
    lid_colour = tuple(np.array(look.skin) * 0.9)
    parts = []
    for centre, joint in zip(centres, EYE_JOINTS, strict=True):
        centre = centre + torch.tensor([0.0, 0.001, 0.004])
        parts.append(rigid(*ellipsoid(centre, EYE_RADII, rings), joint, colours))
        spark = centre + torch.tensor([0.0035, 0.0050, EYE_RADII[2] * 0.93])
        parts.append(rigid(*ellipsoid(spark, (0.0022, 0.0022, 0.0012), [0, 0.8, 1.6], 10), joint, (1.0, 1.0, 1.0)))
        lid = rigid(*ellipsoid(centre, [1.07 * radius for radius in EYE_RADII], around=32), HEAD, lid_colour)
        height = float(centre[1]) + 0.55 * EYE_RADII[1]
        parts.append(lid.cut(lambda m, height=height: m[:, 1] - height))
        lash = lid.cut(lambda m, height=height: 0.0012 - (m[:, 1] - height).abs())
        parts.append(rigid(lash.points + torch.tensor([0, 0, 0.0006]), lash.faces, HEAD, INK))
    return parts


def glasses(centres: torch.Tensor, colour: Colour) -> list[Surface]:
    """A frame of tubes around eyes at `centres` [2,3], with temples towards the ears."""
    front = float(centres[:, 2].mean()) + 0.026
    middle, height = float(centres[:, 0].abs().mean()) + 0.001, float(centres[:, 1].mean())
    parts = []
    for side in (1, -1):
        turn = np.linspace(0, 2 * np.pi, 25)
        rim = np.stack([side * middle + 0.0235 * np.cos(turn), height + 0.020 * np.sin(turn), front - 0.25 * 0.0235 * side * np.cos(turn)], 1)  # fmt: skip
        temple = np.array([[side * (middle + 0.0235), height + 0.004, front - 0.006], [side * 0.078, height + 0.004, front - 0.03], [side * 0.083, height, 0.06]])  # fmt: skip
        parts += [_upright(tube(rim, 0.0016, 6), HEAD, colour), _upright(tube(temple, 0.0016, 6), HEAD, colour)]
    bridge = np.array([[-middle + 0.0235, height + 0.005, front], [0, height + 0.008, front + 0.002], [middle - 0.0235, height + 0.005, front]])  # fmt: skip
    return [*parts, _upright(tube(bridge, 0.0016, 6), HEAD, colour)]


def hair(head: Surface, look: Look) -> list[Surface]:
    """`head`: the skin of head and neck. Empty for the bald, but for a beard."""
    parts = []
    if look.beard:
        parts.append(head.cut(_beard).smooth(2).shell(0.008, look.hair))
    style = look.hair_style
    if style == "bald":
        return parts
    if style == "cap":
        cap = head.cut(lambda m: m[:, 1] - ramp(m[:, 2], (-0.05, 0.13), (0.34, 0.382))).smooth(4)
        parts.append(cap.shell(lambda m: 0.014 + 0.012 * _up(m), look.second))
        parts.append(_visor(head, tuple(0.8 * c for c in look.second)))
        parts.append(head.cut(_scalp).smooth(2).shell(0.006, look.hair))
        return parts
    if style == "scarf":
        veil = head.cut(lambda m: 1 - 0.02 / _face_oval(m).clamp(min=1e-3)).smooth(4)
        parts.append(veil.shell(lambda m: 0.016 + 0.010 * _up(m), look.second))
        return parts

    thickness = {"afro": 0.045, "swept": 0.020, "bun": 0.009}.get(style, 0.013)

    def depth(m: torch.Tensor) -> torch.Tensor:
        inward = (_scalp(m) / 0.025).clamp(0, 1)
        curls = (
            0.004 * torch.sin(190 * m[:, 0]) * torch.sin(190 * m[:, 1]) * torch.sin(190 * m[:, 2])
            if style == "afro"
            else 0
        )
        wave = 0.012 * (m[:, 0] / 0.07).clamp(-1, 1) if style == "swept" else 0
        return 0.004 + (thickness - 0.004 + 0.45 * thickness * _up(m) + wave + curls) * inward.sqrt()

    parts.append(head.cut(_scalp).smooth(3).shell(depth, look.hair))
    if style == "bob":
        parts.append(_volume(head, look.hair, ((0.41, 0.050, 0.040), (0.385, 0.084, 0.064), (0.33, 0.099, 0.076), (0.26, 0.106, 0.080), (0.215, 0.098, 0.074), (0.205, 0.08, 0.056)), 0.034))  # fmt: skip
    elif style == "long":
        parts.append(_volume(head, look.hair, ((0.41, 0.050, 0.040), (0.385, 0.082, 0.064), (0.33, 0.096, 0.076), (0.25, 0.102, 0.074), (0.18, 0.108, 0.066), (0.10, 0.118, 0.052), (0.02, 0.112, 0.042), (-0.06, 0.09, 0.03), (-0.075, 0.07, 0.02)), 0.034))  # fmt: skip
    elif style == "bun":
        top = head.points[head.mean[:, 1].argmax()]
        parts.append(rigid(*ellipsoid(top + torch.tensor([0, 0.022, -0.03]), (0.042, 0.038, 0.042)), HEAD, look.hair))
    elif style == "ponytail":
        back = head.points[head.mean[:, 2].argmin()]
        path = np.array(back) + np.array([[0, 0.05, 0.02], [0.02, 0.07, -0.03], [0.05, 0.03, -0.06], [0.065, -0.06, -0.055], [0.07, -0.16, -0.03], [0.07, -0.2, -0.03]])  # fmt: skip
        parts.append(_upright(tube(path, np.array([0.012, 0.02, 0.030, 0.032, 0.02, 0.002]), 14), HEAD, look.hair))
    return parts


def _scalp(m: torch.Tensor) -> torch.Tensor:
    line = ramp(
        m[:, 2], (-0.02, 0.012, 0.022, 0.070, 0.082, 0.10, 0.128), (0.262, 0.29, 0.352, 0.352, 0.335, 0.372, 0.405)
    )
    return m[:, 1] - line


def _beard(m: torch.Tensor) -> torch.Tensor:
    x, y, z = m[:, 0].abs(), m[:, 1], m[:, 2]
    upper = ramp(z, (0.06, 0.085, 0.12, 0.16), (0.325, 0.285, 0.272, 0.282))
    lower = ramp(z, (0.05, 0.09, 0.16), (0.225, 0.205, 0.19))
    mouth = ((x / 0.026).square() + ((y - 0.2605) / 0.011).square()).sqrt() * 0.01 - 0.01
    return torch.stack([upper - y, y - lower, z - 0.058, mouth]).amin(0)


def _face_oval(m: torch.Tensor) -> torch.Tensor:
    """Below 0.02 within the face, from the front."""
    oval = 0.02 * ((m[:, 0] / 0.064).square() + ((m[:, 1] - 0.305) / 0.088).square()).sqrt()
    return torch.where(m[:, 2] > 0.05, oval, 1.0)


def _up(m: torch.Tensor) -> torch.Tensor:
    """0 at the ears' height, 1 on the crown."""
    return ((m[:, 1] - 0.34) / 0.10).clamp(0, 1)


def _volume(head: Surface, colour: Colour, rings: tuple[tuple[float, float, float], ...], middle: float) -> Surface:
    """Hair that falls behind the face: rings of height, half width and half depth (m); below the chin it lies further
    back and follows the neck and the chest."""
    fine = np.linspace(0, len(rings) - 1, 4 * len(rings))
    table = np.stack([np.interp(fine, np.arange(len(rings)), column) for column in np.array(rings).T], 1)
    closed = np.concatenate([[[table[0, 0], 0, 0]], table, [[table[-1, 0], 0, 0]]])
    solid = loft(np.concatenate([closed * (-1, 1, 1), np.full((len(closed), 1), 2.0)], 1), 40)
    surface = _upright(solid, HEAD, colour)
    back = ramp(surface.points[:, 1], (0.10, 0.24), (middle - 0.088, middle - 0.012))
    points = surface.points + back[:, None] * torch.tensor([0.0, 0, 1])
    shift = head.points.mean(0) - head.mean.mean(0)
    skinning = torch.zeros_like(surface.skinning)
    up, low = (ramp(points[:, 1], places, (0, 1)) for places in ((0.16, 0.30), (0.02, 0.16)))
    skinning[:, HEAD], skinning[:, NECK], skinning[:, CHEST] = up, (1 - up) * low, (1 - up) * (1 - low)
    return Surface(points + shift, points, skinning, surface.colours, surface.faces)


def _visor(head: Surface, colour: Colour) -> Surface:
    points, faces = ellipsoid((0, 0, 0), (0.078, 0.007, 0.085))
    brow = head.points[((head.mean - torch.tensor([0, 0.385, 0.145])).square().sum(1)).argmin()]
    tilt = torch.tensor([0.0, 0.0, 0.0]) + torch.stack([0 * points[:, 2], -0.25 * points[:, 2].clamp(min=0) - 2.2 * points[:, 0].square(), 0 * points[:, 2]], 1)  # fmt: skip
    return rigid(points + tilt + brow + torch.tensor([0.0, 0.006, 0.004]), faces, HEAD, colour)


def _upright(solid: Solid, joint: int, colour: Colour) -> Surface:
    """A solid, whose axes are the camera's, here where y is up. Normals come from the mesh."""
    flip = torch.tensor([1.0, -1, -1])
    return rigid(torch.from_numpy(solid.vertices) * flip, torch.from_numpy(solid.faces).long(), joint, colour)
