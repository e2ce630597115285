"""What every tracker of objects offers, with weights or without."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from .prompts import Prompt


class Tracker(Protocol):
    """Follows prompted objects through a clip: `FlowTracker`, `SAM`."""

    spacing: int  # frames between prompts made from the pose: as many as it bridges well
    outlines: bool  # whether it finds outlines better than a mask made from the pose shows them

    def track(
        self,
        frames: Sequence[np.ndarray],
        prompts: Sequence[Prompt],
        on_step: Callable[[int, int], None] | None = None,
    ) -> dict[int, np.ndarray]:
        """Masks bool [T, H, W] of every object, by its number.

        frames: T of uint8 [H, W, 3], read one at a time. prompts: checked ones. on_step(done, total) is called after
        every frame of every object, and may raise to cancel.
        """
        ...
