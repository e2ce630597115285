"""Reading the frames of a video file that are needed, at the size that is needed; and writing one."""

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from .frames import each_frame, resize

CODECS = {  # by kind: encoder, pixels, quality
    "exact": ("libx264rgb", "rgb24", "0"),
    "fine": ("libx264", "yuv444p", "4"),
    "film": ("libx264", "yuv420p", "4"),
}


def read_clip(
    source: str | Path | BytesIO,
    first: int = 0,
    every: int = 1,
    frames: int = 0,
    long_side: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[torch.Tensor, float]:
    """Frames `first`, `first + every`, ... of a video, uint8 RGB [F,H,W,3], and their frames per second.

    At most `frames` frames, 0 for all. They are counted as stored, also where the frame rate varies, and turned
    upright as a phone notes it. `long_side` > 0 shrinks (never grows) the longer side to it while decoding and makes
    both sides even; 0 keeps the size. Only the wanted frames are held in memory.

    `on_step(done, total)` is called per kept frame and may raise to cancel; total is what the file announces.
    Raises ValueError, or FileNotFoundError, with a sentence for the user.
    """
    import av

    if min(first, every - 1, frames, long_side) < 0:
        raise ValueError(f"{first=}, {frames=} and {long_side=} must be 0 or more, {every=} must be 1 or more.")
    name = "The video" if isinstance(source, BytesIO) else str(source)
    if isinstance(source, BytesIO):
        source.seek(0)
    elif not Path(source).is_file():
        raise FileNotFoundError(f"There is no video {name}.")

    kept: list[np.ndarray] = []
    count = 0
    try:
        with av.open(source if isinstance(source, BytesIO) else str(source)) as container:
            if not container.streams.video:
                raise ValueError(f"{name} has no picture: it holds only sound, or the file is incomplete.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = stream.average_rate or stream.guessed_rate
            total = -(-max(stream.frames - first, 0) // every)
            total = min(total, frames) if total and frames else total or frames
            for count, frame in enumerate(container.decode(stream), 1):
                if count > first and (count - 1 - first) % every == 0:
                    kept.append(_upright(frame, long_side))
                    if on_step is not None:
                        on_step(len(kept), max(total, len(kept)))
                    if len(kept) == frames:
                        break
    except av.error.FFmpegError as error:
        raise ValueError(f"{name} cannot be read as a video after {count} frames ({error.strerror}).") from error
    if not kept:
        raise ValueError(f"{name} has {count} frames, none from frame {first} on: choose a smaller first frame.")
    if not rate:
        raise ValueError(f"{name} does not say its frame rate: it is a picture, or the file is damaged.")
    return _stack(kept), float(rate) / every


def read_video(
    video,
    first: int = 0,
    every: int = 1,
    frames: int = 0,
    long_side: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[torch.Tensor, float]:
    """`read_clip` of a ComfyUI VIDEO: float [F,H,W,3] in 0..1 and the frames per second of what was taken.

    A video that is a file is read from it as it is needed; one that was cut or made by nodes is taken as they made it.
    """
    import av

    source = video.get_stream_source() if type(video).__name__ == "VideoFromFile" else None
    if source is not None:
        with av.open(source) as container:
            whole = container.duration is None or abs(container.duration / av.time_base - video.get_duration()) < 1e-3
        if whole:
            images, fps = read_clip(source, first, every, frames, long_side, on_step)
            return images.float() / 255, fps
    components = video.get_components()
    images = components.images[first::every][: frames or None]
    if not len(images):
        raise ValueError(f"The video has {len(components.images)} frames, none from frame {first} on.")
    height, width = _reduced(*images.shape[1:3], long_side)
    resized = each_frame(images[..., :3], lambda frame: resize(frame, width, height), on_step)
    return torch.stack(resized), float(components.frame_rate) / every


def _reduced(a: int, b: int, long_side: int) -> tuple[int, int]:
    """Both sides, the longer one at most `long_side`, even; as they are if that is 0."""
    if not long_side:
        return a, b
    ratio = min(1.0, long_side / max(a, b))
    return max(2, round(a * ratio / 2) * 2), max(2, round(b * ratio / 2) * 2)


def _upright(frame, long_side: int) -> np.ndarray:
    """One decoded frame as RGB [H,W,3], resized by area, then turned."""
    size = _reduced(frame.width, frame.height, long_side)
    # Area averaging would make the colours blocky where only they are scaled (4:2:0 at full size).
    how = "BILINEAR" if size == (frame.width, frame.height) else "AREA"
    image = frame.reformat(*size, "rgb24", interpolation=how).to_ndarray()
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


def _stack(images: list[np.ndarray]) -> torch.Tensor:
    """Like torch.stack, letting go of each image as it is copied, so that two clips are never in memory."""
    if any(image.shape != images[0].shape for image in images):
        raise ValueError("The video changes its size midway; convert it to one size first.")
    stacked = torch.empty((len(images), *images[0].shape), dtype=torch.uint8)
    for i in range(len(images)):
        stacked[i] = torch.from_numpy(images[i])
        images[i] = None
    return stacked


def write_video(path: Path, frames: Sequence[np.ndarray], fps: float, kind: str = "film") -> None:
    """uint8 RGB frames [H, W, 3] as H.264: "exact" without any loss, "fine" nearly so, "film" for every player.

    A clip that is written is whole: it gets its name when it is finished. RuntimeError without the encoder.
    """
    import av

    codec, pixels, quality = CODECS[kind]
    if codec not in av.codecs_available:
        raise RuntimeError(f"This PyAV has no {codec} encoder; get one that has: pip install -U av.")
    height, width = frames[0].shape[:2]
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format="mp4") as container:
        options = {"crf": quality, "preset": "veryfast"}
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    os.replace(part, path)
