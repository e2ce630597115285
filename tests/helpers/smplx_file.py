"""SMPLX_NEUTRAL.npz with Anny's body in it: SMPL-X itself is not ours to pass on."""

from pathlib import Path

import numpy as np
from crafters.models.body.anny import anny_body

PUBLISHED = 10475  # vertices of SMPL-X


def smplx_arrays(vertices: int | None = None) -> dict[str, np.ndarray]:
    """By SMPL-X's names; of the first `vertices` only, as though there were no others.

    Anny has no blend shapes of the pose: every fiftieth vertex has some by chance, to be seen."""
    body = anny_body()
    count, random = len(body.template), np.random.default_rng(0)
    pose_dirs = np.zeros((count, 3, 486), np.float32)
    pose_dirs[::50] = 0.01 * random.standard_normal(pose_dirs[::50].shape)
    landmarks = random.integers(0, len(body.faces), 51)
    arrays = {
        "v_template": body.template.numpy(),
        "f": body.faces.numpy().astype(np.uint32),
        "weights": body.skinning.numpy(),
        "J_regressor": body.regressor.numpy(),
        "kintree_table": np.array([body.skeleton.parents, range(55)]).astype(np.uint32),
        # Of the body, then of its expressions, which nothing here uses.
        "shapedirs": np.concatenate([body.shape_dirs.numpy(), np.zeros((count, 3, 10), np.float32)], -1),
        "posedirs": pose_dirs,
        # What the smplx package wants besides.
        "hands_meanl": np.zeros(45),
        "hands_meanr": np.zeros(45),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "lmk_faces_idx": landmarks,
        "lmk_bary_coords": np.full((51, 3), 1 / 3),
        "dynamic_lmk_faces_idx": np.tile(landmarks[:17], (79, 1)),
        "dynamic_lmk_bary_coords": np.full((79, 17, 3), 1 / 3),
    }
    if vertices is not None:
        arrays = {name: array[:vertices] if len(array) == count else array for name, array in arrays.items()}
        arrays["f"] = arrays["f"][(arrays["f"] < vertices).all(axis=1)]
        arrays["J_regressor"] = arrays["J_regressor"][:, :vertices]
    return arrays


def write_smplx(folder: Path, vertices: int | None = None) -> Path:
    """SMPLX_NEUTRAL.npz (about 7 MB) in `folder`, always the same; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "SMPLX_NEUTRAL.npz", **smplx_arrays(vertices))
    return folder / "SMPLX_NEUTRAL.npz"
