"""What frozen encoders answered, kept on disk under the content of encoder and input."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..files.bounded import RefusedError, read_npz
from ..files.whole import whole

Arrays = dict[str, np.ndarray]
_MOST = 1 << 36  # bytes


class Cache:
    """`.npz` files of a folder, each whole or not there. Several processes and threads may share the folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lock = threading.Lock()

    def get(self, name: str, make: Callable[[], Arrays], only: Iterable[str] | None = None) -> Arrays:
        """The arrays of that name, or `only` those of them; made first if there are none, or damaged ones."""
        path = self.folder / f"{name}.npz"
        if (kept := _read(path, only)) is None:
            with self.lock:  # the encoders serve one thread at a time
                if (kept := _read(path, only)) is None:
                    with whole(path) as part, part.open("wb") as file:
                        np.savez_compressed(file, **make())
                    kept = read_npz(path, only, _MOST)
        return kept


def _read(path: Path, only: Iterable[str] | None) -> Arrays | None:
    try:
        return read_npz(path, only, _MOST)
    except RefusedError:
        return None
