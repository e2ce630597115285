"""Fixtures shared by all tests."""

import os
import sys
from pathlib import Path

import pytest

# The networks of the tests are too small to share, and threads that wait for each other beside a browser or another
# server are many times slower than one. The servers that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.append(str(Path(__file__).parent.parent / "scripts"))


def pytest_addoption(parser):
    group = parser.getgroup("parity", "the networks of tests/parity")
    group.addoption("--device", default="cpu", help="where they compute, such as cuda (default: cpu)")
    group.addoption("--dtype", default="fp32", choices=("fp32", "bf16"), help="what they compute in (default: fp32)")


@pytest.fixture(scope="session")
def comfy_dir():
    """The folder of a ComfyUI; without one, tests that need it are skipped."""

    from crafters.host.comfyui import find_comfyui

    return find_comfyui() or pytest.skip("no ComfyUI: `make setup` gets one, COMFYUI_DIR names one")


@pytest.fixture(scope="session")
def comfy(comfy_dir, tmp_path_factory):
    """A `comfy_harness.Comfy`: a running ComfyUI with the pack, started once."""
    from comfy_harness import start_comfy

    with start_comfy(comfy_dir, tmp_path_factory.mktemp("comfyui")) as comfy:
        yield comfy


@pytest.fixture(scope="session")
def tiny_models(comfy):
    """Small networks among `comfy`'s models and the demo's inputs among its own; the networks' names by their use."""
    from stand_ins.doll import make_scene
    from stand_ins.doll_pose import write_doll_pose
    from stand_ins.performance import make_performance
    from stand_ins.small_models import write_small_models
    from stand_ins.small_wan import write_small_wan

    make_scene(comfy.base / "input", frames=12, width=180, height=320)
    make_performance(comfy.base / "input", comfy.base / "models")
    pose = write_doll_pose(comfy.base / "models" / "crafters")
    names = {**write_small_models(comfy.base / "models"), **write_small_wan(comfy.base / "models")}
    return {**names, **{use: path.name for use, path in pose.items()}}


@pytest.fixture
def page(comfy):
    """A `browser.Page`: ComfyUI's own page, open in Chromium; without one, tests that need it are skipped."""
    from browser import find_chromium, open_page

    chromium = find_chromium() or pytest.skip("no Chromium: install it, or set CHROMIUM to one")
    with open_page(comfy.url, chromium) as page:
        yield page
        assert not page.errors
