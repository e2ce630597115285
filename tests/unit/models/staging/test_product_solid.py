"""Solids of a product's front view and real size."""

import pytest
import torch
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.mesh import visible_depth
from crafters.models.staging.product_solid import KINDS, product_solid, real_size


def bottle() -> torch.Tensor:
    """A neck over a wide body, 518 px, not in the middle."""
    outline = torch.zeros(518, 518)
    outline[20:160, 200:260] = 1
    outline[160:500, 130:330] = 1
    return outline


def mesh(*product):
    """Vertices and faces."""
    solid = product_solid(*product)
    return torch.from_numpy(solid.vertices), torch.from_numpy(solid.faces).long()


@pytest.mark.parametrize("kind", KINDS)
def test_a_solid_has_its_size_and_is_closed(kind):
    size = (0.10, 0.24, 0.06)
    vertices, faces = mesh(bottle(), size, kind)
    low, high = vertices.amin(0), vertices.amax(0)
    torch.testing.assert_close(high - low, torch.tensor(size), atol=2e-3, rtol=0)
    torch.testing.assert_close(high + low, torch.zeros(3), atol=2e-3, rtol=0)
    a, b, c = (vertices[faces[:, i]].double() for i in range(3))
    volume = (a * torch.linalg.cross(b, c)).sum() / 6
    assert 0.3 < volume / (0.10 * 0.24 * 0.06) < 1, "faces look outwards"


def test_its_outline_is_the_photos():
    size, outline = (200 / 480 * 0.24, 0.24, 0.08), bottle()
    vertices, faces = mesh(outline, size, "box")
    camera = Camera.centred(480 / 0.24 * 50, 518, 518)  # from afar
    shown = visible_depth(vertices + torch.tensor([0, 0, 50.0]), faces, camera) > 0
    wanted = outline.roll((259 - 260, 259 - 230), (0, 1)) > 0
    assert (shown & wanted).sum() / (shown | wanted).sum() > 0.97


def test_a_round_product_is_as_deep_as_it_is_wide():
    vertices, _ = mesh(bottle(), (0.1, 0.24, 0.1), "bottle")
    neck = vertices[vertices[:, 1] < -0.1]
    assert 0.9 < (neck[:, 2].max() - neck[:, 2].min()) / (neck[:, 0].max() - neck[:, 0].min()) < 1.1


def test_sizes_that_are_not_given_are_guessed():
    assert real_size("can", 0.5) == (0.065, 0.13, 0.065)
    assert real_size("box", 0.5, width=0.2) == pytest.approx((0.2, 0.4, 0.09))
    assert real_size("flat", 0.5, 0.1, 0.3, 0.02) == (0.1, 0.3, 0.02)
    with pytest.raises(ValueError, match="no kind of product"):
        real_size("sofa", 1.0)


def test_an_empty_view_is_told():
    with pytest.raises(ValueError, match="shows nothing"):
        product_solid(torch.zeros(518, 518), (0.1, 0.1, 0.1), "box")
