"""Masks made whole: holes filled, specks and flicker taken away, and told what was done."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from ...media.frames import frame_ranges
from .masks import disc, pieces

HOLE, SPECK = 0.02, 0.02  # of the object's area in the frame: smaller holes are filled, smaller pieces dropped
STEADY = 0.7  # overlap (IoU) of the frames before and after that makes what differs between them a flicker
VAST = 0.6  # of the picture: what covers more of it is hardly an object
FLICKER = 0.5  # overlap with both of them below which it is one


@dataclass(frozen=True)
class Report:
    """Numbers of frames: without the object, with holes filled, with specks dropped, taken from their neighbours,
    nearly filled by it; and a sentence where it may be another thing."""

    frames: int
    missing: list[int] = field(default_factory=list)
    filled: list[int] = field(default_factory=list)
    specks: list[int] = field(default_factory=list)
    flicker: list[int] = field(default_factory=list)
    vast: list[int] = field(default_factory=list)
    doubt: str = ""

    def __str__(self) -> str:
        told = [
            f"{what} in {len(which)} of {self.frames} frames ({frame_ranges(which)})"
            for what, which in (
                ("not visible", self.missing),
                ("holes filled", self.filled),
                ("specks removed", self.specks),
                ("flicker replaced", self.flicker),
                ("more than half of the picture, so perhaps the background was pointed at,", self.vast),
            )
            if which
        ]
        told = [self.doubt, *told] if self.doubt else told
        return "; ".join(told) or f"visible in all {self.frames} frames, nothing to clean"


def clean_masks(masks: np.ndarray, grow: int = 0) -> tuple[np.ndarray, Report]:
    """Cleaned masks bool [T, H, W] of one object, and what was done.

    A frame that overlaps neither of two neighbours which agree is a flicker: it takes what they share. grow: pixels to
    widen the finished mask by, or narrow it if negative.
    """
    cleaned = masks.copy()
    report = Report(len(masks))
    for t in range(1, len(masks) - 1):
        before, now, after = cleaned[t - 1], masks[t], masks[t + 1]
        if _iou(before, after) > STEADY and max(_iou(before, now), _iou(now, after)) < FLICKER:
            cleaned[t] = before & after
            report.flicker.append(t)
    for t, mask in enumerate(cleaned):
        if not mask.any():
            report.missing.append(t)
            continue
        kept = mask & ~_small(mask, SPECK, mask.sum(), inner=False)
        whole = kept | _small(~kept, HOLE, kept.sum(), inner=True)
        if (mask & ~kept).any():
            report.specks.append(t)
        if (whole & ~kept).any():
            report.filled.append(t)
        cleaned[t] = whole
        if whole.mean() > VAST:
            report.vast.append(t)
        if grow:
            cleaned[t] = (cv2.dilate if grow > 0 else cv2.erode)(whole.astype(np.uint8), disc(abs(grow))) > 0
    return cleaned, report


def _small(area: np.ndarray, share: float, whole: int, inner: bool) -> np.ndarray:
    """The connected pieces of `area` below that share of `whole`; `inner`: those alone that touch no border."""
    piece, areas = pieces(area, connectivity=4)
    small = areas < share * whole
    small[0] = False
    if inner:
        small[np.unique(np.concatenate([piece[0], piece[-1], piece[:, 0], piece[:, -1]]))] = False
    return small[piece]


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0
