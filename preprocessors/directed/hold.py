"""A product for a motion that is there already: motion and product for pictures of avatars and bodies."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ...models.avatar.with_products import draw_products
from ...models.body.body import BodyModel
from ...models.body.layout import SIDES
from ...models.body.motion import BodyMotion
from ...models.drawing.camera import Camera
from ...models.drawing.mesh import render_mesh
from ...models.staging.held import HeldProduct
from ...models.staging.hold import Hold, hold_in_hands, stand_in_scene
from ...models.staging.product_solid import real_size
from ..product.stand_in import proportions
from ..product.views import ProductViews
from .present import BOTH, HANDS

TABLE = "table"
PLACES = (*HANDS, TABLE)
GRIPS = ("side", "below")
_SHOWN = 512  # px: the longer side of an overview


class Held(NamedTuple):
    """The motion with fingers closed, all products of it, and a line on the last one."""

    motion: BodyMotion
    products: tuple[HeldProduct, ...]
    report: str


def hold(
    body: BodyModel, motion: BodyMotion, product: ProductViews, kind: str = "box", width: float = 0.0,
    height: float = 0.0, depth: float = 0.0, hand: str = "right", grip: str = "side", offset: float = 0.0,
    turn: float = 0.0, x: float = 0.5, y: float = 0.9, nearer: float = 0.3, earlier: Sequence[HeldProduct] = (),
) -> Held:
    """`motion` with a product, beside the `earlier` ones.

    kind, width, height, depth: as for `direct`. hand: of PLACES; grip: of GRIPS; offset: cm; turn: degrees; see
    `hold.Hold`. For a product on a table: x, y, nearer, see `hold.stand_in_scene`.
    Raises ValueError or MotionError, each a sentence, for what cannot be held.
    """
    size = real_size(kind, proportions(product.masks[1:2]), width / 100, height / 100, depth / 100)
    if hand == TABLE:
        place = stand_in_scene(motion, body.skeleton, size, x, y, nearer, math.radians(turn))
        held = HeldProduct.of(*product, size, kind, place)
    else:
        hands = SIDES if hand == BOTH else (hand,)
        held = HeldProduct.of(*product, size, kind, torch.eye(4, dtype=torch.float64)[None], hands)
        how = Hold(grip == "below", offset / 100, math.radians(turn))
        motion, place = hold_in_hands(motion, body.skeleton, held.vertices, size, hands, how, earlier)
        held = held._replace(place=place)
    where = {TABLE: "on a table", BOTH: "in both hands"}.get(hand, f"in the {hand} hand")
    sides = " × ".join(f"{100 * side:.1f}" for side in size)
    return Held(motion, (*earlier, held), f"product {sides} cm (width, height, depth) {where}")


def overview(body: BodyModel, held: Held, most: int) -> torch.Tensor:
    """At most `most` frames from the first to the last: the grey body with its products, IMAGE [n,H,W,3]."""
    motion, products, _ = held
    factor = min(1.0, _SHOWN / max(motion.size))
    pictures = []
    for row in np.linspace(0, len(motion) - 1, min(most, len(motion))).round().astype(int).tolist():
        one, camera = slice(row, row + 1), Camera.of(motion, row).scaled(factor)
        grey = render_mesh(body.vertices(motion.pose[one], motion.betas[one], motion.trans[one])[0], body.faces, camera)
        seen = draw_products(products, [product.places(motion, body.skeleton)[row] for product in products], camera)
        if seen is not None:
            window = slice(None), seen.rows, seen.columns
            behind = grey.depth[window][0]
            shown = seen.coverage * ((behind == 0) | (seen.depth < behind))
            grey.image[window] = (1 - shown) * grey.image[window] + shown / seen.coverage.clamp(min=1e-6) * seen.rgb
        pictures.append(grey.image.movedim(0, -1))
    return torch.stack(pictures)
