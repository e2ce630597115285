"""A mask cut out by GrabCut (Rother et al., 2004), and one that is carried to the next frame by optical flow."""

import cv2
import numpy as np

from .masks import pieces

LONGEST = 480  # px of the longer side that is worked at
BAND = 0.06  # of the object's size (root of its area): how far its outline may be off
# Rounds of GrabCut, and bands of surroundings that it sees: from a prompt; from a mask that colours gave; in a frame it
# was carried to.
ROUNDS, FEWER, AGAIN = 5, 3, 2
WIDE, NEAR, CLOSE = 12.0, 8.0, 3.0
PIECE = 0.1  # of the largest piece: smaller ones are something else of the same colour


def cut(picture: np.ndarray, labels: np.ndarray, rounds: int, context: float) -> np.ndarray:
    """The object's mask bool [h, w] in a picture uint8 [h, w, 3], of GrabCut's labels uint8 [h, w].

    context: bands around what is not surely background that are looked at.
    """
    possible = np.argwhere(labels != cv2.GC_BGD)
    if not len(possible):
        return np.zeros(labels.shape, bool)
    margin = max(8, band(labels != cv2.GC_BGD, context))
    (top, left), (bottom, right) = np.maximum(possible.min(0) - margin, 0), possible.max(0) + 1 + margin
    part = slice(top, bottom), slice(left, right)
    cut = labels[part].copy()
    found = np.zeros(labels.shape, bool)
    thing = np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if thing.any() and not thing.all():
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(np.ascontiguousarray(picture[part]), cut, None, *models, rounds, cv2.GC_INIT_WITH_MASK)
    piece, kept = large_pieces(np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD)))
    kept[np.unique(piece[labels[part] == cv2.GC_FGD])] = True  # a head above a collar is no stray piece
    kept[0] = False
    found[part] = kept[piece]
    return found


def large_pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every pixel the number of its connected piece, [h, w], and by number whether it is large enough to be kept."""
    piece, areas = pieces(mask)
    return piece, (areas > 0) & (areas >= PIECE * areas.max())


def band(mask: np.ndarray, bands: float = 1.0) -> int:
    """How wide so many bands are, px, of an object of that size."""
    return max(2, round(bands * BAND * float(np.sqrt(mask.sum()))))


def carry(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask as the motion between two pictures uint8 [h, w, 3] takes it along."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (after, before)]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(*grey, None)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
    return cv2.remap(mask.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR) > 0.5
