"""What a graph of a stranger asks for, in ComfyUI's own checks and executor; run by `test_anicrafter_patch.py`."""

import asyncio
import json

import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import execution  # noqa: E402
import folder_paths  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from crafters.host import folders  # noqa: E402
from crafters.models.avatar.gaussians import Avatar  # noqa: E402
from crafters.models.body.motion import BodyMotion  # noqa: E402
from crafters.nodes import CraftersExtension  # noqa: E402
from trust.evil import EVIL  # noqa: E402

import nodes  # noqa: E402

PACK = {node.GET_SCHEMA().node_id: node for node in asyncio.run(CraftersExtension().get_node_list())}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where ComfyUI keeps things, with links that lead out; beside them what nobody may touch."""
    for name in ("output", "input", "temp", "models/crafters", "private"):
        (tmp_path / name).mkdir(parents=True)
        if name != "private":
            (tmp_path / name / "link").symlink_to(tmp_path / "private")
    for place in (tmp_path, tmp_path / "private"):
        (place / "x.safetensors").write_text("kept")
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    monkeypatch.delitem(folder_paths.folder_names_and_paths, folders.OWN, raising=False)
    folders.register()
    return tmp_path


class _Clip:
    def tokenize(self, text):
        return text

    def encode_from_tokens(self, tokens):
        return torch.ones(1, 8, 16)


def writers():
    n = 5
    parts = [torch.rand(n, width) for width in (3, 3, 3, 1, 3, 4)]
    avatar = Avatar(*parts, torch.eye(4).repeat(55, 1, 1), torch.zeros(10))
    motion = BodyMotion(
        *(torch.rand(1, *shape) + 0.1 for shape in ((55, 3), (3,), (10,), (2,), (2,))), (64, 64), (0,), 30.0
    )
    return {
        "prompt": lambda name: PACK["CraftersAniCrafterPrompt"].execute(f"{name}.safetensors", _Clip()),
        "avatar": lambda name: PACK["CraftersSaveAvatar"].execute(avatar, name, "pth"),
        "motion": lambda name: PACK["CraftersSaveMotion"].execute(motion, name, "json"),
        "keep, folder": lambda name: PACK["CraftersKeepConditions"].fingerprint_inputs(name, "clip"),
        "keep, clip": lambda name: PACK["CraftersKeepConditions"].fingerprint_inputs("crafters", name),
        "load": lambda name: PACK["CraftersLoadAniConditions"].fingerprint_inputs(f"{name}/clip"),
    }


@pytest.mark.parametrize("writer", writers())
def test_no_node_writes_outside_its_folder(home, writer):
    write = writers()[writer]
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    refused = 0
    for name in EVIL:
        try:
            write(name)
        except (ValueError, FileNotFoundError) as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 400
    assert refused > 30
    places = [home / "models" / "crafters", home / "output", home / "temp"]
    for path in (path for path in home.rglob("*") if path.is_file()):
        assert any(path.is_relative_to(place) for place in places) or path.read_bytes() == before.get(path), path


def graph(fps):
    load = {"motion": "walk", "fps": fps, "fill_gaps": True, "width": 640, "height": 480}
    save = {"motion": ["1", 0], "filename_prefix": "a", "format": "json"}
    return {"1": {"class_type": "CraftersLoadMotion", "inputs": load},
            "2": {"class_type": "CraftersSaveMotion", "inputs": save}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "nan"])
def test_numbers_that_are_none_are_refused_before_anything_runs(home, monkeypatch, value):
    (home / "input" / "walk").mkdir()
    (home / "input" / "walk" / "1.json").write_text("{}")
    for name in ("CraftersLoadMotion", "CraftersSaveMotion"):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, PACK[name])
    valid, _, good, _ = asyncio.run(execution.validate_prompt("id", graph(30.0), None))
    assert valid and good == ["2"]
    valid, _, _, errors = asyncio.run(execution.validate_prompt("id", graph(value), None))
    assert not valid and "fps" in str(errors["1"]["errors"])
    if value == "nan":
        value = float(value)
    with pytest.raises(ValueError, match=f"fps is {value}: it must be a finite number"):
        PACK["CraftersLoadMotion"].execute(motion="walk", fps=value)


def test_every_number_has_bounds_that_the_page_understands():
    kinds = [kind for node in PACK.values() for kind in node.INPUT_TYPES().values() if isinstance(kind, dict)]
    numbers = [options for kind in kinds for name, *rest in kind.values() if name == "FLOAT" for options in rest]
    assert len(numbers) > 20
    for options in numbers:
        least, most, usual = options["min"], options["max"], options["default"]
        assert float("nan") < least and float("nan") > most and not usual < least and not usual > most
        assert json.loads(json.dumps([least, most])) == [float(least), float(most)]
