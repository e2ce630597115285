"""AnchorCrafter's conditions of a person and a product whose places are known exactly."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from ...models.body.body import BodyModel
from ...models.body.layout import SIDES, BodyModelError
from ...models.body.motion import BodyMotion
from ...models.drawing.camera import Camera
from ...models.drawing.mesh import visible_depth
from ...models.staging.held import HeldProduct
from ..condition_colours import draw_hands, hand_condition, held_depth_condition
from ..pose.from_body import posed_frames, seen_pose
from ..pose.keypoints import Pose


class HeldConditions(NamedTuple):
    """F frames, consistent to the pixel: poses; hand_mesh and object_depth uint8 RGB [F,H,W,3] on black; product_mask
    [F,H,W] bool, 1 where the product is visible."""

    poses: list[Pose]
    hand_mesh: torch.Tensor
    object_depth: torch.Tensor
    product_mask: torch.Tensor


def held_conditions(
    body: BodyModel, motion: BodyMotion, product: HeldProduct, on_step: Callable[[int, int], None] | None = None
) -> HeldConditions:
    """What the motion's camera sees of the body and of the product that it holds.

    Raises BodyModelError for a body whose points or hands are not known.
    """
    if not body.hands:
        raise BodyModelError(
            f"The hands of a body with {len(body.template)} vertices are not known: use SMPL-X or Anny."
        )
    hands = torch.cat([body.hands[side] for side in SIDES])
    places = product.places(motion, body.skeleton)
    poses, drawn, depths = [], [], []
    for frame, (vertices, points) in enumerate(posed_frames(body, motion)):
        camera = Camera.of(motion, frame)
        person = visible_depth(vertices, body.faces, camera)
        thing = visible_depth(product.placed(places[frame]), product.faces, camera)
        thing = torch.where((person > 0) & (person <= thing), 0, thing)
        poses.append(seen_pose(points, camera, torch.where(thing > 0, 0, person).numpy(), thing.numpy()))
        drawn.append(draw_hands(vertices, hands, camera)[0])
        depths.append(thing)
        if on_step is not None:
            on_step(frame + 1, len(motion))
    depth = torch.stack(depths)
    mask = depth > 0
    return HeldConditions(poses, hand_condition(torch.stack(drawn), mask), held_depth_condition(depth, mask), mask)
