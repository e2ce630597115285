"""Real clips and photos for tests. They are not ours to pass on, so a test that needs one skips where there is none."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("CRAFTERS_DATA", Path(__file__).parents[2] / "shared" / "data"))


def real_file(name):
    """The path of `name` below the folder named by CRAFTERS_DATA."""
    path = FOLDER / name
    return path if path.is_file() else pytest.skip(f"no real data: CRAFTERS_DATA has no {name}")
