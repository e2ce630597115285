"""Graphs as the first versions saved them, before newer inputs and the pack's rooms, still open and run.

tests/data/saved_graphs holds both formats of each, unchanged since: the day one is edited it proves nothing.
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from crafters.cli.run import execute
from crafters.host.prompt import Prompt, read_prompt
from crafters.host.weights import needed_by, needed_by_hand
from crafters.media.clip import read_clip
from crafters.proof.demo import FRAMES, WEIGHTS, moving, presenting
from crafters.scenes import LANDSCAPE, PORTRAIT
from helpers.browser import find_chromium, open_page
from helpers.comfy_harness import ROOT, start_comfy
from PIL import Image
from workflow_schema import choices, input_options, input_specs

pytestmark = [pytest.mark.comfy, pytest.mark.slow]
SAVED = ROOT / "tests" / "data" / "saved_graphs"
GRAPHS = {"AnchorCrafter": (presenting, PORTRAIT), "AniCrafter": (moving, LANDSCAPE)}
INPUTS = {".png", ".mp4", ".npz", ".pth"}
RED = "() => app.graph.nodes.filter(n => n.has_errors).map(n => n.title)"


def saved(name: str) -> Prompt:
    return read_prompt(SAVED / "api" / f"{name}.json")


def name_files(base: Path, prompt: Prompt) -> None:
    """Files of all names in the graph, of no content: enough for the page, which marks nodes that lack theirs."""
    models = [base / "models" / file.kind / file.name for weights in needed_by(prompt) for file in weights.files]
    models += [base / "models" / weights.kind / weights.file for weights in needed_by_hand(prompt)]
    texts = {value for node in prompt.values() for value in node["inputs"].values() if isinstance(value, str)}
    inputs = [base / "input" / name for name in texts - {file.name for file in models} if Path(name).suffix in INPUTS]
    for file in models + inputs:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".png":
            Image.new("RGB", (64, 64)).save(file)
        else:
            file.touch()


@pytest.fixture(scope="module")
def demo_comfy(comfy_dir, tmp_path_factory):
    """A ComfyUI that has the demo's small networks, and files of the names that the graphs were saved with."""
    base = tmp_path_factory.mktemp("demo")
    shutil.copytree(WEIGHTS, base / "models")
    for name in GRAPHS:
        name_files(base, saved(name))
    with start_comfy(comfy_dir, base) as comfy:
        yield comfy


@pytest.mark.parametrize("name", GRAPHS)
def test_page_opens_it_with_the_values_that_were_saved(demo_comfy, name):
    """Widgets are saved by their place: newer ones stand behind the older, and begin at their defaults."""
    chromium = find_chromium() or pytest.skip("no Chromium: install it, or set CHROMIUM to one")
    with open_page(demo_comfy.url, chromium) as page:
        page.drop(SAVED / f"{name}.json")
        assert page.missing_nodes() == page.page.evaluate(RED) == []
        opened, links = page.prompt(), page.graph()["links"]
        assert page.errors == []
    assert links == json.loads((SAVED / f"{name}.json").read_text("utf-8"))["links"]
    info = demo_comfy.get("/object_info")
    assert opened.keys() == saved(name).keys()
    for number, node in saved(name).items():
        kind, values = opened[number]["class_type"], opened[number]["inputs"]
        assert kind == node["class_type"]
        assert {**values, **node["inputs"]} == values, f"{kind} lost a value"
        for _, key, spec in input_specs(info[kind]):
            if key in values.keys() - node["inputs"].keys():
                default = input_options(spec).get("default", next(iter(choices(spec)), None))
                assert values[key] == default, f"{kind}.{key}"


@pytest.mark.parametrize("name", GRAPHS)
def test_server_runs_it_to_a_video(demo_comfy, tmp_path, name):
    make, (width, height) = GRAPHS[name]
    demo = make(tmp_path / "scene", saved(name), 1)
    files = asyncio.run(execute(demo_comfy.url, demo.prompt, demo.files, tmp_path))
    (video,) = (file for file in files if file.suffix == ".mp4")
    assert tuple(read_clip(video)[0].shape) == (FRAMES, height, width, 3)
