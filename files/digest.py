"""Short names for content, by SHA-256: of files and folders, of networks' weights, of words and plain values."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:  # the command line names files by their content, and starts without torch
    import torch

_LETTERS = 32


def digest(*parts: Path | torch.nn.Module | torch.Tensor | str) -> str:
    """Of the content of files, of networks' weights, of tensors, and of words, in their order."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path | str):
            found.update(hashlib.sha256(part.read_bytes() if isinstance(part, Path) else part.encode()).digest())
            continue
        import torch

        for name, tensor in (part.state_dict() if isinstance(part, torch.nn.Module) else {"": part}).items():
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()[:_LETTERS]


def digest_value(value: Any) -> str:
    """Of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_LETTERS]


def content(path: Path) -> str:
    """Of a file, or of all files in a folder with their names."""
    if path.is_dir():
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        return digest_value([(name, content(file)) for name, file in files])
    status = path.stat()
    return _content(path, status.st_size, status.st_mtime_ns)


@lru_cache(10_000)
def _content(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return checksum(file)[:_LETTERS]


def checksum(file: BinaryIO, kind: str = "sha256", start: bytes = b"") -> str:
    """Of `start` and all that is left of a file, in hexadecimal and whole; kind: as hashlib names it."""
    found = hashlib.new(kind, start, usedforsecurity=False)
    while piece := file.read(1 << 22):
        found.update(piece)
    return found.hexdigest()
