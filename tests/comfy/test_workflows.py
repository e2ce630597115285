"""The shipped workflows: both formats hold one graph, which fits the server's nodes and names no path of ours."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from build_workflows import BLUEPRINTS, HELP, Weights, files
from crafters.host.weights import CATALOGUE, needed_by, needed_by_hand, restricted
from crafters.media.clip import write_video
from helpers.browser import APP, OFFERED, find_chromium, open_page
from helpers.comfy_harness import ROOT
from PIL import Image
from workflow_schema import choices, input_options, input_specs, input_type

pytestmark = pytest.mark.comfy
NAMES = sorted(file.stem for file in (ROOT / "workflows").glob("*.json"))


def read(path: str) -> dict:
    return json.loads((ROOT / "workflows" / path).read_text("utf-8"))


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_files_are_those_the_script_writes(comfy):
    written = files(comfy.get("/object_info"))
    there = [file for folder in ("workflows", "workflows/api", "subgraphs") for file in (ROOT / folder).glob("*.json")]
    assert sorted(map(str, there)) == sorted(str(ROOT / path) for path in written)
    for path, content in written.items():
        assert content == json.loads((ROOT / path).read_text("utf-8")), "run scripts/build_workflows.py"


def test_values_are_legal(comfy, name):
    """Every required input is given, numbers are in range, choices on offer; files need not be there."""
    files = {name for value in asdict(Weights()).values() for name in ([value] if isinstance(value, str) else value)}
    info = comfy.get("/object_info")
    for node in read(f"api/{name}.json").values():
        given = input_specs(info[node["class_type"]], node["inputs"])
        specs = {input_name: (kind, spec) for kind, input_name, spec in given}
        assert node["inputs"].keys() <= specs.keys()
        for input_name, (kind, spec) in specs.items():
            assert kind == "optional" or input_name in node["inputs"], f"{node['class_type']} lacks {input_name}"
            value = node["inputs"].get(input_name)
            if value is None or isinstance(value, list):
                continue
            options = input_options(spec)
            is_file = value in files or any(key.endswith("_upload") for key in options)
            assert is_file or not choices(spec) or value in choices(spec)
            assert options.get("min", value) <= value <= options.get("max", value)


def test_links_join_equal_types(comfy, name):
    info = comfy.get("/object_info")
    prompt = read(f"api/{name}.json")
    for node in prompt.values():
        types = {input_name: input_type(spec) for _, input_name, spec in input_specs(info[node["class_type"]])}
        for input_name, value in node["inputs"].items():
            if isinstance(value, list):
                origin, slot = value
                assert info[prompt[origin]["class_type"]]["output"][slot] in types[input_name].split(",")


def test_every_output_ends_somewhere(comfy, name):
    """Nothing is computed in vain: each node but the savers feeds another."""
    info = comfy.get("/object_info")
    prompt = read(f"api/{name}.json")
    used = {value[0] for node in prompt.values() for value in node["inputs"].values() if isinstance(value, list)}
    idle = [node for id_, node in prompt.items() if id_ not in used and not info[node["class_type"]]["output_node"]]
    assert idle == []


def test_values_are_no_absolute_paths(name):
    for path in (f"{name}.json", f"api/{name}.json"):
        text = (ROOT / "workflows" / path).read_text("utf-8")
        assert not any(sign in text for sign in ('"/', ":\\\\", '"~', "file://"))


def every_node(graph: dict) -> list[dict]:
    """The nodes of a graph and of its subgraphs."""
    return [*graph["nodes"], *(node for inner in graph["definitions"]["subgraphs"] for node in inner["nodes"])]


def test_loaders_say_where_their_files_are_published(name):
    """As the page's dialog for missing models reads it: each published file that a node is set to load."""
    told = set()
    for node in every_node(read(f"{name}.json")):
        values = set(node["widgets_values"]) if "Node name for S&R" in node["properties"] else set()
        files = dict.fromkeys(file for weights in CATALOGUE for file in weights.files
                              if values & {file.name, file.name.rpartition("/")[0]} - {""})
        models = [{"name": file.name, "url": f"https://huggingface.co/{file.repo}/resolve/main/{file.file}",
                   "directory": file.kind} for file in files]
        assert node["properties"].get("models", []) == models, node["type"]
        told |= {file.name for file in files}
    assert told == {file.name for weights in needed_by(read(f"api/{name}.json")) for file in weights.files}


def test_gated_files_are_named_in_the_note_with_the_page_to_register_at(name):
    (note,) = (node["widgets_values"][0] for node in read(f"{name}.json")["nodes"] if node["type"] == "MarkdownNote")
    prompt = read(f"api/{name}.json")
    gates = [weights.page for weights in needed_by(prompt) if weights.gated]
    gates += [weights.page for weights in needed_by_hand(prompt)]
    assert [page for page in gates if f"]({page})" not in note] == []
    assert gates or not restricted(prompt)
    assert HELP in note


@pytest.fixture(scope="module")
def shown(comfy):
    """The server, with a photo and a portrait clip of each name that the graphs are saved with."""
    frames = np.full((8, 160, 90, 3), 128, np.uint8)
    for name in NAMES:
        for node in read(f"api/{name}.json").values():
            for file in (comfy.base / "input" / str(node["inputs"].get(key)) for key in ("image", "file")):
                if file.suffix == ".png":
                    Image.fromarray(frames[0]).save(file)
                elif file.suffix == ".mp4":
                    write_video(file, frames, 8)
    return comfy


@pytest.fixture(scope="module", params=["canvas", "Nodes 2.0"])
def opened(request, shown):
    """The page, as it is by default and with the newer look."""
    chromium = find_chromium() or pytest.skip("no Chromium: install it, or set CHROMIUM to one")
    with open_page(shown.url, chromium, nodes2=request.param != "canvas") as page:
        page.nodes2 = request.param != "canvas"
        yield page
        assert not page.errors


def test_page_opens_the_graph_as_shipped(opened, name):
    """Dropped on the page: no node is missing, and the page's own conversion gives the API twin."""
    shipped = read(f"{name}.json")
    opened.drop(ROOT / "workflows" / f"{name}.json")
    assert opened.missing_nodes() == []
    assert opened.prompt() == read(f"api/{name}.json")
    graph = opened.graph()
    assert {node["id"]: widgets(node) for node in graph["nodes"]} == {n["id"]: widgets(n) for n in shipped["nodes"]}
    assert graph["links"] == shipped["links"]


def widgets(node: dict) -> tuple:
    return node["type"], node.get("title"), node.get("widgets_values", [])


NOTE = """() => {
    const { element } = app.graph.nodes.find(node => node.type === "MarkdownNote").widgets[0];
    const lines = [...element.querySelectorAll("h1, h2")];
    const [first, last] = [lines[0], lines.at(-1)].map(line => line.getBoundingClientRect());
    return [lines.length, element.getBoundingClientRect().height, last.bottom - first.top];
}"""


def test_graph_reads_at_a_glance(opened, name):
    """As dropped, all titles are on the screen and written; nothing lies on anything, in no subgraph either."""
    opened.drop(ROOT / "workflows" / f"{name}.json")
    opened.page.wait_for_timeout(1500)  # pictures and players come
    assert opened.writes_text()
    assert opened.titles_outside() == []
    opened.page.screenshot(path=pictures() / f"{name} {'nodes 2.0' if opened.nodes2 else 'canvas'}.png")
    if not opened.nodes2:
        lines, box, text = opened.page.evaluate(NOTE)
        assert 4 <= lines <= 6  # with the heading
        assert 0.75 * box < text <= box
    assert opened.fit() >= 0.45
    assert_clear(opened)
    for title in opened.subgraphs():
        opened.enter(title)
        assert opened.writes_text(), title
        assert_clear(opened)
    opened.enter()


def assert_clear(page) -> None:
    assert page.overlaps() == []
    if not page.nodes2:
        assert page.crossed() == []
        assert page.ill_sized() == []


def pictures():
    folder = ROOT / "test-artifacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("opened", ["canvas"], indirect=True)
def test_wire_across_a_node_and_an_empty_body_are_noticed(opened):
    """What the test above relies on."""
    opened.drop(ROOT / "workflows" / "AniCrafter.json")
    move = """([left, down]) => {
        const [video, save] = ["Latent → video", "Save Video"].map(t => app.graph.nodes.find(n => n.title === t));
        save.pos = [video.pos[0] - left, video.pos[1] + down];
        save.size[1] = 400;
    }"""
    opened.page.evaluate(move, [800, 0])
    opened.fit()
    assert "Latent → video" in opened.crossed()
    assert [node["title"] for node in opened.ill_sized()] == ["Save Video"]
    opened.page.evaluate(move, [60, 20])
    assert ("Latent → video", "Save Video") in opened.overlaps()


@pytest.mark.parametrize("opened", ["canvas"], indirect=True)
def test_page_offers_the_stages_among_its_nodes(comfy, opened):
    offered = {entry["name"] for entry in comfy.get("/global_subgraphs").values()
               if entry["info"]["node_pack"] == "custom_nodes.crafters"}
    assert offered == {title.replace("→", "to") for title in BLUEPRINTS}
    for name in offered:
        opened.drop(ROOT / "subgraphs" / f"{name}.json")
        assert opened.missing_nodes() == [] and len(opened.subgraphs()) == 1
    assert offered <= set(opened.page.evaluate(OFFERED))


LABELS = """inputs => inputs.map(([id, name]) => {
    const { widgets } = app.rootGraph.getNodeById(id) ?? app.rootGraph.getNodeById(Number(id));
    const { label } = widgets.find(widget => widget.name === name);
    return label ?? name;
})"""
APPS = [name for name in NAMES if "linearData" in read(f"{name}.json")["extra"]]


@pytest.mark.parametrize("opened", ["canvas"], indirect=True)
@pytest.mark.parametrize("app", APPS)
def test_app_mode_asks_for_the_inputs_alone(opened, app):
    linear = read(f"{app}.json")["extra"]["linearData"]
    opened.drop(ROOT / "workflows" / f"{app}.json")
    # The page leaves out what it cannot find.
    assert opened.page.evaluate(APP) == [[widget for _, widget in linear["inputs"]], linear["outputs"]]
    labels = opened.page.evaluate(LABELS, linear["inputs"])
    assert len(set(labels)) == len(labels) and not {"image", "file"} & set(labels)
