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
    """A `helpers.comfy_harness.Comfy`: a running ComfyUI with the pack and the demo's networks, started once."""
    from crafters.proof.demo import WEIGHTS
    from helpers.comfy_harness import start_comfy

    with start_comfy(comfy_dir, tmp_path_factory.mktemp("comfyui"), models=WEIGHTS) as comfy:
        yield comfy


@pytest.fixture(scope="session")
def presenter(comfy):
    """The demo's scene with a product among `comfy`'s inputs: its files by the titles of the nodes that load them."""
    from crafters.proof.demo import presenting

    folder = comfy.base / "input" / "presenter"
    presenting(folder, {}, 1)
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="session")
def mimicmotion(comfy):
    """The name of a small MimicMotion among `comfy`'s models."""
    from helpers.small_models import write_mimicmotion

    return write_mimicmotion(comfy.models("crafters")).name


@pytest.fixture(scope="session")
def steps_lora(comfy):
    """The name of a small LoRA on Wan among `comfy`'s models."""
    from helpers.small_wan import write_steps_lora

    return write_steps_lora(comfy.models("loras")).name


@pytest.fixture(scope="session")
def placed_models(comfy):
    """Small Wan-Animate, SCAIL-2 and VACE among `comfy`'s models: their names by the fields of `Weights`."""
    from helpers.small_wan import write_placed

    return write_placed(comfy.models("diffusion_models"))


@pytest.fixture
def page(comfy):
    """A `helpers.browser.Page`: ComfyUI's own page, open in Chromium; without one, tests that need it are skipped."""
    from helpers.browser import find_chromium, open_page

    chromium = find_chromium() or pytest.skip("no Chromium: install it, or set CHROMIUM to one")
    with open_page(comfy.url, chromium) as page:
        yield page
        assert not page.errors
