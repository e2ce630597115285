"""When each frame of a video file is shown, its true frame rate, and which frame stands at an even beat."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

COMMON = (24, 25, 30, 50, 60, 15, 12, 10, 20, 48, 100, 120, 240, *(Fraction(n * 1000, 1001) for n in (24, 30, 60, 120)))
PICTURES = ("gif", "apng")  # formats that say how long their last frame stays
LEAP = 3600.0  # seconds between two frames that no clip has: its clock was set anew


@dataclass(frozen=True)
class Times:
    """shown: when each frame comes, seconds from the first one, rising; end: when the last one goes; fps: true rate.

    pts: the same times in the file's own unit; empty where it tells none, and frames are only counted. keys: which
    frames can be decoded without others. leaps: its clock leaps, so that its frames are counted, too. promised: how
    many frames the file says it has, 0 if it does not.
    """

    shown: np.ndarray
    pts: tuple[int, ...]
    keys: np.ndarray
    end: float
    fps: float
    leaps: bool
    promised: int

    def beat(self, asked: float) -> float:
        """The asked rate; the true one where none is asked, or where both agree to half a frame over the clip."""
        return asked if asked and abs(asked / self.fps - 1) * len(self.shown) >= 0.5 else self.fps

    def length(self, fps: float) -> int:
        """How many beats of that rate the clip lasts."""
        return max(1, round(self.end * fps))

    def slack(self, fps: float) -> float:
        """Seconds by which a frame may be early: half a beat, or half of its own time where that is shorter."""
        return 0.5 / max(fps, self.fps)

    def shown_at(self, seconds: np.ndarray, fps: float) -> np.ndarray:
        """The number of the frame that stands at each time of a beat."""
        return np.maximum(np.searchsorted(self.shown, seconds + self.slack(fps), "right") - 1, 0)

    def doubts(self, beat: float, name: str) -> list[str]:
        """A sentence, if not every frame stands at exactly one beat."""
        count = len(self.shown)
        if beat != self.fps:
            return [
                f"{name} has {self.fps:.5g} frames per second and is shown at {beat:.5g}: where its frames belong one "
                "by one to those of another clip, set at_fps to 0."
            ]
        stands = self.shown_at(np.arange(self.length(beat)) / beat, beat)
        if np.array_equal(stands, np.arange(count)):
            return []
        return [
            f"{name} has uneven frame times: it is shown at a steady {beat:.5g} frames per second, each of its {count} "
            f"frames at its time, {len(stands)} in all."
        ]


def even_times(count: int, fps: float) -> Times:
    """Of frames that are no file's."""
    return Times(np.arange(count) / fps, (), np.zeros(count, bool), count / fps, fps, False, 0)


def scan(container, stream) -> Times | None:
    """The times of a file's first video, from its packets alone; None without any. Leaves the file at its end."""
    import av

    packets = []
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                stays = float((packet.duration or 0) * stream.time_base)
                packets.append((packet.pts, packet.dts, packet.is_keyframe, stays))
    except av.error.FFmpegError:
        pass  # decoding comes to the same place and says so
    if not packets:
        return None
    stated = stream.average_rate, stream.guessed_rate
    pts, dts, keys, lasts = zip(*packets, strict=True)
    # AVI tells when each frame is stored; it is shown in that beat, but not in that order.
    counted = container.format.name == "avi" or None in pts
    units = sorted(set(dts if counted and None not in dts else range(len(pts)) if counted else pts))
    shown = np.array([float((unit - units[0]) * stream.time_base) for unit in units])
    leaps = bool((np.diff(shown) > LEAP).any())
    if leaps or (counted and (None in dts or len(units) < len(pts))):
        counted, shown = True, np.arange(len(pts)) / float(stated[0] or stated[1] or 25)
    place = {unit: number for number, unit in enumerate(pts)}
    order = range(len(pts)) if counted else [place[unit] for unit in units]
    fps = true_rate(shown, stated, lasts[order[-1]])
    beat, last = 1 / (fps or 1), lasts[order[-1]]
    end = float(shown[-1]) + ((container.format.name in PICTURES and last) or beat)
    lacks = _promised_end(container, stream, units[0]) - float(shown[-1]) - max(beat, last)
    promised = stream.frames or len(shown) + round(lacks / beat) if lacks > 0.75 * beat else 0
    keys = np.array([keys[number] for number in order])
    return Times(shown, () if counted else tuple(units), keys, end, fps, leaps, promised)


def _promised_end(container, stream, first: int) -> float:
    """Seconds after the first frame's showing at which the file says that the last one goes; 0 if it does not say."""
    if container.format.name == "avi" and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if stream.duration:
        return float(stream.duration * stream.time_base)
    said = stream.metadata.get("DURATION", "")  # Matroska's, in hours, minutes and seconds from 0
    if said.count(":") == 2:
        hours, minutes, seconds = map(float, said.split(":"))
        return 3600 * hours + 60 * minutes + seconds - float(first * stream.time_base)
    alone = len(container.streams) == 1 and container.duration
    return container.duration / 1e6 - float(first * stream.time_base) if alone else 0


def true_rate(shown: np.ndarray, stated: tuple[Fraction | None, Fraction | None], last: float = 0.0) -> float:
    """Frames per second of frames shown at those seconds: that of the usual step between two, whatever is between.

    A stated rate (the average, a guess) or a common one is preferred where it agrees to half a frame over the whole
    clip, or to 2 % for uneven frames. A single frame has the average, or that of the time it stays, `last`, or the
    guess; 0 if none makes sense.
    """
    steps = np.diff(shown)
    if not len(steps):
        known = stated[0], 1 / last if last else None, stated[1]
        return float(next((rate for rate in known if rate and rate <= max(COMMON)), 0))
    step = np.median(steps)
    for _ in range(2):
        beats = np.round(steps / step).sum()  # a longer step leaves frames out, a shorter one makes up for a late frame
        step = steps.sum() / beats
    known = [float(rate) for rate in (*filter(None, stated), *sorted(COMMON, key=lambda rate: abs(rate * step - 1)))]
    agree = [rate for rate in known if abs(rate * step - 1) * beats < 0.5]
    if not agree and np.abs(shown - np.arange(len(shown)) * step).max() > step / 2:
        agree = [rate for rate in known if abs(rate * step - 1) < 0.02]  # frames are put elsewhere in any case
    return agree[0] if agree else float(1 / step)
