"""A person's mask without weights: every frame is cut by its pose, by the clip's colours and by what is behind."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ..pose.keypoints import Pose
from .background_model import BackgroundModel
from .body import LIKELY, NEAR, SURE, draw_body
from .colours import colour_bins
from .grabcut import FEWER, ROUNDS, WIDE, cut
from .masks import grow, square
from .prompts import Prompt
from .track import Track, counted

POSSIBLE, PLAUSIBLE = 1.0, 0.1  # how likely of a colour, against the surroundings': beside the body, and on it
GAP = 0.008  # of the longer side: so far from the person nothing counts as seen background
BESIDE, EMPTY = 0.4, 0.4  # of the mask, beside the pose's body; of the body's core, like the background: doubtful
FEWEST = 1e-3  # of the picture: what is less needs no correction


def cut_person(
    frames: Sequence[np.ndarray],
    poses: Sequence[Pose],
    prompts: Sequence[Prompt] = (),
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, list[int]]:
    """Masks bool [T, H, W] of the one person of `poses`, and the frames whose mask is far from the pose's body.

    frames: T of uint8 [H, W, 3], read one at a time. prompts correct what was found on their frames; what they change
    there is followed through the clip. At least one pose shows enough for `draw_body`.
    """
    track = _PersonTrack(frames, poses)
    masks = track.run(on_step or (lambda done, total: None))
    for t in sorted({prompt.frame for prompt in prompts}):
        _correct(frames, masks, [prompt for prompt in prompts if prompt.frame == t])
    return masks, track.doubtful


class _PersonTrack(Track):
    """The person in place of a prompt: what `draw_body` says of every frame with a pose. Others are carried."""

    def __init__(self, frames: Sequence[np.ndarray], poses: Sequence[Pose]):
        super().__init__(frames, ())
        # In the place of prompts, by frame: the levels of the body.
        drawn = ((t, draw_body(pose, self.small)) for t, pose in enumerate(poses) if pose.people)
        self.prompts = {t: body for t, body in drawn if body is not None}
        self.doubtful: list[int] = []

    def run(self, on_step: Callable[[int, int], None]) -> np.ndarray:
        count = len(self.frames)
        self.pictures = [super(_PersonTrack, self)._picture(t) for t in range(count)]
        self._learn({t: body == SURE for t, body in self.prompts.items()})
        rough, hidden = {}, np.ones((count, *self.small[::-1]), bool)
        gap = square(max(1, round(GAP * max(self.small))))
        for t, body in self.prompts.items():
            rough[t] = cut(self.pictures[t], self._labels(t), FEWER, WIDE)
            hidden[t] = grow(rough[t] | (body >= NEAR), gap)
            on_step(len(rough), 2 * count)
        self._learn(rough)
        self.background = BackgroundModel(self.pictures, hidden)
        return super().run(lambda done, total: on_step(count + done, 2 * count))

    def _picture(self, t: int) -> np.ndarray:
        return self.pictures[t]

    def _learn(self, masks: dict[int, np.ndarray]) -> None:
        """The colours of the person and of the surroundings, over the whole clip."""
        self.colours = np.zeros_like(self.colours)
        for t, mask in masks.items():
            beside = ~mask & (self.prompts[t] < LIKELY)
            bins = colour_bins(self.pictures[t])
            self.colours += counted(bins[beside]), counted(bins[mask])

    def _labels(self, t: int) -> np.ndarray:
        """GrabCut's, by body and colours."""
        body = self.prompts[t]
        labels = np.choose(body, (cv2.GC_BGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD, cv2.GC_FGD)).astype(np.uint8)
        surroundings, person = self._likelihoods(self.pictures[t])
        labels[(body == NEAR) & (person < POSSIBLE * surroundings)] = cv2.GC_BGD
        labels[(body == LIKELY) & (person < PLAUSIBLE * surroundings)] = cv2.GC_PR_BGD
        return labels

    def _next(self, t: int, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return self._prompted(t, after, mask) if t in self.prompts else self._carried(before, after, mask)

    def _prompted(self, t: int, picture: np.ndarray, carried: np.ndarray) -> np.ndarray:
        body, labels = self.prompts[t], self._labels(t)
        differs, alike = self.background.compare(t)
        labels[differs & (body >= NEAR)] = cv2.GC_FGD
        labels[alike & (body == NEAR)], labels[alike & (body == LIKELY)] = cv2.GC_BGD, cv2.GC_PR_BGD
        mask = cut(picture, labels, ROUNDS, WIDE)
        within, core = (mask & (body >= LIKELY)).sum(), body == SURE
        if mask.sum() - within > BESIDE * mask.sum() or (alike & core).sum() > EMPTY * core.sum():
            self.doubtful.append(t)
        return mask


def _correct(frames: Sequence[np.ndarray], masks: np.ndarray, prompts: Sequence[Prompt]) -> None:
    """The masks, in place, as prompts on one frame say."""
    t = prompts[0].frame
    wanted = Track(frames, prompts).corrected(t, masks[t])
    for change, adds in ((wanted & ~masks[t], True), (masks[t] & ~wanted, False)):
        if change.mean() < FEWEST:
            continue
        followed = Track(frames, [Prompt(t, mask=change)]).run(lambda done, total: None)
        if adds:
            masks |= followed
        else:
            masks &= ~followed
