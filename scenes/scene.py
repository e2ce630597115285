"""A scene whose every condition is known: somebody presents a product in a room, or moves with nothing in hand.

Everything is drawn from one description, so clip, background, masks, pose, hand meshes and depth agree to the pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from ..media.frames import stepped
from ..models.body.motion import BodyMotion
from ..models.drawing.camera import Camera
from ..preprocessors.condition_colours import draw_hands, hand_condition, held_depth_condition
from ..preprocessors.pose.draw_pose import draw_pose
from ..preprocessors.pose.from_body import seen_pose
from ..preprocessors.pose.keypoints import Pose
from . import PORTRAIT
from .exercise import EXERCISES
from .motion import make_motion, photo_pose
from .person import Person, make_person
from .product import Product, make_product, views
from .render import Mesh, Picture, render
from .room import make_room

PERSON, PRODUCT = 1, 2  # in `Scene.objects`


@dataclass(frozen=True)
class Scene:
    """F frames of H×W pixels. Pictures are uint8 RGB.

    frames, background [F, H, W, 3]: with and without person and product. objects [F, H, W] uint8: PERSON, PRODUCT or 0
    for the room. depth [F, H, W] m, 0 in the room. poses: the person in every frame, with low scores for points that
    are hidden or outside. person_photo [H, W, 3], person_pose: the same person, otherwise posed, in the same room.
    product: None in a scene without.
    """

    kind: str
    frames: np.ndarray
    background: np.ndarray
    objects: np.ndarray
    depth: np.ndarray
    poses: list[Pose]
    person_photo: np.ndarray
    person_pose: Pose
    person: Person = field(repr=False)
    motion: BodyMotion = field(repr=False)
    product: Product | None = field(repr=False)
    fps: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def person_mask(self) -> np.ndarray:
        """bool [F, H, W]."""
        return self.objects == PERSON

    @property
    def product_mask(self) -> np.ndarray:
        """bool [F, H, W]: the product's visible pixels; fingers in front are not."""
        return self.objects == PRODUCT

    @cached_property
    def product_views(self) -> np.ndarray | None:
        """uint8 [3, 518, 518, 3]: left, front, right on black."""
        return None if self.product is None else views(self.product)

    @cached_property
    def without_product(self) -> np.ndarray:
        """The same clip, had nobody anything in hand: uint8 [F, H, W, 3]."""
        person = self.person
        posed = (
            Mesh(points, person.faces, person.colours)
            for points in person.vertices(self.motion.pose, self.motion.trans)
        )
        pictures = (render([[mesh]], Camera.of(self.motion, frame)) for frame, mesh in enumerate(posed))
        return np.stack([picture.over(room) for picture, room in zip(pictures, self.background, strict=True)])

    @cached_property
    def pose_frames(self) -> np.ndarray:
        """The poses as drawn for the model, [F, H, W, 3]."""
        return np.stack([draw_pose(pose, *self.size, antialias=True) for pose in self.poses])

    @cached_property
    def object_depth(self) -> np.ndarray:
        """AnchorCrafter's depth condition [F, H, W, 3]: the visible product in inferno colours, near is bright."""
        return held_depth_condition(torch.from_numpy(self.depth), torch.from_numpy(self.product_mask)).numpy()

    @cached_property
    def hand_mesh(self) -> np.ndarray:
        """AnchorCrafter's hand condition [F, H, W, 3]: both hands, light blue, without what the product covers."""
        vertices, faces = self.person.hand_mesh(self.motion.pose, self.motion.trans)
        cameras = (Camera.of(self.motion, frame) for frame in range(len(vertices)))
        shown = [draw_hands(points, faces, camera)[0] for points, camera in zip(vertices, cameras, strict=True)]
        return hand_condition(torch.stack(shown), torch.from_numpy(self.product_mask)).numpy()


def make_scene(
    seed: int,
    split: str,
    size: tuple[int, int] = PORTRAIT,
    frames: int = 16,
    fps: float = 15.0,
    kind: str | None = None,
    on_step: Callable[[int, int], None] | None = None,
    person: Person | None = None,
) -> Scene:
    """The scene of a seed, in pictures of `size` (width, height).

    split: "train" or "test", which share neither people nor products. kind: one of `GESTURES` (with a product, in
    a room seen by a still camera) or `EXERCISES` (whole body, moving camera); by chance of the former if not given.
    on_step(done, total) comes after every frame and may raise to cancel. person: the seed's own if not given; the room
    is the person's. Raises ValueError for an unknown split or kind.
    """
    person = make_person(seed, split) if person is None else person
    product = None if kind in EXERCISES else make_product(seed, split)
    motion = make_motion(seed, split, person, product and product.size, frames, fps, kind)
    room = make_room(person.seed, split, size, frames, moving=product is None)
    camera = motion.camera(size)
    vertices = person.vertices(motion.pose, motion.trans)

    pictures = []
    for frame in stepped(range(frames), on_step):
        things = [[Mesh(vertices[frame], person.faces, person.colours)]]
        pictures.append(render([*things, product.meshes(motion.product[frame])] if product else things, camera))
    background = room.frames()
    keypoints = person.keypoints(motion.pose, motion.trans)

    still = photo_pose(person.seed, split, person)
    photo_camera = still.camera(size)
    photo = render([[Mesh(person.vertices(still.pose, still.trans)[0], person.faces, person.colours)]], photo_camera)
    return Scene(
        kind=motion.kind,
        frames=np.stack([picture.over(room) for picture, room in zip(pictures, background, strict=True)]),
        background=background,
        objects=np.stack([picture.object for picture in pictures]),
        depth=np.stack([picture.depth for picture in pictures]),
        poses=[_pose(points, camera, picture) for points, picture in zip(keypoints, pictures, strict=True)],
        person_photo=photo.over(background[0]),
        person_pose=_pose(person.keypoints(still.pose, still.trans)[0], photo_camera, photo),
        person=person,
        motion=motion.body_motion(person, size),
        product=product,
        fps=fps,
    )


def _pose(points: torch.Tensor, camera: Camera, picture: Picture) -> Pose:
    """Keypoints [133, 3] m as DWPose would find them."""
    depths = (np.where(picture.object == thing, picture.depth, 0) for thing in (PERSON, PRODUCT))
    return seen_pose(points, camera, *depths)
