"""The picture of one hand that HaMeR looks at."""

from typing import NamedTuple

import numpy as np

from ...models.hmr.hamer import CROP

MARGIN = 2.0
_SHARP = 1.1  # a hand that is shrunk by more than that is blurred first


class HandCrop(NamedTuple):
    """pixels: RGB [256,256,3] in 0…255 (uint8, or float64 where it was blurred), left hands mirrored. centre (x, y)
    and side of the square it shows, in px of the picture (not mirrored)."""

    pixels: np.ndarray
    centre: np.ndarray
    side: float


def hand_crop(image: np.ndarray, box: np.ndarray, right: bool) -> HandCrop:
    """The hand in `box` (x1, y1, x2, y2 px) of `image`, uint8 RGB [H,W,3] (HaMeR, `ViTDetDataset`)."""
    import cv2

    centre = (box[:2] + box[2:]) / 2
    width, height = (box[2:] - box[:2]) * MARGIN
    side = max(height, width * 4 / 3)  # grown to the network's 3:4, then to a square
    shrink = side / CROP / 2
    if shrink > _SHARP:
        sigma = (shrink - 1) / 2
        reach = 2 * int(4 * sigma + 0.5) + 1
        image = cv2.GaussianBlur(image.astype(np.float64), (reach, reach), sigma, borderType=cv2.BORDER_REPLICATE)
    x, y = centre
    if not right:
        image, x = image[:, ::-1], image.shape[1] - x - 1
    scale = CROP / side
    matrix = np.array([[scale, 0, CROP / 2 - scale * x], [0, scale, CROP / 2 - scale * y]])
    pixels = cv2.warpAffine(np.ascontiguousarray(image), matrix, (CROP, CROP), flags=cv2.INTER_LINEAR)
    return HandCrop(pixels, centre, float(side))
