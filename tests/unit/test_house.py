"""The rules of the house: which room may import which, and what the registry's package does without."""

import ast
import shutil
import subprocess
import sys

import house
import pytest

HOST = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "latent_preview", "nodes", "server"}


def tree(module):
    return list(ast.walk(ast.parse(house.modules()[module].read_text("utf-8"))))


@pytest.fixture(scope="module")
def arrows():
    return house.arrows()


def test_rooms_import_those_below_them(arrows):
    assert [house.told(arrow) for arrow in house.upward(arrows)] == []


def test_no_circle_of_folders(arrows):
    assert [house.told(arrow) for arrow in house.circles(arrows, house.folder)] == []


def test_no_circle_of_modules(arrows):
    assert [house.told(arrow) for arrow in house.circles(arrows)] == []


def test_a_broken_rule_is_found():
    found = [("models.checkpoint", "host.memory", 1), ("cli.run", "nodes.pose", 2), ("cli.run", "proof.demo", 3)]
    assert house.upward(found) == found[:2]
    assert house.circles([("a", "b", 1), ("b", "a", 2), ("b", "c", 3)]) == [("a", "b", 1), ("b", "a", 2)]
    folders = [("a.x", "b.x", 1), ("b.y", "a.y", 2)]
    assert house.circles(folders) == [] and house.circles(folders, house.room) == folders


@pytest.mark.parametrize("module", house.modules())
def test_what_a_module_may_import(module):
    """Inside functions too: ComfyUI in nodes/ and host/ only, the pack by relative imports, torchvision nowhere; and in
    nodes/ nothing to reckon with, since that stands in the rooms below, where it is tested without ComfyUI."""
    named = {alias.name for node in tree(module) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module for node in tree(module) if isinstance(node, ast.ImportFrom) and not node.level}
    host = set() if house.room(module) in ("nodes", "host") else HOST
    maths = {"torch", "numpy", "cv2", "PIL"} if house.room(module) == "nodes" else set()
    assert {name.split(".")[0] for name in named} & {"crafters", "torchvision", *host, *maths} == set()


def test_own_types_stand_together_and_are_explained():
    made = [(module, node.lineno) for module in house.modules() for node in tree(module)
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "io.Custom"]
    assert made and {module for module, _ in made} == {"nodes.types"}
    lines = house.modules()["nodes.types"].read_text("utf-8").splitlines()
    assert [lines[number - 1] for _, number in made if not lines[number - 2].startswith("# ")] == []


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The pack as ComfyUI's registry has it: without what .comfyignore names."""
    home = tmp_path_factory.mktemp("registry") / "crafters"
    ignored = (house.ROOT / ".comfyignore").read_text("utf-8").split()
    listed = ["git", "-C", house.ROOT, "ls-files", "-co", "--exclude-standard"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines():
        if not any(name == entry or entry.endswith("/") and name.startswith(entry) for entry in ignored):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(house.ROOT / name, home / name)
    return home


@pytest.mark.parametrize(
    "command", [["demo"], ["train", "yolox", "--config", "x.yaml", "--out", "x"]], ids=lambda command: command[0]
)
def test_the_registry_has_no_demo(package, command):
    code = f"""
import sys
sys.meta_path = [finder for finder in sys.meta_path if "Editable" not in str(finder)]  # of this very repository
sys.path.insert(0, {str(package.parent)!r})
import crafters.cli
sys.exit(crafters.cli.main({command!r}))
"""
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=package.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "https://" in done.stderr, done.stderr
    assert sum(file.stat().st_size for file in package.rglob("*") if file.is_file()) < 8e6
