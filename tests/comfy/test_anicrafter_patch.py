"""AniCrafter on ComfyUI's own Wan: the tests of `inside_anicrafter.py`, in a process of their own.

ComfyUI's folder must be on the path there, and its `nodes`, `utils` and `app` would hide others' here.
"""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("inside_anicrafter.py")


@pytest.mark.comfy
def test_inside_comfyui(comfy_dir):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)]
    done = subprocess.run(command, cwd=comfy_dir, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
