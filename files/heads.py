"""A quick look at what a weight file or a model folder is for, without reading its tensors."""

import zipfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from .bounded import read_json

MOST = 64 << 20  # bytes of a list of tensors; the longest published ones have 2 MB


def mentions(path: Path, marks: Iterable[str]) -> bool:
    """Whether a weight file's list of tensors holds one of `marks`.

    True too where there is no such list to be read quickly: only reading the file tells then.
    """
    try:
        now = path.stat()
        return _mentions(path, tuple(mark.encode() for mark in marks), now.st_size, now.st_mtime_ns)
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
        return True


@lru_cache(maxsize=4096)
def _mentions(path: Path, marks: tuple[bytes, ...], size: int, changed: int) -> bool:
    with path.open("rb") as file:
        if path.suffix.lower() == ".safetensors":
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(size, MOST):
                return True
            head = file.read(length)
        else:
            with zipfile.ZipFile(file) as archive:
                entry = next((entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")), None)
                if entry is None or entry.compress_type != zipfile.ZIP_STORED or entry.file_size > MOST:
                    return True
                head = archive.read(entry)
    return any(mark in head for mark in marks)


def model_type(folder: Path) -> str | None:
    """What the `config.json` of a model folder says it is; None where it says nothing."""
    try:
        return read_json(folder / "config.json", MOST).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None
