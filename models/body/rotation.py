"""Rotations: axis-angle vectors (radians), 3×3 matrices, unit quaternions in the order w, x, y, z, and 6D vectors.

Shapes are [...,3], [...,3,3], [...,4] and [...,6]; every function keeps the dtype and device of its input.
"""

import torch
import torch.nn.functional as F


def axis_angle_to_matrix(axis_angle: torch.Tensor) -> torch.Tensor:
    """Rodrigues' formula, exact down to no rotation at all."""
    angle = axis_angle.norm(dim=-1)[..., None, None]
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    # sin(a)/a and (1 − cos(a))/a²
    first, second = torch.sinc(angle / torch.pi), torch.sinc(angle / 2 / torch.pi).square() / 2
    return torch.eye(3).to(axis_angle) + first * cross + second * (cross @ cross)


def matrix_to_quaternion(matrix: torch.Tensor) -> torch.Tensor:
    """Unit quaternion, w ≥ 0, also of a matrix that is no rotation, such as a blend of several.

    Which rotation stands for a blend is a convention; this is the one AniCrafter's avatars were trained with: of the
    four ways to read a quaternion off a matrix, the one with the largest pivot, which is taken to be at least 0.1.
    """
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.flatten(-2).unbind(-1)
    trace = torch.stack([m00 + m11 + m22, m00 - m11 - m22, m11 - m00 - m22, m22 - m00 - m11], dim=-1)
    pivots = (1 + trace).relu().sqrt()  # 2|w|, 2|x|, 2|y|, 2|z|
    pivot, which = pivots.max(dim=-1, keepdim=True)
    w, x, y, z = (pivots * pivots).unbind(-1)
    wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
    xy, xz, yz = m10 + m01, m02 + m20, m12 + m21
    # Row k is 4 q_k · (w, x, y, z); the table is symmetric.
    table = torch.stack([w, wx, wy, wz, wx, x, xy, xz, wy, xy, y, yz, wz, xz, yz, z], dim=-1).unflatten(-1, (4, 4))
    row = table.gather(-2, which[..., None].expand(*which.shape, 4)).squeeze(-2)
    return _positive(F.normalize(row / (2 * pivot.clamp(min=0.1)), dim=-1))


def quaternion_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Hamilton product, w ≥ 0: the rotation `b` followed by `a`."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    w = aw * bw - ax * bx - ay * by - az * bz
    x = aw * bx + ax * bw + ay * bz - az * by
    y = aw * by - ax * bz + ay * bw + az * bx
    z = aw * bz + ax * by - ay * bx + az * bw
    return _positive(torch.stack([w, x, y, z], dim=-1))


def axis_angle_to_quaternion(axis_angle: torch.Tensor) -> torch.Tensor:
    """Unit quaternion, w ≥ 0."""
    half = axis_angle.norm(dim=-1, keepdim=True) / 2
    return _positive(torch.cat([half.cos(), axis_angle / 2 * torch.sinc(half / torch.pi)], dim=-1))


def quaternion_to_axis_angle(quaternion: torch.Tensor) -> torch.Tensor:
    """Axis-angle of at most π; of a unit quaternion."""
    w, vector = _positive(quaternion).split((1, 3), dim=-1)
    half = torch.atan2(vector.norm(dim=-1, keepdim=True), w)
    return 2 * vector / torch.sinc(half / torch.pi)


def matrix_to_axis_angle(matrix: torch.Tensor) -> torch.Tensor:
    """Axis-angle of at most π."""
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


def quaternion_to_matrix(quaternion: torch.Tensor) -> torch.Tensor:
    """Of a unit quaternion; another is not normalised, as the rasteriser AniCrafter was trained with takes it."""
    w, x, y, z = quaternion.unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def sixd_to_matrix(sixd: torch.Tensor) -> torch.Tensor:
    """Rotations [...,3,3] of [...,6]: two vectors, made orthonormal (Gram-Schmidt), are the first two columns."""
    a, b = sixd.unflatten(-1, (2, 3)).unbind(-2)
    x = F.normalize(a, dim=-1)
    y = F.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


def matrix_to_sixd(matrix: torch.Tensor) -> torch.Tensor:
    """[...,6] of rotations [...,3,3]: their first two columns, one after the other."""
    return matrix[..., :2].mT.flatten(-2)


def slerp(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The axis-angle rotation at `t` in 0..1 of the shortest way from axis-angle `a` to `b`; `t` has shape [...,1].

    Where `t` is 0 or 1 the answer is `a` or `b` itself, also beyond π.
    """
    from_a = axis_angle_to_quaternion(a)
    back = from_a * torch.tensor([1.0, -1.0, -1.0, -1.0]).to(a)
    step = quaternion_to_axis_angle(quaternion_product(axis_angle_to_quaternion(b), back))
    between = quaternion_to_axis_angle(quaternion_product(axis_angle_to_quaternion(step * t), from_a))
    return torch.where(t == 0, a, torch.where(t == 1, b, between))


def frame(along: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Rotations [...,3,3] whose columns are `along`, `normal` made orthogonal to it, and their cross product."""
    along = F.normalize(along, dim=-1)
    normal = F.normalize(normal - (normal * along).sum(-1, keepdim=True) * along, dim=-1)
    return torch.stack([along, normal, torch.linalg.cross(along, normal)], dim=-1)


def facing(normal: torch.Tensor) -> torch.Tensor:
    """[N,3,3]: rotations that turn the z axis to `normal` [N,3]."""
    helper = torch.eye(3).to(normal)[normal.abs().argmin(dim=1)]
    x = F.normalize(torch.linalg.cross(helper, normal), dim=1)
    return torch.stack([x, torch.linalg.cross(normal, x), normal], dim=-1)


def _positive(quaternion: torch.Tensor) -> torch.Tensor:
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
