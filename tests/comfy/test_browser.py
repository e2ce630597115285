"""Runs from ComfyUI's own page: drop a workflow, press Run, see the result."""

import json
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
from build_workflows import GRAPHS, Weights, build
from comfy_harness import ROOT
from crafters.models.body.load import ANNY
from crafters.proof.demo import SMALL as SMALL_DEMO
from crafters.proof.demo import WEIGHTS, moving, presenting
from crafters.scenes import LANDSCAPE
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


def film(path, times):
    """A clip whose frames are shown at those times, in ms."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 5 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = int(time), stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


NOTES = """() => app.graph.nodes.find(n => n.title === "Clip Frames").widgets
    .filter(w => w.name === "$$node-text-preview").map(w => w.value)"""


def test_what_may_be_wrong_stands_under_the_node_until_it_runs_again(page, comfy, tmp_path):
    film(comfy.base / "input" / "uneven.mp4", [0, 40, 80, 800, 840, 880, 920])
    film(comfy.base / "input" / "even.mp4", range(0, 280, 40))
    graph = Graph(comfy.get("/object_info"), "notes")
    graph.group("Make", 0)
    clip = graph.add("CraftersClipFrames", video=graph.add("LoadVideo", file="uneven.mp4")["VIDEO"], every=1)
    graph.group("Show", 1)
    graph.add("PreviewImage", images=clip["frames"])
    file = tmp_path / "notes.json"
    file.write_text(json.dumps(graph.ui()), "utf-8")
    page.drop(file)
    assert page.run()[0] == "execution_success"
    (told,) = page.page.evaluate(NOTES)
    assert "uneven" in told
    page.screenshot(PICTURES / "notes.png")
    page.set_widget("Load Video", "file", "even.mp4")
    assert page.run()[0] == "execution_success"
    assert page.page.evaluate(NOTES) == []


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
