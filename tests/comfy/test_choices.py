"""Widgets of files list what can fit; what is there and not listed is taken all the same."""

import json

import pytest
import torch
from crafters.cli.client import ComfyError
from crafters.proof.demo import SMALL
from safetensors.torch import save_file
from workflow_schema import choices

pytestmark = pytest.mark.comfy


@pytest.fixture
def others(comfy):
    """Weights that are nobody's here, where the loaders look."""
    for kind in ("diffusion_models", "clip_vision", "crafters"):
        save_file({"transformer.attn.weight": torch.zeros(2, 2)}, comfy.models(kind) / "another.safetensors")
    folder = comfy.models("crafters") / "another-folder"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return {"another.safetensors", "another-folder"}


@pytest.mark.parametrize(("kind", "key"), [
    ("CraftersLoadAnchorCrafter", "checkpoint"), ("CraftersLoadAniCrafter", "weights"), ("CraftersLoadDINOv2", "name"),
    ("CraftersLoadSegmenter", "name"), ("CraftersLoadDepth", "name"), ("CraftersLoadSVDFolder", "folder"),
])
def test_only_what_can_fit_is_listed(comfy, others, kind, key):
    offered = choices(comfy.get(f"/object_info/{kind}")[kind]["input"]["required"][key])
    assert others.isdisjoint(offered)
    own = {**SMALL.get(kind, {}), "folder": "svd-small"}.get(key)
    assert own is None or own in offered


def graph(checkpoint):
    nodes = {
        "image": ("EmptyImage", {"width": 64, "height": 64, "batch_size": 1, "color": 0}),
        "model": ("CraftersLoadAnchorCrafter", {"checkpoint": checkpoint}),
        "svd": ("CraftersLoadSVDFolder", {"folder": "svd-small"}),
        "condition": ("CraftersAnchorCondition", {
            "model": ["model", 0], "vae": ["svd", 0], "clip_vision": ["svd", 1],
            **dict.fromkeys(("person", "person_pose", "pose"), ["image", 0]),
        }),
        "samples": ("CraftersAnchorSampler", {
            "model": ["model", 0], "condition": ["condition", 0], "seed": 0, "steps": 1, "guidance_min": 1.0,
            "guidance_max": 1.0, "window": 2,
        }),
        "save": ("SaveLatent", {"samples": ["samples", 0], "filename_prefix": "choices"}),
    }
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def test_a_file_that_is_there_is_opened_and_one_that_is_not_is_told_before(comfy, others):
    with pytest.raises(ComfyError, match="another.safetensors (holds|is no|has)"):
        comfy.run(graph("another.safetensors"))
    with pytest.raises(ComfyError, match="'AnchorCrafter_1.pth' is not in .*: fetch it with"):
        comfy.run(graph("AnchorCrafter_1.pth"))
