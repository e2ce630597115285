"""A made-up body in the exact file layout of SMPL-X, for the demo and the tests: no licensed data is in it.

A doll of tubes with SMPL-X's joints, 10475 vertices and 20908 faces; it stands in the T-pose, y up, facing +z.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

VERTICES, FACES = 10475, 20908
_X, _Y, _Z = np.eye(3)
_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15,
            20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38,
            21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53)
_MIDDLE = {
    0: (0, -0.35, 0.01), 3: (0, -0.24, -0.01), 6: (0, -0.1, -0.005), 9: (0, -0.03, 0.01), 12: (0, 0.13, -0.02),
    15: (0, 0.24, 0.0), 22: (0, 0.27, 0.02),
}
_LEFT = {
    1: (0.065, -0.445, -0.005), 4: (0.105, -0.825, -0.015), 7: (0.085, -1.225, -0.04), 10: (0.115, -1.285, 0.08),
    13: (0.05, 0.05, -0.01), 16: (0.17, 0.085, -0.025), 18: (0.43, 0.078, -0.04), 20: (0.68, 0.075, -0.045),
    23: (0.033, 0.345, 0.075), 25: (0.775, 0.073, -0.015), 26: (0.808, 0.071, -0.013), 27: (0.83, 0.069, -0.011),
    28: (0.78, 0.075, -0.04), 29: (0.815, 0.073, -0.04), 30: (0.84, 0.071, -0.04), 31: (0.762, 0.065, -0.085),
    32: (0.785, 0.064, -0.09), 33: (0.803, 0.063, -0.094), 34: (0.774, 0.071, -0.063), 35: (0.806, 0.069, -0.065),
    36: (0.83, 0.067, -0.067), 37: (0.71, 0.062, -0.018), 38: (0.738, 0.055, 0.004), 39: (0.762, 0.05, 0.02),
}
_RIGHT = {1: 2, 4: 5, 7: 8, 10: 11, 13: 14, 16: 17, 18: 19, 20: 21, 23: 24, **{j: j + 15 for j in range(25, 40)}}

# Tubes: rows of x, y, z of the axis and two half widths.
_TORSO = [(0, -0.54, 0.0, 0.06, 0.06), (0, -0.46, 0.0, 0.15, 0.11), (0, -0.36, 0.0, 0.16, 0.12),
          (0, -0.24, 0.0, 0.13, 0.10), (0, -0.12, 0.005, 0.145, 0.11), (0, 0.0, 0.0, 0.165, 0.115),
          (0, 0.07, -0.01, 0.155, 0.09), (0, 0.12, -0.02, 0.1, 0.07), (0, 0.17, -0.02, 0.06, 0.055)]
_HEAD = [(0, 0.06, -0.02, 0.055, 0.055), (0, 0.19, -0.01, 0.052, 0.055), (0, 0.24, 0.015, 0.062, 0.075),
         (0, 0.3, 0.015, 0.072, 0.09), (0, 0.38, 0.005, 0.08, 0.1), (0, 0.44, 0.0, 0.076, 0.094),
         (0, 0.49, 0.0, 0.058, 0.072)]
_ARM = [(0.09, 0.07, -0.02, 0.06, 0.06), (0.17, 0.08, -0.025, 0.06, 0.06), (0.3, 0.08, -0.03, 0.048, 0.048),
        (0.43, 0.078, -0.04, 0.038, 0.04), (0.52, 0.077, -0.042, 0.039, 0.041), (0.64, 0.075, -0.045, 0.026, 0.031),
        (0.68, 0.075, -0.045, 0.022, 0.033), (0.73, 0.073, -0.048, 0.019, 0.045),
        (0.795, 0.07, -0.05, 0.014, 0.043)]
_LEG = [(0.07, -0.38, 0.0, 0.06, 0.07), (0.08, -0.5, 0.0, 0.082, 0.09), (0.095, -0.66, -0.005, 0.07, 0.078),
        (0.105, -0.825, -0.015, 0.05, 0.057), (0.1, -0.93, -0.03, 0.05, 0.058), (0.09, -1.1, -0.04, 0.036, 0.042),
        (0.085, -1.225, -0.04, 0.032, 0.038), (0.085, -1.29, -0.04, 0.03, 0.035)]
_FOOT = [(0.085, -1.27, -0.095, 0.028, 0.03), (0.088, -1.26, -0.04, 0.036, 0.05), (0.105, -1.28, 0.04, 0.04, 0.036),
         (0.115, -1.29, 0.1, 0.043, 0.026), (0.122, -1.295, 0.15, 0.036, 0.019)]
_EYE = [(0.033, 0.345, 0.07, 0.016, 0.016), (0.033, 0.345, 0.102, 0.016, 0.016)]


@dataclass
class _Part:
    """`across` [v,3]: from the tube's axis to each vertex."""

    points: np.ndarray
    across: np.ndarray
    faces: np.ndarray
    weights: np.ndarray


def write_synthetic_body(folder: str | Path) -> Path:
    """SMPLX_NEUTRAL.npz (about 3 MB) in `folder`, always the same; answers its path."""
    path = Path(folder) / "SMPLX_NEUTRAL.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **synthetic_body())
    return path


def synthetic_body() -> dict[str, np.ndarray]:
    """The arrays of the file, by SMPL-X's names: v_template [10475,3] m, f [20908,3], weights [10475,55], …"""
    joints = _joints()
    parts = _parts(joints)
    starts = np.cumsum([0] + [len(part.points) for part in parts])
    points = np.concatenate([part.points for part in parts])
    across = np.concatenate([part.across for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    # Twenty closed tubes have fewer faces than SMPL-X's few surfaces: some, drawn twice, make up the number.
    faces = np.concatenate([faces, faces[: FACES - len(faces)]])
    on_head = np.flatnonzero((faces >= starts[1]).all(1) & (faces < starts[2]).all(1))
    landmarks = on_head[np.linspace(0, len(on_head) - 1, 51).astype(int)]
    return {
        "v_template": points,
        "f": faces.astype(np.uint32),
        "weights": weights,
        "J_regressor": _regressor(points, joints),
        "kintree_table": np.array([_PARENTS, range(55)]).astype(np.uint32),
        "shapedirs": _shape_dirs(points, across, weights[:, 22]),
        "posedirs": _pose_dirs(across, weights),
        "hands_meanl": np.zeros(45),
        "hands_meanr": np.zeros(45),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "lmk_faces_idx": landmarks.astype(np.int64),
        "lmk_bary_coords": np.full((51, 3), 1 / 3),
        "dynamic_lmk_faces_idx": np.tile(landmarks[:17], (79, 1)).astype(np.int64),
        "dynamic_lmk_bary_coords": np.full((79, 17, 3), 1 / 3),
    }


def _joints() -> np.ndarray:
    joints = np.zeros((55, 3))
    for joint, place in _MIDDLE.items():
        joints[joint] = place
    for joint, place in _LEFT.items():
        joints[joint], joints[_RIGHT[joint]] = place, place * np.array([-1, 1, 1])
    return joints


def _parts(joints: np.ndarray) -> list[_Part]:
    """Torso and head, then every left part and its mirror image."""
    torso = _tube(_TORSO, _X, _Z, 41, 35, [0, 3, 6, 9], joints)
    for collar, side in ((13, 1), (14, -1)):
        _share(torso, 9, collar, _step(side * torso.points[:, 0], 0.08, 0.04) * _step(torso.points[:, 1], 0.02, 0.05))
    head = _tube(_HEAD, _X, _Z, 45, 24, [9, 12, 15], joints)
    _share(head, 15, 22, _step(-head.points[:, 1], -0.28, 0.02) * _step(head.points[:, 2], 0.03, 0.02))
    x, y, z = head.points.T
    z += 0.022 * (z > 0.05) * np.exp(-((x / 0.014) ** 2) - ((y - 0.325) / 0.02) ** 2)  # the nose
    left = [
        _tube(_ARM, _Y, _Z, 40, 24, [13, 16, 18, 20], joints),
        _tube(_LEG, _X, _Z, 50, 24, [0, 1, 4, 7], joints),
        _tube(_FOOT, _X, _Y, 20, 24, [7, 10], joints),
        _tube(_EYE, _X, _Y, 10, 12, [23], joints),
        *(_tube(_finger(joints, first), _Y, _Z, 20, 12, [20, first, first + 1, first + 2], joints)
          for first in range(25, 40, 3)),
    ]
    return [torso, head, *left, *map(_mirrored, left)]


def _finger(joints: np.ndarray, first: int) -> list[tuple[float, ...]]:
    one, two, three = joints[first : first + 3]
    widths = (0.011, 0.011, 0.01, 0.009, 0.008)
    places = (one - 0.6 * (two - one), one, two, three, three + 1.2 * (three - two))
    return [(*place, width, width) for place, width in zip(places, widths, strict=True)]


def _tube(
    rows: Sequence[Sequence[float]], u: np.ndarray, v: np.ndarray, rings: int, segments: int, chain: list[int],
    joints: np.ndarray,
) -> _Part:
    """Elliptic rings along `u` and `v` and a pole at each end; each joint of `chain` moves what follows it."""
    rows = np.asarray(rows, dtype=float)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(rows[:, :3], axis=0), axis=1))])
    # Closer rings at the ends, which are round.
    angle = np.linspace(0, np.pi, rings + 2)
    even = np.linspace(0, 1, rings + 2)
    along = length[-1] * (0.7 * even + 0.3 * (1 - np.cos(angle)) / 2)
    fine = np.linspace(0, length[-1], 400)
    wide = np.maximum(rows[[0, -1], 3:].mean(1), 1e-3)
    smooth = np.stack([_smoothed(np.interp(fine, length, column)) for column in rows.T], axis=1)
    profile = np.stack([np.interp(along, fine, column) for column in smooth.T], axis=1)
    for end, distance in ((0, along), (1, length[-1] - along)):
        inside = 1 - np.clip(distance / min(wide[end], length[-1] / 2), 0, 1)
        profile[:, 3:] *= np.sqrt(1 - inside**2)[:, None]

    turn = 2 * np.pi * np.arange(segments)[:, None] / segments
    middle = profile[1:-1, None]
    across = np.cos(turn) * u * middle[..., 3:4] + np.sin(turn) * v * middle[..., 4:5]  # [rings,segments,3]
    points = middle[..., :3] + across
    points = np.concatenate([points.reshape(-1, 3), profile[[0, -1], :3]])
    across = np.concatenate([across.reshape(-1, 3), np.zeros((2, 3))])
    faces = _tube_faces(rings, segments)
    corners = points[faces]
    if np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0:  # inside out
        faces = faces[:, ::-1]

    place = np.concatenate([np.repeat(along[1:-1], segments), along[[0, -1]]])
    share = np.ones((len(points), len(chain) + 1))
    share[:, -1] = 0
    for i, joint in enumerate(chain[1:], 1):
        nearest = fine[np.linalg.norm(smooth[:, :3] - joints[joint], axis=1).argmin()]
        share[:, i] = _step(place, nearest, 0.4 * wide.max())
    weights = np.zeros((len(points), 55))
    weights[:, chain] = share[:, :-1] - share[:, 1:]
    return _Part(points, across, faces, weights)


def _tube_faces(rings: int, segments: int) -> np.ndarray:
    here = np.arange(rings * segments).reshape(rings, segments)
    beside = np.roll(here, -1, axis=1)
    first, last = rings * segments, rings * segments + 1
    sides = [(here[:-1], beside[:-1], here[1:]), (beside[:-1], beside[1:], here[1:])]
    caps = [(np.full(segments, first), beside[0], here[0]), (np.full(segments, last), here[-1], beside[-1])]
    return np.concatenate([np.stack(corners, axis=-1).reshape(-1, 3) for corners in sides + caps])


def _mirrored(part: _Part) -> _Part:
    mirror = np.array([-1, 1, 1])
    weights = np.zeros_like(part.weights)
    for joint in np.flatnonzero(part.weights.any(0)):
        weights[:, _RIGHT.get(int(joint), joint)] = part.weights[:, joint]
    return _Part(part.points * mirror, part.across * mirror, part.faces[:, ::-1], weights)


def _share(part: _Part, giver: int, taker: int, share: np.ndarray) -> None:
    part.weights[:, taker] = part.weights[:, giver] * share
    part.weights[:, giver] *= 1 - share


def _step(x: np.ndarray, middle: float, half: float) -> np.ndarray:
    """0 below, 1 above, smooth within `half` of the middle."""
    t = np.clip((x - middle) / (2 * half) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _smoothed(values: np.ndarray, width: int = 41) -> np.ndarray:
    kernel = np.hanning(width + 2)[1:-1]
    ends = np.concatenate([2 * values[0] - values[width // 2 : 0 : -1], values,
                           2 * values[-1] - values[-2 : -width // 2 - 1 : -1]])
    return np.convolve(ends, kernel / kernel.sum(), "valid")


def _regressor(points: np.ndarray, joints: np.ndarray, near: int = 96) -> np.ndarray:
    """[55,V]: each joint as the most even affine mean of the vertices near it."""
    regressor = np.zeros((len(joints), len(points)))
    for joint, place in enumerate(joints):
        chosen = np.argsort(np.linalg.norm(points - place, axis=1), kind="stable")[:near]
        system = np.concatenate([points[chosen].T, np.ones((1, near))])
        regressor[joint, chosen] = np.linalg.lstsq(system, np.append(place, 1), rcond=None)[0]
    return regressor


def _shape_dirs(points: np.ndarray, across: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """[V,3,400]: size, girth, legs, arms and waves of girth, then zeros; expressions from 300 on open the mouth."""
    x, y, z = points.T
    zero = np.zeros_like(x)
    directions = np.zeros((len(points), 3, 400), np.float32)
    directions[..., 0] = 0.03 * (points - (0, -0.35, 0))
    directions[..., 1] = 0.1 * across
    directions[..., 2] = 0.03 * np.stack([zero, np.minimum(y + 0.4, 0), zero], axis=1)
    directions[..., 3] = 0.03 * np.stack([np.sign(x) * np.maximum(np.abs(x) - 0.15, 0), zero, zero], axis=1)
    for beta in range(4, 10):
        directions[..., beta] = 0.04 * across * np.cos(3 * beta * y)[:, None]
    directions[:, 1, 300] = -0.01 * jaw
    return directions


def _pose_dirs(across: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[V,3,486]: a limb swells as its joint turns (the turn's diagonal falls below 1)."""
    directions = np.zeros((len(across), 3, 54, 9), np.float32)
    directions[..., [0, 4, 8]] = (-0.1 * across[:, :, None] * weights[:, None, 1:])[..., None]
    return directions.reshape(len(across), 3, 486)
