"""JSON, YAML and `.npz` that anybody may have made, read within bounds: of size, of depth, of what they unfold to."""

import json
import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

MIB = 1 << 20
MOST_LETTERS = 300
DEPTH = 64  # of lists and dicts in each other; no file read here goes beyond 10


class RefusedError(ValueError):
    """Something from outside that is refused: one line that begins with what it is and ends with the way out."""

    def __init__(self, message: object):
        told = " ".join(str(message).split())
        # Names inside a file may be of any length; the beginning and the end are what is needed.
        super().__init__(told if len(told) <= MOST_LETTERS else f"{told[:180]} … {told[-110:]}")


def read_json(path: Path, most: int, fault: type[ValueError] = RefusedError, remedy: str = ": save it again") -> Any:
    """What a JSON file of at most `most` bytes holds.

    Raises `fault` with a sentence that names the file and ends with `remedy`.
    """
    try:
        return parse_json(read_text(path, most))
    except (OSError, ValueError) as error:
        raise fault(f"{_short(path)} is not a JSON file that can be read ({brief(error)}){remedy}.") from error


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, also where it nests too deep."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    _check_depth(value)
    return value


def read_yaml(text: str) -> Any:
    """The value of a YAML text without anchors, which could unfold to any size. Raises ValueError."""
    import yaml

    depth = 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it refers to an anchor (*name): write the value out")
            if depth > DEPTH:
                raise ValueError("it nests too deep")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(brief(error)) from error


def read_text(path: Path, most: int) -> str:
    """The text of a file of at most `most` bytes. Raises OSError, ValueError."""
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"it has {size} bytes, at most {most} are read")
    return path.read_text(encoding="utf-8")


def read_npz(
    path: Path,
    names: Iterable[str] | None,
    most: int,
    fault: type[ValueError] = RefusedError,
    remedy: str = ": save it again",
) -> dict[str, np.ndarray]:
    """Those of the arrays `names` that an `.npz` holds, or all: numbers or text, together at most `most` bytes.

    What an array's header says must be what is stored, before anything is read. Raises `fault` with a sentence that
    names the file and ends with `remedy`.
    """
    arrays, spare = {}, most
    try:
        with zipfile.ZipFile(path) as archive:
            held = {info.filename: info for info in archive.infolist()}
            for name in [name.removesuffix(".npy") for name in held] if names is None else names:
                info = held.get(f"{name}.npy")
                if info is None:
                    continue
                with archive.open(info) as file:
                    shape, fortran, dtype = _header(file)
                    if dtype.kind not in "biufUS":
                        raise ValueError(f"`{name}` holds something else than numbers")
                    size = math.prod(shape) * dtype.itemsize
                    spare -= size
                    if size != info.file_size - file.tell():
                        raise ValueError(f"`{name}` says it has {size} bytes, {info.file_size - file.tell()} are there")
                    if spare < 0:
                        raise ValueError(f"with `{name}` it has more than {most} bytes of numbers")
                    data = file.read(size)
                if len(data) != size:
                    raise ValueError(f"`{name}` is cut off")
                arrays[name] = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()
    except Exception as error:  # zipfile, zlib and numpy's header reader raise whatever damaged bytes lead to
        raise fault(f"{_short(path)} is not a whole .npz file ({brief(error)}){remedy}.") from error
    return arrays


def _header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"its format {version} is not known")


def _check_depth(value: Any) -> None:
    """Raises ValueError for lists and dicts deeper in each other than DEPTH."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEPTH:
            raise ValueError("it nests too deep")
        parts = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [part for items in parts for part in items]


def brief(error: Exception, most: int = 120) -> str:
    """What went wrong on one line, without the advice that libraries add for programmers, and cut to `most` letters."""
    lines = str(error).strip().split("\n")
    told = lines[0].split(". ")[0].strip().rstrip(".:") or type(error).__name__
    return told if len(told) <= most else f"{told[: most - 1]}…"


def _short(path: Path) -> str:
    """The file's name with its folder: enough to find it, and never a line by itself."""
    return "/".join(path.parts[-2:])
