"""A file with the layout of MANO_RIGHT.pkl, of random numbers."""

import pickle

import numpy as np


def random_hand(vertices=778):
    """A hand with MANO's layout, each vertex on one joint."""
    random = np.random.RandomState(0)
    weights = np.eye(16)[np.arange(vertices) % 16]
    return {
        "v_template": random.randn(vertices, 3) * 0.05, "shapedirs": random.randn(vertices, 3, 10) * 1e-3,
        "posedirs": random.randn(vertices, 3, 135) * 1e-4, "weights": weights,
        "J_regressor": (weights / weights.sum(0)).T, "f": random.randint(0, vertices, (1538, 3)).astype(np.uint32),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], range(16)]),
    }


def write_mano(path, vertices=778):
    """The hand as numpy pickles it."""
    path.write_bytes(pickle.dumps(random_hand(vertices), protocol=2))
    return path
