"""A person, as a photo shows them, who presents a product by a script."""

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch

from ...media.frames import frame_ranges
from ..body.body import Skeleton
from ..body.layout import ELBOW, FIRST_FINGER, HEAD, NECK, SHOULDER, SIDES, SPINES, WRIST
from ..body.motion import BodyMotion
from ..body.rotation import axis_angle_to_matrix, matrix_to_axis_angle, slerp
from ..drawing.camera import Camera
from .face import clear_of_face, tell_hidden_face
from .gestures import Part, eased, script_course
from .grip import product_distance
from .holding import (
    HANGING,
    Grip,
    Size,
    arm_length,
    check_size,
    free_hand,
    hold_product,
    home,
    point_to_product,
    room_for,
    turn,
)
from .limbs import REACH, SIGN, Figure, globals_of, look_at

_LEAD = 1.2  # s from the photo's pose to the hold
_TURNED = math.radians(100)  # from the camera; beyond, a person hides what they hold
_KNEE = 0.8  # of what is possible, from which on less is done than is asked for
_CLEAR = 0.05  # m that a free hand keeps from the product and from the other arm
_BENT = 0.08  # m; a way that is bent more than that to stay in the picture is told
_BOTH = 0.5  # of the turns that one hand makes, two can
_log = logging.getLogger(__name__)


def present_product(
    photo: BodyMotion, skeleton: Skeleton, size: Size, script: Sequence[Part], hands: tuple[str, ...], frames: int,
    fps: float, seed: int = 0,
) -> tuple[BodyMotion, torch.Tensor]:
    """The person of `photo`, a motion of one frame, with a product of `size` (w, h, d) m in `hands`: their motion over
    `frames` at `fps`, before the photo's camera, and the product's pose [F,4,4] there.

    It begins near the photo's pose. Legs and hips stay as they are, the trunk sways a little, the hands that hold
    follow the product, and the product stays in the picture and off the face. seed: of the grip and the swaying.
    Raises ValueError, a sentence, for what this person cannot do.
    """
    rng = np.random.default_rng(seed)
    time = torch.arange(frames, dtype=torch.float64) / fps
    figure = Figure(skeleton, skeleton.rest(photo.betas[0].float()))
    pose, trans = photo.pose[:1].repeat(frames, 1, 1), photo.trans[:1].repeat(frames, 1)
    facing, at = globals_of(figure, pose[:1], trans[:1])
    heading = _heading(facing[0, SPINES[-1]])
    check_size(size, figure)
    _sway(pose, time, rng)

    course, pointing = script_course(script, time)
    if pointing.any() and len(hands) == 2:
        raise ValueError("To point at the product one hand must be free: choose the left or the right hand to hold it.")
    turns = any(part.gesture == "turn" for part in script)
    grip = Grip.draw(size, hands, turns and len(hands) == 1, rng)
    yaw = heading / 2 + course.yaw * (_BOTH if len(hands) == 2 else 1)
    about = axis_angle_to_matrix(torch.tensor([0.0, heading, 0.0], dtype=torch.float64))
    centre = _way(figure, pose, trans, at[0], grip, course.offset, turn(yaw, course.roll), about, time)
    turned, room = turn(yaw, course.roll), _room(size, photo, centre)
    centre = clear_of_face(figure, pose, trans, grip, centre, turned, room, eased(time / _LEAD))
    centre = _in_picture(centre, room, time)
    centre = _in_reach(figure, pose, trans, grip, centre, turn(yaw / 2 if grip.under else yaw, course.roll))
    tell_hidden_face(figure, pose, trans, grip, centre, turned)
    rotation = hold_product(figure, pose, trans, grip, centre, yaw, course.roll, about)
    for side in set(SIDES) - set(hands):
        _free_arm(figure, pose, trans, side, grip, centre, rotation, about, time)
        if pointing.any():
            arm = pose.clone()
            point_to_product(figure, arm, trans, side, size, time, centre, rotation, about)
            _blend(pose, arm, _arm(side), pointing)
    head = pose[:, [NECK, HEAD]].clone()
    look_at(figure, pose, trans, centre)
    attention = 0.35 * (1 - torch.cos(2 * torch.pi * time / rng.uniform(3.0, 4.5)))
    pose[:, [NECK, HEAD]] = slerp(head, pose[:, [NECK, HEAD]], attention[:, None, None])

    place = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    place[:, :3, :3], place[:, :3, 3] = rotation, centre
    rows = {name: getattr(photo, name)[:1].expand(frames, -1) for name in ("betas", "focal", "principal")}
    motion = BodyMotion(pose, trans, **rows, size=photo.size, frames=tuple(range(frames)), fps=fps)
    _tell_hidden_hands(motion, skeleton, hands)
    return motion, place


def _heading(chest: torch.Tensor) -> float:
    """How far a chest, turned from rest by [3,3], is turned about the vertical from facing the camera, radians."""
    ahead = chest[:, 2]
    heading = math.atan2(-ahead[0], -ahead[2])
    if abs(heading) > _TURNED:
        raise ValueError("The person in the photo turns their back to the camera: take a photo that shows the chest.")
    return heading


def _sway(pose: torch.Tensor, time: torch.Tensor, rng: np.random.Generator) -> None:
    """Turn the spine of `pose` a little, from nothing on."""
    x, y, z = (
        torch.sin(2 * torch.pi * time / period + start) - math.sin(start)
        for period, start in zip((2.3, 3.1, 4.3), rng.uniform(0, 2 * np.pi, 3), strict=True)
    )
    small = axis_angle_to_matrix(eased(time / _LEAD)[:, None] * torch.stack([0.008 * x, 0.015 * y, 0.01 * z], 1))
    for spine in SPINES:
        pose[:, spine] = matrix_to_axis_angle(axis_angle_to_matrix(pose[:, spine]) @ small)


def _way(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, photo: torch.Tensor, grip: Grip, offset: torch.Tensor,
    rotation: torch.Tensor, about: torch.Tensor, time: torch.Tensor,
) -> torch.Tensor:
    """The product's centre [F,3] m: from the photo's hands (joints [55,3]) to where it is held, and what the script
    adds to that."""
    _, at = globals_of(figure, pose, trans)
    arm = arm_length(figure)
    shoulders = at[:, list(SHOULDER.values())].mean((0, 1))
    held = shoulders + about @ home(grip.size, grip.hands, arm)
    held[:2] *= held[2] / shoulders[2]  # being nearer, it would be seen higher, before the face
    mirror = torch.tensor([SIGN[grip.hands[0]], 1, 1], dtype=torch.float64)
    wrists = [photo[WRIST[side]] - rotation[0] @ hand.place[0].double() for side, hand in grip.of(figure).items()]
    start = torch.stack(wrists).mean(0)
    start[2] = held[2]  # before the body
    return start + eased(time / _LEAD)[:, None] * (held - start) + arm * (offset * mirror) @ about.T


def _room(size: Size, photo: BodyMotion, centre: torch.Tensor) -> torch.Tensor:
    """How far `centre` [F,3] may go so that the product stays in the photo, [F,2] m to each side of the camera's axis.
    Raises ValueError for a product that does not fit into it."""
    camera = Camera.of(photo, 0)
    half = torch.tensor(camera.size, dtype=torch.float64) / 2 / torch.tensor(camera.focal, dtype=torch.float64)
    seen = half * centre[:, 2:]
    room = room_for(size, seen)
    if (room <= 0).any():
        shown = [round(200 * float(side)) for side in seen.amin(0)]
        raise ValueError(
            f"A product of {100 * size[0]:.0f} × {100 * size[1]:.0f} cm does not fit into the photo, which shows "
            f"{shown[0]} × {shown[1]} cm before the person: give its real size, or take a photo that shows more."
        )
    return room


def _in_picture(centre: torch.Tensor, room: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """`centre` [F,3], bent to keep the `room` [F,2]; told where the script's way is, behind the lead."""
    bent = torch.cat([_limited(centre[:, :2], room), centre[:, 2:]], 1)
    far = ((bent - centre).norm(dim=1) > _BENT) & (time >= _LEAD)
    if far.any():
        frames = frame_ranges([frame + 1 for frame in torch.nonzero(far)[:, 0].tolist()])
        _log.warning("The product would leave the picture in frames %s: it is kept inside.", frames)
    return bent


def _in_reach(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, grip: Grip, centre: torch.Tensor, rotation: torch.Tensor
) -> torch.Tensor:
    """`centre` [F,3], moved to where the arms reach, softly, so that the hands stay at the product."""
    _, at = globals_of(figure, pose, trans)
    for side, hand in grip.of(figure).items():
        wrist = centre + rotation @ hand.place[0].double()
        shoulder, elbow, end = (figure.joints[of[side]] for of in (SHOULDER, ELBOW, WRIST))
        longest = REACH * float((elbow - shoulder).norm() + (end - elbow).norm())
        way = wrist - at[:, SHOULDER[side]]
        far = way.norm(dim=1, keepdim=True)
        centre = centre + way * (_limited(far, torch.full_like(far, longest)) / far - 1)
    return centre


def _limited(x: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """`x`, and less of it the nearer it comes to ±`limit`: without a jump of speed or acceleration."""
    knee = _KNEE * limit
    beyond = x.abs() - knee
    return torch.where(beyond > 0, x.sign() * (knee + (limit - knee) * torch.tanh(beyond / (limit - knee))), x)


def _free_arm(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, side: str, grip: Grip, centre: torch.Tensor,
    rotation: torch.Tensor, about: torch.Tensor, time: torch.Tensor,
) -> None:
    """Leave the free arm as the photo has it, unless it is in the way of the product or of the other arm: then it goes
    down."""
    _, at = globals_of(figure, pose, trans)
    own = at[:, [ELBOW[side], WRIST[side], *range(FIRST_FINGER[side], FIRST_FINGER[side] + 15)]]
    local = ((own - centre[:, None]) @ rotation).float()
    near = [product_distance(grip.size)(local).min()]
    for other in grip.hands:
        for a, b in ((SHOULDER, ELBOW), (ELBOW, WRIST)):
            near.append(_to_segment(own, at[:, a[other], None], at[:, b[other], None]).min())
    if min(near) < _CLEAR:
        lowered = pose.clone()
        free_hand(figure, lowered, trans, side, *HANGING, about)
        _blend(pose, lowered, _arm(side), eased(time / _LEAD))


def _to_segment(points: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Distances of points [F,N,3] from the way from a [F,1,3] to b [F,1,3]."""
    along = b - a
    part = ((points - a) * along).sum(-1, keepdim=True) / along.square().sum(-1, keepdim=True)
    return (points - a - part.clamp(0, 1) * along).norm(dim=-1)


def _arm(side: str) -> list[int]:
    first = FIRST_FINGER[side]
    return [SHOULDER[side], ELBOW[side], WRIST[side], *range(first, first + 15)]


def _blend(pose: torch.Tensor, other: torch.Tensor, joints: list[int], share: torch.Tensor) -> None:
    """Turn `joints` of `pose` [F,55,3] by `share` [F] of the way to `other`."""
    pose[:, joints] = slerp(pose[:, joints], other[:, joints], share[:, None, None])


def _tell_hidden_hands(motion: BodyMotion, skeleton: Skeleton, hands: Sequence[str]) -> None:
    wrists = motion.joints(skeleton)[:, [WRIST[side] for side in hands]]
    xy = Camera.of(motion, 0).project(wrists)
    inside = ((xy >= 0) & (xy < torch.tensor(motion.size))).all(-1)
    for side, seen in zip(hands, inside.T, strict=True):
        if seen.float().mean() < 0.5:
            _log.warning(
                "The %s wrist is outside the picture in most frames: a photo that shows more of the person, or a "
                "smaller product, brings it in.", side,
            )
