"""A scene as the graph shows it: its movement carried over to the person of the photo."""

from dataclasses import replace

import numpy as np
import torch

from ..preprocessors.pose.placement import Placement, place_pose, place_video
from .scene import Scene


def place_scene(scene: Scene, placement: Placement) -> Scene:
    """`scene` with person and product at another place and size, before the room of the photo, which stays.

    placement: between pictures of the scene's size.
    """

    def moved(pictures: np.ndarray) -> np.ndarray:
        planes = pictures if pictures.ndim == 4 else pictures[..., None]
        return place_video(torch.from_numpy(planes), placement).numpy().reshape(pictures.shape)

    def before_room(pictures: np.ndarray) -> np.ndarray:
        """What of `pictures` is not the room."""
        there = moved((pictures != scene.background).any(-1).astype(np.uint8))[..., None]
        return np.where(there > 0, moved(pictures), scene.background[:1])

    placed = replace(
        scene,
        frames=before_room(scene.frames),
        background=np.broadcast_to(scene.background[:1], scene.background.shape),
        objects=moved(scene.objects),
        depth=moved(scene.depth),
        poses=[place_pose(pose, placement) for pose in scene.poses],
    )
    # What a scene draws of its own movement is moved as it was drawn.
    vars(placed).update(
        without_product=before_room(scene.without_product),
        object_depth=moved(scene.object_depth),
        hand_mesh=moved(scene.hand_mesh),
    )
    return placed
