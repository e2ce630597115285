"""The pack as ComfyUI meets it: it loads quietly, quickly and whole, and its schemas change only on purpose."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import get_comfyui
import pytest
from crafters.host.comfyui import FLOOR
from helpers.comfy_harness import ROOT, start_comfy
from house import ROOMS
from workflow_schema import CHOOSING, choices, input_options, input_specs, input_type

SCHEMAS = Path(__file__).with_name("schemas.json")
SOUGHT = [
    "openpose", "skeleton", "dwpose", "smplx", "smpl-x", "gaussian", "splat", "inpaint", "remove person", "mimicmotion",
    "segment", "sam2", "depth", "hand", "hamer", "mano", "avatar", "lhm", "wan", "product", "try-on", "presenter",
]
HOST = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "latent_preview", "nodes", "server"}


def sources(*rooms: str) -> list[Path]:
    return sorted(file for room in rooms for file in (ROOT / room).rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(("crafters", *(part for part in parts if part != "__init__")))


def defined_nodes() -> set[str]:
    """The node ids that stand in nodes/."""
    return {
        keyword.value.value
        for file in sources("nodes")
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "node_id" and isinstance(keyword.value, ast.Constant)
    }


def run_python(code: str) -> str:
    """What `code` prints in a fresh Python; not started in the pack, whose `nodes` would hide ComfyUI's."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def bare(comfy_dir, tmp_path_factory):
    """A server that nothing has run on, without models or inputs; the pack's folder has a hyphen and a dot."""
    with start_comfy(comfy_dir, tmp_path_factory.mktemp("bare") / "base", pack="comfyui-crafters.dev") as comfy:
        yield comfy


@pytest.mark.comfy
def test_pack_loads_quietly(bare):
    bare.pack_nodes()
    assert bare.complaints() == []


@pytest.mark.comfy
def test_every_node_is_served(comfy):
    assert defined_nodes(), "no node_id found in nodes/"
    assert set(comfy.pack_nodes()) == defined_nodes()


@pytest.mark.comfy
def test_every_input_and_node_is_explained(comfy):
    silent = [
        f"{name}.{input_name}"
        for name, info in comfy.pack_nodes().items()
        for _, input_name, spec in input_specs(info)
        if not input_options(spec).get("tooltip")
    ]
    silent += [name for name, info in comfy.pack_nodes().items() if not info["description"]]
    assert silent == []


@pytest.mark.comfy
def test_the_search_finds_nodes_by_the_words_of_users(comfy):
    """As the page searches: in the name, the title and the aliases."""
    nodes = comfy.pack_nodes().items()
    assert [name for name, info in nodes if not info["search_aliases"]] == []
    texts = {name: " ".join([name, info["display_name"], *info["search_aliases"]]).lower() for name, info in nodes}
    assert [word for word in SOUGHT if not any(word in text for text in texts.values())] == []


@pytest.mark.comfy
def test_what_is_folded_away_runs_as_it_stands(comfy):
    folded = {f"{name}.{key}": (kind, input_options(spec)) for name, info in comfy.pack_nodes().items()
              for kind, key, spec in input_specs(info) if input_options(spec).get("advanced")}
    assert folded and [key for key, (kind, options) in folded.items()
                       if kind != "optional" or "default" not in options] == []


@pytest.mark.comfy
def test_categories(comfy):
    strays = {name: info["category"] for name, info in comfy.pack_nodes().items()
              if not info["category"].startswith("Crafters")}
    assert strays == {}


@pytest.mark.comfy
def test_workflows_are_offered_as_templates(comfy):
    shipped = sorted(file.stem for file in (ROOT / "workflows").glob("*.json"))
    assert shipped and sorted(comfy.get("/workflow_templates")["crafters"]) == shipped


@pytest.mark.comfy
def test_help_pages_belong_to_nodes(comfy):
    pages = {file.stem for file in (ROOT / "web" / "docs").glob("*.md")}
    assert pages <= set(comfy.pack_nodes())


@pytest.mark.comfy
def test_pack_loads_from_a_folder_with_a_hyphen(bare):
    assert set(bare.pack_nodes()) == defined_nodes()
    assert "comfyui-crafters.dev" in bare.get("/workflow_templates")


@pytest.mark.comfy
def test_schemas_are_those_recorded(bare):
    """A changed input or output breaks saved workflows: record it on purpose, with UPDATE_SCHEMAS=1."""
    now = {name: schema(info) for name, info in sorted(bare.pack_nodes().items())}
    if os.environ.get("UPDATE_SCHEMAS"):
        SCHEMAS.write_text(json.dumps(now, indent=1) + "\n", "utf-8")
    assert now == json.loads(SCHEMAS.read_text("utf-8"))


def schema(info: dict) -> dict:
    """What a saved workflow relies on: the inputs in their order and the outputs."""
    kept = ("default", "min", "max", "step", "options", "control_after_generate")
    inputs = []
    for kind, name, spec in input_specs(info):
        told = input_options(spec) | ({"options": choices(spec)} if input_type(spec) == CHOOSING else {})
        options = {key: value for key, value in told.items() if key in kept and value not in (None, [])}
        inputs.append(f"{name}: {spec[0]}, {kind} {json.dumps(options)}")
    outputs = [f"{name}: {type_}" for name, type_ in zip(info["output_name"], info["output"], strict=True)]
    return {"inputs": inputs, "outputs": outputs}


def test_what_is_promised_is_what_is_tested():
    """That each schema uses only what this ComfyUI's own signatures know is seen by its loading there at all."""
    assert get_comfyui.VERSION == FLOOR
    assert f'requires-comfyui = ">={FLOOR}"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert f"ComfyUI {FLOOR} or newer" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.comfy
def test_inputs_and_outputs_of_a_node_have_different_ids(comfy_dir):
    alike = run_python(f"""
import asyncio, sys
sys.path.insert(0, {str(comfy_dir)!r})
import comfy.cli_args
comfy.cli_args.args.cpu = True
import crafters
extension = asyncio.run(crafters.comfy_entrypoint())
for schema in [node.GET_SCHEMA() for node in asyncio.run(extension.get_node_list())]:
    ids = [part.id for part in schema.inputs + schema.outputs]
    print(*(f"{{schema.node_id}}.{{id}}" for id in set(ids) if ids.count(id) > 1))
""")
    assert alike == ""


@pytest.mark.parametrize(("version", "told"), [("0.29.9", "0.29.9"), ("0.3.64", "0.3.64"), ("", "of unknown version")])
def test_an_older_comfyui_is_told_so_in_one_sentence(version, told):
    """Before any module of the nodes is imported: what the older one lacks must not be what fails."""
    answer = run_python(f"""
import asyncio, sys, types
sys.modules["comfyui_version"] = module = types.ModuleType("comfyui_version")
if {version!r}:
    module.__version__ = {version!r}
sys.modules["comfy_api"] = None  # not to be found
import crafters
try:
    asyncio.run(crafters.comfy_entrypoint())
except RuntimeError as error:
    print(error)
""")
    assert answer == f"This ComfyUI is {told}, Crafters needs {FLOOR} or newer: update ComfyUI."


@pytest.mark.slow
def test_everything_but_the_nodes_imports_without_comfyui_and_torchvision():
    modules = [module_name(file) for file in sources(*ROOMS) if file.relative_to(ROOT).parts[0] != "nodes"]
    run_python(f"""
import importlib, sys
sys.modules.update(dict.fromkeys({HOST | {"torchvision"}!r}))  # None there: not to be found
for module in {modules!r}:
    importlib.import_module(module)
""")


@pytest.mark.comfy
def test_import_is_quick_and_quiet(comfy_dir):
    """Loading the nodes adds under a second to a ComfyUI's start, wakes no GPU, and reaches for no network."""
    seconds = run_python(f"""
import asyncio, sys, time
sys.path.insert(0, {str(comfy_dir)!r})
import comfy.cli_args
comfy.cli_args.args.cpu = True
import torch, comfy.model_management, comfy.utils, comfy_api.latest, folder_paths
import crafters
loop = asyncio.new_event_loop()
def watch(event, args):
    assert event not in ("socket.connect", "socket.bind", "socket.getaddrinfo"), (event, args)
sys.addaudithook(watch)
torch.cuda._lazy_init = None  # calling it is a TypeError
start = time.process_time()
extension = loop.run_until_complete(crafters.comfy_entrypoint())
assert loop.run_until_complete(extension.get_node_list())
print(time.process_time() - start)
""")
    assert float(seconds) < 1
