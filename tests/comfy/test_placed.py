"""The graphs of Wan-Animate, SCAIL-2 and VACE: small networks in core's layout see all that they are shown."""

import copy
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from build_workflows import Weights, build
from crafters.proof.demo import moving
from helpers.comfy_harness import ROOT, Comfy, find
from helpers.small_models import NETWORKS, WIDGETS

pytestmark = [pytest.mark.comfy, pytest.mark.slow]

FRAMES = 5
KINDS = {  # the model as core detects it, its conditioning node, and what that is shown
    "Wan-Animate placed": ("WAN22_Animate", "First Window", (
        "reference_image", "clip_vision_output", "pose_video", "background_video", "character_mask")),
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
                node["inputs"] |= {"steps": 1, "cfg": 1.0, "sampler_name": "euler"}  # uni_pc takes more steps
        placed.inputs("Background Frames")["frames"] = FRAMES
        if "WanVaceToVideo" in placed.nodes:
            placed.inputs("WanVaceToVideo")["strength"] = 20.0  # one random block of two says little
        made[graph.name] = placed
    return made


@pytest.fixture(scope="module")
def results(graphs):
    """A function: the video of a graph as it is, and which nodes ran for it."""
    return cache(lambda name: graphs[name].run())


@pytest.fixture(scope="module")
def faceless(graphs):
    """A function: a graph without the face, which takes a CPU as long as all else, and its video."""

    def made(name: str) -> tuple[Placed, np.ndarray]:
        bare = graphs[name].copy()
        for node in bare.prompt.values():
            node["inputs"].pop("face_video", None)
        return bare, bare.run()[0]

    return cache(made)


def unlike(one: np.ndarray, other: np.ndarray) -> bool:
    return np.abs(one.astype(int) - other).mean() > 0.05


@pytest.mark.parametrize("name", KINDS)
def test_graph_runs_on_the_model_as_core_detects_it(graphs, results, comfy, name):
    video, ran = results(name)
    height, width = video.shape[1:3]
    assert len(video) == FRAMES
    assert height % 16 == width % 16 == 0
    assert video.std() > 2
    assert graphs[name].nodes.keys() >= ran
    log = comfy.log.read_text("utf-8")
    assert f"Requested to load {KINDS[name][0]}" in log
    assert "unet missing" not in log and "unet unexpected" not in log


def test_model_sees_the_face(results, faceless):
    assert unlike(results("Wan-Animate placed")[0], faceless("Wan-Animate placed")[1])


@pytest.mark.parametrize("name, key", [(name, key) for name, (_, _, keys) in KINDS.items() for key in keys])
def test_model_sees_every_control_input(faceless, name, key):
    graph, video = faceless(name)
    without = graph.copy()
    del without.inputs(KINDS[name][1])[key]
    assert unlike(without.run()[0], video)


@pytest.mark.parametrize("name", KINDS)
def test_person_elsewhere_makes_another_video(faceless, name):
    graph, video = faceless(name)
    elsewhere = graph.copy()
    elsewhere.inputs("Stage Person")["place.feet_x"] = 0.25
    assert unlike(elsewhere.run()[0], video)


@pytest.mark.parametrize("name, title", [("Wan-Animate placed", "Cut Hole"), ("SCAIL-2 placed", "Mesh in Scene")])
def test_second_window_is_made_only_where_the_scene_goes_on(results, faceless, name, title):
    assert "KSampler, First Window" in results(name)[1] and "KSampler, Next Window" not in results(name)[1]
    longer = faceless(name)[0].copy()
    longer.inputs("Background Frames")["frames"] = 12
    longer.inputs(title)["window"] = 9
    video, ran = longer.run()
    assert len(video) == 12
    assert "KSampler, Next Window" in ran
    longer.inputs("KSampler, First Window")["seed"] = 1  # the second goes on from the first
    assert unlike(longer.run()[0][-3:], video[-3:])


def with_further_window(placed: Placed) -> Placed:
    """SCAIL-2's stage Next window copied and linked behind itself, as the graph's note says."""
    prompt = placed.copy().prompt
    joined, video = (find(prompt, kind) for kind in ("CraftersJoinWindows", "CreateVideo"))
    decoded = prompt[joined]["inputs"]["next"][0]
    sampler = prompt[decoded]["inputs"]["samples"][0]
    shown = prompt[sampler]["inputs"]["positive"][0]
    own = {joined, decoded, sampler, shown}
    copied = {key: copy.deepcopy(prompt[key]) for key in own}
    for node in copied.values():
        node["_meta"]["title"] += ", once more"
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] in own:
                node["inputs"][name] = [f"{value[0]}0", value[1]]
    copied[joined]["inputs"]["frames"] = copied[shown]["inputs"]["previous_frames"] = [joined, 0]
    copied[shown]["inputs"]["video_frame_offset"] = [shown, prompt[shown]["inputs"]["video_frame_offset"][1]]
    prompt |= {f"{key}0": node for key, node in copied.items()}
    prompt[video]["inputs"]["images"] = [f"{joined}0", 0]
    return Placed(placed.comfy, prompt)


def test_further_window_is_a_copy_of_the_second(graphs):
    longer = with_further_window(graphs["SCAIL-2 placed"])
    longer.inputs("Background Frames")["frames"] = 15
    longer.inputs("Mesh in Scene")["window"] = 9
    video, ran = longer.run()
    assert len(video) == 15
    assert "KSampler, Next Window, once more" in ran


@pytest.mark.parametrize("name", ["Wan-Animate placed", "SCAIL-2 placed"])
def test_stage_of_the_next_window_offers_what_a_further_one_takes(name):
    graph = json.loads((ROOT / "workflows" / f"{name}.json").read_text("utf-8"))
    (stage,) = (stage for stage in graph["definitions"]["subgraphs"] if stage["name"] == "Next window")
    assert [output["name"] for output in stage["outputs"]] == ["VIDEO", "video_frame_offset", "frames"]
    assert {"video_frame_offset", "continue_motion", "previous_frames"} & {slot["name"] for slot in stage["inputs"]}


@pytest.mark.parametrize("fill", ["pose", "picture", "grey"])
def test_vace_sees_what_is_chosen_and_nothing_else_is_made(graphs, fill):
    chosen = graphs["VACE placed"].copy()
    chosen.inputs("Cut Hole")["fill"] = fill
    chosen.inputs("Stage Person")["place.feet_x"] = {"pose": 0.4, "picture": 0.45, "grey": 0.55}[fill]
    _, ran = chosen.run()
    assert ("Draw Pose" in ran, "Render Avatar" in ran) == (fill == "pose", fill == "picture")
