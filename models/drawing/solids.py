"""Triangle meshes of things that are turned, moulded or bent: rings along an axis, and tubes along a path.

Axes as in the camera's pictures: x right, y down, z away from the viewer, m. Faces are counter-clockwise from outside.
"""

from typing import NamedTuple

import numpy as np


class Solid(NamedTuple):
    """vertices [V, 3] m, faces [F, 3], normals [V, 3] outward, uv [V, 2] 0…1: across and down a printed wrapper."""

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    uv: np.ndarray


def loft(rings: np.ndarray, around: int = 48) -> Solid:
    """Rings stacked along y, outside first and top first.

    rings [R, 4]: y, half width, half depth, and the exponent of the ring's superellipse (2 an ellipse, 12 a rounded
    rectangle). Two equal rings make a crease. u grows to the right as seen from the front (−z) with the front at 0.5
    and the seam behind; v grows from the first ring to the last.
    """
    y, width, depth, power = (column[:, None] for column in np.asarray(rings, np.float64).T)
    angle = np.linspace(0, 2 * np.pi, around + 1)[None]
    sine, cosine = -np.sin(angle), np.cos(angle)
    x, z = (np.sign(c) * np.abs(c) ** (2 / power) for c in (sine, cosine))
    vertices = np.stack(np.broadcast_arrays(x * width, y, z * depth), -1)
    across = travelled(vertices[(width + depth)[:, 0].argmax()])
    down = travelled(rings[:, :3])
    uv = np.stack(np.broadcast_arrays(across[None] / across[-1], down[:, None] / down[-1]), -1)

    faces = _grid(len(rings), around + 1)
    normals = _normals(vertices.reshape(-1, 3), faces).reshape(vertices.shape)
    normals[:, [0, -1]] = _unit(normals[:, [0]] + normals[:, [-1]])
    flat = [array.reshape(-1, array.shape[-1]).astype(np.float32) for array in (vertices, normals, uv)]
    return Solid(flat[0], faces, flat[1], flat[2])


def closed(rings: list[tuple[float, float, float, float]]) -> list[tuple[float, float, float, float]]:
    """Rings as `loft` takes them, with flat ends, which have sharp edges."""
    first, last = rings[0], rings[-1]
    return [(first[0], 0, 0, first[3]), first, *rings, last, (last[0], 0, 0, last[3])]


def travelled(path: np.ndarray) -> np.ndarray:
    """The way along `path` [P, D] to each of its points, [P]."""
    return np.concatenate([[0], np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()])


def tube(path: np.ndarray, radius: float | np.ndarray, around: int = 12) -> Solid:
    """A round tube along `path` [P, 3] that does not run straight along z; v grows along it."""
    path = np.asarray(path, np.float64)
    forward = _unit(np.gradient(path, axis=0))
    side = _unit(np.cross(forward, (0.0, 0.0, 1.0)))
    up = np.cross(side, forward)
    angle = np.linspace(0, 2 * np.pi, around + 1)[None, :, None]
    normals = np.cos(angle) * side[:, None] + np.sin(angle) * up[:, None]
    vertices = path[:, None] + np.broadcast_to(radius, len(path))[:, None, None] * normals
    faces = _grid(len(path), around + 1)
    uv = np.stack(np.meshgrid(np.linspace(0, 1, around + 1), np.linspace(0, 1, len(path))), -1)
    flat = [array.reshape(-1, array.shape[-1]).astype(np.float32) for array in (vertices, normals, uv)]
    return Solid(flat[0], faces, flat[1], flat[2])


def _grid(rows: int, columns: int) -> np.ndarray:
    """Two triangles for each cell of a grid of vertices."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a, b = i * columns + j, i * columns + j + 1
    cells = np.stack([a, a + columns, b, b, a + columns, b + columns], -1)
    return cells.reshape(-1, 3)


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], np.cross(b - a, c - a))
    return _unit(normals)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
