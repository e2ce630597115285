"""Frames: the one loop over them, and their resizing."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

Frame = TypeVar("Frame")


def stepped(frames: Sequence[Frame], on_step: Callable[[int, int], None] | None = None) -> Iterator[Frame]:
    """The frames one by one; `on_step(done, total)` is called when the loop asks for the next.

    `on_step` shows progress; what it raises (a cancel) ends the loop at once and reaches the caller.
    """
    for done, frame in enumerate(frames, 1):
        yield frame
        if on_step is not None:
            on_step(done, len(frames))


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


def resize_lanczos(
    images: torch.Tensor, width: int, height: int, on_step: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """[F,H,W,3] in 0…1 to [F,height,width,3] in 0…1, through 8 bits as AniCrafter's published videos go."""
    if images.shape[1:3] == (height, width):
        return images[..., :3]
    resized = []
    for image in stepped(images, on_step):
        picture = Image.fromarray((image[..., :3] * 255).round().byte().cpu().numpy())
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        resized.append(torch.from_numpy(np.array(picture)).float() / 255)
    return torch.stack(resized)


def frame_ranges(frames: list[int]) -> str:
    """12, 14-17, …"""
    spans: list[list[int]] = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    return ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in spans)
