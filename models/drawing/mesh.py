"""A z-buffer for triangle meshes, with the light of AniCrafter's body-mesh videos.

By scan conversion: a pixel belongs to a triangle that has its centre inside. Two triangles that share an edge compute
the same crossing of it with a row of pixels, and the centre on a crossing goes to the right of it: a mesh has neither
cracks nor pixels that are drawn twice (top-left rule).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .camera import NEAR_MESH, Camera

GREY, AMBIENT, DIFFUSE = 0.8, 0.7, 0.3  # together the published 0.56 + 0.24·max(0, n·l)
LIGHT = (0.0, 0.0, -10.0)  # m: behind the camera, in OpenCV's axes as in PyTorch3D's, which turn x and y around
PIXELS = 1 << 20  # worked on at a time; about 300 bytes each
NOTHING = torch.iinfo(torch.long).max


class MeshRender(NamedTuple):
    """image [3, H, W] 0..1 on black; depth [1, H, W] m: z, 0 where there is no mesh; mask [1, H, W] bool."""

    image: torch.Tensor
    depth: torch.Tensor
    mask: torch.Tensor


def render_mesh(
    vertices: torch.Tensor, faces: torch.Tensor, camera: Camera, colours: torch.Tensor | None = None
) -> MeshRender:
    """Smoothly shaded picture of a mesh (AniCrafter, body-mesh video), computed on the CPU.

    vertices [V, 3] m in camera space (OpenCV axes); faces [F, 3] integers, counter-clockwise seen from outside, shown
    from both sides; colours [V, 3] 0..1, grey 0.8 if not given. What is nearer than 1 cm is cut off.

    Raises ValueError for tensors of other shapes, vertices that are not finite, and faces of vertices there are not.
    """
    vertices, faces = vertices.detach().cpu().double(), faces.detach().cpu().long()
    colours = torch.full_like(vertices, GREY) if colours is None else colours.detach().cpu().double()
    _check(vertices, faces, colours)
    width, height = camera.size
    normals = vertex_normals(vertices, faces)
    image, depth = torch.zeros(height * width, 3), torch.zeros(height * width)
    for seen in visible_surface(vertices, faces, camera):
        corners = faces[seen.face]
        point, normal, colour = ((seen.weights[..., None] * of[corners]).sum(1) for of in (vertices, normals, colours))
        to_light = F.normalize(point.new_tensor(LIGHT) - point, dim=-1)
        lit = (F.normalize(normal, dim=-1) * to_light).sum(-1, keepdim=True).clamp(min=0)
        image[seen.pixel] = (colour * (AMBIENT + DIFFUSE * lit)).float()
        depth[seen.pixel] = seen.depth
    depth = depth.view(1, height, width)
    return MeshRender(image.T.reshape(3, height, width), depth, depth > 0)


class Surface(NamedTuple):
    """What n pixels see of a mesh: pixel [n] = row · W + x; face [n]; weights [n, 3] of its corners; depth [n] m: z."""

    pixel: torch.Tensor
    face: torch.Tensor
    weights: torch.Tensor
    depth: torch.Tensor


def visible_surface(vertices: torch.Tensor, faces: torch.Tensor, camera: Camera) -> Iterator[Surface]:
    """The nearest point of a mesh in every pixel that shows it; large pictures come in several parts.

    vertices [V, 3] m in camera space, float32 or float64, which is what is computed in; faces [F, 3] int64.
    """
    spans = _scan(*_cut_near(vertices[faces]), camera)
    nearest = _nearest(spans, camera.size)
    for pixel in torch.nonzero(nearest < NOTHING)[:, 0].split(PIXELS):
        span = nearest[pixel] & 0xFFFFFFFF
        weights = spans.weights(span, pixel % camera.size[0])
        depth = (nearest[pixel] >> 32).int().view(torch.float)
        yield Surface(pixel, spans.face[span], weights / weights.sum(-1, keepdim=True), depth)


def visible_depth(vertices: torch.Tensor, faces: torch.Tensor, camera: Camera) -> torch.Tensor:
    """z of a mesh where it is seen, m [H, W], 0 elsewhere; arguments as for `visible_surface`."""
    width, height = camera.size
    depth = torch.zeros(height * width)
    for seen in visible_surface(vertices, faces, camera):
        depth[seen.pixel] = seen.depth
    return depth.view(height, width)


def _check(vertices: torch.Tensor, faces: torch.Tensor, colours: torch.Tensor) -> None:
    for name, tensor in (("vertices", vertices), ("faces", faces), ("colours", colours)):
        if tensor.ndim != 2 or tensor.shape[1] != 3:
            raise ValueError(f"A mesh's {name} must be [count, 3], not {[*tensor.shape]}.")
    if len(colours) != len(vertices):
        raise ValueError(f"A mesh of {len(vertices)} vertices needs as many colours, not {len(colours)}.")
    if not vertices.isfinite().all() or not colours.isfinite().all():
        raise ValueError("A mesh's vertices and colours must be finite numbers.")
    if faces.numel() and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise ValueError(f"Faces name vertices {faces.min()} to {faces.max()} of a mesh that has {len(vertices)}.")


def vertex_normals(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Unit normals [V, 3]: the faces' means, weighted by area."""
    of_faces = face_normals(vertices, faces).repeat_interleave(3, 0)
    return F.normalize(torch.zeros_like(vertices).index_add_(0, faces.flatten(), of_faces), dim=-1)


def face_normals(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """[F, 3]: outwards, each as long as twice its face's area, m²."""
    a, b, c = vertices[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a)


def _cut_near(triangles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the near plane leaves of triangles [F, 3, 3]: corners [T, 3, 6] and of which face each is, [T].

    A corner has its place and its barycentric weights in the face.
    """
    corners = torch.cat([triangles, torch.eye(3).to(triangles).expand_as(triangles)], -1)
    seen = triangles[..., 2] >= NEAR_MESH
    face = [torch.nonzero(seen.sum(-1) == count)[:, 0] for count in (3, 1, 2)]

    def turned(face: torch.Tensor, alone: bool) -> tuple[torch.Tensor, ...]:
        """Corners, from that on which alone is seen, or is not."""
        first = (seen[face] == alone).int().argmax(-1, keepdim=True)
        return corners[face[:, None], (first + torch.arange(3)) % 3].unbind(1)

    whole = corners[face[0]]
    a, b, c = turned(face[1], True)
    tip = torch.stack([a, _crossing(a, b), _crossing(a, c)], 1)
    a, b, c = turned(face[2], False)
    ab, ac = _crossing(b, a), _crossing(c, a)
    base = torch.stack([ab, b, c, ab, c, ac], 1).view(-1, 3, 6)
    return torch.cat([whole, tip, base]), torch.cat([face[0], face[1], face[2].repeat_interleave(2)])


def _crossing(seen: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Where edges from seen to hidden corners meet the near plane; both faces of an edge find the same."""
    point = torch.lerp(seen, hidden, ((seen[:, 2] - NEAR_MESH) / (seen[:, 2] - hidden[:, 2]))[:, None])
    point[:, 2] = NEAR_MESH
    return point


class _Spans(NamedTuple):
    """Runs of covered pixels: `row`, `start` ≤ x < `end`, and the face they show, all [S].

    Over a triangle in the picture, barycentric weights divided by z are linear: `left` and `right` [S, 3] are theirs at
    the crossings `x_left`, `x_right` with the triangle's edges.
    """

    row: torch.Tensor
    start: torch.Tensor
    end: torch.Tensor
    face: torch.Tensor
    x_left: torch.Tensor
    x_right: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor

    def weights(self, span: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """At pixels x of spans: [n, 3]; their sum is 1/z."""
        x_left = self.x_left[span]
        t = ((x - x_left) / (self.x_right[span] - x_left))[:, None]
        return torch.lerp(self.left[span], self.right[span], t)


def _nearest(spans: _Spans, size: tuple[int, int]) -> torch.Tensor:
    """For each pixel of the picture, [H·W]: z as float32 bits, which order as z does, above the span seen there."""
    width, height = size
    buffer = torch.full((height * width,), NOTHING)
    for part in _chunks(spans.end - spans.start):
        count = (spans.end - spans.start)[part]
        span = torch.repeat_interleave(torch.arange(part.start, part.stop), count)
        x = torch.arange(len(span)) - torch.repeat_interleave(count.cumsum(0) - count, count) + spans.start[span]
        z = (1 / spans.weights(span, x).sum(-1)).float()
        buffer.scatter_reduce_(0, spans.row[span] * width + x, z.view(torch.int).long() << 32 | span, "amin")
    return buffer


def _scan(corners: torch.Tensor, face: torch.Tensor, camera: Camera) -> _Spans:
    """The spans of triangles, as `_cut_near` gives them, on the picture."""
    width, height = camera.size
    place, weights = corners.split(3, -1)
    xy = camera.project(place)
    points = torch.cat([xy, weights / place[..., 2:]], -1)
    points = points[torch.arange(len(points))[:, None], xy[..., 1].argsort(-1)]  # from the highest corner to the lowest
    y = points[..., 1]
    first, end = (y[:, i].ceil().clamp(0, height).long() for i in (0, 2))
    triangle = torch.repeat_interleave(torch.arange(len(points)), end - first)
    row = torch.arange(len(triangle)) - ((end - first).cumsum(0) - (end - first) - first)[triangle]

    below = (row >= y[triangle, 1]).long()  # the middle corner
    long = _on_edge(points[triangle, 0], points[triangle, 2], row)
    short = _on_edge(points[triangle, below], points[triangle, below + 1], row)
    swap = long[:, :1] > short[:, :1]
    left, right = torch.where(swap, short, long), torch.where(swap, long, short)
    start, end = (side[:, 0].ceil().clamp(0, width).long() for side in (left, right))
    some = end > start
    values = (row, start, end, face[triangle], left[:, 0], right[:, 0], left[:, 2:], right[:, 2:])
    return _Spans(*(value[some] for value in values))


def _on_edge(upper: torch.Tensor, lower: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    t = (row - upper[:, 1]) / (lower[:, 1] - upper[:, 1])
    return upper + t[:, None] * (lower - upper)


def _chunks(counts: torch.Tensor) -> Iterator[slice]:
    """Consecutive slices of spans with about PIXELS pixels each."""
    total = counts.cumsum(0)
    start = 0
    while start < len(counts):
        before = int(total[start] - counts[start])
        stop = max(start + 1, int(torch.searchsorted(total, before + PIXELS, right=True)))
        yield slice(start, stop)
        start = stop
