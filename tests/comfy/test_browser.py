"""Runs from ComfyUI's own page: drop a workflow, press Run, see the result."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from build_workflows import GRAPHS, Weights, build
from crafters.proof.demo import moving
from crafters.scenes import LANDSCAPE, PORTRAIT
from helpers.comfy_harness import ROOT
from helpers.made_up import write_moving
from helpers.small_models import NETWORKS, WIDGETS
from workflow_graph import Graph

pytestmark = pytest.mark.comfy
PICTURES = ROOT / "test-artifacts"
SIZE = 256, 160
SAMPLERS = "KSampler", "KSampler, First Window", "KSampler, Next Window", "KSampler, WanVaceToVideo"


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
    assert end == "execution_success", detail.get("exception_message", detail)
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


def uneven_clip(page, comfy, folder, fold):
    """A graph whose Clip Frames has something to say of its clip is open; fold: in a subgraph, Make."""
    film(comfy.base / "input" / "uneven.mp4", [0, 40, 80, 800, 840, 880, 920])
    film(comfy.base / "input" / "even.mp4", range(0, 280, 40))
    graph = Graph(comfy.get("/object_info"), "notes")
    graph.group("Make", 0, fold)
    clip = graph.add("CraftersClipFrames", video=graph.add("LoadVideo", file="uneven.mp4")["VIDEO"], every=1)
    graph.group("Show", 1)
    graph.add("PreviewImage", images=clip["frames"])
    file = folder / "notes.json"
    file.write_text(json.dumps(graph.ui()), "utf-8")
    page.drop(file)


NOTES = """() => app.canvas.graph.nodes.find(n => n.title === "Clip Frames").widgets
    .filter(w => w.name === "$$node-text-preview").map(w => w.value)"""
BADGES = """() => app.graph.nodes.find(n => n.title === "Make").badges
    .map(b => typeof b === "function" ? b() : b).map(b => b.text).filter(t => t.includes("Clip"))"""
OPEN = """() => {
    const make = app.graph.nodes.find(n => n.title === "Make");
    app.canvas.openSubgraph(make.subgraph, make);
}"""


def test_what_may_be_wrong_stands_under_the_node_until_it_runs_again(page, comfy, tmp_path):
    uneven_clip(page, comfy, tmp_path, fold=False)
    assert page.run()[0] == "execution_success"
    (told,) = page.page.evaluate(NOTES)
    assert "uneven" in told
    page.screenshot(PICTURES / "notes.png")
    page.set_widget("Load Video", "file", "even.mp4")
    assert page.run()[0] == "execution_success"
    assert page.page.evaluate(NOTES) == []


@pytest.mark.parametrize("nodes2", [False, True], ids=["canvas", "nodes2"])
def test_closed_subgraph_names_the_nodes_inside_that_have_something_to_say(page, comfy, tmp_path, nodes2):
    page.page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", nodes2)
    try:
        uneven_clip(page, comfy, tmp_path, fold=True)
        assert page.run()[0] == "execution_success"
        assert page.page.evaluate(BADGES) == ["⚠ Clip Frames"]
        page.page.get_by_text("⚠ uneven.mp4 has uneven frame times").wait_for()
        page.screenshot(PICTURES / f"notes inside {'nodes 2.0' if nodes2 else 'canvas'}.png")
        page.page.evaluate(OPEN)
        page.page.wait_for_function(f"() => ({NOTES})().some(note => note.includes('uneven'))")
        page.screenshot(PICTURES / f"notes opened {'nodes 2.0' if nodes2 else 'canvas'}.png")
        page.page.evaluate("() => app.canvas.setGraph(app.graph)")
        page.set_widget("Load Video", "file", "even.mp4")
        assert page.run()[0] == "execution_success"
        assert page.page.evaluate(BADGES) == []
    finally:
        page.page.evaluate("() => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)")


def inputs(graph: Graph, folder: Path, presenter: dict[str, Path]) -> dict[str, Path]:
    """Files on the server for a graph, by the titles of the nodes that load them."""
    titles = {node["_meta"]["title"] for node in graph.api().values()}
    if {"Driving Clip", "Present Product"} & titles:
        return presenter
    if "Source Video" not in titles:
        return presenter | write_moving(folder, width=SIZE[0], height=SIZE[1])
    moving(folder, {}, 1)  # the demo's, so large that its networks find the person
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_shipped_graph_runs(page, comfy, presenter, mimicmotion, steps_lora, placed_models, tmp_path, name):
    """The shipped graph with small networks and inputs chosen, pressed Run on, makes a video."""
    networks = Weights(**NETWORKS, **placed_models, mimicmotion=mimicmotion, steps_lora=steps_lora)
    graphs = build(comfy.get("/object_info"), networks)
    graph = next(graph for graph in graphs if graph.name == name)
    files = inputs(graph, comfy.base / "input" / name, presenter)
    width, height = LANDSCAPE if "Source Video" in files else SIZE
    changes = {
        "Fit Person Photo": {"short_side": PORTRAIT[0]},
        "Driving Clip Frames": {"frames": 4},
        "Hand Mesh Frames": {"frames": 4},
        "Object Depth Frames": {"frames": 4},
        "Source Frames": {"frames": 8},
        "Present Product": {"seconds": 2.0, "fps": 3.0},
        "Preview Avatar": {"frames": 6, "width": 128, "height": 160},
        "Anchor Sampler": {"steps": 2},
        "Render Avatar": {"width": width, "height": height},
        "Render Body Mesh": {"width": width, "height": height},
        **dict.fromkeys(SAMPLERS, {"steps": 2}),
        "AniCrafter Sampler (self-contained)": {"steps": 2},
    }
    if "Stage Person" in {node["_meta"]["title"] for node in graph.api().values()}:
        changes["Background Frames"] = {"frames": 5}
    titles = set()
    for node in graph.api().values():
        title, kind = node["_meta"]["title"], node["class_type"]
        titles.add(title)
        if kind in WIDGETS:
            changes[title] = {WIDGETS[kind]: str(files[title].relative_to(comfy.base / "input"))}
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(graph.ui()), "utf-8")

    page.drop(file)
    assert page.missing_nodes() == []
    for title in titles & changes.keys():
        for widget, value in changes[title].items():
            page.set_widget(title, widget, value)
    end, detail = page.run(timeout=600)
    page.screenshot(PICTURES / f"{name}.png")
    assert end == "execution_success", detail.get("exception_message", detail)
    assert page.overlaps() == []
    assert list((comfy.base / "output" / "crafters").glob(f"{name}*.mp4"))
