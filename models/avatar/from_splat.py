"""An avatar of any splat of a standing person: a body is fitted to it, and moves each gaussian as its nearest vertex.

The splat may be of any size and lie anyhow; the person stands upright in it, legs and arms about straight, arms
anywhere between the T-pose and hanging. Nothing is known of it but where its gaussians are.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

import torch
import torch.nn.functional as F

from ...media.frames import stepped
from ..body.body import BodyModel
from ..body.layout import BETAS, JOINTS
from ..body.rotation import axis_angle_to_matrix, facing, matrix_to_quaternion, quaternion_product
from ..body.skinning import blend, move
from .animate import Posed
from .bind import bind
from .gaussians import Avatar

SEEN = 0.1  # opacity from which on a gaussian shows where the person is
COARSE, FINE = 300, 1000  # points and vertices that are compared
ARMS, LEGS = (0, 25, 50, 75), 10  # degrees that arms may be lowered by and legs are spread by, where the search begins
TURNS = 8  # about the vertical, where it begins
TRIED = 8  # beginnings that are followed, as stiff as they stand
STIFFLY, STEPS, RATE = 20, 60, 0.03  # the latter limb by limb
BENT = (0, *range(1, 10), 12, 13, 14, 15, 16, 17, 18, 19)  # joints that the fit turns: neither toes, hands nor fingers
STIFF, MEAN = 0.02, 0.001  # cost of a turn of 1 rad away from the beginning, and of a beta of 1, beside metres
FAR = 0.3  # m: beyond, a distance costs no more
CLOTH, NEAR = 0.25, 0.03  # m from the body: what is farther is left out; what is nearer fits
# Shares of a person's gaussians that are near the body, and of its vertices near them; below LOOSE, who fits is told to
# look. In skirts people have 0.79 and 0.93; a box of their size has 0.65 and 0.74.
PERSON, COVERED, LOOSE = 0.6, 0.8, (0.75, 0.9)


@dataclass(frozen=True)
class _Stand:
    """How a body stands in a splat whose gaussians are first turned by `turn` [3,3] and then grow `scale` times: `pose`
    [55,3], `trans` [3] m, `betas` [10], and the mean distance that is left, m."""

    turn: torch.Tensor
    scale: float
    pose: torch.Tensor
    trans: torch.Tensor
    betas: torch.Tensor
    misfit: float

    def upright(self) -> torch.Tensor:
        """How the splat must be turned for the body to stand upright and face +z, [3,3]."""
        return axis_angle_to_matrix(self.pose[0]).T @ self.turn


@torch.inference_mode(False)  # ComfyUI calls nodes in inference mode, in which nothing can be fitted
def avatar_from_splat(
    splat: Posed, body: BodyModel, back_to_front: bool = False, on_step: Callable[[int, int], None] | None = None
) -> tuple[Avatar, str]:
    """The avatar, to be rigged by the same body (`rig_from_body`), and a sentence on how well the body fits.

    splat: of one frame, `xyz` [N,3] and `scale` [N,3] in any unit. back_to_front: the person faces the other way than
    the fit found, which goes by feet and face. on_step(done, total) may raise to cancel.

    Raises ValueError for gaussians that cannot be one standing person.
    """
    points = _sample(splat.xyz[splat.opacity[:, 0] >= SEEN], FINE)
    if len(points) < COARSE:
        raise ValueError(
            f"The splat has {len(points)} gaussians that are not transparent: too few for a person, who has thousands."
        )
    steps = iter(stepped(range(STIFFLY * TRIED + 2 * STEPS), on_step))

    def best(stands: list[_Stand], joints: Sequence[int], count: int) -> list[_Stand]:
        """The stands with these joints moved to where they fit, that which fits best first."""
        moved = [_refined(stand, points, body, joints, count, steps) for stand in stands]
        return sorted(moved, key=lambda stand: stand.misfit)

    upright = best(_beginnings(points, body, _directions())[:TRIED], BENT[:1], STIFFLY)[0].upright()
    # Feet and face alone tell the front from the back, so both are followed to the end.
    both = _beginnings(points, body, [upright, upright * torch.tensor([[-1.0], [1.0], [-1.0]])])
    stand = best(both, BENT, STEPS)[back_to_front]
    moved = splat._replace(
        xyz=stand.scale * splat.xyz @ stand.turn.T,
        rotation=quaternion_product(matrix_to_quaternion(stand.turn), F.normalize(splat.rotation, dim=1)),
        scale=stand.scale * splat.scale,
    )
    vertices = _vertices(body, stand.pose, stand.trans, stand.betas)
    vertex, away = nearest(vertices, moved.xyz)
    seen = splat.opacity[:, 0] >= SEEN
    told = _told(stand.scale, vertices, moved.xyz[seen], away[seen])
    kept = away < CLOTH
    gaussians = Posed(*(part[kept] for part in moved))
    return bind(gaussians, vertex[kept], body, stand.pose, stand.trans, stand.betas), told


def nearest(vertices: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of `vertices` [V,3] is nearest to each of `points` [N,3], [N], and how far it is, [N]."""
    middle = vertices.mean(0)  # near 0, squares lose nothing
    found = []
    for part in (points - middle).split(1024):
        found.append(((vertices - middle).square().sum(1) - 2 * part @ (vertices - middle).T).argmin(1))
    index = torch.cat(found)
    return index, (points - vertices[index]).norm(dim=1)


def _sample(points: torch.Tensor, most: int) -> torch.Tensor:
    return points[:: -(-len(points) // most)] if len(points) else points


def _vertices(
    body: BodyModel, pose: torch.Tensor, trans: torch.Tensor, betas: torch.Tensor, some: slice = slice(None)
) -> torch.Tensor:
    """Vertices [V,3] m of the body in a `_Stand`, without pose blend shapes, which an avatar has not either."""
    affine = blend(body.skinning[some], body.skeleton.transforms(pose[None], body.skeleton.rest(betas))[0])
    return move(affine, body.template[some] + body.shape_dirs[some] @ betas) + trans


def _every(body: BodyModel, most: int) -> slice:
    return slice(None, None, -(-len(body.template) // most))


def _beginnings(points: torch.Tensor, body: BodyModel, turns: list[torch.Tensor]) -> list[_Stand]:
    """A stand for each way to turn the splat, in the pose that fits best, of the body's height; the best first."""
    points, some, nothing = _sample(points, COARSE), _every(body, COARSE), torch.zeros(BETAS)
    poses = torch.zeros(len(ARMS), JOINTS, 3)
    for pose, arms in zip(poses, ARMS, strict=True):
        pose[[1, 2, 16, 17], 2] = torch.deg2rad(torch.tensor([LEGS, -LEGS, -arms, arms], dtype=pose.dtype))
    bodies = torch.stack([_vertices(body, pose, torch.zeros(3), nothing, some) for pose in poses])
    low, high = bodies.amin(1), bodies.amax(1)
    found = []
    for turn in turns:
        turned = points @ turn.T
        least, most = turned.quantile(0.005, 0), turned.quantile(0.995, 0)
        scale = (high - low)[:, 1] / (most - least)[1].clamp(min=1e-9)
        shift = (high + low) / 2 - scale[:, None] * (most + least) / 2
        distance = torch.cdist(scale[:, None, None] * turned + shift[:, None], bodies).clamp(max=FAR)
        misfit = (distance.amin(1).mean(1) + distance.amin(2).mean(1)) / 2
        best = int(misfit.argmin())
        found.append(_Stand(turn, float(scale[best]), poses[best], -shift[best], nothing, float(misfit[best])))
    return sorted(found, key=lambda stand: stand.misfit)


def _directions() -> list[torch.Tensor]:
    """Turns [3,3] that bring each of 26 directions up, those to a cube's faces, edges and corners, and each of some
    about it to the front."""
    ups = torch.tensor([up for up in product((0.0, 1.0, -1.0), repeat=3) if any(up)])
    turns = facing(F.normalize(ups, dim=1))[:, :, [1, 2, 0]].mT  # where x, y and z come from: y from the direction
    steps = [axis_angle_to_matrix(torch.tensor([0.0, 2 * torch.pi * k / TURNS, 0.0])) for k in range(TURNS)]
    return [step @ turn for step, turn in product(steps, turns)]


@torch.enable_grad()
def _refined(
    stand: _Stand, points: torch.Tensor, body: BodyModel, joints: Sequence[int], count: int, steps: Iterator[int]
) -> _Stand:
    """The stand moved until body and points lie on each other, in `count` of `steps`: size, place, shape and joints."""
    some, bent = _every(body, FINE), torch.tensor(joints)
    turned = points @ stand.turn.T
    bend, betas = torch.zeros(len(joints), 3, requires_grad=True), stand.betas.clone().requires_grad_()
    trans, grown = stand.trans.clone().requires_grad_(), torch.zeros((), requires_grad=True)
    optimiser = torch.optim.Adam([bend, betas, trans, grown], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, count, RATE / 20)
    for _ in islice(steps, count):
        pose = stand.pose.index_add(0, bent, bend)
        vertices, splat = _vertices(body, pose, trans, betas, some), stand.scale * grown.exp() * turned
        with torch.no_grad():
            of_points, of_vertices = nearest(vertices, splat)[0], nearest(splat, vertices)[0]
        away = (vertices[of_points] - splat).norm(dim=1), (splat[of_vertices] - vertices).norm(dim=1)
        misfit = sum(distance.clamp(max=FAR).mean() for distance in away) / 2
        optimiser.zero_grad()
        (misfit + STIFF * bend[1:].square().sum() / len(BENT) + MEAN * betas.square().mean()).backward()
        optimiser.step()
        schedule.step()
    pose, scale = stand.pose.index_add(0, bent, bend.detach()), stand.scale * float(grown.detach().exp())
    return _Stand(stand.turn, scale, pose, trans.detach(), betas.detach(), float(misfit.detach()))


def _told(scale: float, vertices: torch.Tensor, points: torch.Tensor, away: torch.Tensor) -> str:
    """How well the body fits, in words. Raises ValueError where it does not."""
    person = float((away < NEAR).float().mean())
    covered = float((nearest(_sample(points, 20_000), vertices)[1] < NEAR).float().mean())
    told = (
        f"{person:.0%} of the gaussians lie within {100 * NEAR:.0f} cm of a standing body, on average "
        f"{100 * float(away.clamp(max=FAR).mean()):.1f} cm away, and cover {covered:.0%} of it"
    )
    if person < PERSON or covered < COVERED:
        raise ValueError(
            f"The splat cannot be one standing person: at best, {told}. It must show one whole person and nothing "
            "else, upright, legs and arms about straight: cut everything else away in a splat editor first."
        )
    if person < LOOSE[0] or covered < LOOSE[1]:
        logging.getLogger(__name__).warning("The body fits loosely, so limbs may bend in wrong places: %s.", told)
    return f"{told}; a metre is {1 / scale:.3g} of the splat's units."
