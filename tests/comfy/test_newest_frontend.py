"""The newest page of ComfyUI's, which users get beside an older server: graphs dropped on it, run, and read about."""

import json
from collections import Counter
from pathlib import Path

import pytest
from build_help import pages
from crafters.host.prompt import read_prompt
from crafters.proof.demo import WEIGHTS, presenting
from helpers.comfy_harness import ROOT, start_comfy

pytestmark = [pytest.mark.comfy, pytest.mark.slow]
SHIPPED = sorted((ROOT / "workflows").glob("*.json"))
PUT = """kind => {
    app.graph.clear();
    const node = LiteGraph.createNode(kind);
    node.pos = [500, 200];
    app.graph.add(node);
    app.canvas.selectNode(node);
}"""


@pytest.fixture(scope="session")
def comfy(comfy_dir, tmp_path_factory):
    """As everywhere, with the page that `scripts/setup.sh browser` fetched in the place of the pinned one."""
    places = sorted(ROOT.glob(".comfyui/frontend-*/comfyui_frontend_package/static"))
    if not places:
        pytest.skip("no newer page: `make browser` fetches one")
    base = tmp_path_factory.mktemp("newest-page")
    with start_comfy(comfy_dir, base, models=WEIGHTS, frontend=places[-1]) as comfy:
        yield comfy


def settings(prompt: dict) -> Counter:
    """Every node that runs, by its class and the values of its widgets; ids are the page's own affair."""
    widgets = (str, int, float)
    return Counter(
        (node["class_type"], frozenset(item for item in node["inputs"].items() if isinstance(item[1], widgets)))
        for node in prompt.values()
    )


def test_page_opens_every_graph(page):
    for file in SHIPPED:
        page.drop(file)
        assert page.missing_nodes() == [], file.stem
        assert settings(page.prompt()) == settings(read_prompt(ROOT / "workflows" / "api" / file.name)), file.stem


@pytest.fixture(scope="session")
def demo(comfy):
    """AnchorCrafter's prompt with the demo's networks, and its inputs where the page, opened later, lists them."""
    demo = presenting(comfy.base / "input", read_prompt(ROOT / "workflows" / "api" / "AnchorCrafter.json"), 1)
    for node_id, key in demo.files:
        inputs = demo.prompt[node_id]["inputs"]
        inputs[key] = Path(inputs[key]).name
    return demo


def test_page_runs_a_dropped_graph(demo, page, comfy, tmp_path):
    file = tmp_path / "AnchorCrafter.json"
    file.write_text(json.dumps(demo.prompt), "utf-8")
    page.drop(file)
    assert page.missing_nodes() == []
    end, detail = page.run(timeout=600)
    page.screenshot(ROOT / "test-artifacts" / "newest page.png")
    assert end == "execution_success", detail
    assert list((comfy.base / "output" / "crafters").glob("AnchorCrafter*.mp4"))


def test_page_shows_help(page):
    for kind in ("CraftersClipFrames", "CraftersAnchorSampler", "CraftersComposeScene"):
        page.page.evaluate(PUT, kind)
        page.page.locator('[data-testid="info-button"]').click()
        page.page.locator(".node-help-content").get_by_text(pages()["nodes"][kind]["when"]).wait_for()
