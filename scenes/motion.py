"""Motions of synthetic people, and the camera that sees them."""

from dataclasses import dataclass

import numpy as np
import torch

from ..models.body.motion import BodyMotion
from ..models.drawing.camera import Camera
from ..models.staging.gestures import GESTURES
from ..models.staging.holding import Size
from .exercise import EXERCISES, exercise
from .look import SPLITS
from .person import Person
from .presenting import DISTANCE, present, stand


@dataclass(frozen=True)
class SceneMotion:
    """`pose` [F,55,3] axis-angle and `trans` [F,3] m (SMPL-X, camera axes); `product` [F,4,4]: the product's pose in
    front of the camera, None without one; `holding`: the hands that hold it. The camera sees `extent` m of height at
    `distance` m, with (0, 0, distance) in the middle of the picture. float64."""

    kind: str
    pose: torch.Tensor
    trans: torch.Tensor
    product: torch.Tensor | None
    holding: tuple[str, ...]
    distance: float
    extent: float
    fps: float

    def __len__(self) -> int:
        return len(self.pose)

    def camera(self, size: tuple[int, int]) -> Camera:
        """For a picture of `size` (width, height) px."""
        return Camera.centred(size[1] * self.distance / self.extent, *size)

    def body_motion(self, person: Person, size: tuple[int, int]) -> BodyMotion:
        """As the avatar's nodes take it, frames numbered from 0."""
        camera, count = self.camera(size), len(self)
        betas, focal, principal = (
            torch.as_tensor(values, dtype=torch.float64).expand(count, -1)
            for values in (person.betas, camera.focal, camera.principal)
        )
        return BodyMotion(self.pose, self.trans, betas, focal, principal, camera.size, tuple(range(count)), self.fps)


def make_motion(
    seed: int,
    split: str,
    person: Person,
    product_size: Size | None,
    frames: int,
    fps: float = 15.0,
    kind: str | None = None,
) -> SceneMotion:
    """A motion of `person`, the same for the same seed: one of GESTURES with a product of `product_size` (w, h, d)
    m, shown from head to hip for a portrait picture; one of EXERCISES with None, all of the body for a landscape one.

    Raises ValueError for a `kind` that there is not, with a product or without, and for less than one frame.
    """
    kinds = EXERCISES if product_size is None else GESTURES
    if kind is not None and kind not in kinds:
        which = "without" if product_size is None else "with"
        raise ValueError(f"There is no motion {kind!r} {which} a product: choose {', '.join(kinds)}.")
    if frames < 1 or fps <= 0:
        raise ValueError(f"A motion needs at least one frame and a rate above 0, not {frames} frames at {fps:g}.")
    rng = np.random.default_rng([seed, SPLITS.index(split), 1])
    chosen = kinds[rng.integers(len(kinds))]
    kind = kind or chosen
    time = torch.arange(frames, dtype=torch.float64) / fps
    if product_size is None:
        pose, trans, distance, extent = exercise(kind, person, time, rng)
        return SceneMotion(kind, pose, trans, None, (), distance, extent, fps)
    pose, trans, product, hands, extent = present(kind, person, product_size, time, rng)
    return SceneMotion(kind, pose, trans, product, hands, DISTANCE, extent, fps)


def photo_pose(seed: int, split: str, person: Person) -> SceneMotion:
    """One frame of the same person who stands for a photo without a product, from head to hip."""
    pose, trans, extent = stand(person, np.random.default_rng([seed, SPLITS.index(split), 2]))
    return SceneMotion("photo", pose, trans, None, (), DISTANCE, extent, 1.0)
