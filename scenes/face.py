"""Faces (y up, m, on the mean body): painted brows and lips, large eyes, spectacles."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ..models.body.layout import EYES, HEAD
from ..models.drawing.solids import tube
from .look import Colour, Look
from .surface import Field, Surface, ellipsoid, rigid, upright

EYE_RADII = (0.0195, 0.0175, 0.0165)
PUPIL, IRIS = 0.26, 0.58  # angles from the gaze to their borders
RIM = (0.0235, 0.020)  # m: half width and height of a spectacle glass
INK: Colour = (0.06, 0.05, 0.06)


def paint_face(skin: Surface, look: Look) -> Surface:
    """Lips, cheeks and brows on the body's surface."""
    base = np.array(look.skin)
    lips = tuple(np.clip(base * (0.84, 0.56, 0.56), 0, 1))
    blush = tuple(np.clip(base * (1.0, 0.82, 0.80), 0, 1))
    brow = tuple(np.clip(0.7 * np.array(look.hair), 0, 1))

    def on_face(field: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Field:
        return lambda m: torch.where(m[:, 2] > 0.095, field(m[:, 0].abs(), m[:, 1]), -1.0)

    x, y, z = skin.mean.unbind(1)
    cheek = (-((x.abs() - 0.045).square() + (y - 0.290).square()) / (2 * 0.010**2)).exp() * (z > 0.06)
    skin = replace(skin, colours=torch.lerp(skin.colours, torch.tensor(blush).float(), 0.8 * cheek[:, None]))

    def lip(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 0.0085 * (1 - (x / 0.027).square()) - (y - 0.2615 - 4.0 * x.square()).abs()

    def arch(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        height = 0.361 - 6.0 * (x - 0.033).square()
        return torch.minimum(0.0042 - 0.05 * (x - 0.03).clamp(min=0) - (y - height).abs(), 0.020 - (x - 0.031).abs())

    return skin.painted(on_face(lip), lips).painted(on_face(arch), brow)


def eyes(centres: torch.Tensor, look: Look) -> list[Surface]:
    """Balls at `centres` [2,3] (left, right) that turn with the eye joints, and lids of the head."""
    rings = [0, PUPIL, PUPIL + 0.03, IRIS, IRIS + 0.03, 1.0, 1.4, 1.9]
    white, iris, ink = (torch.tensor(colour) for colour in ((0.97, 0.97, 0.96), look.eyes, INK))
    colours = torch.stack([ink, ink, iris, iris, white, white, white, white]).repeat_interleave(24, 0)
    lid_colour = tuple(np.array(look.skin) * 0.9)
    parts = []
    for centre, joint in zip(centres, EYES, strict=True):
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
    turn = np.linspace(0, 2 * np.pi, 25)
    cosine = RIM[0] * np.cos(turn)
    nose = middle - RIM[0]
    paths = [
        np.array([(-nose, height + 0.005, front), (0, height + 0.008, front + 0.002), (nose, height + 0.005, front)])
    ]
    for side in (1, -1):
        paths.append(
            np.stack([side * (middle + cosine), height + RIM[1] * np.sin(turn), front - 0.25 * cosine], axis=1)
        )
        hinge = side * (middle + RIM[0])
        ear = [(side * 0.078, height + 0.004, front - 0.03), (side * 0.083, height, 0.06)]
        paths.append(np.array([(hinge, height + 0.004, front - 0.006), *ear]))
    return [upright(tube(path, 0.0016, 6), HEAD, colour) for path in paths]
