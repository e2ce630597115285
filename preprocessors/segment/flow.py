"""Segmentation without weights, on a CPU: every object by its colours and by optical flow."""

from collections.abc import Callable, Sequence

import numpy as np

from .object_track import ObjectTrack
from .prompts import Prompt
from .tracker import Tracker


class FlowTracker(Tracker):
    """Follows objects by colour and motion."""

    spacing = 4  # flow alone drifts
    outlines = False

    def track(
        self,
        frames: Sequence[np.ndarray],
        prompts: Sequence[Prompt],
        on_step: Callable[[int, int], None] | None = None,
    ) -> dict[int, np.ndarray]:
        numbers = sorted({prompt.object for prompt in prompts})
        masks = {}
        for place, number in enumerate(numbers):

            def step(done: int, count: int, before: int = place * len(frames)) -> None:
                if on_step is not None:
                    on_step(before + done, len(numbers) * count)

            masks[number] = ObjectTrack(frames, [p for p in prompts if p.object == number]).run(step)
        return masks
