"""What is tried."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Loader:
    """make(folder) writes what is whole and answers the file to damage; load(file) reads it."""

    make: Callable[[Path], Path]
    load: Callable[[Path], object]
    slow: bool = False
