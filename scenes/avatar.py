"""Gaussian avatars of synthetic people: as good as can be sampled, and as bad as real ones are."""

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from ..models.avatar.gaussians import Avatar
from ..models.avatar.rig import Rig, neutral_pose
from ..models.body.anny import anny_body
from ..models.body.motion import BodyMotion
from ..models.body.rotation import (
    axis_angle_to_matrix,
    axis_angle_to_quaternion,
    facing,
    matrix_to_quaternion,
    quaternion_product,
    quaternion_to_axis_angle,
)
from ..models.body.skinning import blend, move
from ..models.drawing.camera import Camera
from ..models.drawing.mesh import face_normals, vertex_normals, visible_surface
from .person import Person
from .render import AMBIENT, DIFFUSE, LAMP
from .surface import Surface

FLATNESS = 0.2  # thickness of a gaussian beside its radius
SPREAD = 0.6  # radius of a gaussian, in mean distances of gaussians
FINGERS = slice(25, 55)
VIEW, VIEW_DISTANCE = 640, 6.0  # px and m: to find out what can be seen of a person


def scene_avatar(person: Person, gaussians: int = 20_000, seed: int = 0) -> Avatar:
    """The person as flat gaussians, spread evenly over what can be seen of them, lit as in a photo from the front.

    Each is tied to the vertex of the Anny body that is nearest, by which a rig moves it. seed: where they are.
    """
    generator = torch.Generator().manual_seed(seed)
    body = anny_body()
    surface = replace(person.surface, faces=_visible(person.surface))
    area = face_normals(surface.points, surface.faces).norm(dim=1) / 2
    face = torch.multinomial(area, gaussians, replacement=True, generator=generator)
    weights = _barycentric(torch.rand(2, gaussians, generator=generator))

    def sampled(values: torch.Tensor) -> torch.Tensor:
        return (weights[..., None] * values[surface.faces[face]]).sum(1)

    vertex = _nearest(body.template, sampled(surface.mean))
    there, back = neutral_pose(body.skeleton)
    neutral, undone = blend(body.skinning[vertex], there), blend(body.skinning[vertex], back)  # [N,3,4]
    anchor = move(neutral, body.template[vertex])
    # Where the rig must find the gaussian for it to lie on the person's surface, whose shape is the rig's to add.
    unshaped = sampled(surface.points) - body.shape_dirs[vertex] @ person.betas
    place = torch.linalg.solve(undone[..., :3], (unshaped - undone[..., 3])[..., None]).squeeze(-1)

    normal = F.normalize(sampled(vertex_normals(surface.points, surface.faces)), dim=1)
    radius = SPREAD * (area.sum() / gaussians).sqrt()
    return Avatar(
        offset=place - anchor,
        points=anchor,
        rgb=(sampled(surface.colours) * _light(normal)).clamp(0, 1),
        opacity=torch.full((gaussians, 1), 0.95),
        scale=torch.stack([radius, radius, radius * FLATNESS]).expand(gaussians, 3),
        rotation=matrix_to_quaternion(facing(F.normalize((neutral[..., :3] @ normal[..., None]).squeeze(-1), dim=1))),
        neutral_transforms=back,
        betas=person.betas,
    )


def avatar_rig(avatar: Avatar) -> Rig:
    """What `rig_from_body` finds for an avatar of `scene_avatar` on the Anny body, sooner."""
    body = anny_body()
    there, _ = neutral_pose(body.skeleton)
    vertex = _nearest(move(blend(body.skinning, there), body.template), avatar.points)
    unconstrained = torch.zeros(len(avatar), dtype=torch.bool)
    return Rig(body.skinning[vertex], body.shape_dirs[vertex], unconstrained, body.skeleton)


def degrade(avatar: Avatar, draw: np.random.Generator, share: float = 0.6, strength: float = 1.0) -> Avatar:
    """As avatars made from one photo are: fewer gaussians (`share`), holes, colours, places and sizes a little wrong.

    strength: of all errors beside the number, 1 as usual.
    """
    count = len(avatar)
    kept = torch.from_numpy(draw.random(count) < share)
    place = avatar.xyz()
    for _ in range(draw.integers(3, 7)):  # holes, of the size of a hand
        centre = place[int(draw.integers(count))]
        radius = strength * draw.uniform(0.03, 0.09)
        inside = (place - centre).norm(dim=1) < radius
        kept &= ~(inside & torch.from_numpy(draw.random(count) < 0.85))

    def noise(*shape: int) -> torch.Tensor:
        return strength * torch.from_numpy(draw.standard_normal(shape).astype(np.float32))

    tint = 1 + 0.05 * noise(3)
    colour = (avatar.rgb * tint + 0.02 * noise(3) + 0.06 * noise(count, 3)).clamp(0, 1)
    # Some are far too large, as splats at an unseen back are.
    size = torch.exp(0.25 * noise(count, 3)) * torch.where(torch.from_numpy(draw.random((count, 1)) < 0.03), 2.5, 1.0)
    degraded = replace(
        avatar,
        offset=avatar.offset + 0.006 * noise(count, 3) + 0.01 * noise(3),
        rgb=colour,
        opacity=(avatar.opacity - 0.15 * noise(count, 1).abs()).clamp(0.1, 1),
        scale=avatar.scale * size,
        betas=avatar.betas + 0.15 * noise(10),
    )
    per_gaussian = ("offset", "points", "rgb", "opacity", "scale", "rotation")
    return replace(degraded, **{name: getattr(degraded, name)[kept] for name in per_gaussian})


def misjudge(motion: BodyMotion, draw: np.random.Generator, strength: float = 1.0) -> BodyMotion:
    """The motion as an estimate from a video: joints some 2° off, slowly changing; fingers more, the place by 1 cm."""
    frames = len(motion)
    sigma = torch.full((55, 1), math.radians(2.0), dtype=torch.float64)
    sigma[FINGERS] *= 3
    sigma[0] /= 2
    turn = axis_angle_to_quaternion(strength * sigma * _drift(draw, frames, (55, 3)))
    pose = quaternion_to_axis_angle(quaternion_product(axis_angle_to_quaternion(motion.pose), turn))
    metres = torch.tensor([0.006, 0.006, 0.02], dtype=torch.float64)
    return replace(motion, pose=pose, trans=motion.trans + strength * metres * _drift(draw, frames, (3,)))


def estimated(avatar: Avatar, motion: BodyMotion, seed: int, strength: float = 1.0) -> tuple[Avatar, BodyMotion]:
    """Both as wrong as they are when found from a photo and a film."""
    draw = np.random.default_rng(seed)
    return degrade(avatar, draw, strength=strength), misjudge(motion, draw, strength)


def _drift(draw: np.random.Generator, frames: int, shape: tuple[int, ...]) -> torch.Tensor:
    """[frames, …] of unit variance, half of it constant, half a slow wave."""
    constant, sine, cosine = torch.from_numpy(draw.standard_normal((3, *shape)))
    phase = torch.arange(frames, dtype=torch.float64).view(-1, *[1] * len(shape)) * 2 * torch.pi / 24
    return (constant + sine * phase.sin() + cosine * phase.cos()) / math.sqrt(2)


def _barycentric(uv: torch.Tensor) -> torch.Tensor:
    """[N,3], even over a triangle, from even numbers [2,N]."""
    u, v = torch.where(uv.sum(0) > 1, 1 - uv, uv)
    return torch.stack([1 - u - v, u, v], 1)


def _nearest(vertices: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Which of `vertices` [V,3] is nearest to each of `points` [N,3]: [N]."""
    away = torch.cat([-vertices, vertices.square().sum(1, keepdim=True) / 2], 1).T  # times [p,1]: (|p−v|²−|p|²)/2
    points = torch.cat([points, torch.ones_like(points[:, :1])], 1)
    return torch.cat([(part @ away).argmin(1) for part in points.split(64)])


def _visible(surface: Surface) -> torch.Tensor:
    """The faces [f,3] that are seen from some side: not skin below clothes."""
    seen = torch.zeros(len(surface.faces), dtype=torch.bool)
    middle = (surface.points.amax(0) + surface.points.amin(0)) / 2
    camera = Camera.centred(VIEW * VIEW_DISTANCE / 2, VIEW, VIEW)
    for turn in (*((0, i * torch.pi / 3, 0) for i in range(6)), (torch.pi / 2, 0, 0), (-torch.pi / 2, 0, 0)):
        matrix = axis_angle_to_matrix(torch.tensor(turn, dtype=torch.float32))
        points = (surface.points - middle) @ matrix.T + torch.tensor([0, 0, VIEW_DISTANCE])
        for shown in visible_surface(points, surface.faces, camera):
            seen[shown.face] = True
    return surface.faces[seen]


def _light(normal: torch.Tensor) -> torch.Tensor:
    """[N,1]: the scenes' light on somebody who faces the camera; theirs is turned by 180° about x."""
    lamp = F.normalize(torch.tensor(LAMP), dim=0) * torch.tensor([1.0, -1.0, -1.0])
    return AMBIENT + DIFFUSE * (normal @ lamp).clamp(min=0)[:, None]
