"""What is on a product's solid: its photos, laid around it."""

import math

import cv2
import numpy as np
import torch

from ..drawing.solids import Solid
from ..drawing.texture import Texture, pyramid

LEVELS = 4  # sizes of the texture
MOST = 4096  # px: its longest side
TURNS = (30, 45, 60, 90)  # degrees that a product is turned by in its side photos, to either side
EDGE = 0.4, 0.6  # cosines between the line of sight and the surface, between which the front gives way to the sides
BESIDE = 4  # the power of cosines by which sides share what both see
SEEN = 0.35  # cosine from which on two views can be compared
FEW = 0.01  # of the surface, in which two views must meet to be compared
UNLIKE = 0.16  # mean difference of colours, 0…1, from which on views do not show the same
LEVEL = 0.8  # cosine between the vertical and a surface, from which on it is the top or the bottom
BAND = 0.03  # of the height, which tells their colours
RIM = 2  # px along an outline where colours are mixed with the background's


def product_look(solid: Solid, views: torch.Tensor, masks: torch.Tensor) -> Texture:
    """The texture of `solid`, RGBA, from views [3,S,S,3] (left, front, right) in 0…1 and masks [3,S,S].

    The front goes onto the front and, mirrored as by a pane of glass, onto the back; each side photo onto its side,
    turned as far as it fits the front best. What no photo shows goes on as the front ends there. Where the front's mask
    has a hole, such as a handle's, the product is transparent.
    """
    front = _Photo(views[1], masks[1])
    points, normals = _surface(solid, front.height / np.ptp(solid.vertices[:, 1]))
    at = front.at(points, solid, 0.0)
    colour = front.colours(at)
    sides = _turned_sides(views, masks, front, solid, points[::8, ::8], normals[::8, ::8])
    if sides:
        shares = [_facing(normals, turn) ** BESIDE for _, turn in sides]
        beside = sum(share[..., None] * photo.colours(photo.at(points, solid, turn))
                     for share, (photo, turn) in zip(shares, sides, strict=True))
        seen = sum(shares)[..., None]
        # The front keeps all that it sees well: where views meet, print would be seen twice.
        own = ((abs(normals[..., 2:]) - EDGE[0]) / (EDGE[1] - EDGE[0])).clip(0, 1)
        own = np.maximum(own**2 * (3 - 2 * own), 1 - (seen / SEEN**BESIDE).clip(0, 1))
        colour = own * colour + (1 - own) * beside / seen.clip(1e-6)
    for last in (False, True):  # no photo shows top and bottom
        half = (points[..., 1] > 0) == last
        colour[half & (abs(normals[..., 1]) > LEVEL)] = front.end(last)
    opacity = cv2.remap(front.mask, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    texture = np.concatenate([colour, opacity[..., None]], -1)
    return pyramid((texture.clip(0, 1) * 255).round().astype(np.uint8), LEVELS)


class _Photo:
    """A view whose colours go on beyond the product's outline; `left`, `top`, `width`, `height` px of the product."""

    def __init__(self, view: torch.Tensor, mask: torch.Tensor):
        self.mask = mask.float().cpu().numpy()
        shown = self.mask >= 0.5
        columns, rows = np.nonzero(shown.any(0))[0], np.nonzero(shown.any(1))[0]
        self.left, self.top = columns[0], rows[0]
        self.width, self.height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
        sure = cv2.erode((self.mask > 0.99).astype(np.uint8), np.ones((2 * RIM + 1,) * 2, np.uint8))
        sure = sure if sure.any() else shown.astype(np.uint8)
        _, nearest = cv2.distanceTransformWithLabels(1 - sure, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        picture = view.float().cpu().numpy()
        of_label = np.zeros((nearest.max() + 1, 3), np.float32)
        of_label[nearest[sure > 0]] = picture[sure > 0]
        self.picture = of_label[nearest]
        self.blurred = cv2.GaussianBlur(self.picture, (0, 0), 3)

    def end(self, last: bool) -> np.ndarray:
        """The mean colour [3] of its first rows, or of its last."""
        band = max(1, round(BAND * self.height))
        first = self.top + RIM if not last else self.top + self.height - RIM - band
        rows = slice(first, first + band)
        return self.picture[rows][self.mask[rows] >= 0.5].mean(0)

    def at(self, points: np.ndarray, solid: Solid, turn: float) -> tuple[np.ndarray, np.ndarray]:
        """Where it shows points [h,w,3] of the solid turned by `turn` radians: x, y [h,w] px."""
        every = _across(solid.vertices, turn)
        low, high = every.min(), every.max()
        x = self.left - 0.5 + (_across(points, turn) - low) / (high - low) * self.width
        top, tall = solid.vertices[:, 1].min(), np.ptp(solid.vertices[:, 1])
        y = self.top - 0.5 + (points[..., 1] - top) / tall * self.height
        return x.astype(np.float32), y.astype(np.float32)

    def colours(self, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return cv2.remap(self.picture, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _surface(solid: Solid, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Points m and unit normals [h,w,3] of a lofted solid, of a texture with `density` px in a metre."""
    around = int(np.nonzero(solid.uv[:, 0] == 1)[0][0]) + 1
    vertices, normals, uv = (part.reshape(-1, around, part.shape[-1]) for part in solid[:1] + solid[2:])
    u, v = uv[0, :, 0], uv[:, 0, 1]
    across = np.linalg.norm(np.diff(vertices, axis=1), axis=-1).sum(1).max() * density
    down = np.linalg.norm(np.diff(vertices[:, 0], axis=0), axis=-1).sum() * density
    scale = min(1.0, MOST / max(across, down))
    width, height = (max(8, round(side * scale)) for side in (across, down))
    columns = np.interp((np.arange(width) + 0.5) / width, u, np.arange(len(u)))
    rows = np.interp((np.arange(height) + 0.5) / height, v, np.arange(len(v)))
    grid = [part.astype(np.float32) for part in np.meshgrid(columns, rows)]
    points, normals = (cv2.remap(part.astype(np.float32), *grid, cv2.INTER_LINEAR) for part in (vertices, normals))
    normals[(normals == 0).all(-1)] = 0, 1, 0  # in the middle of top and bottom
    return points, normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def _turned_sides(
    views: torch.Tensor, masks: torch.Tensor, front: _Photo, solid: Solid, points: np.ndarray, normals: np.ndarray
) -> list[tuple[_Photo, float]]:
    """The side photos, each with the radians by which the product is turned in it: to one side and to the other."""
    own = [side for side in (0, 2) if not torch.equal(views[side], views[1])]
    if len(own) == 2 and torch.equal(views[0], views[2]):
        own = own[:1]  # the other stands in for one that is not there
    photos = [_Photo(views[side], masks[side]) for side in own]
    ways = []
    for first in (1, -1):
        best = []
        for photo, sign in zip(photos, (first, -first), strict=False):
            turns = [sign * math.radians(degrees) for degrees in TURNS]
            best.append(min((_unlike(photo, front, solid, points, normals, turn), turn) for turn in turns))
        ways.append((sum(unlike for unlike, _ in best), best))
    return [(photo, turn) for photo, (unlike, turn) in zip(photos, min(ways)[1], strict=True) if unlike <= UNLIKE]


def _unlike(
    photo: _Photo, front: _Photo, solid: Solid, points: np.ndarray, normals: np.ndarray, turn: float
) -> float:
    """Mean difference of colours, 0…1, of what the front shows and a photo of the product turned so shows too."""
    both = (normals[..., 2] < -SEEN) & (_facing(normals, turn) > SEEN)
    if both.mean() < FEW:
        return UNLIKE  # a side that the front does not show
    ours, theirs = (
        cv2.remap(view.blurred, *view.at(points, solid, of), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[both]
        for view, of in ((front, 0.0), (photo, turn))
    )
    return float(np.abs(ours - theirs).mean())


def _facing(normals: np.ndarray, turn: float) -> np.ndarray:
    """Cosine, 0 or more, between the line of sight and a surface turned about the vertical by `turn`."""
    return (normals[..., 0] * np.sin(turn) - normals[..., 2] * np.cos(turn)).clip(0)


def _across(points: np.ndarray, turn: float) -> np.ndarray:
    """x of points turned so: with a positive turn the front looks to the picture's left."""
    return points[..., 0] * np.cos(turn) + points[..., 2] * np.sin(turn)
