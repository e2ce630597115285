"""Runs from ComfyUI's own page: drop a workflow, press Run, see the result."""

import json

import pytest
from build_workflows import GRAPHS, Weights, build
from comfy_harness import ROOT
from workflow_graph import Graph

pytestmark = pytest.mark.comfy
PICTURES = ROOT / "test-artifacts"


def test_core_graph_runs(page, comfy, tmp_path):
    """The harness itself, on nodes that any ComfyUI has."""
    graph = Graph(comfy.get("/object_info"), "core")
    graph.group("Make", 0)
    image = graph.add("EmptyImage", width=64, height=64, batch_size=4, color=255)
    graph.group("Show", 1)
    video = graph.add("CreateVideo", images=graph.add("ImageInvert", image=image["IMAGE"])["IMAGE"], fps=8)
    graph.add("SaveVideo", video=video["VIDEO"], filename_prefix="core")
    file = tmp_path / "core.json"
    file.write_text(json.dumps(graph.ui()), "utf-8")

    page.drop(file)
    assert page.missing_nodes() == []
    assert page.prompt() == graph.api()
    end, detail = page.run()
    assert end == "execution_success", detail
    page.screenshot(PICTURES / "core.png")
    assert list((comfy.base / "output").glob("core*.mp4"))


def test_missing_node_is_noticed(page, tmp_path):
    """What the other tests rely on: a graph with an unknown node does not pass."""
    node = {"id": 1, "type": "NoSuchNode", "pos": [0, 0], "size": [200, 100], "flags": {}, "order": 0, "mode": 0}
    file = tmp_path / "unknown.json"
    file.write_text(json.dumps({"nodes": [node], "links": [], "version": 0.4}), "utf-8")
    page.drop(file)
    assert page.missing_nodes() == ["NoSuchNode"]


SMALL = {  # title of a node: widgets that make the run a small one
    "Fit Person Photo": {"short_side": 192},
    "Anchor Sampler": {"steps": 2},
    "Render Avatar": {"width": 160, "height": 96},
    "Render Body Mesh": {"width": 160, "height": 96},
    "KSampler": {"steps": 2},
    "AniCrafter Sampler (self-contained)": {"steps": 2},
}

# Their stages look for a person in the clip, which the stand-ins' doll is not; `test_demo.py` runs them.
ONE_CLIP = ("AnchorCrafter from one clip", "AniCrafter replace person")


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_shipped_graph_runs(page, comfy, tiny_models, tmp_path, name):
    """The shipped graph with small networks chosen, pressed Run on, makes a video."""
    graphs = build(comfy.get("/object_info"), Weights(**tiny_models))
    file = tmp_path / f"{name}.json"
    graph = next(graph for graph in graphs if graph.name == name)
    titles = {node["_meta"]["title"] for node in graph.api().values()}
    assert titles & SMALL.keys()
    file.write_text(json.dumps(graph.ui()), "utf-8")

    page.drop(file)
    assert page.missing_nodes() == []
    if name in ONE_CLIP:
        assert page.overlaps() == []
        return
    for title, changes in SMALL.items():
        if title in titles:
            for widget, value in changes.items():
                page.set_widget(title, widget, value)
    end, detail = page.run(timeout=600)
    page.screenshot(PICTURES / f"{name}.png")
    assert end == "execution_success", detail
    assert page.overlaps() == []
    assert list((comfy.base / "output" / "crafters").glob(f"{name}*.mp4"))
