"""What to segment: points, a box or a mask on one frame, written by the user."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...files.bounded import parse_json
from ...media.box import box_of

Point = tuple[float, float]
Box = tuple[float, float, float, float]
PERSON, HELD = "person", "what the hands hold"
FINDERS = (PERSON, HELD)  # what is found by the pose, without any prompt
POINTS, APART = 3, 1.5  # that stand for a mask; how far apart, in distances of the first from the edge


@dataclass(frozen=True)
class Prompt:
    """One frame's hint at one object; a further prompt on a later frame corrects what was tracked there.

    frame: from 0. inside, outside: (x, y) on the object and beside it; box: (left, top, right, bottom) around it; all
    in pixels of the clip. mask: bool [H, W], in place of points and box. object: which of several.
    """

    frame: int
    inside: tuple[Point, ...] = ()
    outside: tuple[Point, ...] = ()
    box: Box | None = None
    mask: np.ndarray | None = None
    object: int = 1


def check_prompts(prompts: Sequence[Prompt], count: int, height: int, width: int) -> None:
    """Raises ValueError, naming prompt and reason, unless every prompt can be followed in such a clip."""
    if not prompts:
        raise ValueError("There is nothing to look for: give a point on the object, a box around it, or a mask.")
    for prompt in prompts:
        where = f"The prompt on frame {prompt.frame} (object {prompt.object})"
        if not 0 <= prompt.frame < count:
            raise ValueError(f"{where} is outside the clip, whose frames are 0 to {count - 1}.")
        for x, y in (*prompt.inside, *prompt.outside):
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(f"{where} has a point at {x:g},{y:g}, outside the {width}x{height} picture.")
        if prompt.box is not None:
            left, top, right, bottom = prompt.box
            if min(right, width) - max(left, 0) < 2 or min(bottom, height) - max(top, 0) < 2:
                raise ValueError(
                    f"{where} has an empty box {left:g},{top:g},{right:g},{bottom:g}: it must be left, top, right, "
                    f"bottom in pixels, inside the {width}x{height} picture."
                )
        if prompt.mask is not None:
            if prompt.mask.shape != (height, width):
                raise ValueError(
                    f"{where} has a mask of {prompt.mask.shape[1]}x{prompt.mask.shape[0]} pixels, but the clip is "
                    f"{width}x{height}: draw it on a frame of this clip."
                )
            if not prompt.mask.any():
                raise ValueError(f"{where} has an empty mask: paint the object.")
            if prompt.mask.all():
                raise ValueError(f"{where} has a mask that covers the whole frame: paint the object only.")
    for number in sorted({prompt.object for prompt in prompts}):
        its = [prompt for prompt in prompts if prompt.object == number]
        if not any(prompt.inside or prompt.box or prompt.mask is not None for prompt in its):
            raise ValueError(f"Object {number} has only points beside it: give a point on it, a box, or a mask.")


def as_points(prompt: Prompt) -> Prompt:
    """A mask's prompt as a box around it and points well inside, for what finds outlines better than a rough mask."""
    import cv2

    box = tuple(map(float, box_of(prompt.mask)))
    left, inside = np.pad(prompt.mask.astype(np.uint8), 1), []
    for _ in range(POINTS):
        depth = cv2.distanceTransform(left, cv2.DIST_L2, 5)
        _, deepest, _, (x, y) = cv2.minMaxLoc(depth)
        if deepest < 1:
            break
        inside.append((float(x - 1), float(y - 1)))
        cv2.circle(left, (x, y), int(APART * deepest), 0, -1)
    return replace(prompt, mask=None, box=box, inside=tuple(inside))


def painted(mask: torch.Tensor) -> np.ndarray:
    """A prompt's mask bool [H, W] from MASK [1, H, W]."""
    return (mask[0] > 0.5).cpu().numpy()


def read_points(text: str) -> tuple[Point, ...]:
    """Points from "x,y x,y …" (any separators), or from the JSON `[{"x": 1, "y": 2}, …]` that point editors write.

    Raises ValueError for anything else, shares of the picture in 0…1 among it.
    """
    try:
        values = [float(point[axis]) for point in parse_json(text) for axis in "xy"]
    except (ValueError, TypeError, KeyError, OverflowError):
        try:
            values = [float(value) for value in re.split(r"[\s,;\[\]()]+", text) if value]
        except ValueError:
            values = [math.nan]
    if len(values) % 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"{_told(text)} are no points: write x,y for each, as in 320,240 350,260.")
    if all(0 <= value <= 1 for value in values) and not all(value.is_integer() for value in values):
        raise ValueError(f"{_told(text)} are shares of the picture's width and height: give pixels, as in 320,240.")
    return tuple(zip(values[::2], values[1::2], strict=True))


def _told(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def read_box(text: str) -> Box | None:
    """The box of "left,top,right,bottom"; None of an empty text. Raises ValueError for anything else."""
    if not text.strip():
        return None
    try:
        corners = read_points(text)
    except ValueError:
        corners = ()
    if len(corners) != 2:
        raise ValueError(f"{_told(text)} is no box: write left,top,right,bottom in pixels, as in 100,80,260,300.")
    return (*corners[0], *corners[1])
