"""An avatar by projection: one photo laid on the body that was fitted to it. A stand-in for LHM that needs no weights.

What the photo shows keeps its colours, the back gets those of the front, everything else those of the nearest seen
place of the same part of the body, on either side of it. Clothes and hair that stand off from the body are kept by
their outline: near ones move the body's surface, the rest become gaussians of their own, which follow the nearest part
of it.
"""

import logging
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ..body.body import BodyModel
from ..body.layout import EYES
from ..body.motion import BodyMotion
from ..body.rotation import matrix_to_quaternion
from ..body.skinning import blend, move
from ..drawing.camera import NEAR_POINTS, Camera
from ..drawing.mesh import face_normals, vertex_normals, visible_surface
from .animate import Posed
from .bind import bind
from .gaussians import Avatar
from .outline import fit_outline, looked_up
from .render import fit_camera

SKIN = 0.015  # m: what lies that far below what is seen is still seen
OVERHANG, SHADOW = 0.02, 0.03  # m: beside a limb that much nearer, so much of the picture may still be that limb
OUTSIDE = 0.06  # m: how far what sticks out of the mask is pulled in; the rest is left out
ELSEWHERE = 0.3  # of a joint's surface far outside the mask: the photo does not show it, or not where it is thought
LOOSE = 0.25  # m: beside the body, farther away than any cloth, there is something else
WHOLE = 0.9  # of the body's surface: who shows less is told what was guessed
THICK = 0.04  # m: half of what stands off from the body, at most
COARSE, RIM = 2, 2  # px between gaussians; the head, and so much along the outline, have one in each pixel
FINEST, REST = 0.9, 4  # pixels of the person for a gaussian, at most; the part of all that is for what is not seen
MOST = 4  # times that part, over all of the body
HEAD_SHARE = 3.0  # times as many gaussians on the head, where the photo shows nothing
SPREAD, FLATNESS, OPACITY = 0.55, 0.2, 0.95  # radius in pixels between gaussians; thickness beside the radius
UNEVEN = 0.7  # radius in mean distances, where gaussians are not in rows
STEEP = 0.5  # cosine between view and normal, below which gaussians are drawn out no more
ABOVE_EYES = 0.03  # m: what is lower at the back of the head looks as what is at this height
OTHER_SIDE = 0.01  # m: the other half of the body is that much farther away, where colours are sought
NEIGHBOURS, SOURCES = 48, 8000
FEWEST = 40  # places of known colour that a part of the body is filled in from
R2 = (0.7548776662466927, 0.5698402909980532)  # spreads points evenly over a triangle
HEAD = (15, 22, *EYES)
LIMBS = ((16, 18, 20, *range(25, 40)), (17, 19, 21, *range(40, 55)), (1, 4, 7, 10), (2, 5, 8, 11), (12, *HEAD))
HEAD_LIMB = len(LIMBS)
# By its joints; where colours come from instead, of a part that is not seen: hands are as bare as the face.
PARTS = {
    "head": (12, *HEAD),
    "arms": (13, 14, 16, 17, 18, 19),
    "hands": (20, 21, *range(25, 55)),
    "legs": (1, 2, 4, 5, 7, 8, 10, 11),
    "trunk": (0, 3, 6, 9),
}
INSTEAD = {"hands": "head", "arms": "trunk", "legs": "trunk"}


class _Side(NamedTuple):
    """What the camera sees of a mesh first, or last: vertex [H,W] (-1: nothing) and depth [H,W] m (0: nothing)."""

    vertex: torch.Tensor
    depth: torch.Tensor


class _Samples(NamedTuple):
    """place [N,3] m before the camera; axes [N,3,3] and scale [N,3] m of the gaussian there; vertex [N] that each moves
    with; where each is on the unposed body, rest [N,3] m; rgb [N,3], NaN where it is not known; rim [N] bool: so near
    the person's outline that the colour may be mixed with the background's."""

    place: torch.Tensor
    axes: torch.Tensor
    scale: torch.Tensor
    vertex: torch.Tensor
    rest: torch.Tensor
    rgb: torch.Tensor
    rim: torch.Tensor

    def only(self, kept: torch.Tensor) -> "_Samples":
        return _Samples(*(part[kept] for part in self))


class _Mesh(NamedTuple):
    """The body as it stands before the camera: vertices, normals [V,3], faces [F,3]; rest [V,3]: unposed; limb [V]: a
    number of `LIMBS`, from 1 on, or 0 for the trunk."""

    vertices: torch.Tensor
    normals: torch.Tensor
    faces: torch.Tensor
    rest: torch.Tensor
    limb: torch.Tensor


@torch.no_grad()
def project_photo(
    photo: torch.Tensor, mask: torch.Tensor, body: BodyModel, motion: BodyMotion, gaussians: int = 40_000,
    visible_ratio: float = 1.0,
) -> Avatar:
    """photo [H,W,3] in 0…1, mask [H,W] bool: the person; motion: one frame, `body` as it stands in the photo.

    In that pose, before that camera, the avatar looks as the photo. It is rigged by the same body (`rig_from_body`).
    gaussians: about as many it has. Raises ValueError when mask and body do not meet, or the motion is of a picture of
    another shape.
    """
    motion = fit_camera(motion.still(), photo.shape[1], photo.shape[0])
    rest = body.template + body.shape_dirs @ motion.betas[0].float()
    affine = blend(body.skinning, body.skeleton.transforms(motion.pose, body.skeleton.rest(motion.betas[0]))[0])
    vertices = move(affine, rest) + motion.trans[0].float()
    camera, colours, mask, core = _working_picture(photo, mask, motion, gaussians)

    joint = body.skinning.argmax(dim=1)
    limb = torch.zeros(len(body.skeleton.parents), dtype=torch.long)
    for number, joints in enumerate(LIMBS, 1):
        limb[list(joints)] = number
    mesh = _Mesh(vertices, vertex_normals(vertices, body.faces), body.faces, rest, limb[joint])
    covered = _sides(mesh, camera)[0].vertex >= 0
    if not (mask & covered).any():
        raise ValueError("The body lies nowhere in the person's mask: connect the motion that was found in this photo.")
    away = fit_outline(vertices, body.faces, joint, core, covered, camera)
    vertices = vertices + away[:, None] * mesh.normals
    mesh = mesh._replace(vertices=vertices, normals=vertex_normals(vertices, body.faces))
    front, back = _sides(mesh, camera)

    layers = _layers(mesh, front, back, mask, colours, camera, gaussians)
    left = count = max(gaussians // REST, gaussians - len(layers.place))
    for _ in range(2):  # how many of them are hidden is known after a first try
        hidden = _unseen(_pulled_in(_spread(count, mesh), joint, core, camera), front, back, mask, camera)
        count = min(MOST * left, left * left // max(1, len(hidden.place)))
    samples = _Samples(*(torch.cat(parts) for parts in zip(layers, hidden, strict=True)))
    _tell(mesh, joint, mask, camera)
    samples = _filled_in(samples, joint[samples.vertex], body.skeleton.rest(motion.betas[0]).float())
    rgb = samples.rgb.clamp(0, 1)
    opacity = torch.full_like(rgb[:, :1], OPACITY)
    shown = Posed(samples.place, matrix_to_quaternion(samples.axes), samples.scale, opacity, rgb)
    return bind(shown, samples.vertex, body, motion.pose[0], motion.trans[0], motion.betas[0], visible_ratio)


def _working_picture(
    photo: torch.Tensor, mask: torch.Tensor, motion: BodyMotion, gaussians: int
) -> tuple[Camera, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Camera, colours [h,w,3], mask [h,w] and its core of the photo, shrunk until the person has few enough pixels.

    The mask lacks its outermost pixels, since gaussians are no points. The core is a pixel narrower still: at the edge
    colours are mixed with the background. Beyond the core every pixel has the colour of the nearest inside.
    """
    shrunk = min(1.0, (FINEST * gaussians / max(1, int(mask.sum()))) ** 0.5)
    width, height = (max(16, round(side * shrunk)) for side in motion.size)
    motion = motion.resized(width, height)
    picture = cv2.resize(photo.numpy(), (width, height), interpolation=cv2.INTER_AREA)
    inside = cv2.resize(mask.float().numpy(), (width, height), interpolation=cv2.INTER_AREA)
    inside = cv2.blur(inside, (3, 3), borderType=cv2.BORDER_REPLICATE) > 0.75
    core = torch.from_numpy(cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8))).bool()
    inside = torch.from_numpy(inside)
    _, nearest = _nearest_true(core if core.any() else inside)
    colours = torch.from_numpy(picture).flatten(0, 1)[nearest]
    return Camera.of(motion, 0), colours, inside, core


def _nearest_true(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every pixel: how far the nearest one is where `mask` [H,W] holds, px, and which that is (row · W + x)."""
    distance, label = cv2.distanceTransformWithLabels(
        (~mask).byte().numpy(), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    label = torch.from_numpy(label).long()
    index = torch.zeros(int(label.max()) + 1, dtype=torch.long)
    index[label[mask]] = torch.nonzero(mask.flatten())[:, 0]
    return torch.from_numpy(distance), index[label]


def _sides(mesh: _Mesh, camera: Camera) -> tuple[_Side, _Side]:
    width, height = camera.size
    z = mesh.vertices[:, 2:].clamp(min=NEAR_POINTS)
    # Seen through the same pixels, flat faces stay flat and far becomes near when z goes to 1/z.
    sides = []
    for points in (mesh.vertices, torch.cat([mesh.vertices[:, :2] / z, torch.ones_like(z)], dim=1) / z):
        vertex, depth = torch.full((height * width,), -1), torch.zeros(height * width)
        for part in visible_surface(points, mesh.faces, camera):
            nearest = part.weights.argmax(dim=1, keepdim=True)
            vertex[part.pixel], depth[part.pixel] = mesh.faces[part.face].gather(1, nearest)[:, 0], part.depth
        sides.append(_Side(vertex.view(height, width), depth.view(height, width)))
    front, back = sides
    return front, back._replace(depth=torch.where(back.depth > 0, 1 / back.depth.clamp(min=1e-6), back.depth))


def _layers(
    mesh: _Mesh, front: _Side, back: _Side, mask: torch.Tensor, colours: torch.Tensor, camera: Camera, gaussians: int
) -> _Samples:
    """What the photo shows, and what somebody behind sees: of the body, and beside it, as deep as its nearest part."""
    covered = front.vertex >= 0
    away, nearest = _nearest_true(covered)
    mask = mask & (away * front.depth.flatten()[nearest] / camera.focal[0] < LOOSE)
    limb = mesh.limb[front.vertex.flatten()[nearest]]
    edge = _nearest_true(~mask)[0] if not mask.all() else torch.full(mask.shape, torch.inf)
    fine = (limb == HEAD_LIMB) | (edge <= RIM) | (2 * mask.sum() <= FINEST * gaussians)
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in mask.shape), indexing="ij")
    # Cells of the coarse grid are fine or coarse as a whole, so that no seam is left.
    cells = F.max_pool2d(fine[None].float(), COARSE, ceil_mode=True)[0] > 0
    fine = cells.repeat_interleave(COARSE, 0).repeat_interleave(COARSE, 1)[: mask.shape[0], : mask.shape[1]]
    chosen = mask & (fine | (rows % COARSE + columns % COARSE == 0))
    rows, columns, nearest = rows[chosen], columns[chosen], nearest[chosen]
    step = torch.where(fine[chosen], 1, COARSE)
    smooth = torch.from_numpy(cv2.blur(colours.numpy(), (COARSE, COARSE), anchor=(0, 0)))
    rgb = torch.where(step[:, None] > 1, smooth[chosen], colours[chosen])
    at = torch.stack([columns, rows], dim=1) + (step[:, None] - 1) / 2

    beside = ~covered[chosen]
    middle = (front.depth + back.depth).flatten()[nearest] / 2
    half = (edge[chosen] * middle / camera.focal[0]).clamp(max=THICK)
    doubtful = _beside_limbs(front, mesh, camera)[chosen]
    mirrored = (limb[chosen] != HEAD_LIMB) & (mesh.limb[back.vertex.flatten()[nearest]] == limb[chosen])
    layers = []
    for side, sign, known in ((front, -1, ~doubtful), (back, 1, ~doubtful & mirrored)):
        vertex = side.vertex.flatten()[nearest]
        depth = torch.where(beside, middle + sign * half, side.depth.flatten()[nearest])
        place = camera.unproject(at, depth)
        view = F.normalize(place, dim=1)
        normal = torch.where(beside[:, None], sign * view, mesh.normals[vertex])
        radius = SPREAD * step * depth / camera.focal[0]
        axes, scale = _discs(normal, view, radius)
        scale[:, 2] = torch.where(beside, radius, scale[:, 2])
        layers.append(
            _Samples(
                place, axes, scale, vertex, mesh.rest[vertex], rgb.where((known | beside)[:, None], torch.nan),
                edge[chosen] <= RIM,
            )
        )
    return _Samples(*(torch.cat(parts) for parts in zip(*layers, strict=True)))


def _beside_limbs(front: _Side, mesh: _Mesh, camera: Camera) -> torch.Tensor:
    """[H,W]: where the picture may show a limb that is a little elsewhere than the body's, which is much nearer."""
    shown = torch.where(front.vertex >= 0, mesh.limb[front.vertex.clamp(min=0)], -1)
    depth = torch.where(shown >= 0, front.depth, torch.inf)
    side = 2 * round(SHADOW * camera.focal[0] / float(depth[shown >= 0].median())) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    doubtful = torch.zeros_like(shown, dtype=torch.bool)
    for number in range(len(LIMBS) + 1):
        others = torch.from_numpy(cv2.erode(depth.where(shown != number, torch.inf).numpy(), disc))
        doubtful |= (shown == number) & (others + OVERHANG < depth)
    return doubtful


def _discs(normal: torch.Tensor, view: torch.Tensor, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Axes [N,3,3] in columns and scale [N,3] of discs that look round from where `view` [N,3] comes."""
    slope = (normal * view).sum(1, keepdim=True)
    along = view - slope * normal
    helper = torch.eye(3)[normal.abs().argmin(dim=1)]
    along = torch.where(along.norm(dim=1, keepdim=True) > 1e-3, along, torch.linalg.cross(normal, helper))
    along = F.normalize(along, dim=1)
    axes = torch.stack([along, torch.linalg.cross(normal, along), normal], dim=-1)
    return axes, torch.stack([radius / slope[:, 0].abs().clamp(min=STEEP), radius, FLATNESS * radius], dim=1)


def _spread(count: int, mesh: _Mesh) -> _Samples:
    """Points on all of the surface, most on the head, of no known colour."""
    area = face_normals(mesh.vertices, mesh.faces).norm(dim=1) / 2
    density = torch.where(mesh.limb[mesh.faces[:, 0]] == HEAD_LIMB, HEAD_SHARE, 1.0)
    share = (area * density).double().cumsum(0)
    face = torch.searchsorted(share, (torch.arange(count) + 0.5) / count * share[-1]).clamp(max=len(area) - 1)
    u, v = ((torch.arange(count)[:, None] * torch.tensor(R2, dtype=torch.float64)) % 1).float().unbind(1)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    weights = torch.stack([1 - u - v, u, v], dim=1)
    corner = mesh.faces[face]
    place, normal, rest = ((weights[..., None] * of[corner]).sum(1) for of in mesh[:2] + (mesh.rest,))
    normal = F.normalize(normal, dim=1)
    axes, scale = _discs(normal, normal, UNEVEN * (share[-1] / count / density[face]).sqrt().float())
    vertex = corner.gather(1, weights.argmax(dim=1, keepdim=True))[:, 0]
    return _Samples(place, axes, scale, vertex, rest, torch.full_like(place, torch.nan), torch.zeros_like(vertex) > 0)


def _pulled_in(samples: _Samples, joint: torch.Tensor, mask: torch.Tensor, camera: Camera) -> _Samples:
    """Without what sticks out of the mask within the photo; what hardly does is moved to the mask's edge.

    What moves with a joint of which much sticks out stays as it is: nobody can say how that limb really stands, and
    an avatar needs it. joint [V]: which one moves each vertex most.
    """
    at, z = camera.project(samples.place), samples.place[:, 2]
    out = ~looked_up(mask, at, outside=True) & (z > NEAR_POINTS)
    distance, nearest = _nearest_true(mask)
    near = looked_up(distance, at, outside=0) * z / camera.focal[0] <= OUTSIDE
    edge = looked_up(nearest, at, outside=0)
    width = camera.size[0]
    edge = torch.stack([edge % width, edge // width], dim=1)
    place = torch.where(out[:, None], camera.unproject(edge, z), samples.place)
    joint = joint[samples.vertex]
    every, lost = (torch.bincount(joint[which], minlength=int(joint.max()) + 1) for which in (out | True, out & ~near))
    guessed = (lost > ELSEWHERE * every)[joint]
    place = torch.where(guessed[:, None], samples.place, place)
    return samples._replace(place=place).only(~out | near | guessed)


def _unseen(samples: _Samples, front: _Side, back: _Side, mask: torch.Tensor, camera: Camera) -> _Samples:
    """Those that neither the camera nor somebody behind the person would see, or that lie outside the mask."""
    at, z = camera.project(samples.place), samples.place[:, 2]
    first, last = (looked_up(side.depth, at, outside=0) for side in (front, back))
    inside = looked_up(mask, at, outside=False)
    return samples.only((z <= NEAR_POINTS) | (first == 0) | ~inside | ((z > first + SKIN) & (z < last - SKIN)))


def _tell(mesh: _Mesh, joint: torch.Tensor, mask: torch.Tensor, camera: Camera) -> None:
    """Warns where the photo shows only a part of the body, and names what is guessed."""
    area = face_normals(mesh.rest, mesh.faces).norm(dim=1)
    inside = looked_up(mask, camera.project(mesh.vertices[mesh.faces[:, 0]]), outside=False)
    of = joint[mesh.faces[:, 0]]
    share = {"all": float((area * inside).sum() / area.sum())}
    for name, joints in PARTS.items():
        part = area * torch.isin(of, torch.tensor(joints))
        share[name] = float((part * inside).sum() / part.sum())
    if share["all"] < WHOLE:
        guessed = ", ".join(f"{name} ({share[name]:.0%} seen)" for name in PARTS if share[name] < WHOLE)
        logging.getLogger(__name__).warning(
            "The photo shows %.0f %% of the body; the rest has the colours of what is seen: %s. A photo of the whole "
            "person makes a better avatar.", 100 * share["all"], guessed,
        )


def _filled_in(samples: _Samples, joint: torch.Tensor, joints: torch.Tensor) -> _Samples:
    """With colours everywhere. joint [N]: which one moves each most; joints [55,3] m of the unposed body."""
    known = samples.rgb.isfinite().all(1)
    wanted = samples.rest.clone()
    # Where the face is on the other side, hair goes on: as it is above the eyes.
    hair = torch.isin(joint, torch.tensor(HEAD)) & (wanted[:, 2] < joints[HEAD[0], 2])
    above = wanted[:, 1].clamp(min=float(joints[list(EYES), 1].mean()) + ABOVE_EYES)
    wanted[:, 1] = torch.where(hair, above, wanted[:, 1])
    sure = known & ~samples.rim
    of = {name: torch.isin(joint, torch.tensor(numbers)) for name, numbers in PARTS.items()}
    # A face, neither the hair around it nor a collar.
    jaw, eyes = joints[HEAD[0]], joints[list(EYES), 1].mean()
    skin = of["head"] & (wanted[:, 2] > jaw[2]) & (wanted[:, 1] > jaw[1]) & (wanted[:, 1] < eyes)
    rgb = samples.rgb.clone()
    for name, part in of.items():
        instead = skin if name == "hands" else of[INSTEAD.get(name, name)]
        several = (part & sure, instead & sure, part & known, sure)
        sources = next((found for found in several if found.sum() >= FEWEST), known)
        empty = part & ~known
        rgb[empty] = _nearest_colours(wanted[empty], samples.rest[sources], samples.rgb[sources])
    return samples._replace(rgb=rgb)


def _nearest_colours(wanted: torch.Tensor, known: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """Colours [Q,3] at `wanted` [Q,3] m of the unposed body: means of the `known` [N,3] around, or around its mirror
    image; the farther they are, the more of them count, so that a seam far away makes no streaks."""
    if not len(known):
        return wanted.new_full(wanted.shape, 0.5)
    every = -(-len(known) // SOURCES)
    known, rgb = known[::every], rgb[::every]
    places, colours = torch.cat([known, known * torch.tensor([-1.0, 1, 1])]), torch.cat([rgb, rgb])
    farther = torch.cat([torch.zeros(len(known)), torch.full((len(known),), OTHER_SIDE)])
    found = []
    for part in wanted.split(512):
        distance, index = (torch.cdist(part, places) + farther).topk(min(NEIGHBOURS, len(places)), largest=False)
        nearest = distance[:, :1]
        weights = F.normalize(torch.exp(-(((distance - nearest) / (0.003 + 0.3 * nearest)) ** 2)), p=1, dim=1)
        found.append((weights[..., None] * colours[index]).sum(1))
    return torch.cat(found) if found else wanted
