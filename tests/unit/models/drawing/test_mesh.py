import math

import pytest
import torch
from crafters.models.drawing import mesh as module
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.mesh import render_mesh
from crafters.models.drawing.rasterize import rasterize

CAMERA = Camera((100, 110), (50, 40), (100, 80))


def sphere(steps=80):
    """Unit sphere: rings of latitude, outside counter-clockwise."""
    latitude = torch.linspace(0, math.pi, steps + 1, dtype=torch.double)[:, None]
    longitude = torch.arange(2 * steps)[None] * math.pi / steps
    xyz = torch.stack(
        [latitude.sin() * longitude.cos(), latitude.sin() * longitude.sin(), latitude.cos().expand(-1, 2 * steps)], -1
    )
    return xyz.flatten(0, 1), grid_faces(steps + 1, 2 * steps, closed=True)


def grid_faces(rows, columns, closed=False):
    """Two triangles for each cell of a grid of vertices."""
    i, j = torch.meshgrid(torch.arange(rows - 1), torch.arange(columns if closed else columns - 1), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    return torch.cat([torch.stack(t, -1).view(-1, 3) for t in ((a, a + columns, b), (b, a + columns, b + columns))])


def rays(camera):
    """Directions (X/Z, Y/Z) of the centres of all pixels."""
    (fx, fy), (cx, cy), (w, h) = camera.focal, camera.principal, camera.size
    y, x = torch.meshgrid(torch.arange(h, dtype=torch.double), torch.arange(w, dtype=torch.double), indexing="ij")
    return (x + 0.5 - cx) / fx, (y + 0.5 - cy) / fy


def test_a_sphere_under_the_published_light():
    unit, faces = sphere()
    centre, radius = torch.tensor([0.05, -0.03, 2.0], dtype=torch.double), 0.5
    render = render_mesh(unit * radius + centre, faces, CAMERA)

    u, v = rays(CAMERA)
    ray = torch.stack([u, v, torch.ones_like(u)], -1)
    a, b, c = (ray**2).sum(-1), ray @ centre, centre @ centre - radius**2
    root = b**2 - a * c
    z = (b - root.clamp(min=0).sqrt()) / a
    point = ray * z[..., None]
    light = torch.nn.functional.normalize(torch.tensor([0.0, 0, -10]) - point, dim=-1)
    grey = 0.56 + 0.24 * ((point - centre) / radius * light).sum(-1).clamp(min=0)

    assert (render.mask[0] != (root > 0)).sum() < 30  # a polyhedron is a little smaller
    inside = render.mask[0] & (root > 0.05)
    assert (render.depth[0] - z)[inside].abs().max() < 2e-3
    assert (render.image - grey)[:, inside].abs().max() < 2e-3
    assert render.image.max() == pytest.approx(0.8, abs=1e-3) and render.image[:, render.mask[0]].min() >= 0.56
    assert not render.image[:, ~render.mask[0]].any() and not render.depth[~render.mask].any()


def jittered_grid(seed, rows=24, columns=30, margin=0.6):
    """A wavy sheet without folds that fills more than the picture."""
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(
        torch.linspace(-margin, margin, rows), torch.linspace(-margin, margin, columns), indexing="ij"
    )
    cell = 2 * margin / columns
    xy = torch.stack([x, y], -1) + (torch.rand(rows, columns, 2, generator=g) - 0.5) * cell * 0.6
    z = 1 + torch.rand(rows, columns, 1, generator=g)
    return torch.cat([xy * z, z], -1).view(-1, 3).double(), grid_faces(rows, columns)


@pytest.mark.parametrize("seed", range(3))
def test_triangles_that_share_an_edge_leave_no_crack_and_do_not_overlap(seed):
    vertices, faces = jittered_grid(seed)
    assert render_mesh(vertices, faces, CAMERA).mask.all()
    spans = module._scan(*module._cut_near(vertices[faces]), CAMERA)
    assert (spans.end - spans.start).sum() == 100 * 80


def test_edges_through_pixel_centres_belong_to_one_triangle():
    camera = Camera((128, 128), (50, 40), (100, 80))  # exact in binary
    x, y = torch.meshgrid(torch.arange(0, 101, 5), torch.arange(0, 81, 5), indexing="xy")
    flat = torch.stack([(x - 49.5) / 128, (y - 39.5) / 128, torch.ones(x.shape)], -1).view(-1, 3).double()
    spans = module._scan(*module._cut_near(flat[grid_faces(*x.shape)]), camera)
    seen = torch.zeros(80, 100, dtype=torch.int)
    for row, start, end in zip(spans.row, spans.start, spans.end, strict=True):
        seen[row, start:end] += 1
    assert (seen == 1).all()


def test_perspective():
    """Colours and depth that are linear on a slanted plane."""
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    vertices = torch.cat([corners, 2 + 0.7 * corners[:, :1] + 0.4 * corners[:, 1:]], -1)
    colours = torch.cat([corners / 2 + 0.5, torch.zeros(4, 1)], -1)
    faces = torch.tensor([[0, 3, 2], [0, 2, 1]])
    render = render_mesh(vertices, faces, CAMERA, colours)
    u, v = rays(CAMERA)
    z = 2 / (1 - 0.7 * u - 0.4 * v)
    inside = render.mask[0]
    assert 0.2 < inside.float().mean() < 1
    assert torch.allclose(render.depth[0].double()[inside], z[inside], rtol=1e-6)
    ratio = render.image[0] / render.image[1]
    assert torch.allclose(ratio.double()[inside], ((u * z + 1) / (v * z + 1))[inside], rtol=1e-4)


def test_the_nearest_is_seen_whatever_the_order():
    triangle = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])
    vertices = torch.cat([triangle + torch.tensor([0, 0, z]) for z in (3.0, 2.0, 2.5)])
    colours = torch.eye(3).repeat_interleave(3, 0)
    faces = torch.arange(9).view(3, 3)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        render = render_mesh(vertices, faces[order], CAMERA, colours)
        assert render.depth[0, 40, 50] == 2
        assert render.image[:, 40, 50].argmax() == 1 and render.image[0, 40, 50] == 0


@pytest.mark.parametrize("columns", [2, 7])
def test_a_floor_that_runs_under_the_camera(columns):
    x, z = torch.meshgrid(torch.linspace(-60, 60, columns), torch.linspace(-5, 60, 6), indexing="xy")
    vertices = torch.stack([x, torch.ones_like(x), z], -1).view(-1, 3)
    render = render_mesh(vertices, grid_faces(6, columns), CAMERA)
    _, v = rays(CAMERA)
    z = 1 / v
    floor = (v > 0) & (z < 60)
    assert torch.equal(render.mask[0], floor)
    assert torch.allclose(render.depth[0].double()[floor], z[floor], rtol=1e-5)


def test_nothing_to_see():
    vertices, faces = sphere(8)
    for hidden in (vertices - torch.tensor([0, 0, 5]), vertices + torch.tensor([50, 0, 5])):
        render = render_mesh(hidden, faces, CAMERA)
        assert render.image.shape == (3, 80, 100) and not render.mask.any() and not render.image.any()
    assert not render_mesh(vertices, faces[:0], CAMERA).mask.any()
    assert not render_mesh(torch.zeros(3, 3) + 1, torch.tensor([[0, 1, 2]]), CAMERA).mask.any()  # no area


def test_the_result_does_not_depend_on_the_size_of_chunks(monkeypatch):
    vertices, faces = sphere(20)
    vertices = vertices + torch.tensor([0.3, 0, 1.2])
    whole = render_mesh(vertices, faces, CAMERA)
    monkeypatch.setattr(module, "PIXELS", 50)
    assert all(torch.equal(one, other) for one, other in zip(render_mesh(vertices, faces, CAMERA), whole, strict=True))


def test_meshes_and_gaussians_meet_on_the_picture():
    place, size = torch.tensor([0.31, -0.17, 2.0]), 0.05
    corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * size + place
    camera = Camera((1000, 1000), (400, 300), (800, 600))
    mask = render_mesh(corners, torch.tensor([[0, 3, 2], [0, 2, 1]]), camera).mask[0].float()
    scale, upright = torch.full((1, 3), size / 3), torch.tensor([[1.0, 0, 0, 0]])
    alpha = rasterize(place[None], torch.ones(1, 3), torch.ones(1, 1), scale, upright, camera).alpha[0]

    def middle(weight):
        y, x = torch.meshgrid(torch.arange(600), torch.arange(800), indexing="ij")
        return torch.stack([(x * weight).sum(), (y * weight).sum()]) / weight.sum()

    assert (middle(mask) - middle(alpha)).abs().max() < 0.51  # edges are cut at whole pixels
    assert (middle(alpha) - torch.tensor([554.5, 214.5])).abs().max() < 0.05


def test_bad_input():
    vertices, faces = sphere(4)
    for arguments, reason in (
        ((vertices[:, :2], faces, CAMERA), r"vertices must be \[count, 3\]"),
        ((vertices, faces.flatten(), CAMERA), r"faces must be \[count, 3\]"),
        ((vertices * math.inf, faces, CAMERA), "finite"),
        ((vertices, faces + 1, CAMERA), "of a mesh that has 40"),
        ((vertices, faces - 1, CAMERA), "name vertices -1 to"),
        ((vertices, faces, CAMERA, vertices[1:]), "40 vertices needs as many colours, not 39"),
    ):
        with pytest.raises(ValueError, match=reason):
            render_mesh(*arguments)
