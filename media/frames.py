"""Frames: the one loop over them, clips made of them one by one, and their resizing."""

import math
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

Frame = TypeVar("Frame")
BLOCK = 1 << 22  # numbers converted at a time
PAGE = 4096  # bytes that a system gives at a time


def stepped(frames: Sequence[Frame], on_step: Callable[[int, int], None] | None = None) -> Iterator[Frame]:
    """The frames one by one; `on_step(done, total)` is called when the loop asks for the next.

    `on_step` shows progress; what it raises (a cancel) ends the loop at once and reaches the caller.
    """
    for done, frame in enumerate(frames, 1):
        yield frame
        if on_step is not None:
            on_step(done, len(frames))


def gathered(frames: Iterable[torch.Tensor | np.ndarray], count: int) -> torch.Tensor:
    """`torch.stack` of `count` frames that are made when they are asked for: no second clip is ever in memory, and on a
    CPU what is black takes none."""
    clip = None
    for i, frame in enumerate(frames):
        frame = torch.as_tensor(frame)
        if clip is None:
            size = count, *frame.shape
            clip = black(size, frame.dtype) if frame.device.type == "cpu" else frame.new_empty(size)
        put(clip, i, frame)
    return clip


def black(size: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """`torch.zeros` in main memory that takes none before something else is written: pages that are only read, or that
    `put` finds black, stay the system's one empty page."""
    if not math.prod(size):
        return torch.zeros(*size, dtype=dtype)
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, math.prod(size) * dtype.itemsize, **private)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel that has no huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)  # of which one bright pixel would take 2 MB
    return torch.frombuffer(memory, dtype=dtype).view(*size)


def put(clip: torch.Tensor, at: int, frame: torch.Tensor) -> None:
    """clip[at] = frame, for a clip of `black` that holds nothing there yet; black pages are not touched."""
    if clip.device.type != "cpu":
        clip[at] = frame
        return
    frame = frame.to("cpu", clip.dtype).contiguous()
    into, frame = (of.view(-1).view(torch.uint8).numpy() for of in (clip[at], frame))
    whole = len(frame) // PAGE * PAGE
    lit = frame[:whole].view(np.int64).reshape(-1, PAGE // 8).any(1)
    if lit.all():
        into[:] = frame
    else:
        into[:whole].reshape(-1, PAGE)[lit] = frame[:whole].reshape(-1, PAGE)[lit]
        into[whole:] = frame[whole:]


def to_image(pictures: Iterable[torch.Tensor | np.ndarray], count: int) -> torch.Tensor:
    """IMAGE or MASK, float32 in 0…1, of `count` pictures uint8, made when they are asked for as in `gathered`."""
    return gathered(map(as_image, pictures), count)


def as_image(picture: torch.Tensor | np.ndarray) -> torch.Tensor:
    """A frame of IMAGE or MASK, float32 in 0…1, of a uint8 one."""
    return torch.as_tensor(picture).float() / 255


class Levels(Sequence):
    """IMAGE or MASK frames as uint8 [H, W, 3] or [H, W], converted when asked for."""

    def __init__(self, images: torch.Tensor):
        self.images = images

    def __getitem__(self, frame: int) -> np.ndarray:
        return levels(self.images[frame])

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> torch.Size:
        return self.images.shape


def resize(frame: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """[H,W,C] to [height,width,C], bilinear, antialiased where it shrinks; uint8 stays uint8."""
    if frame.shape[:2] == (height, width):
        return frame
    planes = frame.permute(2, 0, 1)[None].float()
    resized = F.interpolate(planes, (height, width), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    return (resized if frame.is_floating_point() else resized.round()).to(frame.dtype)


def cut_to_multiple(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """The middle of [F,H,W,…] whose sides are multiples of `multiple`. Raises ValueError for a picture that is smaller.
    """
    height, width = (side // multiple * multiple for side in images.shape[1:3])
    if not height or not width:
        raise ValueError(
            f"The clip is {images.shape[2]}x{images.shape[1]} pixels, too small for sides that are multiples of "
            f"{multiple}: take a larger one."
        )
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def join_windows(frames: torch.Tensor, more: torch.Tensor | None, overlap: int | None, length: int = 0) -> torch.Tensor:
    """[F,H,W,C] and behind it the window [N,H,W,C] that repeats its last `overlap` frames; the first `length` of them,
    or all if that is 0. Raises ValueError for windows of another size, or if the second adds nothing.
    """
    if more is None:
        return frames[: length or None]
    if more.shape[1:3] != frames.shape[1:3]:
        raise ValueError(
            f"The frames so far are {frames.shape[2]}x{frames.shape[1]} pixels and the next window {more.shape[2]}x"
            f"{more.shape[1]}: make both at one size."
        )
    if overlap >= len(more):
        raise ValueError(f"The next window has {len(more)} frames and all of them repeat the last: make it longer.")
    return torch.cat([frames, more[overlap:]])[: length or None]


def levels(images: torch.Tensor) -> np.ndarray:
    """uint8 of the same shape, of IMAGE or MASK in 0…1."""
    converted = np.empty(images.shape, np.uint8)
    some = max(1, BLOCK // max(1, images[:1].numel()))
    for start in range(0, len(images), some):
        part = images[start : start + some]
        converted[start : start + some] = (part * 255).round().clamp(0, 255).byte().cpu().numpy()
    return converted


def resize_lanczos(
    images: torch.Tensor, width: int, height: int, on_step: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """[F,H,W,3] in 0…1 to [F,height,width,3] in 0…1, through 8 bits as AniCrafter's published videos go."""
    if images.shape[1:3] == (height, width):
        return images[..., :3]

    def resized(image: torch.Tensor) -> np.ndarray:
        picture = Image.fromarray((image[..., :3] * 255).round().byte().cpu().numpy())
        return np.array(picture.resize((width, height), Image.Resampling.LANCZOS))

    return to_image(map(resized, stepped(images, on_step)), len(images))


def frame_ranges(frames: list[int]) -> str:
    """12, 14-17, …"""
    spans: list[list[int]] = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    return ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in spans)
