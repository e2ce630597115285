"""A video file: its times, and the frames that stand at wanted ones; what it lacks is said, never passed over."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np

from .clip_times import Times, scan
from .clip_view import View

SEEKABLE = ("mp4", "matroska")  # formats whose index finds a key frame
SEE_THROUGH = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders that give the opacity, where the usual ones leave it


class ClipFile:
    """Its methods and making one raise ValueError, or FileNotFoundError, with a sentence for the user."""

    def __init__(self, source: str | Path | BytesIO, threads: int = 0):
        """threads: that decode; 0 for as many as the machine has."""
        self._source, self._threads = source if isinstance(source, BytesIO) else str(source), threads
        self.name = "The video" if isinstance(source, BytesIO) else self._source
        self.short = Path(self.name).name
        if isinstance(source, BytesIO):
            self.times = _scanned(source, self.name)
        elif Path(source).is_file():
            status = Path(source).stat()
            self.times = _kept_times(self._source, status.st_size, status.st_mtime_ns)
        else:
            raise FileNotFoundError(f"There is no video {source}.")
        self._read, self.damaged, self._cut, self.fault = 0, 0, False, ""
        self._seen: tuple[str, ...] = ()

    def pictures(
        self,
        seconds: np.ndarray,
        fps: float,
        size_of: Callable[[int, int], tuple[int, int]] | None = None,
        patched: bool = False,
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
        """Each frame that stands at some of the rising times, seconds, of a beat of `fps`: at how many, and as `View`
        shows it. A file that breaks off ends there: its last picture does not stay on.

        patched: damaged frames come as the decoder patches them, without a word; else they are missing, and counted.
        """
        wanted, shown, done, held = seconds + self.times.slack(fps), self.times.shown, 0, None
        with _opened(self._source, self.name) as (container, stream):
            view = View(stream, self.short, size_of)
            for moment, frame in self._decoded(container, stream, wanted[0], patched):
                until = np.searchsorted(wanted, moment)
                if held is not None and until > done:
                    yield until - done, *view(held)
                    done = until
                held, until = frame, len(wanted)
                self._read = int(np.searchsorted(shown, moment, "right"))
                if self._read == len(shown) or wanted[-1] < shown[self._read]:
                    break  # nothing later is wanted
            else:
                if held is None and self.damaged and not patched:
                    return
                if held is None:
                    why = self.fault or "none decodes"
                    raise ValueError(f"{self.name} cannot be read as a video after 0 frames ({why}).")
                self._cut, until = True, np.searchsorted(wanted, moment + 1 / self.times.fps)
            if until > done:
                yield until - done, *view(held)
            self._seen = tuple(view.doubts)

    def doubts(self) -> list[str]:
        """Sentences on the pictures read last: what had to be decided for them, what could not be read."""
        said, times = list(self._seen), self.times
        whole = max(times.promised, len(times.shown))
        if times.leaps:
            said.append(f"The clock of {self.short} leaps: its frames are shown one after another.")
        if self._cut or self._read == len(times.shown) < whole:
            said.append(
                f"{self.short} promises {whole} frames, {self._read} could be read: it is cut off or damaged, and the "
                "result ends there."
            )
        if self.damaged:
            said.append(f"Damaged frames of {self.short}: {self.damaged}; flaws are seen, or the one before stays.")
        return said

    def _decoded(self, container, stream, first: float, patched: bool) -> Iterator[tuple[float, object]]:
        """(seconds, frame) from the key frame on that the first wanted time needs, or from the beginning."""
        times = self.times
        keys = np.flatnonzero(times.keys & (times.shown <= first))
        if len(keys) and keys[-1] and times.pts and any(name in container.format.name for name in SEEKABLE):
            container.seek(times.pts[keys[-1]], stream=stream)
            decoded = self._timed(container, stream, patched)
            start = next(decoded, None)
            if start is not None and start[0] <= first:
                yield start
                yield from decoded
                return
            with _opened(self._source, self.name) as (container, stream):  # the index was wrong
                yield from self._timed(container, stream, patched)
            return
        yield from self._timed(container, stream, patched)

    def _timed(self, container, stream, patched: bool) -> Iterator[tuple[float, object]]:
        import av

        decoder, times, moment, number = self._decoder(stream), self.times, -1 / self.times.fps, 0
        decoder.options = {} if patched else {"err_detect": "explode"}
        try:
            for packet in container.demux(stream):
                try:
                    frames = decoder.decode(packet)
                except av.error.FFmpegError as error:
                    self._note(error, patched)
                    continue
                for frame in frames:
                    self.damaged += frame.is_corrupt and not patched
                    if times.pts and frame.pts is not None:
                        moment = float((frame.pts - times.pts[0]) * stream.time_base)
                    elif times.pts or number >= len(times.shown):
                        moment += 1 / times.fps
                    else:
                        moment = times.shown[number]
                    yield moment, frame
                    number += 1
        except av.error.FFmpegError as error:
            self._note(error, patched)

    def _note(self, error: Exception, patched: bool) -> None:
        self.fault = error.strerror
        self.damaged += not patched

    def _decoder(self, stream):
        import av

        own = stream.codec_context
        own.thread_type, own.thread_count = "AUTO", self._threads
        if stream.metadata.get("alpha_mode") != "1" or own.codec.canonical_name not in SEE_THROUGH:
            return own
        name = SEE_THROUGH[own.codec.canonical_name]
        if name not in av.codecs_available:
            raise ValueError(f"{self.name} is transparent, and this PyAV has no {name} to see it: pip install -U av.")
        decoder = av.CodecContext.create(name, "r")
        decoder.extradata = own.extradata
        return decoder


@contextmanager
def _opened(source: str | BytesIO, name: str) -> Iterator[tuple]:
    """The container and its first video."""
    import av

    if isinstance(source, BytesIO):
        source.seek(0)
    try:
        container = av.open(source)
    except av.error.FFmpegError as error:
        raise ValueError(f"{name} cannot be read as a video ({error.strerror}).") from error
    with container:
        if not container.streams.video:
            raise ValueError(f"{name} has no picture: it holds only sound, or the file is incomplete.")
        yield container, container.streams.video[0]


def _scanned(source: str | BytesIO, name: str) -> Times:
    with _opened(source, name) as (container, stream):
        if stream.codec_context is None:
            raise ValueError(f"{name} cannot be read as a video: there is no decoder for it, or it is incomplete.")
        times = scan(container, stream)
    if times is None:
        raise ValueError(f"{name} cannot be read as a video after 0 frames (it holds none).")
    if not times.fps:
        raise ValueError(f"{name} does not say its frame rate: it is a picture, or the file is damaged.")
    return times


@lru_cache(10_000)
def _kept_times(path: str, size: int, changed: int) -> Times:
    return _scanned(path, path)
