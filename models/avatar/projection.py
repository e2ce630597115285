"""An avatar by projection: one photo laid on the body that was fitted to it. A stand-in for LHM that needs no weights.

What the photo shows keeps its colours, the back gets those of the front, everything else those of the nearest place
that is seen, on either side of the body. Clothes and hair that stand off from the body are kept by their outline: near
ones move the body's surface, the rest become gaussians of their own, which follow the nearest part of it.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from .body import BodyModel
from .gaussians import Avatar
from .mesh import vertex_normals, visible_surface
from .motion import BodyMotion
from .rasterize import Camera
from .rig import blend, move, neutral_pose
from .rotation import facing, matrix_to_quaternion, quaternion_product
from .silhouette import fit_outline, looked_up, project

PIXEL = 0.002  # m: the photo is looked at no finer
NEAR = 0.05  # m: nothing is nearer to the camera
SKIN = 0.015  # m: what lies that far below what is seen is still seen
OVERHANG, SHADOW = 0.02, 0.03  # m: beside a limb that much nearer, so much of the picture may still be that limb
OUTSIDE = 0.06  # m: how far what sticks out of the mask is pulled in; the rest is left out
THICK = 0.04  # m: half of what stands off from the body, at most
SEEN_SHARE, HEAD_SHARE = 4.0, 2.0  # times as many gaussians where the photo shows something, and on the head
SPREAD, FLATNESS, OPACITY = 0.55, 0.2, 0.95  # radius in mean distances of gaussians; thickness beside the radius
OTHER_SIDE = 0.01  # m: the other half of the body is that much farther away, where colours are sought
NEIGHBOURS, SOURCES = 6, 8000
R2 = (0.7548776662466927, 0.5698402909980532)  # spreads points evenly over a triangle
HEAD = (15, 22, 23, 24)
LIMBS = ((16, 18, 20, *range(25, 40)), (17, 19, 21, *range(40, 55)), (1, 4, 7, 10), (2, 5, 8, 11), (12, *HEAD))


class _Side(NamedTuple):
    """What the camera sees of a mesh first, or last: face [H,W] (-1: nothing) and depth [H,W] m (0: nothing)."""

    face: torch.Tensor
    depth: torch.Tensor


class _Samples(NamedTuple):
    """place [N,3] m before the camera, normal [N,3]; vertex [N] that each moves with; radius [N] m; where each is on
    the unposed body [N,3] m."""

    place: torch.Tensor
    normal: torch.Tensor
    vertex: torch.Tensor
    radius: torch.Tensor
    rest: torch.Tensor

    def only(self, kept: torch.Tensor) -> "_Samples":
        return _Samples(*(part[kept] for part in self))


@torch.no_grad()
def project_photo(
    photo: torch.Tensor, mask: torch.Tensor, body: BodyModel, motion: BodyMotion, gaussians: int = 40_000,
    visible_ratio: float = 1.0,
) -> Avatar:  # fmt: skip
    """photo [H,W,3] in 0…1, mask [H,W] bool: the person; motion: one frame, `body` as it stands in the photo.

    In that pose, before that camera, the avatar looks as the photo. It is rigged by the same body (`rig_from_body`).
    Raises ValueError when mask and body do not meet.
    """
    motion = motion.looped(1).resized(photo.shape[1], photo.shape[0])
    rest = body.template + body.shape_dirs @ motion.betas[0].float()
    affine = blend(body.skinning, body.skeleton.transforms(motion.pose, body.skeleton.rest(motion.betas[0]))[0])
    vertices = move(affine, rest) + motion.trans[0].float()
    camera, colours, mask = _working_picture(photo, mask, motion, float(vertices[:, 2].median()))

    joint = body.skinning.argmax(dim=1)
    front, _ = _sides(vertices, body.faces, camera)
    if not (mask & (front.face >= 0)).any():
        raise ValueError("The body lies nowhere in the person's mask: connect the motion that was found in this photo.")
    away = fit_outline(vertices, body.faces, joint, mask, front.face >= 0, camera)
    vertices = vertices + away[:, None] * vertex_normals(vertices, body.faces)
    front, back = _sides(vertices, body.faces, camera)

    beside = _beside(mask, front, back, body.faces, rest, camera, gaussians // 4)
    on_body = _spread(gaussians - len(beside.place), vertices, rest, body.faces, joint, front)
    on_body = _pulled_in(on_body, mask, camera)
    seen, mirrored = _seen(on_body, joint, body.faces, front, back, camera)
    samples = _Samples(*(torch.cat(parts) for parts in zip(on_body, beside, strict=True)))
    known = torch.cat([seen | mirrored, torch.ones(len(beside.place), dtype=torch.bool)])
    rgb = looked_up(colours, project(samples.place, camera), outside=0)
    rgb[~known] = _nearest_colours(samples.rest[~known], samples.rest[known], rgb[known])

    round_ones = torch.arange(len(known)) >= len(on_body.place)
    thickness = torch.where(round_ones, 1.0, FLATNESS) * samples.radius
    scale = torch.stack([samples.radius, samples.radius, thickness], dim=1)
    return _canonical(samples, rgb, scale, body, affine, motion, visible_ratio)


def _working_picture(
    photo: torch.Tensor, mask: torch.Tensor, motion: BodyMotion, distance: float
) -> tuple[Camera, torch.Tensor, torch.Tensor]:
    """Camera, colours [h,w,3] and mask [h,w] of the photo at no more than a pixel per `PIXEL`.

    The mask is a pixel narrower: there colours are mixed with the background, and gaussians are not points. Beyond it
    every pixel has the colour of the nearest inside.
    """
    shrunk = min(1.0, max(distance, NEAR) / float(motion.focal[0, 0]) / PIXEL)
    width, height = (max(16, round(side * shrunk)) for side in motion.size)
    motion = motion.resized(width, height)
    picture = cv2.resize(photo.numpy(), (width, height), interpolation=cv2.INTER_AREA)
    inside = cv2.resize(mask.float().numpy(), (width, height), interpolation=cv2.INTER_AREA) > 0.5
    inside = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    core = torch.from_numpy(cv2.erode(inside, np.ones((3, 3), np.uint8))).bool()
    _, nearest = _nearest_true(core)
    colours = torch.from_numpy(picture).flatten(0, 1)[nearest]
    camera = Camera(tuple(motion.focal[0].tolist()), tuple(motion.principal[0].tolist()), (width, height))
    return camera, colours, core


def _nearest_true(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every pixel: how far the nearest one is where `mask` [H,W] holds, px, and which that is (row · W + x)."""
    distance, label = cv2.distanceTransformWithLabels(
        (~mask).byte().numpy(), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    label = torch.from_numpy(label).long()
    index = torch.zeros(int(label.max()) + 1, dtype=torch.long)
    index[label[mask]] = torch.nonzero(mask.flatten())[:, 0]
    return torch.from_numpy(distance), index[label]


def _sides(vertices: torch.Tensor, faces: torch.Tensor, camera: Camera) -> tuple[_Side, _Side]:
    width, height = camera.size
    z = vertices[:, 2:].clamp(min=NEAR)
    # Seen through the same pixels, flat faces stay flat and far becomes near when z goes to 1/z.
    sides = []
    for points in (vertices, torch.cat([vertices[:, :2] / z, torch.ones_like(z)], dim=1) / z):
        face, depth = torch.full((height * width,), -1), torch.zeros(height * width)
        for part in visible_surface(points, faces, camera):
            face[part.pixel], depth[part.pixel] = part.face, part.depth
        sides.append((face.view(height, width), depth.view(height, width)))
    (face, depth), (far_face, near) = sides
    return _Side(face, depth), _Side(far_face, torch.where(near > 0, 1 / near.clamp(min=1e-6), near))


def _beside(
    mask: torch.Tensor, front: _Side, back: _Side, faces: torch.Tensor, rest: torch.Tensor, camera: Camera, most: int
) -> _Samples:
    """What the mask shows beside the body: two layers, at the depth of the nearest part of it."""
    covered = front.face >= 0
    rows, columns = torch.nonzero(mask & ~covered).unbind(1)
    step = max(1, int(np.ceil(np.sqrt(2 * len(rows) / max(1, most)))))
    chosen = (rows % step == 0) & (columns % step == 0)
    rows, columns = rows[chosen], columns[chosen]
    _, nearest = _nearest_true(covered)
    nearest = nearest[rows, columns]
    depth = (front.depth + back.depth).flatten()[nearest] / 2
    pixel = depth / camera.focal[0]
    edge, _ = _nearest_true(~mask) if not mask.all() else (torch.ones(mask.shape), None)
    half = (edge[rows, columns] * pixel).clamp(max=THICK)
    vertex = faces[front.face.flatten()[nearest], 0]
    toward = torch.tensor([0.0, 0.0, -1.0]).expand(len(rows), 3)
    at = torch.stack([columns, rows], dim=1)
    layers = [
        _Samples(_unproject(at, depth + sign * half, camera), -sign * toward, vertex, SPREAD * step * pixel,
                 rest[vertex])
        for sign in (-1, 1)
    ]  # fmt: skip
    return _Samples(*(torch.cat(parts) for parts in zip(*layers, strict=True)))


def _unproject(at: torch.Tensor, depth: torch.Tensor, camera: Camera) -> torch.Tensor:
    focal, principal = torch.tensor(camera.focal), torch.tensor(camera.principal)
    return torch.cat([(at + 0.5 - principal) / focal * depth[:, None], depth[:, None]], dim=1)


def _spread(
    count: int, vertices: torch.Tensor, rest: torch.Tensor, faces: torch.Tensor, joint: torch.Tensor, front: _Side
) -> _Samples:
    """Points on all of the surface, most where the photo shows it, and on the head."""
    corners = vertices[faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 2
    density = torch.ones(len(faces))
    density[front.face[front.face >= 0].unique()] = SEEN_SHARE
    density = density * torch.where(torch.isin(joint[faces[:, 0]], torch.tensor(HEAD)), HEAD_SHARE, 1.0)
    share = (area * density).double().cumsum(0)
    face = torch.searchsorted(share, (torch.arange(count) + 0.5) / count * share[-1]).clamp(max=len(faces) - 1)
    u, v = ((torch.arange(count)[:, None] * torch.tensor(R2, dtype=torch.float64)) % 1).float().unbind(1)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    weights = torch.stack([1 - u - v, u, v], dim=1)

    def sampled(values: torch.Tensor) -> torch.Tensor:
        return (weights[..., None] * values[faces[face]]).sum(1)

    vertex = faces[face].gather(1, weights.argmax(dim=1, keepdim=True))[:, 0]
    radius = SPREAD * (share[-1] / count / density[face]).sqrt().float()
    normal = F.normalize(sampled(vertex_normals(vertices, faces)), dim=1)
    return _Samples(sampled(vertices), normal, vertex, radius, sampled(rest))


def _pulled_in(samples: _Samples, mask: torch.Tensor, camera: Camera) -> _Samples:
    """Without what sticks out of the mask within the photo; what hardly does is moved to the mask's edge."""
    at, z = project(samples.place, camera), samples.place[:, 2]
    out = ~looked_up(mask, at, outside=True) & (z > NEAR)
    distance, nearest = _nearest_true(mask)
    near = looked_up(distance, at, outside=0) * z / camera.focal[0] <= OUTSIDE
    edge = looked_up(nearest, at, outside=0)
    width = camera.size[0]
    edge = torch.stack([edge % width, edge // width], dim=1)
    place = torch.where(out[:, None], _unproject(edge, z, camera), samples.place)
    return samples._replace(place=place).only(~out | near)


def _seen(
    samples: _Samples, joint: torch.Tensor, faces: torch.Tensor, front: _Side, back: _Side, camera: Camera
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which samples [N] the photo shows, and which lie behind such a one, so that its colours may be theirs."""
    at, z = project(samples.place, camera), samples.place[:, 2]
    limb = torch.zeros(55, dtype=torch.long)
    for number, joints in enumerate(LIMBS, 1):
        limb[list(joints)] = number
    own = limb[joint[samples.vertex]]
    shown = torch.where(front.face >= 0, limb[joint[faces[front.face.clamp(min=0), 0]]], -1)
    first = torch.where(shown >= 0, front.depth, torch.inf)
    side = 2 * round(SHADOW / (float(z.median()) / camera.focal[0])) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    seen = (z > NEAR) & (z <= looked_up(first, at, outside=0) + SKIN)
    for number in range(len(LIMBS) + 1):
        others = torch.from_numpy(cv2.erode(first.where(shown != number, torch.inf).numpy(), disc))
        seen &= (own != number) | (z <= looked_up(others, at, outside=0) + OVERHANG)
    same = looked_up(shown, at, outside=-1) == own
    last = looked_up(back.depth, at, outside=0)
    behind = (z > NEAR) & (z >= last - SKIN) & same & ~torch.isin(joint[samples.vertex], torch.tensor(HEAD))
    return seen, behind & ~seen


def _nearest_colours(wanted: torch.Tensor, known: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """The colours [Q,3] of the `known` [N,3] m around each of `wanted` [Q,3], on the unposed body or its mirror image."""
    if not len(known):
        return wanted.new_full(wanted.shape, 0.5)
    every = -(-len(known) // SOURCES)
    known, rgb = known[::every], rgb[::every]
    places, colours = torch.cat([known, known * torch.tensor([-1.0, 1, 1])]), torch.cat([rgb, rgb])
    farther = torch.cat([torch.zeros(len(known)), torch.full((len(known),), OTHER_SIDE)])
    found = []
    for part in wanted.split(512):
        distance, index = (torch.cdist(part, places) + farther).topk(min(NEIGHBOURS, len(places)), largest=False)
        weights = F.normalize((distance + 0.005) ** -2, p=1, dim=1)
        found.append((weights[..., None] * colours[index]).sum(1))
    return torch.cat(found) if found else wanted


def _canonical(
    samples: _Samples, rgb: torch.Tensor, scale: torch.Tensor, body: BodyModel, affine: torch.Tensor,
    motion: BodyMotion, visible_ratio: float,
) -> Avatar:  # fmt: skip
    """The avatar that a rig of `body` brings to where the samples are."""
    there, back = neutral_pose(body.skeleton)
    undone = blend(body.skinning, back).double()[samples.vertex]  # from the neutral pose to the T-pose
    posed = affine.double()[samples.vertex]

    def before(transform: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(transform[..., :3], (points - transform[..., 3])[..., None])[..., 0]

    shape = body.shape_dirs.double()[samples.vertex] @ motion.betas[0]
    neutral = before(undone, before(posed, samples.place.double() - motion.trans[0]) - shape).float()
    anchor = move(blend(body.skinning, there), body.template)[samples.vertex]
    turn = matrix_to_quaternion(posed[..., :3] @ undone[..., :3]).float()
    rotation = quaternion_product(
        turn * torch.tensor([1.0, -1, -1, -1]), matrix_to_quaternion(facing(samples.normal))
    )
    kept = (neutral - anchor).norm(dim=1) < 0.5
    return Avatar(
        (neutral - anchor)[kept], anchor[kept], rgb.clamp(0, 1)[kept], torch.full((int(kept.sum()), 1), OPACITY),
        scale[kept], rotation[kept], back, motion.betas[0].float(), visible_ratio, 0,
    )  # fmt: skip
