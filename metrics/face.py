"""Face-Cos: whether the person still has the reference's face, by AdaFace (IR-50, trained on MS1MV2)."""

import cv2
import numpy as np
import torch
from torch import nn

from .landmarks import SEEN, People

SIDE = 112
# Where eyes, nose tip and corners of the mouth lie in the network's input, in pixels (ArcFace's template).
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
# The same points among the 68 of a face: averages over each eye, single points for the rest.
FIVE = [range(36, 42), range(42, 48), [30], [48], [54]]


def align_face(frame: np.ndarray, people: People) -> np.ndarray:
    """The first person's face in `frame` (uint8 RGB [H,W,3]) upright and to scale, uint8 RGB [112,112,3].

    The published code finds the five points with MTCNN; these are DWPose's, which the pack has anyway. Black where
    there is no face, which is scored like any other picture, as published.
    """
    height, width = frame.shape[:2]
    face = people.face[0] if len(people.face) else np.zeros((68, 3))
    points = np.array([face[list(group), :2].mean(axis=0) for group in FIVE]) * (width, height)
    if (face[:, 2] > SEEN).mean() < 0.5 or not np.isfinite(points).all():
        return np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    return cv2.warpAffine(frame, similarity(points, TEMPLATE), (SIDE, SIDE), flags=cv2.INTER_LINEAR)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scaling and shift [2,3] that brings the points [N,2] `source` nearest to `target`."""
    (x, y), one, zero = source.T, np.ones(len(source)), np.zeros(len(source))
    equations = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, shift_x, shift_y = np.linalg.lstsq(equations, target.T.ravel(), rcond=None)[0]
    return np.array([[a, -b, shift_x], [b, a, shift_y]])


class Residual(nn.Module):
    def __init__(self, width: int, out: int, stride: int):
        super().__init__()
        if width == out:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut_layer(x) + self.res_layer(x)


class AdaFace(nn.Module):
    """The network of `adaface_ir50_ms1mv2.ckpt` (its entries `model.`)."""

    def __init__(self):
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        blocks, width = [], 64
        for out, count in ((64, 3), (128, 4), (256, 14), (512, 3)):
            blocks += [Residual(width, out, 2), *(Residual(out, out, 1) for _ in range(count - 1))]
            width = out
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, 512),
            nn.BatchNorm1d(512, affine=False),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N,3,112,112], BGR in −1…1 → unit features [N,512]."""
        return nn.functional.normalize(self.output_layer(self.body(self.input_layer(pixels))), dim=1)
