"""The demo's workflows run as their JSON says, without ComfyUI."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from crafters.host.prompt import UsageError, read_prompt
from crafters.media.clip import write_video
from crafters.proof import embedded
from crafters.proof.demo import WEIGHTS, fill
from crafters.proof.embedded import FIXED, plain_calls, run_embedded

BESIDE = ("SaveVideo", "PreviewImage", "CraftersConditionSheet")  # not asked for a video
TITLES = ("Person Photo", "Driving Clip", "Hand Mesh", "Object Depth", "Product Left", "Product Front", "Product Right",
          "Character Photo", "Background Video", "Load Avatar", "Load Motion")


@pytest.fixture
def clips(tmp_path):
    """A workflow that passes a dark clip on, and could a light one."""
    prompt = {}
    for name, level, fps in (("dark", 40, 10), ("light", 200, 20)):
        path = tmp_path / f"{name}.mp4"
        write_video(path, np.full((4, 32, 48, 3), level, np.uint8), fps)
        take = {"first_frame": 0, "every": 1, "frames": 0, "long_side": 0, "at_fps": 0}
        prompt[name] = {"class_type": "LoadVideo", "inputs": {"file": str(path)}}
        prompt[f"{name} frames"] = {"class_type": "CraftersClipFrames", "inputs": {"video": [name, 0], **take}}
    made = {"images": ["dark frames", 0], "fps": ["dark frames", 1], "bit_depth": 8}
    prompt["made"] = {"class_type": "CreateVideo", "inputs": made}
    prompt["saved"] = {"class_type": "SaveVideo", "inputs": {"video": ["made", 0], "filename_prefix": "x"}}
    return prompt


def test_a_changed_link_is_followed(clips):
    frames, fps = run_embedded(clips, WEIGHTS)
    assert frames.shape == (4, 32, 48, 3) and frames.dtype == np.uint8
    assert np.allclose(frames, 40, atol=2) and fps == 10
    clips["made"]["inputs"].update(images=["light frames", 0], fps=["light frames", 1])
    frames, fps = run_embedded(clips, WEIGHTS)
    assert np.allclose(frames, 200, atol=2) and fps == 20


def test_what_has_no_plain_call_is_said(clips):
    clips["made"]["inputs"]["bit_depth"] = 10
    with pytest.raises(UsageError, match="node made: CreateVideo's bit_depth is 10, but without ComfyUI only 8"):
        run_embedded(clips, WEIGHTS)
    clips["made"]["class_type"] = "ImageScale"
    with pytest.raises(UsageError, match="node made is of class ImageScale, which runs in a ComfyUI only"):
        run_embedded(clips, WEIGHTS)


def shipped(workflow):
    return fill(read_prompt(Path(f"workflows/api/{workflow}.json")), dict.fromkeys(TITLES, Path("file")))[0]


@pytest.mark.parametrize("workflow", ["AnchorCrafter", "AniCrafter"])
def test_every_node_of_the_demo_has_a_call_that_takes_its_inputs(workflow):
    calls = plain_calls(WEIGHTS)
    for node in shipped(workflow).values():
        if (kind := node["class_type"]) not in BESIDE:
            taken = set(node["inputs"]) - set(FIXED.get(kind, ()))
            inspect.signature(calls[kind]).bind(**dict.fromkeys(taken))


def test_a_changed_link_of_the_shipped_graph_changes_what_is_called(monkeypatch):
    """Depth in place of the hands: their video is no longer read, nor placed. Nothing is called twice."""
    called = []

    def stand_in(kind):
        def call(**inputs):
            called.append(kind)
            outputs = torch.zeros(1, 8, 8, 3), 15.0
            return (outputs,) if kind == "CreateVideo" else outputs

        return call

    prompt, kinds = shipped("AnchorCrafter"), list(plain_calls(WEIGHTS))
    monkeypatch.setattr(embedded, "plain_calls", lambda models: {kind: stand_in(kind) for kind in kinds})
    run_embedded(prompt, WEIGHTS)
    before = sorted(called)
    assert before == sorted(node["class_type"] for node in prompt.values() if node["class_type"] not in BESIDE)

    called.clear()
    (condition,) = (node for node in prompt.values() if node["class_type"] == "CraftersAnchorCondition")
    condition["inputs"]["hand"] = condition["inputs"]["object_depth"]
    run_embedded(prompt, WEIGHTS)
    assert sorted([*called, "LoadVideo", "CraftersClipFrames", "CraftersPlaceVideo"]) == before
