"""Frames: the one loop over them, and their resizing."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F

Frame = TypeVar("Frame")
Result = TypeVar("Result")


def each_frame(
    frames: Sequence[Frame], function: Callable[[Frame], Result], on_step: Callable[[int, int], None] | None = None
) -> list[Result]:
    """`[function(frame) for frame in frames]`, calling `on_step(done, total)` after every frame.

    `on_step` shows progress; what it raises (a cancel) ends the loop at once and reaches the caller.
    """
    results = []
    for done, frame in enumerate(frames, 1):
        results.append(function(frame))
        if on_step is not None:
            on_step(done, len(frames))
    return results


def resize(frame: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """[H,W,C] to [height,width,C], bilinear, antialiased where it shrinks; uint8 stays uint8."""
    if frame.shape[:2] == (height, width):
        return frame
    planes = frame.permute(2, 0, 1)[None].float()
    resized = F.interpolate(planes, (height, width), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    return (resized if frame.is_floating_point() else resized.round()).to(frame.dtype)


def levels(images: torch.Tensor) -> np.ndarray:
    """uint8 of the same shape, of IMAGE or MASK in 0…1."""
    return (images * 255).round().clamp(0, 255).byte().cpu().numpy()


def frame_ranges(frames: list[int]) -> str:
    """12, 14-17, …"""
    spans: list[list[int]] = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    return ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in spans)
