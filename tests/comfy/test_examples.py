"""Graphs as they are shipped, on the example inputs: no file is chosen."""

import pytest
from crafters.host.prompt import read_prompt
from crafters.proof.demo import fill
from helpers.comfy_harness import ROOT

pytestmark = [pytest.mark.comfy, pytest.mark.slow]
LOADED = {"LoadImage": "image", "LoadVideo": "file", "CraftersLoadAvatar": "avatar", "CraftersLoadMotion": "motion"}
# The shape of the examples, in a size for small networks.
SIZES = {"CraftersRenderAvatar": {"width": 256, "height": 144}, "CraftersRenderBodyMesh": {"width": 256, "height": 144}}


NAMES = "AnchorCrafter", "AniCrafter"


def named(prompt: dict) -> dict[str, str]:
    """The files that a graph names, by the titles of the nodes that load them."""
    return {node["_meta"]["title"]: node["inputs"][LOADED[node["class_type"]]]
            for node in prompt.values() if node["class_type"] in LOADED}


@pytest.fixture(scope="module")
def prompts(comfy):
    """The graphs, on a server that has their example inputs; other tests' files of these names are not kept."""
    prompts = {name: read_prompt(ROOT / "workflows" / "api" / f"{name}.json") for name in NAMES}
    for file in {file for prompt in prompts.values() for file in named(prompt).values()}:
        (comfy.base / "input" / file).unlink(missing_ok=True)
    comfy.run({"1": {"class_type": "CraftersExampleInputs", "inputs": {"seed": 1}}})
    return prompts


@pytest.mark.parametrize("name", NAMES)
def test_shipped_graph_runs_on_the_examples(comfy, prompts, name):
    """With the demo's networks in the place of the published ones."""
    prompt, _ = fill(prompts[name], named(prompts[name]))
    for node in prompt.values():
        node["inputs"].update(SIZES.get(node["class_type"], {}))
    assert len(comfy.video(comfy.run(prompt))) == 16
