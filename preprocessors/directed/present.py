"""From a photo, a product and a script to a motion and AnchorCrafter's conditions."""

import logging
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ...models.body.body import BodyModel
from ...models.body.layout import SIDES, SPINES
from ...models.body.motion import BodyMotion
from ...models.staging.gestures import read_script
from ...models.staging.held import HeldProduct, in_hand
from ...models.staging.presenter import present_product
from ...models.staging.product_solid import real_size
from ..body_motion.estimate import estimate_motion
from ..condition_sheet import condition_sheet
from ..pose.draw_pose import draw_poses
from ..pose.keypoints import VISIBLE, Pose
from ..product.stand_in import proportions
from ..product.views import ProductViews
from .conditions import HeldConditions, held_conditions

_ANGLE, _DISTANCE = 60.0, 1.5  # degrees; m from which people are photographed at least
BOTH = "both"
HANDS = ("right", "left", BOTH)
_OPENPOSE = {"right": (2, 3, 4), "left": (5, 6, 7)}  # shoulder, elbow, wrist
_log = logging.getLogger(__name__)


class Directed(NamedTuple):
    """The person's motion before the photo's camera, the product in their hands, what AnchorCrafter is shown of both,
    and a line on what was taken for given."""

    motion: BodyMotion
    product: HeldProduct
    conditions: HeldConditions
    report: str


def direct(
    body: BodyModel, pose: Pose, picture: tuple[int, int], product: ProductViews, gestures: str = "raise",
    hand: str = "right", kind: str = "box", width: float = 0.0, height: float = 0.0, depth: float = 0.0,
    seconds: float = 4.0, fps: float = 15.0, seed: int = 0, field_of_view: float = 0.0,
    on_step: Callable[[int, int], None] | None = None,
) -> Directed:
    """The person of a photo of `picture` px (width, height), whose `pose` is known, presents a product.

    gestures: see `read_script`. hand: of HANDS, the one that holds. kind: of `product_solid.KINDS`; width, height,
    depth: cm, 0 where they are to be guessed. field_of_view: degrees over the photo's longer side; 0 takes 60, or what
    makes a close-up one from a photographer's distance. on_step(done, total) counts the steps of the fit, then the
    frames.
    Raises ValueError, MotionError or BodyModelError, each a sentence, for what cannot be shown.
    """
    hands = SIDES if hand == BOTH else (hand,)
    script = read_script(gestures, seconds)
    _check_arms(pose, hands, any(part.gesture == "point" for part in script))
    size = real_size(kind, proportions(product.masks[1:2]), width / 100, height / 100, depth / 100)
    photo, fit = estimate_motion(body, [pose], picture, fps, field_of_view or _ANGLE, on_step=on_step)
    away = float(photo.joints(body.skeleton)[0, SPINES[-1], 2])
    if not field_of_view and away < _DISTANCE:  # a product so near the lens would fill the picture
        angle = 2 * math.degrees(math.atan(math.tan(math.radians(_ANGLE / 2)) * away / _DISTANCE))
        photo, fit = estimate_motion(body, [pose], picture, fps, angle, on_step=on_step)
    count = max(1, round(seconds * fps))
    motion, place = present_product(photo, body.skeleton, size, script, hands, count, fps, seed)
    place = in_hand(place, motion, body.skeleton, hands[0])
    held = HeldProduct.of(*product, size, kind, place, hands)
    conditions = held_conditions(body, motion, held, on_step)
    sides = " × ".join(f"{100 * side:.1f}" for side in size)
    acts = ", ".join(f"{part.gesture} {part.begin:.3g}-{part.end:.3g} s" for part in script)
    report = f"{count} frames; {acts}; product {sides} cm (width, height, depth); photo's points {fit.error:.1f} px off"
    return Directed(motion, held, conditions, report)


def overview(directed: Directed, person: torch.Tensor, most: int) -> torch.Tensor:
    """At most `most` frames from the first to the last, all conditions over the photo, IMAGE [1,H,W,3]: [n,H,W,3]."""
    poses, hand_mesh, object_depth, _ = directed.conditions
    chosen = np.linspace(0, len(poses) - 1, min(most, len(poses))).round().astype(int).tolist()
    height, width = person.shape[1:3]
    drawn = torch.from_numpy(draw_poses([poses[frame] for frame in chosen], width, height, antialias=True))
    return condition_sheet(person.cpu(), drawn / 255, hand_mesh[chosen] / 255, object_depth[chosen] / 255)


def _check_arms(pose: Pose, hands: tuple[str, ...], points: bool) -> None:
    """Raises ValueError where a needed arm's shoulder is outside the photo; warns of a hand that it does not show."""
    if not pose.people:
        raise ValueError("No person was found in the photo: choose one that shows head, shoulders and chest.")
    for side in SIDES if points else hands:
        shoulder, elbow, wrist = ((pose.body[0, joint, 2] > VISIBLE) for joint in _OPENPOSE[side])
        if not shoulder:
            raise ValueError(
                f"The photo does not show the {side} shoulder, whose arm this gesture needs: choose the other hand, or "
                "a photo that shows both shoulders."
            )
        if not wrist:
            _log.warning(
                "The photo does not show the %s hand%s: what it looks like is made up.", side,
                "" if elbow else " or elbow",
            )
