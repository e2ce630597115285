"""Help and languages as ComfyUI serves them and its page shows them."""

import json

import pytest
from build_help import LANGUAGES, LOCALES, english, languages, pages, recorded
from helpers.browser import READY
from helpers.comfy_harness import ROOT
from workflow_schema import input_specs, input_type

pytestmark = pytest.mark.comfy
PICTURES = ROOT / "test-artifacts"
SHOWN = (
    "CraftersClipFrames", "CraftersExtractPose", "CraftersSegmentVideo", "CraftersProductViews", "CraftersHandMesh",
    "CraftersRemovePerson", "CraftersAnchorSampler", "CraftersRenderAvatar", "CraftersComposeScene",
    "CraftersAniCrafterApply",
)
GROWING = "COMFY_AUTOGROW_V3"  # shown as its slots, photo0 and so on, which the page numbers itself
PUT = """kind => {
    app.graph.clear();
    const node = LiteGraph.createNode(kind);
    node.pos = [500, 200];
    app.graph.add(node);
    app.canvas.selectNode(node);
    const labels = slots => (slots ?? []).map(slot => slot.label ?? slot.localized_name ?? slot.name);
    return { title: node.title, category: node.constructor.category, outputs: labels(node.outputs),
             inputs: [...labels(node.inputs?.filter(slot => !slot.widget)), ...labels(node.widgets)] };
}"""
LOADED = "() => [...document.querySelectorAll('.node-help-content img')].map(i => i.complete && i.naturalWidth > 0)"


def test_recorded_texts_are_those_of_the_schemas(comfy):
    assert english(comfy.get("/object_info")) == recorded(), "run scripts/build_help.py"


def test_every_language_is_served(comfy):
    texts = comfy.get("/i18n")
    for language in ("en", *LANGUAGES):
        assert texts[language]["nodeDefs"].keys() == comfy.pack_nodes().keys()


def test_neighbours_of_comfyui_s_own_are_there_and_fit(comfy):
    known, told = comfy.get("/object_info"), pages()["nodes"]
    titles = {name: node["title"] for name, node in told.items() if "title" in node}
    assert {name: known[name]["display_name"] or name for name in titles} == titles
    apart = [
        (name, after)
        for name, node in told.items()
        for after in node.get("next", [])
        if "*" not in taken(known[after]) and not set(known[name]["output"]) & taken(known[after])
    ]
    assert apart == []


def taken(info: dict) -> set[str]:
    return {kind for _, _, spec in input_specs(info) for kind in input_type(spec).split(",")}


@pytest.fixture
def spoken(page, comfy):
    """A function that opens the page anew in a language; English afterwards, as other tests read it."""

    def choose(language: str) -> None:
        page.page.context.request.post(f"{comfy.url}/api/settings", data={"Comfy.Locale": language})

    def speak(language: str) -> None:
        choose(language)
        page.page.reload(wait_until="domcontentloaded")
        page.page.wait_for_function(READY)
        page.page.wait_for_timeout(1500)

    yield speak
    choose("en")


@pytest.mark.slow
@pytest.mark.parametrize("language", ("en", *LANGUAGES))
def test_page_shows_nodes_and_their_help_in_its_language(page, spoken, comfy, language):
    spoken(language)
    files = (LOCALES / language / name for name in ("main.json", "nodeDefs.json"))
    main, nodes = (json.loads(file.read_text("utf-8")) for file in files)
    served, words = comfy.pack_nodes(), languages()[language]
    for kind in SHOWN:
        shown, said = page.page.evaluate(PUT, kind), nodes[kind]
        assert shown["title"] == said["display_name"]
        category = served[kind]["category"].split("/")
        assert shown["category"] == "/".join(main["nodeCategories"][part] for part in category)
        growing = {name for _, name, spec in input_specs(served[kind]) if input_type(spec) == GROWING}
        entries = {**{key: entry for key, entry in said["inputs"].items() if key not in growing}, **said["outputs"]}
        names = {entry["name"] for entry in entries.values()}
        assert names <= {*shown["inputs"], *shown["outputs"]}

        info, panel = page.page.locator('[data-testid="info-button"]'), page.page.locator(".node-help-content")
        info.click()
        panel.locator("h1", has_text=shown["title"]).wait_for()
        text = panel.inner_text()
        assert said["description"] in text and words(pages()["nodes"][kind]["when"]) in text
        page.page.wait_for_function(f"({LOADED})().every(Boolean)")
        assert page.page.evaluate(LOADED) == [True]
        PICTURES.mkdir(exist_ok=True)
        page.page.screenshot(path=PICTURES / f"help {kind} {language}.png")
        info.click()
