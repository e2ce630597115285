import math

import pytest
import torch
from crafters.models.body.motion import BodyMotion
from crafters.models.drawing.camera import Camera, project

CAMERA = Camera((100.0, 50.0), (10.0, 20.0), (64, 48))


def test_where_a_point_is_seen():
    point = torch.tensor([[0.2, -0.1, 2.0]])
    assert CAMERA.project(point).tolist() == [pytest.approx([19.5, 17.0])]  # pixels' centres at whole numbers
    assert project(point, torch.tensor(CAMERA.focal), torch.tensor(CAMERA.principal)).tolist() == [
        pytest.approx([20.0, 17.5])
    ]


def test_a_point_behind_is_seen_far_outside_on_its_own_side():
    assert CAMERA.project(torch.tensor([0.5, 0.0, -2.0]))[0] > 1e4


def test_pixels_go_back_to_their_points():
    points = torch.randn(7, 3, dtype=torch.float64) + torch.tensor([0, 0, 5.0])
    torch.testing.assert_close(CAMERA.unproject(CAMERA.project(points), points[:, 2]), points)
    pixel = torch.tensor([[3, 4]])  # of whole numbers, as they are counted
    torch.testing.assert_close(CAMERA.project(CAMERA.unproject(pixel, torch.tensor([2.0]))), pixel.float())


def test_a_larger_picture_shows_the_same():
    point = torch.tensor([0.2, -0.1, 2.0])
    fine = CAMERA.scaled(2)
    assert fine.size == (128, 96)
    torch.testing.assert_close(fine.project(point) + 0.5, 2 * (CAMERA.project(point) + 0.5))


def test_the_camera_of_a_frame_of_a_motion():
    focal, principal = torch.tensor([[10.0, 20.0], [30.0, 40.0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    rest = torch.zeros(2, 55, 3), torch.zeros(2, 3), torch.zeros(2, 10)
    motion = BodyMotion(*rest, focal, principal, (64, 48), (0, 1), 30.0)
    assert Camera.of(motion, 1) == Camera((30.0, 40.0), (3.0, 4.0), (64, 48))
    assert Camera.centred(70.0, 64, 48) == Camera((70.0, 70.0), (32.0, 24.0), (64, 48))


@pytest.mark.parametrize(
    "values", [((0, 1), (0, 0), (8, 8)), ((1, 1), (math.nan, 0), (8, 8)), ((1, 1), (0, 0), (8, 0))]
)
def test_what_is_no_camera(values):
    with pytest.raises(ValueError, match="camera"):
        Camera(*values)
