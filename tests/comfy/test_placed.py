"""The graphs of Wan-Animate, SCAIL-2 and VACE: small networks in core's layout see all that they are shown."""

import copy
from pathlib import Path

import numpy as np
import pytest
from build_workflows import Weights, build
from crafters.proof.demo import moving
from helpers.comfy_harness import Comfy
from helpers.small_models import NETWORKS, WIDGETS

pytestmark = [pytest.mark.comfy, pytest.mark.slow]

FRAMES = 5
KINDS = {  # the model as core detects it, its conditioning node, and what that is shown
    "Wan-Animate placed": ("WAN22_Animate", "First Window", (
        "reference_image", "clip_vision_output", "face_video", "pose_video", "background_video", "character_mask")),
    "SCAIL-2 placed": ("WAN21_SCAIL2", "First Window", (
        "reference_image", "reference_image_mask", "clip_vision_output", "pose_video", "pose_video_mask")),
    "VACE placed": ("WAN21_Vace", "WanVaceToVideo", ("reference_image", "control_video", "control_masks")),
}


class Placed:
    """A graph on the server: its prompt in the API's format, and its nodes by their titles."""

    def __init__(self, comfy: Comfy, prompt: dict):
        self.comfy, self.prompt = comfy, prompt
        self.nodes = {node["_meta"]["title"]: node for node in prompt.values()}

    def inputs(self, title: str) -> dict:
        return self.nodes[title]["inputs"]

    def copy(self) -> "Placed":
        return Placed(self.comfy, copy.deepcopy(self.prompt))

    def run(self) -> tuple[np.ndarray, set[str]]:
        """The video, and the titles of the nodes that ran."""
        ran = set()
        outputs = self.comfy.run(self.prompt, lambda node, *_: ran.add(self.prompt[node]["_meta"]["title"]))
        return self.comfy.video(outputs), ran


@pytest.fixture(scope="module")
def graphs(comfy, placed_models):
    """Each graph with the demo's files and few steps, by its name."""
    networks = Weights(**NETWORKS, **placed_models)
    made = {}
    for graph in build(comfy.get("/object_info"), networks):
        if graph.name not in KINDS:
            continue
        folder = comfy.base / "input" / "placed"
        if not folder.is_dir():
            moving(folder, {}, 1)
        names = {"character_gaussian": "Load Avatar", "motion": "Load Motion"}
        files = {names.get(path.stem, path.stem): path for path in folder.iterdir()}
        placed = Placed(comfy, graph.api())
        for title, node in placed.nodes.items():
            if node["class_type"] in WIDGETS:
                path: Path = files[title]
                node["inputs"][WIDGETS[node["class_type"]]] = str(path.relative_to(comfy.base / "input"))
            if node["class_type"] == "KSampler":
                node["inputs"] |= {"steps": 1, "cfg": 1.0}
        placed.inputs("Background Frames")["frames"] = FRAMES
        made[graph.name] = placed
    return made


@pytest.fixture(scope="module")
def results(graphs):
    """The video of each graph as it is, and which nodes ran for it."""
    return {name: graph.run() for name, graph in graphs.items()}


@pytest.mark.parametrize("name", KINDS)
def test_graph_runs_on_the_model_as_core_detects_it(graphs, results, comfy, name):
    video, ran = results[name]
    height, width = video.shape[1:3]
    assert len(video) == FRAMES
    assert height % 16 == width % 16 == 0
    assert video.std() > 2
    assert graphs[name].nodes.keys() >= ran
    log = comfy.log.read_text("utf-8")
    assert f"Requested to load {KINDS[name][0]}" in log
    assert "unet missing" not in log and "unet unexpected" not in log


@pytest.mark.parametrize("name, key", [(name, key) for name, (_, _, keys) in KINDS.items() for key in keys])
def test_model_sees_every_control_input(graphs, results, name, key):
    without = graphs[name].copy()
    del without.inputs(KINDS[name][1])[key]
    video, _ = without.run()
    assert np.abs(video.astype(int) - results[name][0]).mean() > 0.05


@pytest.mark.parametrize("name", KINDS)
def test_person_elsewhere_makes_another_video(graphs, results, name):
    elsewhere = graphs[name].copy()
    elsewhere.inputs("Stage Person")["place.feet_x"] = 0.25
    video, _ = elsewhere.run()
    assert np.abs(video.astype(int) - results[name][0]).mean() > 0.05


@pytest.mark.parametrize("name, title", [("Wan-Animate placed", "Cut Hole"), ("SCAIL-2 placed", "Mesh in Scene")])
def test_second_window_is_made_only_where_the_scene_goes_on(graphs, results, name, title):
    assert "KSampler, First Window" in results[name][1] and "KSampler, Next Window" not in results[name][1]
    longer = graphs[name].copy()
    longer.inputs("Background Frames")["frames"] = 12
    longer.inputs(title)["window"] = 9
    video, ran = longer.run()
    assert len(video) == 12
    assert "KSampler, Next Window" in ran
    unlike = longer.copy()
    unlike.inputs("KSampler, First Window")["seed"] = 1  # of the first window, on which the second goes on
    assert np.abs(video[-3:].astype(int) - unlike.run()[0][-3:]).mean() > 0.05


@pytest.mark.parametrize("fill", ["pose", "picture", "grey"])
def test_vace_sees_what_is_chosen_and_nothing_else_is_made(graphs, fill):
    chosen = graphs["VACE placed"].copy()
    chosen.inputs("Cut Hole")["fill"] = fill
    chosen.inputs("Stage Person")["place.feet_x"] = {"pose": 0.4, "picture": 0.45, "grey": 0.55}[fill]
    _, ran = chosen.run()
    assert ("Draw Pose" in ran, "Render Avatar" in ran) == (fill == "pose", fill == "picture")
