"""A product for a motion that knows none: in a hand, in both, or standing in the scene."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from ...media.frames import frame_ranges
from ..body.body import Skeleton
from ..body.layout import SIDES, SPINES, WRIST
from ..body.motion import BodyMotion, MotionError
from ..body.rotation import axis_angle_to_matrix
from ..drawing.camera import Camera
from .grip import PALM, close_fingers, palm_hold, product_distance, side_hold
from .held import HeldProduct, transform
from .holding import ELBOW_HINT, NARROW, Size, check_size, set_fingers
from .limbs import Figure, Hand, globals_of, reach

ONE, TWO = 0.55, 1.1  # radians that fingers point upwards at a product's side, of one hand, of two
SPAN = 0.03  # m above and below a hand's middle, in which it meets the product
CHEST = 0.2  # m from the spine to the chest and a little more, where two hands hold a product at the nearest
_log = logging.getLogger(__name__)


class Hold(NamedTuple):
    """How a product lies in a hand: from `under` it, else at its side; `offset` m from its middle to the hand, upwards
    at the side, towards the front from below; turned in the hand by `turn` radians about its own vertical."""

    under: bool = False
    offset: float = 0.0
    turn: float = 0.0


def hold_in_hands(
    motion: BodyMotion, skeleton: Skeleton, vertices: torch.Tensor, size: Size, hands: tuple[str, ...], hold: Hold,
    earlier: Sequence[HeldProduct] = (),
) -> tuple[BodyMotion, torch.Tensor]:
    """`motion` with fingers closed on a product of `vertices` [V,3] m and `size`; its place as `HeldProduct` has it.

    One hand goes where it went, and the product with it. Two are brought to the sides of a product that is between
    them, upright before the chest. earlier: what is held already.
    Raises ValueError, a sentence, for a hand that holds something, and for what no hand can hold.
    """
    for hand in hands:
        if any(hand in product.hands for product in earlier):
            raise ValueError(f"The {hand} hand holds a product already: choose the other hand, or table.")
    figure = Figure(skeleton, skeleton.rest(motion.betas[0].float()))
    check_size(size, figure)
    depth_or_height = size[2] if hold.under else size[1]
    if abs(hold.offset) > depth_or_height / 2:
        raise ValueError(
            f"The hand would be {100 * abs(hold.offset):.0f} cm from the middle of a product that has "
            f"{50 * depth_or_height:.0f} cm to either side: choose an offset in that range."
        )
    pose = motion.pose.clone()
    turn = axis_angle_to_matrix(torch.tensor([0.0, hold.turn, 0.0]))
    grips = {side: _grip(figure, vertices, size, side, hold, turn, under=hold.under or (i > 0 and size[0] < NARROW),
                         raised=ONE if len(hands) == 1 else TWO)
             for i, side in enumerate(hands)}
    for side, (_, fingers) in grips.items():
        set_fingers(pose, side, fingers)
    if len(hands) == 2:
        rotation, centre = _between(figure, pose, motion.trans, size)
        for side, (hand, _) in grips.items():
            hint = (rotation @ ELBOW_HINT[side][:, None])[..., 0]
            reach(figure, pose, motion.trans, side, hand.carried(rotation, centre), hint)
    held = replace(motion, pose=pose)
    hand, _ = grips[hands[0]]
    back = hand.rotation(hands[0]).double().mT  # from the product's frame to the wrist's
    place = transform(back @ turn.double(), -(back @ hand.place.double()[..., None])[..., 0])
    _tell_outside(held, skeleton, hands)
    return held, place


def stand_in_scene(
    motion: BodyMotion, skeleton: Skeleton, size: Size, x: float, y: float, nearer: float, turn: float
) -> torch.Tensor:
    """The place [1,4,4] of a product that stands upright before the camera: the middle of its foot is seen at x, y, 0…1
    of the picture's width and height, `nearer` m nearer than the person's chest is in the first frame.

    turn: radians about the vertical, from facing along the camera's axis. Raises MotionError for a place that is not
    before the camera.
    """
    check_size(size, Figure(skeleton, skeleton.rest(motion.betas[0].float())))
    away = float(motion.joints(skeleton)[0, SPINES[-1], 2]) - nearer
    if away < max(size[2], size[0]):
        raise MotionError(
            f"The product would stand {100 * away:.0f} cm before the camera, or behind it: choose a smaller nearer, or "
            "move the person away (Edit Motion's z)."
        )
    camera = Camera.of(motion, 0)
    seen = motion.trans.new_tensor([x * motion.size[0], y * motion.size[1]]) - 0.5
    centre = camera.unproject(seen, seen.new_tensor(away)) - seen.new_tensor([0, size[1] / 2, 0])
    return transform(axis_angle_to_matrix(seen.new_tensor([[0, turn, 0]])), centre[None])


def _grip(
    figure: Figure, vertices: torch.Tensor, size: Size, side: str, hold: Hold, turn: torch.Tensor, under: bool,
    raised: float,
) -> tuple[Hand, torch.Tensor]:
    """A hand that holds a product turned by `turn` [3,3], and its closed fingers [15,3]; see `Hold`."""
    beside = (vertices[:, 1] + hold.offset).abs() < SPAN  # a bottle's neck is narrower than the bottle
    part = vertices if under or not beside.any() else vertices[beside]
    low, high = part.amin(0), part.amax(0)
    middle = turn @ torch.stack([(low + high)[0] / 2, torch.tensor(0.0), (low + high)[2] / 2])
    touched = product_distance((float(high[0] - low[0]), size[1], float(high[2] - low[2])))

    def distance(points: torch.Tensor) -> torch.Tensor:
        return touched((points - middle) @ turn)

    across = (part @ turn.T).amax(0) - (part @ turn.T).amin(0)
    around = (float(across[0]), size[1], float(across[2]))  # the product, turned
    if under:
        hand = palm_hold(figure, around, side)
        hand = replace(hand, place=hand.place - torch.tensor([0.0, 0.0, hold.offset]))
    else:
        hand = side_hold(figure, around, side, raised, -hold.offset)
    hand = replace(hand, place=hand.place + middle)
    reach_of_palm = torch.linspace(0.04, 0.09, 6)[:, None]
    for _ in range(4):  # a box that is turned is not as wide everywhere
        gap = distance(hand.place + PALM * hand.palm + reach_of_palm * hand.along).min().clamp(min=0)
        hand = replace(hand, place=hand.place + gap * hand.palm)
    return hand, close_fingers(figure, hand, side, distance)


def _between(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, size: Size
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation [F,3,3] and centre [F,3] m of a product between both hands, as the chest is turned, and before it."""
    turned, at = globals_of(figure, pose, trans)
    chest = turned[:, SPINES[-1]]
    hands = at[:, [WRIST[side] for side in SIDES]].mean(1)
    local = (chest.mT @ (hands - at[:, SPINES[-1]])[..., None])[..., 0]
    nearest = CHEST + size[2] / 2
    ahead = nearest + torch.nn.functional.softplus(local[:, 2] - nearest, beta=40)
    local = torch.stack([local[:, 0], local[:, 1], ahead], -1)
    centre = at[:, SPINES[-1]] + (chest @ local[..., None])[..., 0]
    return chest @ torch.diag(torch.tensor([1.0, -1.0, -1.0])).to(chest), centre


def _tell_outside(motion: BodyMotion, skeleton: Skeleton, hands: tuple[str, ...]) -> None:
    """Warn of frames in which no hand that holds is in the picture, and so the product is not."""
    joints = motion.joints(skeleton)[:, [WRIST[side] for side in hands]]
    size = torch.tensor(motion.size)
    out = []
    for row, frame in enumerate(motion.frames):
        xy = Camera.of(motion, row).project(joints[row])
        if not ((xy >= 0) & (xy < size) & (joints[row, :, 2:] > 0)).all(-1).any():
            out.append(frame + 1)
    if out:
        _log.warning(
            "The hand with the product is outside the picture in frames %s: move the motion with Edit Motion, or "
            "choose the other hand.", frame_ranges(out)
        )
