import pytest
import torch
from crafters.models.body.rotation import (
    axis_angle_to_matrix,
    axis_angle_to_quaternion,
    frame,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    quaternion_product,
    quaternion_to_axis_angle,
    quaternion_to_matrix,
    slerp,
)


def vectors(count=200, length=3.0):
    generator = torch.Generator().manual_seed(0)
    return length * torch.randn(count, 3, dtype=torch.float64, generator=generator)


def same(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("length", [3.0, 1e-5, 0.0])
def test_axis_angle_to_matrix_is_the_exponential(length):
    v = vectors(length=length)
    x, y, z = v.T
    o = torch.zeros_like(x)
    cross = torch.stack([o, -z, y, z, o, -x, -y, x, o], dim=-1).reshape(-1, 3, 3)
    same(axis_angle_to_matrix(v), torch.linalg.matrix_exp(cross))


def test_a_quarter_turn_about_z_takes_x_to_y():
    turn = torch.tensor([0, 0, torch.pi / 2])
    same(axis_angle_to_matrix(turn) @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), 1e-6)


def test_quaternions_agree_with_matrices():
    v, w = vectors(), vectors().flip(0)
    q, r = axis_angle_to_quaternion(v), axis_angle_to_quaternion(w)
    same(matrix_to_quaternion(axis_angle_to_matrix(v)), q)
    product = matrix_to_quaternion(axis_angle_to_matrix(v) @ axis_angle_to_matrix(w))
    same(quaternion_product(q, r), product)
    assert (product[:, 0] >= 0).all()
    same(axis_angle_to_matrix(quaternion_to_axis_angle(q)), axis_angle_to_matrix(v))
    assert quaternion_to_axis_angle(q).norm(dim=1).max() <= torch.pi
    same(quaternion_to_matrix(q), axis_angle_to_matrix(v))
    same(matrix_to_axis_angle(axis_angle_to_matrix(v)), quaternion_to_axis_angle(q))


def test_a_frame_lies_along_its_first_vector():
    along, normal = vectors(), vectors().flip(0)
    turn = frame(along, normal)
    same(turn @ turn.mT, torch.eye(3, dtype=torch.float64).expand_as(turn))
    same(turn[..., 0], along / along.norm(dim=1, keepdim=True))
    assert ((turn[..., 1] * normal).sum(1) > 0).all() and (torch.linalg.det(turn) > 0).all()


@pytest.mark.parametrize("axis", range(3))
def test_half_turns(axis):
    half = torch.zeros(3)
    half[axis] = torch.pi
    q = matrix_to_quaternion(axis_angle_to_matrix(half))
    assert q[1 + axis].abs() == pytest.approx(1, abs=1e-6)


def test_quaternion_of_a_blend_is_read_off_its_largest_pivot():
    """diag(.9, .2, .1): 1 + trace = 2.2 gives w = √2.2 / 2 and no vector part; its unit quaternion is no turn."""
    same(matrix_to_quaternion(torch.diag(torch.tensor([0.9, 0.2, 0.1]))), torch.tensor([1.0, 0, 0, 0]))
    # 1 + m00 − m11 − m22 = 2.2 is the largest pivot here; w comes from m21 − m12, y from m10 + m01.
    m = torch.tensor([[0.6, 0.4, 0.0], [0.0, -0.3, 0.0], [0.0, 0.2, -0.3]])
    expected = torch.tensor([0.2, 2.2, 0.4, 0.0])
    same(matrix_to_quaternion(m), expected / expected.norm(), 1e-6)


def test_slerp_takes_the_short_way_at_even_speed():
    a = torch.tensor([[0.0, 0, 0.2], [0, 0, 3.0]], dtype=torch.float64)
    b = torch.tensor([[0.0, 0, 1.0], [0, 0, -3.0]], dtype=torch.float64)
    quarter = slerp(a, b, torch.tensor([[0.25]], dtype=torch.float64))
    assert quarter[:, 2].tolist() == pytest.approx([0.4, 3 + (torch.pi * 2 - 6) / 4])  # through π, not through 0


def test_slerp_ends_at_the_very_rotations_given():
    a, b = torch.tensor([[4.5, 0.0, 0.0]]), torch.tensor([[0.0, 4.6, 0.0]])
    assert slerp(a, b, torch.zeros(1, 1)).equal(a)
    assert slerp(a, b, torch.ones(1, 1)).equal(b)
