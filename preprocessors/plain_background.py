"""What stands out from a background in one colour, by its colour alone."""

import numpy as np

TOLERANCE = 24 / 255  # how far the colour of a plain background may stray, per channel
PLAIN_BORDER = 0.7  # share of the border in one colour that makes a background plain; the rest may be touched


def find_on_plain_background(image: np.ndarray) -> tuple[np.ndarray | None, bool]:
    """Mask bool [H,W] of what has another colour, and whether the background is black; (None, False) without one."""
    import cv2

    ring = np.concatenate([side.reshape(-1, 3) for side in (image[:2], image[-2:], image[:, :2], image[:, -2:])])
    color = np.median(ring, axis=0)
    if (np.abs(ring - color).max(axis=-1) <= TOLERANCE).mean() < PLAIN_BORDER:
        return None, False

    plain = (np.abs(image - color).max(axis=-1) <= TOLERANCE).astype(np.uint8)
    _, region = cv2.connectedComponents(plain, connectivity=4)
    outer = np.unique(np.concatenate([region[0], region[-1], region[:, 0], region[:, -1]]))
    found = ~np.isin(region, outer[outer > 0])
    black = bool(color.max() <= TOLERANCE)
    if not black:  # the outermost pixels are a mixture with the background
        radius = max(1, round(max(found.shape) / 800))
        found = cv2.erode(found.astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)).astype(bool)

    # Specks of dust must not widen the crop.
    _, region, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    area[0] = 0
    found = (area >= area.max() * 0.01)[region] & found
    return (found, black) if found.mean() > 0.01 else (None, False)
