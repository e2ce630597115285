"""The square picture of one person that Multi-HMR looks at, and the way back to the clip's own picture."""

from typing import NamedTuple

import numpy as np
import torch

from ...media.frames import resize
from ...models.hmr.multihmr import PATCH, Window
from ...models.normalise import IMAGENET, normalise

MARGIN = 1.5
SURE = 0.5  # a keypoint scoring less does not say where to look
RADIUS = 4  # tokens, where the keypoints lie too close together to say
_EARS_AND_SHOULDERS = slice(3, 7)  # of COCO's points


class PersonCrop(NamedTuple):
    """A rectangle of the clip's picture: `left`, `top` px; resized by `scale`; then moved by the padding `pad_left`,
    `pad_top` px; `share`: the network picture's side in px of the clip over the longer side of the clip's picture."""

    left: float
    top: float
    pad_left: float
    pad_top: float
    scale: float
    share: float

    def to_crop(self, xy: np.ndarray) -> np.ndarray:
        """Points [...,2] of the clip's picture in the network's, px."""
        return (xy - (self.left, self.top)) * self.scale + (self.pad_left, self.pad_top)

    def to_picture(self, place: torch.Tensor, distance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Place [P,2] px and distance [P,1] m in the full picture, seen under the same angle, of those in the crop."""
        pad, corner = place.new_tensor([self.pad_left, self.pad_top]), place.new_tensor([self.left, self.top])
        return (place - pad) / self.scale + corner, distance / self.share


def person_crop(image: torch.Tensor, box: np.ndarray, side: int) -> tuple[torch.Tensor, PersonCrop]:
    """The network's picture [3,side,side], normalised, of the person in `box` (x1, y1, x2, y2 px), and where it is.

    image: float [H,W,3] in 0…1. The box grows by half, ends at the picture's edges, and is centred on black.
    """
    height, width = image.shape[:2]
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * MARGIN
    left, top = np.floor(np.maximum(centre - half, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(centre + half, (width, height))).astype(int)
    part = image[top:bottom, left:right, :3].float()
    scale = side / max(part.shape[:2])
    new_width, new_height = (max(1, round(length * scale)) for length in (right - left, bottom - top))
    pad_left, pad_top = (side - new_width) // 2, (side - new_height) // 2
    picture = image.new_zeros(side, side, 3, dtype=torch.float32)
    picture[pad_top : pad_top + new_height, pad_left : pad_left + new_width] = resize(part, new_width, new_height)
    place = PersonCrop(left, top, pad_left, pad_top, scale, side / scale / max(width, height))
    return normalise(picture.permute(2, 0, 1), IMAGENET), place


def search_window(keypoints: np.ndarray, crop: PersonCrop) -> Window | None:
    """Where the head should be, from COCO-WholeBody points [133,3] (x, y px, score); None if they do not show it."""
    points = keypoints[_EARS_AND_SHOULDERS]
    xy = crop.to_crop(points[points[:, 2] >= SURE, :2])
    if len(xy) < 2:
        return None
    column, row = xy.mean(0) // PATCH
    radius = int(np.linalg.norm(np.ptp(xy, axis=0)) / 2 // PATCH)
    return Window(int(row), int(column), radius if radius >= 2 else RADIUS)
