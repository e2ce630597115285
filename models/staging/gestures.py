"""What a person does with a product: how it moves, and a script of gestures with times."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

GESTURES = ("raise", "hold", "turn", "point", "offer", "lower", "shake", "aside")
# Seconds in which each comes back to where it began; the others have no end.
_PERIODS = {"raise": 2.2, "turn": 2.6, "offer": 2.2, "lower": 2.4, "aside": 2.6}
_PACE = 0.7, 1.4  # of that, what a gesture may take to fill its time
_FADE, _RAISE = 0.6, 0.9  # s from one gesture to the next; in which a hand comes up to point
SHORTEST = 0.5  # s of a gesture
_PART = re.compile(r"\s*([a-z]+)(?:\s+(\d+\.?\d*)\s*(?:-|–|to)\s*(\d+\.?\d*)\s*s?)?\s*", re.IGNORECASE)


class Course(NamedTuple):
    """The product's way: `offset` [F,3] m from where it is held, x towards the holding hand's side, y down, z away from
    the camera, all for a mean arm; its turns about the vertical and about the camera's axis, radians [F]."""

    offset: torch.Tensor
    yaw: torch.Tensor
    roll: torch.Tensor


class Part(NamedTuple):
    """A gesture from `begin` to `end` s."""

    gesture: str
    begin: float
    end: float


def course(gesture: str, time: torch.Tensor, speed: float = 1.0, start: float = 0.0) -> Course:
    """One of GESTURES again and again, at `time` [F] s. speed: 1 is usual; start: from where in it, 0…1."""

    def wave(period: float) -> torch.Tensor:
        return torch.sin(2 * torch.pi * (speed * time / period + start))

    def out(period: float) -> torch.Tensor:
        return 0.5 - 0.5 * torch.cos(2 * torch.pi * (speed * time / period + start))

    x, y, z = 0.008 * wave(2.7), 0.006 * wave(1.9), 0.006 * wave(2.3)
    yaw, roll = 0.12 * wave(2.4), 0.04 * wave(3.1)

    def at(x: torch.Tensor = x, y: torch.Tensor = y, z: torch.Tensor = z) -> torch.Tensor:
        return torch.stack([x, y, z], 1)

    return {
        "raise": lambda: Course(at(x + 0.06 * out(2.2), y - 0.11 * out(2.2)), yaw, roll),
        "hold": lambda: Course(at(), 2 * yaw, roll),
        "turn": lambda: Course(at(), np.pi / 3 * wave(2.6), 0 * roll),
        "point": lambda: Course(at(), yaw, roll),
        "offer": lambda: Course(at(z=z + 0.04 - 0.08 * out(2.2)), yaw, roll),
        "lower": lambda: Course(at(y=y + 0.11 * out(2.4), z=z + 0.05), yaw, roll),
        "shake": lambda: Course(at(y=y + 0.012 * wave(0.55)), yaw, 0.14 * wave(0.55)),
        "aside": lambda: Course(at(x=0.11 * wave(2.6)), 0.25 * wave(2.6), roll),
    }[gesture]()


def read_script(text: str, seconds: float) -> list[Part]:
    """Of `raise`, `raise 0-2, turn 2-4, offer 4-6` or `raise, turn`: gestures with times in s, in order.

    Without times they share `seconds` evenly. Raises ValueError, a sentence, for a gesture that there is not, times
    that overlap, run backwards, go beyond `seconds` or are given to some gestures only.
    """
    found = [_PART.fullmatch(part) for part in text.split(",") if part.strip()]
    if not found or None in found:
        wrong = next((part.strip() for part in text.split(",") if part.strip() and not _PART.fullmatch(part)), text)
        raise ValueError(f'"{wrong}" is no gesture: write one as "raise", several as "raise 0-2, turn 2-4, offer 4-6".')
    names = [match[1].lower() for match in found]
    if unknown := [name for name in names if name not in GESTURES]:
        raise ValueError(f'There is no gesture "{unknown[0]}": choose among {", ".join(GESTURES)}.')
    if len({match[2] is None for match in found}) > 1:
        raise ValueError(f'Give all gestures of "{text.strip()}" times, as in "raise 0-2, turn 2-4", or none of them.')
    if found[0][2] is None:
        edges = np.linspace(0, seconds, len(names) + 1).tolist()
        parts = [Part(*part) for part in zip(names, edges, edges[1:], strict=False)]
    else:
        parts = sorted((Part(name, float(match[2]), float(match[3])) for name, match in zip(names, found, strict=True)),
                       key=lambda part: part.begin)
    for part in parts:
        if part.end - part.begin < SHORTEST:
            raise ValueError(
                f"The gesture {part.gesture} goes from {part.begin:g} to {part.end:g} s: it needs at least "
                f"{SHORTEST:g} s."
            )
        if part.end > seconds + 1e-6:
            raise ValueError(
                f"The gesture {part.gesture} ends at {part.end:g} s, but the video at {seconds:g} s: raise seconds, or "
                "end it sooner."
            )
    for one, other in zip(parts, parts[1:], strict=False):
        if other.begin < one.end - 1e-6:
            raise ValueError(
                f"The gestures {one.gesture} ({one.begin:g} to {one.end:g} s) and {other.gesture} ({other.begin:g} to "
                f"{other.end:g} s) overlap: let one begin when the other ends."
            )
    return parts


def script_course(parts: Sequence[Part], time: torch.Tensor) -> tuple[Course, torch.Tensor]:
    """The way of all `parts` at `time` [F] s, each begun and ended at rest; how far the other hand points, [F] 0…1."""
    offset, yaw, roll = time.new_zeros(len(time), 3), torch.zeros_like(time), torch.zeros_like(time)
    pointing = torch.zeros_like(time)
    for gesture, begin, end in parts:
        period = _PERIODS.get(gesture, end - begin)
        pace = max(1, round((end - begin) / period)) * period / (end - begin)
        way = course(gesture, time - begin, min(max(pace, _PACE[0]), _PACE[1]))
        there = _shown(time, begin, end, _FADE)
        offset = offset + there[:, None] * way.offset
        yaw, roll = yaw + there * way.yaw, roll + there * way.roll
        if gesture == "point":
            pointing = pointing + _shown(time, begin, end, _RAISE)
    return Course(offset, yaw, roll), pointing


def _shown(time: torch.Tensor, begin: float, end: float, fade: float) -> torch.Tensor:
    """0 up to `begin` and from `end` on, 1 between, [F]."""
    fade = min(fade, (end - begin) / 2)
    return eased((time - begin) / fade) * eased((end - time) / fade)


def eased(t: torch.Tensor) -> torch.Tensor:
    """From 0 to 1 as people move, with the least jerk (Flash and Hogan 1985); `t` beyond 0…1 stays."""
    t = t.clamp(0, 1)
    return t**3 * (10 - 15 * t + 6 * t**2)
