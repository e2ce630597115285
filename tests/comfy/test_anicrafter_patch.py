"""AniCrafter on ComfyUI's own Wan: the tests of `inside_*.py`, in a process of their own.

ComfyUI's folder must be on the path there, and its `nodes`, `utils` and `app` would hide others' here.
"""

import subprocess
import sys
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("inside_*.py"))


@pytest.mark.comfy
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_inside_comfyui(comfy_dir, file):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, cwd=comfy_dir, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
