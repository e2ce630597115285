"""A product's silhouette before a plain background: by its outline, so that it may be as white as what is behind it.

What is background is smooth and reaches the picture's border: a soft shadow and a gradient are, a white label is not.
Levels are 0…255 here.
"""

from dataclasses import dataclass

import numpy as np

from ..plain_background import PLAIN_BORDER, TOLERANCE

LARGEST = 512  # px, the long side at which the outline is looked for
SMALLEST = 16  # px, of a photo in which an outline can be found
LARGEST_FINE = 1024  # the same, at which it is moved to the pixel
STRAY = 255 * TOLERANCE  # how far a plain background may be from a smooth gradient, per channel
DARK, BRIGHT = 0.3, 1.06  # of the background's light: beyond these it is no shadow of it
DIM = 3 * 16.0**2  # of a background as dark as 16 levels, which has no light to lose
COLOURED = 10  # levels of colour that no shadow has
EDGE = 0.7  # levels a pixel, the faintest outline in a clean photo
STEEP = 14  # levels in 1/256 of the picture, steeper than a soft shadow
SHARP = 1.35  # how much steeper an outline is than when blurred
RAYS = 16
SEEN = 0.8  # share of the outline; where less is seen, the cut is a guess
BAY = 0.14  # of the product's convex hull, the largest bay that is likely
FAINT = 12  # levels between product and surroundings below which the colour does not say where the outline is
SPREAD = 0.2  # of it, by which an outline found is too far out
LABEL = 0.5  # of the product's height, the tallest label without an outline
BAND = 3  # px, how far the outline found may be from the true one
SHADED = 0.04  # of the background's light, what a product may lack of it to be told from it
ENCLOSED = 0.86  # share of the directions in which an outline is met, inside the product
ENCLOSED_SHADED = 0.66  # the same, where it is not as light as the background


@dataclass(frozen=True)
class Silhouette:
    """mask: bool [H, W]; black: whether the background is; sure: whether nothing speaks against the mask."""

    mask: np.ndarray
    black: bool
    sure: bool


def find_silhouette(image: np.ndarray) -> Silhouette | None:
    """Of float [H, W, 3] in 0…1; None where there is no plain background, or nothing before it."""
    import cv2

    photo = _reduced(image, LARGEST) * 255
    behind = _background(photo) if min(photo.shape[:2]) >= SMALLEST else None
    if behind is None:
        return None
    light, colour = _of_light(photo, behind)
    outline = _edges(photo, 1) | _edges(photo, 2) | _coloured(light, colour)
    solid = _closed(outline, np.abs(light - 1) > SHADED)
    solid &= ~_holes(solid, ~outline & (light > 0.5) & (light < 1.03))
    mask = _sharpened(solid, _reduced(image, LARGEST_FINE) * 255)
    mask = cv2.resize(mask.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    black = bool(behind.max() <= STRAY)
    if not black:  # the outermost pixels are a mixture with the background
        mask = ~_grown(~mask, round(max(mask.shape) / 1000))
    sure = black or _sure(solid, outline, colour < COLOURED)
    return Silhouette(mask, black, sure) if mask.mean() > 0.01 else None


def _reduced(image: np.ndarray, largest: int) -> np.ndarray:
    """float32, its long side at most `largest`."""
    import cv2

    scale = min(1.0, largest / max(image.shape))
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)


def _sure(mask: np.ndarray, outline: np.ndarray, plain: np.ndarray) -> bool:
    """Whether the mask ends at outlines, and has no large bay if it is `plain`, with no colour but the background's."""
    import cv2

    border = mask & _grown(~mask, 1)
    if not border.any() or _grown(outline, BAND)[border].mean() < SEEN:
        return False
    bays = _hull(mask) & ~mask
    _, _, stats, _ = cv2.connectedComponentsWithStats(bays.astype(np.uint8), connectivity=4)
    largest = stats[1:, cv2.CC_STAT_AREA].max(initial=0)
    return bool(plain[mask].mean() < 0.5 or largest < BAY * np.count_nonzero(mask | bays))


def _hull(mask: np.ndarray) -> np.ndarray:
    import cv2

    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    return hull > 0


def _background(photo: np.ndarray) -> np.ndarray | None:
    """What is behind the product: a gradient of second order through the plain part of the border, [H, W, 3]."""
    height, width = photo.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    edge = max(2, round(0.01 * max(height, width)))
    ring = np.ones((height, width), bool)
    ring[edge:-edge, edge:-edge] = False
    values, places = photo[ring], terms[ring]
    weight = (np.abs(values - np.median(values, 0)).max(-1) <= STRAY).astype(float)
    if weight.mean() < PLAIN_BORDER:
        weight[:] = 1
    for _ in range(8):  # least absolute deviations
        fit = np.linalg.lstsq(places * weight[:, None], values * weight[:, None], rcond=None)[0]
        astray = np.abs(values - places @ fit).max(-1)
        weight = 1 / np.sqrt(astray.clip(1))
        weight[astray > 2 * STRAY] *= 0.1
    return None if (astray <= STRAY).mean() < PLAIN_BORDER else (terms @ fit).astype(np.float32)


def _of_light(photo: np.ndarray, behind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of the background's light that is left, and by how many levels the colour is off; both [H, W]."""
    import cv2

    fine = cv2.GaussianBlur(photo, (0, 0), 1)
    seen, whole = (np.einsum("ijk,ijk->ij", colours, behind) + DIM for colours in (fine, behind))
    light = seen / whole
    off = np.abs(fine - light[..., None] * behind)
    return light, np.maximum(np.maximum(off[..., 0], off[..., 1]), off[..., 2])


def _coloured(light: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """What is no shadow of the background, bool [H, W]."""
    import cv2

    noise = float(np.median(_ring(colour)))
    bleeding = cv2.dilate(colour, np.ones((17, 17)))  # JPEG's, whose colours are coarse
    return (colour > np.maximum(COLOURED + 3 * noise, 0.35 * bleeding)) | (light < DARK) | (light > BRIGHT)


def _edges(photo: np.ndarray, scale: float) -> np.ndarray:
    """Sharp edges, bool [H, W]; the slope of a soft shadow is nearly as steep when blurred."""
    import cv2

    slope = _slope(photo, scale)
    blurred = cv2.GaussianBlur(slope, (0, 0), (scale + 1) * 1.5)
    noise = float(np.median(_ring(slope)))
    slope[(slope < SHARP * blurred) & (slope < STEEP * 256 / max(slope.shape))] = 0
    ripples = cv2.dilate(slope, np.ones((15, 15)))  # JPEG's, around strong edges
    return slope > np.maximum(max(EDGE / scale, 2.5 * noise), 0.08 * ripples)


def _slope(photo: np.ndarray, scale: float) -> np.ndarray:
    """Levels a pixel, [H, W]."""
    import cv2

    soft = cv2.GaussianBlur(cv2.transform(photo, np.full((1, 3), 1 / 3)), (0, 0), scale)
    return np.hypot(cv2.Sobel(soft, -1, 0, 1), cv2.Sobel(soft, -1, 1, 0)) / 8


def _ring(values: np.ndarray) -> np.ndarray:
    inner = values[2:-2, 2:-2]
    return np.concatenate([inner[:4].ravel(), inner[-4:].ravel(), inner[:, :4].ravel(), inner[:, -4:].ravel()])


def _closed(barrier: np.ndarray, shaded: np.ndarray) -> np.ndarray:
    """What the border does not reach, and what is surrounded by outline though it has gaps."""
    gap = max(1, round(0.006 * max(barrier.shape)))
    barrier = _without_specks(barrier, 4 * gap)
    solid = ~_grown(_reached(~_grown(barrier, gap), shaded), gap)  # the product may be cut off by the border
    solid = _labelled(_without_specks(solid, 0.01 * np.count_nonzero(solid)))
    for _ in range(2):
        enclosed = _enclosed(solid)
        solid |= (enclosed >= ENCLOSED) | (shaded & (enclosed >= ENCLOSED_SHADED))
    return _without_specks(solid, 0.03 * np.count_nonzero(solid))


def _labelled(solid: np.ndarray) -> np.ndarray:
    """With the bands filled that are as light as the background: level above and below, and as wide there and there."""
    import cv2

    above, below = (np.maximum.accumulate(solid[::way], 0)[::way] for way in (1, -1))
    count, region, box, _ = cv2.connectedComponentsWithStats((above & below & ~solid).astype(np.uint8), connectivity=4)
    height, filled = np.count_nonzero(solid.any(1)), solid.copy()
    for i in range(1, count):
        left, top, width, tall, area = box[i]
        if tall > LABEL * height or area < 0.003 * np.count_nonzero(solid):
            continue
        part = region[top : top + tall, left : left + width] == i
        starts, ends = top + part.argmax(0), top + tall - part[::-1].argmax(0)
        fifth = -(-width // 5)
        row = solid[top + tall // 2]
        sides = [slice(fifth)] * (not row[:left].any()) + [slice(width - fifth, None)] * (not row[left + width :].any())
        if all(_level(solid, starts[side], ends[side]) for side in sides):
            filled |= region == i
    return filled


def _level(solid: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> bool:
    """Whether a gap's first and last rows are level over its columns, and the product as wide above it as below."""
    start, end = int(np.median(starts)), int(np.median(ends))
    over, under = np.nonzero(solid[max(0, start - 3)])[0], np.nonzero(solid[min(end + 2, len(solid) - 1)])[0]
    level = min((np.abs(found - row) <= 3).mean() for found, row in ((starts, start), (ends, end)))
    if not len(over) or not len(under) or level < 0.7:
        return False
    return abs(over[0] - under[0]) + abs(over[-1] - under[-1]) < 0.12 * np.ptp(over)


def _holes(solid: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Where the background is seen through the product, as in a mug's handle: beside its body, within a thick wall.

    clear: bool [H, W], where it may be seen; on the body that is a label.
    """
    import cv2

    holes = np.zeros_like(solid)
    count, region, stats, _ = cv2.connectedComponentsWithStats((solid & clear).astype(np.uint8), connectivity=4)
    for i in range(1, count):
        if stats[i, cv2.CC_STAT_AREA] < 0.004 * np.count_nonzero(solid):
            continue
        hole = _grown(region == i, 2)
        depth = _depth(solid & ~hole)
        wall = next(r for r in range(1, int(depth.max()) + 2) if (_reached(depth <= r) & hole).any())
        body = _grown(depth > wall + 1, wall + 1)  # without what is no thicker than the wall
        if wall < BAND or np.count_nonzero(body) < 2 * np.count_nonzero(hole):
            continue
        if _hull(body)[hole].mean() < 0.75:
            holes |= hole
    return holes


def _without_specks(mask: np.ndarray, least: float) -> np.ndarray:
    """Without the parts of fewer pixels."""
    import cv2

    _, region, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    area[0] = 0
    return (area >= max(1, least))[region]


def _enclosed(outline: np.ndarray) -> np.ndarray:
    """The share of the directions in which `outline` is met, [H, W]; looked at in half the size."""
    import cv2

    height, width = (side // 2 for side in outline.shape)
    half = cv2.resize(outline.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    side = int(np.ceil(np.hypot(height, width))) + 2
    met = np.zeros((height, width), np.float32)
    for turn in range(RAYS // 2):
        turned = cv2.getRotationMatrix2D((width / 2, height / 2), 360 / RAYS * turn, 1)
        turned[:, 2] += (side - width) / 2, (side - height) / 2
        seen = cv2.warpAffine(half, turned, (side, side)) > 0.3
        both = np.maximum.accumulate(seen, 1).astype(np.float32) + np.maximum.accumulate(seen[:, ::-1], 1)[:, ::-1]
        met += cv2.warpAffine(both, turned, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return cv2.resize(met / RAYS, outline.shape[::-1])


def _grown(mask: np.ndarray, radius: float) -> np.ndarray:
    return _depth(~mask) <= radius


def _depth(mask: np.ndarray) -> np.ndarray:
    """Of each pixel of `mask`, how far it is from the rest."""
    import cv2

    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _reached(free: np.ndarray, not_from: np.ndarray | None = None) -> np.ndarray:
    """The part of `free` that touches the picture's border, elsewhere than at `not_from`."""
    import cv2

    _, region = cv2.connectedComponents(free.astype(np.uint8), connectivity=4)
    start = region if not_from is None else np.where(not_from, 0, region)
    outer = np.unique(np.concatenate([start[0], start[-1], start[:, 0], start[:, -1]]))
    return np.isin(region, outer[outer > 0])


def _sharpened(solid: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """The outline moved to where the colour changes from the surroundings' to the product's; as large as the photo."""
    import cv2

    band = round(BAND * len(photo) / len(solid))
    mask = cv2.resize(solid.astype(np.float32), photo.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5

    def near(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = cv2.blur(part.astype(np.float32), (4 * band + 1,) * 2)
        return cv2.blur(photo * part[..., None], (4 * band + 1,) * 2) / share.clip(1e-6)[..., None], share > 1e-4

    for faint in (_depth(mask) / band - SPREAD, mask, mask):  # where the colours do not say: a little in, then stay
        inner, outer = ~_grown(~mask, band), ~_grown(mask, band)
        (product, thick), (around, known) = near(inner), near(outer)
        change = product - around
        contrast = np.einsum("ijk,ijk->ij", change, change).clip(1e-3)
        share = np.einsum("ijk,ijk->ij", photo - around, change) / contrast  # of the product's colour
        sure = np.where(thick & known, contrast / (contrast + FAINT**2), 0)
        share = sure * share.clip(0, 1) + (1 - sure) * np.clip(faint, 0, 1)
        mask = inner | (~outer & (share > 0.5))
        mask = cv2.medianBlur(mask.astype(np.uint8), 3) > 0
    return mask
