"""A photo becomes an avatar, its turntable and a video, by projection and by LHM; with the demo's small networks."""

import json

import numpy as np
import pytest
import torch
from crafters.cli.client import ComfyError, output_files
from crafters.media.clip import read_clip
from crafters.models.avatar.lhm.convert import convert_sapiens
from crafters.models.body.anny import anny_body
from crafters.proof.demo import FRAMES, WEIGHTS, moving
from crafters.scenes import LANDSCAPE
from helpers.comfy_harness import ROOT, find, start_comfy
from helpers.lhm_files import write_lhm, write_torchscript
from PIL import Image

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning"),
]
GRAPH = "AniCrafter from one photo"


@pytest.fixture(scope="module")
def comfy(comfy_dir, tmp_path_factory):
    """With the demo's networks, and small LHM and Sapiens."""
    base = tmp_path_factory.mktemp("photo")
    own = base / "models" / "crafters"
    own.mkdir(parents=True)
    body = anny_body()
    by_height = body.template[:, 1].argsort()
    write_lhm(own / "lhm.safetensors", body, by_height[::7])
    write_torchscript(own / "sapiens.pt2")
    convert_sapiens(own / "sapiens.pt2", own / "sapiens.safetensors")
    with start_comfy(comfy_dir, base, models=WEIGHTS) as comfy:
        yield comfy


@pytest.fixture(scope="module")
def prompt(comfy, tmp_path_factory):
    """A function from a road, `projection` or `lhm`, to the graph on a made-up person; the turntable saved as well."""
    folder = tmp_path_factory.mktemp("scene")
    shipped = json.loads((ROOT / "workflows" / "api" / f"{GRAPH}.json").read_text())
    demo = moving(folder, shipped, 1)
    comfy.upload(demo.prompt, demo.files)

    def filled(road="projection"):
        graph = json.loads(json.dumps(demo.prompt))
        graph[find(graph, "KSampler")]["inputs"]["steps"] = 2
        turns = [find(graph, "CraftersPreviewAvatar"), 0]
        graph[turns[0]]["inputs"].update(frames=6, width=128, height=160)
        graph["turn"] = node("CreateVideo", images=turns, fps=6.0)
        graph["save"] = node("SaveVideo", video=["turn", 0], filename_prefix="turn", format="mp4", codec="h264")
        if road == "lhm":
            made = find(graph, "CraftersAvatarFromPhoto")
            graph["lhm"] = node("CraftersLoadLHM", lhm="lhm.safetensors", sapiens="sapiens.safetensors")
            character = graph[made]["inputs"]["character"]
            graph[made] = node("CraftersReconstructAvatar", lhm=["lhm", 0], character=character)
            graph[find(graph, "CraftersRigAvatar")]["inputs"]["lhm"] = "lhm.safetensors"
        return graph

    return filled


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


@pytest.mark.parametrize("road", ["projection", "lhm"])
def test_a_photo_becomes_a_video(comfy, prompt, road):
    graph = prompt(road)
    outputs = comfy.run(graph)
    videos = {file["filename"].split("_")[0]: comfy.output_path(file) for file in output_files(outputs)
              if file["filename"].endswith(".mp4")}
    assert read_clip(videos[GRAPH])[0].shape == (FRAMES, LANDSCAPE[1], LANDSCAPE[0], 3)
    turns = read_clip(videos["turn"])[0].float()
    assert turns.shape == (6, 160, 128, 3) and turns[:, :8].mean() > 240  # on white
    assert (turns - turns.roll(1, 0)).abs().mean((1, 2, 3)).min() > 1  # it turns
    made = "CraftersReconstructAvatar" if road == "lhm" else "CraftersAvatarFromPhoto"
    for kind in (made, "CraftersPreviewAvatar"):
        pictures = shown(comfy, outputs, graph, kind)
        assert pictures and all(picture.std() > 0.02 for picture in pictures)


def shown(comfy, outputs, graph, kind):
    """The pictures [H,W,3] under a node that ran."""
    files = outputs[find(graph, kind)]["images"]
    return [
        torch.from_numpy(np.array(Image.open(comfy.output_path(file)).convert("RGB"))).float() / 255 for file in files
    ]


def only_avatar(graph):
    """The graph without motion, scene and video."""
    kinds = {"LoadImage", "CraftersLoadDWPose", "CraftersExtractPose", "CraftersPrepareCharacter", "CraftersLoadLHM",
             "CraftersReconstructAvatar", "CraftersLoadBodyModel", "CraftersAvatarFromPhoto",
             "CraftersPreviewAvatar"}
    return {id_: node for id_, node in graph.items() if node["class_type"] in kinds}


def test_the_projected_avatar_is_the_person(comfy, prompt):
    """From the front it has the colours of the photo, and stands in the neutral pose."""
    graph = only_avatar(prompt())
    graph[find(graph, "CraftersPrepareCharacter")]["inputs"]["head"] = False
    outputs = comfy.run(graph)
    (avatar,) = shown(comfy, outputs, graph, "CraftersAvatarFromPhoto")
    (body,) = shown(comfy, outputs, graph, "CraftersPrepareCharacter")
    colour = [picture[picture.amin(-1) < 0.9].mean(0) for picture in (avatar, body)]
    assert (colour[0] - colour[1]).abs().max() < 0.12
    rows, columns = ((avatar.amin(-1) < 0.9).any(axis).nonzero() for axis in (1, 0))
    assert columns.max() - columns.min() > 0.7 * (rows.max() - rows.min())  # its arms are out


def test_a_reconstructed_avatar_is_kept_by_its_content(comfy, prompt):
    """The same photo under another name is not reconstructed again; another head crop is."""
    graph = only_avatar(prompt("lhm"))
    kept = comfy.base / "output" / "crafters" / "avatars"

    def run():
        steps = []
        made = find(graph, "CraftersReconstructAvatar")
        comfy.run(graph, lambda id_, value, total: steps.append(value) if id_ == made and value else None)
        return steps, sorted(file.name for file in kept.glob("*"))

    _, first = run()
    photo = graph[find(graph, "LoadImage")]["inputs"]
    renamed = comfy.base / "input" / "renamed.png"
    renamed.write_bytes((comfy.base / "input" / photo["image"]).read_bytes())
    photo["image"] = renamed.name
    steps, second = run()
    assert not steps and second == first and len(first) == 1
    graph[find(graph, "CraftersPrepareCharacter")]["inputs"]["head"] = False
    steps, third = run()
    assert steps and len(third) == 2


def test_a_photo_without_a_person_is_said(comfy, prompt):
    graph = only_avatar(prompt())
    Image.new("RGB", (160, 256), (90, 140, 120)).save(comfy.base / "input" / "nobody.png")
    graph[find(graph, "LoadImage")]["inputs"]["image"] = "nobody.png"
    with pytest.raises(ComfyError, match="No person was found in frame 0: use a picture that shows head and torso"):
        comfy.run(graph)
