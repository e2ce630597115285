"""The pinhole camera that everything is drawn by.

It is at the origin, in OpenCV's axes: x right, y down, z forward, m.
"""

import math
from dataclasses import dataclass

import torch

from ..body.motion import BodyMotion

# m: what is nearer is not drawn. That of gaussians is a rule of the rasteriser that AniCrafter was trained with.
NEAR_POINTS, NEAR_MESH, NEAR_GAUSSIANS = 0.05, 0.01, 0.2


@dataclass(frozen=True)
class Camera:
    """focal: (fx, fy) px. principal: (cx, cy) px from the picture's left and upper edges. size: (width, height) px."""

    focal: tuple[float, float]
    principal: tuple[float, float]
    size: tuple[int, int]

    def __post_init__(self):
        numbers = (*self.focal, *self.principal)
        if not all(map(math.isfinite, numbers)) or min(*self.focal, *self.size) <= 0:
            raise ValueError(f"A camera needs positive focal lengths and a positive picture size; this is {self}.")

    @classmethod
    def centred(cls, focal: float, width: int, height: int) -> "Camera":
        """With its axis through the picture's middle."""
        return cls((focal, focal), (width / 2, height / 2), (width, height))

    @classmethod
    def of(cls, motion: BodyMotion, row: int) -> "Camera":
        """That of one frame of a motion."""
        return cls(tuple(motion.focal[row].tolist()), tuple(motion.principal[row].tolist()), motion.size)

    def scaled(self, factor: float) -> "Camera":
        """The same view in a picture `factor` times as large."""
        focal, principal = (tuple(value * factor for value in pair) for pair in (self.focal, self.principal))
        return Camera(focal, principal, tuple(round(side * factor) for side in self.size))

    def project(self, points: torch.Tensor) -> torch.Tensor:
        """Where points [...,3] m are seen, pixels' centres at whole numbers: [...,2] px; far out what is behind."""
        before = torch.cat([points[..., :2], points[..., 2:].clamp(min=1e-3)], -1)
        return project(before, *map(points.new_tensor, (self.focal, self.principal))) - 0.5

    def unproject(self, at: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        """The points [...,3] m that `project` brings to `at` [...,2] px, `depth` [...] m along the camera's axis."""
        slope = (at + 0.5 - depth.new_tensor(self.principal)) / depth.new_tensor(self.focal)
        return torch.cat([slope * depth[..., None], depth[..., None]], dim=-1)


def project(points: torch.Tensor, focal: torch.Tensor, principal: torch.Tensor) -> torch.Tensor:
    """Where a pinhole sees points [...,3] m before it: [...,2] px from the picture's left and upper edges.

    focal, principal: [...,2] px.
    """
    return points[..., :2] / points[..., 2:] * focal + principal
