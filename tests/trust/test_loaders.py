"""Damaged files in every loader: refused in one sentence, never run, never a crash, never without end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trust.loaders import LOADERS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the bounds on a process are those of Unix")
QUICK = [name for name, loader in LOADERS.items() if not loader.slow]


def damages(names, count, seed=1):
    """One dict per damage (see `loaders`), each loader's in a process that a crash would end."""
    command = [sys.executable, "-m", "trust.damage", str(seed), str(count), *names]
    here, limit = Path(__file__).parents[1], 60 + 3 * count * len(names)
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=limit)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(rows) == count * len(names), (rows[-1:], done.returncode, done.stderr[-2000:])
    assert not [row for row in rows if row["fault"]]
    return rows


def test_damaged_files_are_refused_in_a_sentence():
    rows = damages(QUICK, 5)
    for name in QUICK:
        assert any(row["told"] != "read" for row in rows if row["loader"] == name), name


@pytest.mark.slow
@pytest.mark.parametrize("name", LOADERS)
def test_fifty_damages_of_every_loader(name):
    rows = damages([name], 60, seed=2)
    assert sum(row["told"] != "read" for row in rows) > 10
