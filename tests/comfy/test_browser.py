"""Runs from ComfyUI's own page: drop a workflow, press Run, see the result."""

import json
import shutil

import pytest
from build_workflows import GRAPHS, Weights, build
from comfy_harness import ROOT
from crafters.demo.run import LANDSCAPE, WEIGHTS, moving, presenting
from crafters.demo.run import SMALL as SMALL_DEMO
from crafters.models.avatar.body import ANNY
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

# They look for a person in clip or photo: drawn people, whom the demo's small networks find.
SEEING = {
    "AnchorCrafter from one clip": presenting,
    "AniCrafter replace person": moving,
    "AniCrafter from one photo": moving,
}
WIDGETS = {"LoadImage": "image", "LoadVideo": "file", "CraftersLoadMotion": "motion"}


@pytest.fixture
def filmed(comfy):
    """A function from a graph to the names of the networks that it needs, and the widgets that choose its inputs."""

    def film(graph: Graph) -> tuple[dict, dict]:
        SEEING[graph.name](comfy.base / "input" / graph.name, {}, 1)
        pose = SMALL_DEMO["CraftersLoadDWPose"]
        for name in pose.values():
            shutil.copyfile(WEIGHTS / "crafters" / name, comfy.base / "models" / "crafters" / name)
        files = {path.stem: path for path in (comfy.base / "input" / graph.name).iterdir()}
        files["Load Motion"] = files.get("motion")
        size = dict(zip(("width", "height"), LANDSCAPE, strict=True))
        widgets = {"Render Avatar": size, "Render Body Mesh": size}
        for node in graph.api().values():
            title, kind = node["_meta"]["title"], node["class_type"]
            if kind in WIDGETS:
                widgets[title] = {WIDGETS[kind]: f"{graph.name}/{files[title].name}"}
        return {**pose, "body": ANNY}, widgets

    return film


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_shipped_graph_runs(page, comfy, tiny_models, filmed, tmp_path, name):
    """The shipped graph with small networks chosen, pressed Run on, makes a video."""

    def built(**names: str) -> Graph:
        graphs = build(comfy.get("/object_info"), Weights(**tiny_models | names))
        return next(graph for graph in graphs if graph.name == name)

    graph, changes = built(), SMALL
    if name in SEEING:
        names, widgets = filmed(graph)
        graph, changes = built(**names), SMALL | widgets
    file = tmp_path / f"{name}.json"
    titles = {node["_meta"]["title"] for node in graph.api().values()}
    assert titles & SMALL.keys()
    file.write_text(json.dumps(graph.ui()), "utf-8")

    page.drop(file)
    assert page.missing_nodes() == []
    for title in titles & changes.keys():
        for widget, value in changes[title].items():
            page.set_widget(title, widget, value)
    end, detail = page.run(timeout=600)
    page.screenshot(PICTURES / f"{name}.png")
    assert end == "execution_success", detail
    assert page.overlaps() == []
    assert list((comfy.base / "output" / "crafters").glob(f"{name}*.mp4"))
