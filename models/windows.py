"""Which frames the network sees together. Frame 0, the reference person, is in every window."""

RING_SHIFT = 4


def ring_windows(frames: int, window: int, step: int) -> list[list[int]]:
    """AnchorCrafter's windows at sampling step `step` (counted from 0).

    Frames 1…frames−1 form a ring. Each window is frame 0 and `window`−1 consecutive ring frames; the windows follow
    each other until they have gone round, so the last may overlap the first. The start moves on by 4 every step.
    """
    ring = frames - 1
    span = min(window, frames) - 1
    start = step * RING_SHIFT
    return [[0] + [1 + (start + first + i) % ring for i in range(span)] for first in range(0, ring, span)]


def linear_windows(frames: int, window: int, overlap: int) -> list[list[int]]:
    """MimicMotion's windows: frame 0 and `window`−1 following frames, every `window`−`overlap` frames.

    The last window is aligned to the end of the clip. `overlap` counts the shared frame 0: below 1, frames between two
    windows would be left out.
    """
    step = window - overlap
    window = min(window, frames)
    starts = list(range(0, frames - window + 1, step))
    if starts[-1] != frames - window:
        starts.append(frames - window)
    return [[0, *range(start + 1, start + window)] for start in starts]


def triangle(window: int) -> list[float]:
    """MimicMotion's weight of each frame of a window: rising to its middle and falling again."""
    ramp = [(k + 0.5) * 2 / window for k in range(window)]
    return [min(w, 2 - w) for w in ramp]
