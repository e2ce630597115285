"""The hole filled along the background's motion: each pixel is followed from frame to frame until it is in sight."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LONGEST = 400  # px of the longer side that motion is measured at
GROWN, RING = 0.02, 0.15  # of that side around the hole: there motion may be the person's; so far it decides for it
SPACING, FEWEST, INLIER = 3, 40, 1.0  # px between points of the ring, the least of them, px off
GAIN, DARK = 1.3, 16  # the most that an exposure is corrected; levels that tell nothing of it
TREMBLE = 0.15  # px by which a measured motion errs
SHARP = 2  # power of the nearness by which what was found before and after is mixed


class Motion:
    """How the background moves between successive frames, behind the hole as around it."""

    def __init__(self, frames: np.ndarray, holes: np.ndarray, on_step: Callable[[], None]):
        """frames: uint8 [T,H,W,3]; holes: bool [T,H,W], True where the picture does not move with the background."""
        import cv2

        count, height, width = holes.shape
        self.zoom = min(1, LONGEST / max(height, width))
        size = max(1, round(width * self.zoom)), max(1, round(height * self.zoom))
        brush = np.ones((2 * max(8, round(GROWN * max(size))) + 1,) * 2, np.uint8)
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.ways: dict[tuple[int, int], np.ndarray] = {}
        self.gains = [1.0]  # exposure of each frame, of the first one's
        last = None
        for t in range(count):
            small = cv2.resize(frames[t], size, interpolation=cv2.INTER_AREA)
            hole = cv2.resize(holes[t].astype(np.uint8), size, interpolation=cv2.INTER_AREA)
            now = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.dilate(hole, brush) > 0
            if last is not None:
                unsure = now[1] | last[1]
                self.ways[t, t - 1] = _complete(flow.calc(now[0], last[0], None), unsure)
                self.ways[t - 1, t] = _complete(flow.calc(last[0], now[0], None), unsure)
                # Both ways, so that what one errs by the other does too and nothing adds up over the clip.
                brighter = _gain(now[0], last[0], self.ways[t, t - 1], unsure)
                darker = _gain(last[0], now[0], self.ways[t - 1, t], unsure)
                self.gains.append(self.gains[-1] * (brighter / darker) ** 0.5)
            last = now
            on_step()

    def follow(self, points: np.ndarray, t: int, other: int) -> np.ndarray:
        """Where points float32 [N,2] of frame t are in its neighbour `other`."""
        import cv2

        way, column = self.ways[t, other], np.ascontiguousarray(points[:, None] * np.float32(self.zoom))
        # One column of points at a time is as many as remap takes.
        moved = [
            cv2.remap(way, part, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
            for part in np.array_split(column, len(column) // 30000 + 1)
        ]
        return points + np.concatenate(moved) / self.zoom

    def gain(self, source: Sequence[int] | np.ndarray, t: int) -> np.ndarray:
        """What brings colours of the source frames to the exposure of frame t, [N,1]."""
        gains = np.array(self.gains, np.float32)
        return np.clip(gains[t] / gains[source], 1 / GAIN, GAIN).reshape(-1, 1)


@dataclass
class _Sight:
    """Where the pixels of one frame's hole are in sight: place int32 [H,W] of each among the N (-1 outside the hole);
    source [N], a frame or -1; at [N,2] there."""

    place: np.ndarray
    source: np.ndarray
    at: np.ndarray

    @classmethod
    def none(cls, hole: np.ndarray) -> "_Sight":
        place = np.full(hole.shape, -1, np.int32)
        count = int(hole.sum())
        place[hole] = np.arange(count)
        return cls(place, np.full(count, -1), np.zeros((count, 2), np.float32))


def carry(frames: np.ndarray, holes: np.ndarray, motion: Motion, on_step: Callable[[], None]) -> np.ndarray:
    """The frames uint8 [T,H,W,3] get, in place, what others show in their holes; where none does, bool [T,H,W].

    A pixel is taken from the nearest frames before and after in which it has left the hole, in the exposure of its own
    frame. on_step is called 2·T times.
    """
    count = len(frames)
    colours = [np.zeros((int(hole.sum()), 3), np.float32) for hole in holes]
    weights = [np.zeros((len(of), 1), np.float32) for of in colours]
    for order, step in ((range(count), -1), (range(count - 1, -1, -1), 1)):
        sight = None
        for t in order:
            sight = _Sight.none(holes[t]) if sight is None else _look(holes, motion, t, t + step, sight)
            known = sight.source >= 0
            if known.any():
                source = sight.source[known]
                weight = (1.0 / np.abs(source - t)[:, None]) ** SHARP
                colours[t][known] += weight * between(frames, source, sight.at[known], holes) * motion.gain(source, t)
                weights[t][known] += weight
            on_step()
    unseen = np.zeros_like(holes)
    for t, hole in enumerate(holes):
        frames[t][hole] = (colours[t] / np.maximum(weights[t], 1e-6)).round().clip(0, 255)
        unseen[t][hole] = weights[t][:, 0] == 0
    return unseen


def pixels(mask: np.ndarray) -> np.ndarray:
    """x, y of a mask's pixels, float32 [N,2]."""
    return np.argwhere(mask)[:, ::-1].astype(np.float32)


def inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return (points >= 0).all(1) & (points <= np.array(shape[::-1]) - 1).all(1)


def between(frames: np.ndarray, source: np.ndarray, at: np.ndarray, holes: np.ndarray | None = None) -> np.ndarray:
    """Colours float32 [N,3] of frames [T,H,W,3] at points [N,2] between pixels, those in the holes left out."""
    corner = np.floor(at).astype(int)
    share = (at - corner).astype(np.float32)
    colours, weights = np.zeros((len(at), 3), np.float32), np.zeros((len(at), 1), np.float32)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = np.minimum(corner + (dx, dy), (frames.shape[2] - 1, frames.shape[1] - 1)).T
            weight = np.abs(1 - dx - share[:, :1]) * np.abs(1 - dy - share[:, 1:])
            if holes is not None:
                weight = weight * ~holes[source, y, x][:, None]
            colours += weight * frames[source, y, x]
            weights += weight
    return colours / np.maximum(weights, 1e-6)


def _look(holes: np.ndarray, motion: Motion, t: int, other: int, there: _Sight) -> _Sight:
    """The hole's pixels of frame t by way of its neighbour: in sight there, or where they are in sight from there."""
    sight = _Sight.none(holes[t])
    if not len(sight.source):
        return sight
    moved = motion.follow(pixels(holes[t]), t, other)
    valid = np.flatnonzero(inside(moved, holes[t].shape))
    moved = moved[valid]
    near = moved.round().astype(int)
    place = there.place[near[:, 1], near[:, 0]]
    hidden = place >= 0
    source = np.where(hidden, there.source[place], other)
    # A pixel's neighbour is in sight a little beside where it is itself; not if that is in the hole again.
    at = np.where(hidden[:, None], there.at[place] + (moved - near), moved)
    x, y = at.round().astype(int).T.clip(0, np.array([[holes.shape[2] - 1], [holes.shape[1] - 1]]))
    again = holes[source, y, x] | ~inside(at, holes.shape[1:])
    at[again] = np.where(hidden[:, None], there.at[place], near)[again]
    sight.source[valid], sight.at[valid] = source, at
    return sight


def _complete(flow: np.ndarray, unsure: np.ndarray) -> np.ndarray:
    """A flow float32 [h,w,2] whose unsure part moves as its surroundings: by their homography, and smoothly what they
    differ from it."""
    import cv2

    if not unsure.any() or unsure.all():
        return flow if not unsure.all() else np.zeros_like(flow)
    reach = 2 * max(3, round(RING * max(unsure.shape))) + 1
    ring = (cv2.dilate(unsure.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0) & ~unsure
    ring[np.arange(len(ring)) % SPACING > 0] = False
    ring[:, np.arange(ring.shape[1]) % SPACING > 0] = False
    start = pixels(ring)
    grid = np.stack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in unsure.shape[::-1])), -1)
    plane = np.zeros_like(flow)
    if len(start) >= FEWEST:
        cv2.setRNGSeed(0)
        way, _ = cv2.findHomography(start, start + flow[ring], cv2.RANSAC, INLIER)
        if way is not None:
            plane = cv2.perspectiveTransform(grid, way) - grid
    rest = _smoothed(flow - plane, ~unsure)
    size = np.linalg.norm(rest, axis=-1, keepdims=True)
    rest = rest * size / (size + TREMBLE)
    return np.where(unsure[..., None], plane + rest, flow)


def _smoothed(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values [h,w,2] continued smoothly to where they are not known, from coarse to fine."""
    import cv2

    if known.all():
        return values
    weight = known.astype(np.float32)
    size = max(1, known.shape[1] // 2), max(1, known.shape[0] // 2)
    if known.any() and max(known.shape) > 2:
        less = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        sums = cv2.resize(values * weight[..., None], size, interpolation=cv2.INTER_AREA)
        coarse = _smoothed(sums / np.maximum(less, 1e-3)[..., None], less > 0.05)
        coarse = cv2.resize(coarse, known.shape[::-1], interpolation=cv2.INTER_LINEAR)
    else:
        coarse = np.zeros_like(values)
    return np.where(known[..., None], values, coarse)


def _gain(now: np.ndarray, last: np.ndarray, way: np.ndarray, unsure: np.ndarray) -> float:
    """How much brighter a grey picture is than another, in what both show."""
    import cv2

    grid = np.stack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in unsure.shape[::-1])), -1) + way
    there = cv2.remap(last.astype(np.float32), grid, None, cv2.INTER_LINEAR, borderValue=-1)
    common = ~unsure & (there >= DARK) & (now >= DARK)
    if common.sum() < FEWEST:
        return 1.0
    return float(np.median(now[common] / np.maximum(there[common], 1.0)))
