"""What ComfyUI's registry reads in pyproject.toml, and what its tools and scanners say of the pack."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import house
import pytest
from comfy_cli.registry.config_parser import extract_node_configuration
from PIL import Image

REGISTRY = house.ROOT / "pyproject.toml"
IMAGES = house.ROOT / "docs" / "images"
SHOWN = "https://raw.githubusercontent.com/crafters-video/crafters/main/docs/images/"


@pytest.fixture
def tool(tmp_path):
    """A function that runs a tool of the test extra in a folder, with a home of its own, and gives what it printed."""

    def run(name: str, *args: str, folder=house.ROOT) -> str:
        env = {**os.environ, "HOME": str(tmp_path), "DO_NOT_TRACK": "1", "NO_COLOR": "1"}
        command = [Path(sys.executable).with_name(name), *args]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_registry_takes_the_pack(tool):
    said = tool("comfy", "--skip-prompt", "--no-enable-telemetry", "--no-json", "node", "validate")
    assert "passed successfully" in said and "Warning" not in said, said


def test_the_registry_reads_all_that_it_shows(capsys):
    known = extract_node_configuration(str(REGISTRY))
    assert capsys.readouterr().out == ""  # it warns of what it cannot read, and leaves it out
    assert known.project.supported_accelerators == ["GPU :: NVIDIA CUDA", "GPU :: AMD ROCm", "GPU :: Apple Metal"]
    assert known.project.supported_os == ["OS Independent"] and known.project.supported_comfyui_version
    urls, comfy = known.project.urls, known.tool_comfy
    assert all([urls.homepage, urls.repository, urls.documentation, urls.issues])
    assert all([comfy.publisher_id, comfy.display_name])
    for url, fits in ((comfy.icon, lambda width, height: width == height <= 400),
                      (comfy.banner_url, lambda width, height: 9 * width == 21 * height)):
        file = IMAGES / url.removeprefix(SHOWN)
        assert fits(*Image.open(file).size) and file.stat().st_size < 100_000


@pytest.mark.slow
def test_nothing_is_unpickled_as_python_would(tool, tmp_path):
    """nodesafe reads code as text and takes `.eval()` for evil; of pickles it is right."""
    listed = ["git", "-C", house.ROOT, "ls-files", "-co", "--exclude-standard", "*.py"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines():
        (tmp_path / "pack" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(house.ROOT / name, tmp_path / "pack" / name)
    found = json.loads(tool("nodesafe", "scan", "--format", "json", "--fail-on", "none", ".", folder=tmp_path / "pack"))
    remarks = [each for each in found["findings"] if "pickle" in each["title"]]
    # The module that reads them builds on Python's, with a table of its own.
    assert [(each["file"], each["title"]) for each in remarks if each["severity"] == "high"] == []
    assert {each["file"] for each in remarks if not each["file"].startswith("tests/")} == {"files/pickles.py"}


def test_every_workflow_has_a_card_of_its_own():
    """The template browser shows NAME.jpg, cut square."""
    cards = {file.stem: file.with_suffix(".jpg") for file in (house.ROOT / "workflows").glob("*.json")}
    assert {name for name, file in cards.items() if not file.is_file()} == set(), "run scripts/workflow_pictures.py"
    assert all(Image.open(file).size == (512, 512) for file in cards.values())
    assert len({file.read_bytes() for file in cards.values()}) == len(cards)
    assert sum(file.stat().st_size for file in cards.values()) < 1.5e6
