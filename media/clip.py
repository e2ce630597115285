"""Reading the frames of a video file that are needed, at the size that is needed; and writing one."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from ..files.whole import whole
from .clip_file import ClipFile
from .clip_times import even_times
from .frames import as_image, black, gathered, put, resize, stepped

log = logging.getLogger(__name__)

CODECS = {  # by kind: encoder, pixels, quality
    "exact": ("libx264rgb", "rgb24", "0"),
    "fine": ("libx264", "yuv444p", "4"),
    "film": ("libx264", "yuv420p", "4"),
}
READING = 2  # counts up when files are read to other pictures: what was made of them for good is made anew
BT709, LIMITED, FULL = 1, 1, 2  # by their numbers in ITU-T H.273; the ranges by FFmpeg's


@dataclass
class Clip:
    """frames: uint8 RGB [F, H, W, 3], on black where transparent; opacity: uint8 [F, H, W] of a format that has one."""

    frames: torch.Tensor
    fps: float
    opacity: torch.Tensor | None = None


def load_clip(
    source: str | Path | BytesIO,
    first: int = 0,
    every: int = 1,
    frames: int = 0,
    long_side: int = 0,
    on_step: Callable[[int, int], None] | None = None,
    fps: float = 0,
    start: float = 0,
    duration: float = 0,
    keep: Callable[[torch.Tensor], torch.Tensor] = lambda picture: picture,
) -> Clip:
    """Frames `first`, `first + every`, ... of a video, and their frames per second.

    At most `frames` frames, 0 for all. They are counted in an even beat, that of the clip's true rate: where the frame
    times are uneven, each beat has the frame that is seen then, to half a beat. `fps` > 0 asks for that rate instead;
    the beat then is `every` times as quick, so that clips of other rates, read alike, run alongside. `start` and
    `duration`, seconds, cut the clip beforehand: a negative start counts from the end, duration 0 goes on to it.

    Pictures are as a viewer sees them: upright, in the shape of their pixels, HDR as on an ordinary screen. `long_side`
    > 0 shrinks (never grows) the longer side to it while decoding and makes both sides even; 0 keeps the size. Only the
    wanted frames are held in memory, once; of each what `keep` answers to it, uint8 [H, W, 3].

    `on_step(done, total)` is called per frame and may raise to cancel. What was decided for the user, and what the file
    lacks, is logged as a warning. Raises ValueError, or FileNotFoundError, with a sentence for the user.
    """
    _check(first, every, frames, long_side, fps)
    file = ClipFile(source)
    times = file.times
    beat = times.beat(fps * every)
    start = start if start >= 0 else max(0, times.end + start)
    stop = min(times.end, start + duration) if duration else times.end
    count = max(0, round((stop - start) * beat))
    seconds = start + _numbers(file.name, count, first, every, frames) / beat

    def read(patched: bool) -> list[torch.Tensor | None]:
        kept, done = [], 0
        for often, picture, opacity in file.pictures(seconds, beat, lambda *size: _reduced(*size, long_side), patched):
            layers = [None if opacity is None else torch.from_numpy(opacity), keep(torch.from_numpy(picture))]
            if not done:
                kept = [None if of is None else black((len(seconds), *of.shape), of.dtype) for of in layers]
            for clip, layer in zip(kept, layers, strict=True):
                if clip is not None:
                    if clip.shape[1:] != layer.shape:
                        raise ValueError("The video changes its size midway; convert it to one size first.")
                    for frame in range(done, done + often):
                        put(clip, frame, layer)
            for _ in range(often):
                done += 1
                if on_step is not None:
                    on_step(done, len(seconds))
        return [None if clip is None else clip[:done] for clip in kept]

    kept = read(patched=False)
    if file.damaged:
        del kept
        kept = read(patched=True)
    if not kept:
        raise ValueError(f"{file.name} breaks off before frame {first}: choose a smaller first frame.")
    _say(times.doubts(beat, file.short) + file.doubts())
    opacity, pictures = kept
    return Clip(pictures, fps or beat / every, opacity)


def read_clip(source: str | Path | BytesIO, *arguments, **take) -> tuple[torch.Tensor, float]:
    """`load_clip`'s frames, uint8 RGB [F,H,W,3], and their frames per second."""
    clip = load_clip(source, *arguments, **take)
    return clip.frames, clip.fps


def read_frames(
    path: Path, frames: Sequence[int], size_of: Callable[[int, int], tuple[int, int]] | None = None
) -> list[np.ndarray]:
    """Those frames of a video, rising, as `load_clip` counts and shows them: uint8 [H, W, 3], scaled to
    `size_of(width, height)`. Nothing before the key frame that they need is decoded. Raises ValueError where not all
    are there.
    """
    file = ClipFile(path, threads=1)
    read = []
    for often, picture, _ in file.pictures(np.asarray(frames) / file.times.fps, file.times.fps, size_of):
        read += [picture] * often
    name = f"{path.parent.name}/{path.name}"
    if file.fault:
        raise ValueError(f"{name} cannot be decoded ({file.fault}).")
    if len(read) < len(frames) or frames[-1] >= file.times.length(file.times.fps):
        raise ValueError(f"{name} breaks off after {len(read)} of {len(frames)} wanted frames.")
    return read


def measure(path: Path) -> tuple[int, int, int]:
    """(frames, height, width) of a video as `load_clip` gives them; the first frame is decoded. Raises ValueError, also
    for one that is cut off."""
    times = ClipFile(path).times
    if times.promised:
        raise ValueError(f"{path} promises {times.promised} frames and holds {len(times.shown)}: it is cut off.")
    return times.length(times.fps), *read_frames(path, [0])[0].shape[:2]


def read_video(
    video,
    first: int = 0,
    every: int = 1,
    frames: int = 0,
    long_side: int = 0,
    on_step: Callable[[int, int], None] | None = None,
    fps: float = 0,
) -> tuple[torch.Tensor, float, torch.Tensor]:
    """`load_clip` of a ComfyUI VIDEO: float [F,H,W,3] in 0..1, the frames per second of what was taken, and the opacity
    [F,H,W], 1 where the picture is.

    A video that is a file is read from it as it is needed, also a cut one; one made by nodes is taken as they made it.
    """
    if type(video).__name__ == "VideoFromFile":
        source, taken = video.get_stream_source(), (first, every, frames, long_side)
        clip = load_clip(source, *taken, on_step, fps, *_cut(video), keep=as_image)
        opacity = _opaque(clip.frames) if clip.opacity is None else clip.opacity.float() / 255
        return clip.frames, clip.fps, opacity
    _check(first, every, frames, long_side, fps)
    parts = video.get_components()
    times = even_times(len(parts.images), float(parts.frame_rate))
    beat = times.beat(fps * every)
    seconds = _numbers("The video", times.length(beat), first, every, frames) / beat
    _say(times.doubts(beat, "The video"))
    shown = times.shown_at(seconds, beat).tolist()
    size = _reduced(*parts.images.shape[2:0:-1], long_side)
    resized = (resize(_on_black(parts.images[i]), *size) for i in stepped(shown, on_step))
    images = gathered(resized, len(shown))
    return images[..., :3], fps or beat / every, images[..., 3] if images.shape[3] > 3 else _opaque(images)


def _cut(video) -> tuple[float, float]:
    """Start and duration, seconds, of a ComfyUI video that nodes cut out of a file; older ones keep them private."""
    if hasattr(video, "get_active_trim_window"):
        return video.get_active_trim_window()
    return tuple(vars(video).get(f"_VideoFromFile__{name}", 0) for name in ("start_time", "duration"))


def _check(first: int, every: int, frames: int, long_side: int, fps: float) -> None:
    if min(first, every - 1, frames, long_side, fps) < 0:
        raise ValueError(f"{first=}, {frames=}, {long_side=} and {fps=} must be 0 or more, {every=} must be 1 or more.")


def _numbers(name: str, count: int, first: int, every: int, frames: int) -> np.ndarray:
    if first >= count:
        raise ValueError(f"{name} has {count} frames, none from frame {first} on: choose a smaller first frame.")
    return np.arange(first, count, every)[: frames or None]


def _say(doubts: Sequence[str]) -> None:
    for doubt in doubts:
        log.warning(doubt)


def _opaque(frames: torch.Tensor) -> torch.Tensor:
    return torch.ones(()).expand(frames.shape[:3])


def _on_black(frame: torch.Tensor) -> torch.Tensor:
    """RGB, or RGBA whose hidden colours are gone."""
    return torch.cat([frame[..., :3] * frame[..., 3:], frame[..., 3:]], -1) if frame.shape[-1] > 3 else frame


def _reduced(a: int, b: int, long_side: int) -> tuple[int, int]:
    """Both sides, the longer one at most `long_side`, even; as they are if that is 0."""
    if not long_side:
        return a, b
    ratio = min(1.0, long_side / max(a, b))
    return max(2, round(a * ratio / 2) * 2), max(2, round(b * ratio / 2) * 2)


def write_video(path: Path, frames: Sequence[np.ndarray], fps: float, kind: str = "film") -> None:
    """uint8 RGB frames [H, W, 3] as H.264: "film" for every player, in 4:2:0 (an odd side allows only 4:4:4, which
    browsers refuse); for networks alone, "fine" in 4:4:4, nearly without loss, and "exact" as RGB, without any.

    The colours are BT.709's and tagged so. The same frames give the same bytes on every machine. A clip that is written
    is whole: it gets its name when it is finished. RuntimeError without the encoder.
    """
    import av

    codec, pixels, quality = CODECS[kind]
    if codec not in av.codecs_available:
        raise RuntimeError(f"This PyAV has no {codec} encoder; get one that has: pip install -U av.")
    height, width = frames[0].shape[:2]
    if pixels == "yuv420p" and (height % 2 or width % 2):
        pixels = "yuv444p"
    with whole(path) as part, av.open(str(part), "w", format="mp4") as container:
        # x264 weighs macroblock trees in floats and divides the work by its threads: not alike on all machines.
        options = {"crf": quality, "preset": "veryfast", "x264-params": "mbtree=0:threads=1"}
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        context = stream.codec_context
        context.color_primaries = context.color_trc = BT709
        context.colorspace, context.color_range = (0, FULL) if kind == "exact" else (BT709, LIMITED)
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if kind != "exact":
                picture = picture.reformat(format=pixels, dst_colorspace=BT709, dst_color_range=LIMITED)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
