"""A motion as AMASS has it."""

import numpy as np


def amass(tmp_path, values=156, frames=5, **more):
    """Someone who walks towards −y, z up, at 120 frames per second."""
    poses = np.zeros((frames, values))
    poses[:, 0] = np.pi / 2
    poses[:, -45:] = 0.25
    trans = np.stack([np.zeros(frames), -0.1 * np.arange(frames), np.full(frames, 1.3)], axis=1)
    arrays = {"poses": poses, "trans": trans, "betas": np.arange(16.0), "gender": "male", **more}
    arrays.setdefault("mocap_framerate", 120.0)
    path = tmp_path / "walk.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path
