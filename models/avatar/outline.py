"""A body's surface moved outwards or inwards until its outline is that of the person in a mask."""

import torch
import torch.nn.functional as F

from ..drawing.camera import Camera
from ..drawing.mesh import face_normals, vertex_normals

FARTHEST, DEEPEST = 0.08, 0.03  # m: clothes or hair above the body, and how far it may shrink; the rest is no outline
EDGE_ON = 0.35  # largest cosine between a surface's normal and the view where it is the outline
REACH = 0.08  # m: how far along the surface what an outline shows is felt
FAITH = 4.0  # of an outline's vertex, beside one edge of the mesh
WRIST = 20  # hands, joints from here on, are too thin to be measured
STEPS = 150


def fit_outline(
    vertices: torch.Tensor, faces: torch.Tensor, joint: torch.Tensor, mask: torch.Tensor, covered: torch.Tensor,
    camera: Camera,
) -> torch.Tensor:
    """How far each vertex must move along its normal, [V] m, for the mesh to fill `mask`; smooth over the surface.

    vertices [V,3] m in camera space; joint [V]: which one moves each most; mask, covered [H,W] bool: the person and the
    mesh in the camera's picture. Where no outline is near, nothing moves.
    """
    normals = vertex_normals(vertices, faces)
    gap, known = _gaps(vertices, normals, mask, covered, camera)
    known &= joint < WRIST
    return _membrane(gap, known, vertices, faces)


def _gaps(
    vertices: torch.Tensor, normals: torch.Tensor, mask: torch.Tensor, covered: torch.Tensor, camera: Camera
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance [V] m from the mesh's outline to the mask's, negative where the mask is narrower; where it is known."""
    at = camera.project(vertices)
    pixel = vertices[:, 2] / camera.focal[0]  # m
    direction = F.normalize(camera.project(vertices + 0.01 * normals) - at, dim=1)
    edge = (F.normalize(vertices, dim=1) * normals).sum(1).abs() < EDGE_ON
    edge &= ~looked_up(covered, at + 2 * direction, outside=True) & looked_up(covered, at - direction, outside=False)
    most = int(FARTHEST / float(pixel[edge].min())) + 1 if edge.any() else 1
    steps = torch.arange(1, most + 1).to(vertices)
    there = looked_up(mask, at, outside=False)

    def first(sign: int, value: bool) -> torch.Tensor:
        """The number of steps to where the mask has that value; `most` + 1 where it never has."""
        points = at[:, None] + sign * steps[:, None] * direction[:, None]
        found = looked_up(mask, points, outside=not value) == value
        return torch.where(found.any(1), found.int().argmax(1) + 1, most + 1)

    moved = torch.where(there, first(1, False) - 1, -first(-1, True)).to(vertices) * pixel
    return moved, edge & (moved > -DEEPEST) & (moved < FARTHEST)


def _membrane(gap: torch.Tensor, known: torch.Tensor, vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """`gap` spread over the surface by conjugate gradients: a membrane held at known places, springing back to 0."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = torch.cat([edges, edges.flip(1)]).unique(dim=0)
    a, b = edges.unbind(1)
    area = face_normals(vertices, faces).norm(dim=1) / 2
    area = torch.zeros_like(gap).index_add_(0, faces.flatten(), (area / 3).repeat_interleave(3))
    diagonal = torch.bincount(a, minlength=len(gap)) + FAITH * known + area / REACH**2

    def system(x: torch.Tensor) -> torch.Tensor:
        return diagonal * x - torch.zeros_like(x).index_add_(0, a, x[b])

    x = torch.zeros_like(gap)
    rest = FAITH * gap * known
    along = ahead = rest / diagonal
    for _ in range(STEPS):
        product, before = system(along), rest @ ahead
        if before < 1e-12:
            break
        step = before / (along @ product)
        x, rest = x + step * along, rest - step * product
        ahead = rest / diagonal
        along = ahead + (rest @ ahead) / before * along
    return x


def looked_up(picture: torch.Tensor, at: torch.Tensor, outside: float) -> torch.Tensor:
    """The nearest pixels of `picture` [H,W,...] at px [...,2]; `outside` beyond its edges."""
    height, width = picture.shape[:2]
    x, y = at.round().nan_to_num(-1e6).clamp(-1e6, 1e6).long().unbind(-1)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    found = picture[y.clamp(0, height - 1), x.clamp(0, width - 1)]
    beyond = torch.full_like(found, outside)
    return torch.where(inside.view(*inside.shape, *[1] * (found.ndim - inside.ndim)), found, beyond)
