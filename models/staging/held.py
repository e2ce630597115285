"""Products in a person's hands, or in the scene beside them: solids that look as their photos."""

from typing import NamedTuple

import torch

from ..body.body import Skeleton
from ..body.layout import WRIST
from ..body.motion import BodyMotion, MotionError
from ..drawing.texture import Texture
from .holding import Size
from .limbs import Figure, globals_of
from .product_look import product_look
from .product_solid import product_solid


class HeldProduct(NamedTuple):
    """A solid about its own centre, x right, y down, front towards −z: `vertices` [V,3] m, `faces` [f,3]
    counter-clockwise from outside, its `size` (width, height, depth) m.

    `place` [F,4,4] or, where it never changes, [1,4,4]: from its own space to that of the wrist of the first of the
    `hands` that hold it, which turns with the wrist; to the camera's where nobody holds it.
    uv [V,2] 0…1 and `texture`, uint8 RGBA: what is on it; a product without any is not shown in pictures of avatars.
    """

    vertices: torch.Tensor
    faces: torch.Tensor
    size: Size
    place: torch.Tensor
    hands: tuple[str, ...] = ()
    uv: torch.Tensor | None = None
    texture: Texture = ()

    @classmethod
    def of(
        cls, views: torch.Tensor, masks: torch.Tensor, size: Size, kind: str, place: torch.Tensor,
        hands: tuple[str, ...] = (),
    ) -> "HeldProduct":
        """A product of `kind`, see `product_solid`, that looks as its views [3,S,S,3] (left, front, right) in 0…1,
        which show it where masks [3,S,S] are 0.5 or more."""
        solid = product_solid(masks[1], size, kind)
        vertices, faces, uv = (torch.from_numpy(part) for part in (solid.vertices, solid.faces, solid.uv))
        return cls(vertices, faces.long(), size, place, hands, uv, product_look(solid, views, masks))

    def places(self, motion: BodyMotion, skeleton: Skeleton, betas: torch.Tensor | None = None) -> torch.Tensor:
        """From its own space to the camera's in every frame of `motion`, [F,4,4].

        betas [10]: of the body that moves so, the motion's own by default: another body's hand is elsewhere.
        Raises MotionError for a motion of another length than that which the product was held in.
        """
        if len(self.place) not in (1, len(motion)):
            raise MotionError(
                f"The held product moves for {len(self.place)} frames, the motion for {len(motion)}: connect the "
                "motion that came with it."
            )
        place = self.place.double().expand(len(motion), 4, 4)
        if not self.hands:
            return place
        return _wrist(motion, skeleton, self.hands[0], betas) @ place

    def placed(self, place: torch.Tensor) -> torch.Tensor:
        """Vertices [V,3] m, moved by one of `places` [4,4]."""
        place = place.to(self.vertices)
        return self.vertices @ place[:3, :3].T + place[:3, 3]


def in_hand(place: torch.Tensor, motion: BodyMotion, skeleton: Skeleton, hand: str) -> torch.Tensor:
    """`place` [F,4,4] before the camera as the wrist of `hand` has it, [F,4,4]."""
    return torch.linalg.inv(_wrist(motion, skeleton, hand)) @ place


def transform(rotation: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """[F,4,4] of rotation [F,3,3] and shift [F,3]."""
    made = torch.eye(4, dtype=torch.float64).repeat(len(shift), 1, 1)
    made[:, :3, :3], made[:, :3, 3] = rotation, shift
    return made


def _wrist(motion: BodyMotion, skeleton: Skeleton, hand: str, betas: torch.Tensor | None = None) -> torch.Tensor:
    figure = Figure(skeleton, skeleton.rest((motion.betas[0] if betas is None else betas).float()))
    turned, at = globals_of(figure, motion.pose, motion.trans)
    return transform(turned[:, WRIST[hand]], at[:, WRIST[hand]])
