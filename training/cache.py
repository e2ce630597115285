"""Digests of content, and what frozen encoders answered, kept on disk under the content of encoder and input."""

import hashlib
import json
import threading
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ..files.whole import whole


def digest(*parts: Path | torch.nn.Module | str) -> str:
    """A short name for the content of files, of networks' weights, and of words."""
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.nn.Module):
            for name, tensor in part.state_dict().items():
                whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        else:
            whole.update(hashlib.sha256(part.read_bytes() if isinstance(part, Path) else part.encode()).digest())
    return whole.hexdigest()[:32]


def content(path: Path) -> str:
    """A digest of a file, or of all files in a folder with their names."""
    if path.is_dir():
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        return hashlib.sha256(json.dumps([(name, content(file)) for name, file in files]).encode()).hexdigest()[:32]
    status = path.stat()
    return _content(path, status.st_size, status.st_mtime_ns)


@lru_cache(10_000)
def _content(path: Path, size: int, changed: int) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            whole.update(piece)
    return whole.hexdigest()[:32]


class Cache:
    """`.npz` files of a folder, each whole or not there. Several processes and threads may share the folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lock = threading.Lock()

    def get(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> "np.lib.npyio.NpzFile":
        """The arrays of that name, read when asked for; made first if there are none. Close it after use."""
        path = self.folder / f"{name}.npz"
        with self.lock:  # the encoders serve one thread at a time
            try:
                return np.load(path)
            except (OSError, ValueError, zipfile.BadZipFile):
                self._write(path, make())
        return np.load(path)

    def _write(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        with whole(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)
