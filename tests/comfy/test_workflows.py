"""The shipped workflows: both formats hold one graph, which fits the server's nodes and names no path of ours."""

import json
from dataclasses import asdict

import pytest
from build_workflows import Weights, build
from helpers.comfy_harness import ROOT
from workflow_graph import choices, input_options, input_specs, input_type

pytestmark = pytest.mark.comfy
NAMES = sorted(file.stem for file in (ROOT / "workflows").glob("*.json"))


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def read(path: str) -> dict:
    return json.loads((ROOT / "workflows" / path).read_text("utf-8"))


def test_files_are_those_the_script_writes(comfy):
    built = {graph.name: graph for graph in build(comfy.get("/object_info"))}
    assert sorted(built) == NAMES == sorted(file.stem for file in (ROOT / "workflows" / "api").glob("*.json"))
    for name, graph in built.items():
        assert graph.ui() == read(f"{name}.json"), "run scripts/build_workflows.py"
        assert graph.api() == read(f"api/{name}.json"), "run scripts/build_workflows.py"


def test_values_are_legal(comfy, name):
    """Every required input is given, numbers are in range, choices on offer; files need not be there."""
    files = {name for value in asdict(Weights()).values() for name in ([value] if isinstance(value, str) else value)}
    info = comfy.get("/object_info")
    for node in read(f"api/{name}.json").values():
        specs = {input_name: (kind, spec) for kind, input_name, spec in input_specs(info[node["class_type"]])}
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


def test_page_opens_the_graph_as_shipped(page, name):
    """Dropped on the page: no node is missing, and the page's own conversion gives the API twin."""
    shipped = read(f"{name}.json")
    page.drop(ROOT / "workflows" / f"{name}.json")
    assert page.missing_nodes() == []
    assert page.prompt() == read(f"api/{name}.json")
    opened = page.graph()
    assert {node["id"]: widgets(node) for node in opened["nodes"]} == {n["id"]: widgets(n) for n in shipped["nodes"]}
    assert opened["links"] == shipped["links"]
    assert page.overlaps() == []


def widgets(node: dict) -> tuple:
    return node["type"], node.get("title"), node["widgets_values"]
