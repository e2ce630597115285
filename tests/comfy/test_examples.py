"""Graphs as they are shipped, on the example inputs: no file is chosen."""

import pytest
from crafters.host.prompt import read_prompt
from crafters.proof.demo import fill
from helpers.comfy_harness import ROOT

pytestmark = [pytest.mark.comfy, pytest.mark.slow]
LOADED = {"LoadImage": "image", "LoadVideo": "file", "CraftersLoadAvatar": "avatar", "CraftersLoadMotion": "motion"}
# The shape of the examples, in a size for small networks.
SIZES = {"CraftersRenderAvatar": {"width": 256, "height": 144}, "CraftersRenderBodyMesh": {"width": 256, "height": 144}}


@pytest.mark.parametrize("name", ["AnchorCrafter", "AniCrafter"])
def test_shipped_graph_runs_on_the_examples(comfy, name):
    """With the demo's networks in the place of the published ones."""
    comfy.run({"1": {"class_type": "CraftersExampleInputs", "inputs": {"seed": 1}}})
    prompt = read_prompt(ROOT / "workflows" / "api" / f"{name}.json")
    named = {node["_meta"]["title"]: node["inputs"][LOADED[node["class_type"]]]
             for node in prompt.values() if node["class_type"] in LOADED}
    prompt, _ = fill(prompt, named)
    for node in prompt.values():
        node["inputs"].update(SIZES.get(node["class_type"], {}))
    assert len(comfy.video(comfy.run(prompt))) == 16
