"""ProPainter over a whole clip: flows, their completion, pixels carried along them, and the generator for the rest."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ...models.loaded import Loaded
from ...models.propainter.propagation import propagate_pixels
from .stream import Stream

FLOW_CONTEXT, FRAME_CONTEXT = 5, 10  # how far a sub-video looks beyond its ends, as published
ACTIVATION_BYTES = 200  # per pixel of a sub-video, reckoned from flow completion's first layers, the largest
PAIRS_AT_ONCE = 8  # flows between two answers of a GPU; a CPU takes seconds for one


@dataclass(frozen=True)
class Settings:
    """The published script's knobs; these defaults are its own.

    neighbours: frames a call of the generator paints, about; each is painted in about two calls. reference_stride:
    every how manieth frame is looked at besides. subvideo: frames that are in reach of each other, which bounds memory.
    """

    neighbours: int = 10
    reference_stride: int = 10
    subvideo: int = 80
    raft_iterations: int = 20

    def __post_init__(self):
        if self.neighbours < 2 or min(self.reference_stride, self.subvideo, self.raft_iterations) < 1:
            raise ValueError(f"ProPainter takes 2 neighbours or more, and all else from 1 on; not {self}.")


PROPAINTER = Settings()
# AniCrafter's: some eleven times the work.
ANICRAFTER = Settings(neighbours=3, reference_stride=2)


def schedule(center: int, total: int, settings: Settings) -> tuple[list[int], list[int]]:
    """Which frames the call at `center` paints, and which others it looks at."""
    step = settings.neighbours // 2
    near = list(range(max(0, center - step), min(total, center + step + 1)))
    stride, start, stop, most = settings.reference_stride, 0, total, total
    if total > settings.subvideo:
        most = settings.subvideo // stride
        reach = stride * (most // 2)
        start, stop = max(0, center - reach), min(total, center + reach)
        most += 1
    return near, [i for i in range(start, stop, stride) if i not in near][:most]


class Inpainting:
    """One clip on its way through ProPainter; `run` answers it without its holes.

    Each stage is a `Stream` in main memory that asks the stage before: `flows` and `completed` [T-1,2,H,W], forward and
    backward, in pixels; `updated`, frames [T,3,H,W] in -1…1 after pixel propagation and what is still masked
    [T,1,H,W]; `features` of the generator's encoder.
    """

    def __init__(
        self,
        painter: Loaded,
        frames: np.ndarray,
        masks: np.ndarray,
        settings: Settings = PROPAINTER,
        on_step: Callable[[int, int], None] | None = None,
    ):
        """painter: `models.propainter.system.ProPainter`; frames: uint8 RGB [T,H,W,3]; masks: bool [T,H,W], True in
        the hole. Sides are multiples of 8 and at least 128. `on_step(done, total)` is called after every few flows and
        every few painted frames.
        """
        held = min(len(frames), settings.subvideo + 2 * FRAME_CONTEXT)
        self.device = painter.load(ACTIVATION_BYTES * held * masks[0].size)
        self.system = painter.module
        self.frames, self.masks, self.settings = frames, masks, settings
        self.on_step, self.done = on_step, 0
        pairs, subvideo = len(frames) - 1, settings.subvideo
        self.flows = Stream(pairs, 1 if self.device.type == "cpu" else PAIRS_AT_ONCE, self._flows)
        self.completed = Stream(pairs, subvideo, self._complete)
        self.updated = Stream(len(frames), min(100, subvideo), self._propagate)
        self.features = Stream(len(frames), 1, self._encode)

    @torch.no_grad()
    def run(self) -> np.ndarray:
        """The frames with their holes painted over, uint8 [T,H,W,3]."""
        painted, total = self.frames.copy(), len(self.frames)
        reached = 0  # frames before it have been painted
        for center in range(0, total, self.settings.neighbours // 2):
            near, far = schedule(center, total, self.settings)
            if self.masks[near].any():
                levels = ((self.paint(near, far) + 1) / 2 * 255).byte().movedim(1, -1).cpu().numpy()
                for frame, level in zip(near, levels, strict=True):
                    if frame < reached:  # the mean with what earlier calls painted, cut to a whole level each time
                        level = (painted[frame].astype(np.uint16) + level) // 2
                    painted[frame][self.masks[frame]] = level[self.masks[frame]]
            self._worked(max(0, near[-1] + 1 - reached))
            reached = near[-1] + 1
            self._forget(min(near + far))
        return painted

    @torch.no_grad()
    def paint(self, near: list[int], far: list[int]) -> torch.Tensor:
        """One call of the generator: frames `near`, successive, as [N,3,H,W] in -1…1, float32, on the device."""
        (features,) = self.features.take(near + far)
        _, remaining = self.updated.take(near)
        start, stop = near[0], near[-1] + 1
        between = self._between(start, stop - 1)
        exact = self.system.dtype
        masks, remaining = self._holes(start, stop).to(exact), remaining.to(self.device, exact)
        return self.system.generator(features.to(self.device), *between, masks, remaining).float()

    def _pictures(self, start, stop):
        pixels = torch.from_numpy(self.frames[start:stop]).to(self.device)
        return pixels.movedim(-1, 1).float() / 255 * 2 - 1

    def _holes(self, start, stop):
        return torch.from_numpy(self.masks[start:stop, None]).to(self.device, torch.float32)

    def _flows(self, start, stop):
        found = self.system.raft(self._pictures(start, stop + 1), self.settings.raft_iterations)
        self._worked(stop - start)
        return _kept(found)

    def _complete(self, start, stop):
        first, last = max(0, start - FLOW_CONTEXT), min(self.completed.total, stop + FLOW_CONTEXT)
        found = (flow.to(self.device) for flow in self.flows.take(range(first, last)))
        both = self.system.flow_completion.complete(*found, self._holes(first, last + 1))
        return _kept(both, slice(start - first, stop - first))

    def _between(self, first, last):
        """Completed flows from frame `first` to frame `last`, and back."""
        if first == last:  # a clip of one frame
            return (torch.zeros(0, 2, *self.masks.shape[1:], device=self.device),) * 2
        return tuple(flow.to(self.device) for flow in self.completed.take(range(first, last)))

    def _propagate(self, start, stop):
        first, last = max(0, start - FRAME_CONTEXT), min(len(self.frames), stop + FRAME_CONTEXT)
        seen, hole = self._pictures(first, last), self._holes(first, last)
        filled, remaining = propagate_pixels(seen * (1 - hole), *self._between(first, last - 1), hole)
        return _kept((seen * (1 - hole) + filled * hole, remaining), slice(start - first, stop - first))

    def _encode(self, start, stop):
        exact = self.system.dtype
        picture, remaining = (part.to(self.device, exact) for part in self.updated.take(range(start, stop)))
        return _kept((self.system.generator.encode(picture, self._holes(start, stop).to(exact), remaining),))

    def _worked(self, steps):
        self.done += steps
        if self.on_step is not None:
            self.on_step(self.done, 2 * len(self.frames) - 1)

    def _forget(self, before):
        self.features.forget(before)
        self.updated.forget(before)
        self.completed.forget(before - FRAME_CONTEXT)
        self.flows.forget(before - FRAME_CONTEXT - FLOW_CONTEXT)


def _kept(parts: tuple[torch.Tensor, ...], items: slice = slice(None)) -> tuple[torch.Tensor, ...]:
    """What waits for its use waits in main memory."""
    return tuple(part[items].cpu() for part in parts)
