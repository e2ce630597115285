"""Products that do not hide the face of the person who holds them, as the camera sees both."""

import logging
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ...media.frames import frame_ranges
from ..body.layout import EYES, HEAD
from .grip import FINGER
from .holding import Grip
from .limbs import SIGN, Figure, globals_of

CHIN, EAR = (0.0, -1.95, -0.17), (1.43, 0.0, -1.0)  # from between the eyes, in distances of the eyes, at rest
GAP = 0.015  # m that stay free beside the face
HAND = 0.16  # m from the wrist to the tips of closed fingers
SOFT = 0.006  # m, in which a limit is approached
_log = logging.getLogger(__name__)


class _Limits(NamedTuple):
    """What a product's centre must keep to be seen beside the face, m [F]: `below`, y at least; `beside`, x to the
    holding hand's side at least. Either is enough."""

    below: torch.Tensor
    beside: torch.Tensor


def clear_of_face(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, grip: Grip, centre: torch.Tensor, rotation: torch.Tensor,
    room: torch.Tensor, arrived: torch.Tensor,
) -> torch.Tensor:
    """`centre` [F,3] m, moved so that product and hand are seen below the face, or beside it where that is nearer.

    The way of the product is moved as a whole, which keeps the gesture; what of it is still before the face is bent.
    rotation [F,3,3]: the product's. room [F,2] m to each side of the camera's axis, which the centre keeps. arrived
    [F] 0…1: how far it is from the photo's hands to where it is held. What cannot go far enough goes as far as it can.
    """
    limits = _limits(figure, pose, trans, grip, centre, rotation)
    side = SIGN[grip.hands[0]]
    ways = []
    for axis, sign, limit in ((1, 1.0, limits.below), (0, side, limits.beside)):
        along, most = sign * centre[:, axis], room[:, axis]
        wanted = float(((limit - along) * arrived).max().clamp(min=0))
        possible = float((most - along)[arrived > 0.99].min()) if (arrived > 0.99).any() else wanted
        done = min(wanted, max(0.0, possible))
        along = along + arrived * done
        along = along + SOFT * F.softplus((limit - along) / SOFT)
        along = most - SOFT * F.softplus((most - along) / SOFT)
        lacking = float((limit - along).max().clamp(min=0))
        ways.append((lacking > 2 * SOFT, wanted, axis, sign * along))
    # Where neither suffices, the product goes down.
    _, _, axis, along = ways[0] if ways[0][0] and ways[1][0] else min(ways)
    moved = centre.clone()
    moved[:, axis] = along
    return moved


def tell_hidden_face(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, grip: Grip, centre: torch.Tensor, rotation: torch.Tensor
) -> None:
    """Warn of the frames in which the product or its hand is before the face."""
    limits = _limits(figure, pose, trans, grip, centre, rotation)
    lacking = torch.minimum(limits.below - centre[:, 1], limits.beside - SIGN[grip.hands[0]] * centre[:, 0])
    hidden = [frame + 1 for frame in torch.nonzero(lacking > GAP)[:, 0].tolist()]
    if hidden:
        _log.warning(
            "The product covers a part of the face in frames %s, as low as it is: give its real size, or take a photo "
            "that shows more of the person below the shoulders.", frame_ranges(hidden)
        )


def _limits(
    figure: Figure, pose: torch.Tensor, trans: torch.Tensor, grip: Grip, centre: torch.Tensor, rotation: torch.Tensor
) -> _Limits:
    turned, at = globals_of(figure, pose, trans)
    eyes = at[:, list(EYES)]
    apart, between = (eyes[:, 0] - eyes[:, 1]).norm(dim=-1, keepdim=True).mean(), eyes.mean(1)
    side = SIGN[grip.hands[0]]

    def seen(way: tuple[float, float, float], mirrored: float = 1.0) -> torch.Tensor:
        local = apart * torch.tensor(way, dtype=torch.float64) * torch.tensor([mirrored, 1, 1], dtype=torch.float64)
        point = between + (turned[:, HEAD] @ local[:, None])[..., 0]
        return point[:, :2] / point[:, 2:]

    chin = seen(CHIN)[:, 1, None]
    edge = (side * torch.stack([seen(EAR)[:, 0], seen(EAR, -1.0)[:, 0]])).amax(0)[:, None]
    outline = (rotation[:, None] @ _outline(figure, grip)[..., None])[..., 0]  # [F,N,3]
    away = centre[:, 2:] + outline[..., 2]
    below = (chin * away - outline[..., 1]).amax(1) + GAP
    beside = (edge * away - side * outline[..., 0]).amax(1) + GAP
    return _Limits(below, beside)


def _outline(figure: Figure, grip: Grip) -> torch.Tensor:
    """Points [N,3] m around the product and the hands that hold it, in its own frame."""
    half = torch.tensor(grip.size, dtype=torch.float64) / 2
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    points = [signs * half]
    for hand in grip.of(figure).values():
        along = torch.linspace(0, HAND, 4)[:, None] * hand.along
        points += [(hand.place + along + sign * 2 * FINGER * hand.palm).double() for sign in (-1, 1)]
    return torch.cat(points)
