"""The command line's own work: reading a workflow, --set, and telling a user what is wrong."""

import copy
import json
import subprocess
import sys
import textwrap

import pytest
from crafters.cli import main
from crafters.cli.run import apply_setting, make_fast
from crafters.host.comfyui import PACK
from crafters.host.prompt import UsageError, read_prompt
from crafters.models.anchorcrafter.schedule import FAST

PROMPT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}, "_meta": {"title": "Person v1.0"}},
    "2": {"class_type": "LoadImage", "inputs": {"image": "b.png"}},
    "3": {"class_type": "Resize", "inputs": {"image": ["1", 0], "width": 64, "sizes.first": 3, "text": "x"}},
    "4": {"class_type": "Note", "inputs": {}},
}


@pytest.fixture
def prompt():
    return copy.deepcopy(PROMPT)


@pytest.mark.parametrize(
    ("setting", "node", "key", "value"),
    [
        ("1.image=new=1.png", "1", "image", "new=1.png"),
        ("Person v1.0.image=c.png", "1", "image", "c.png"),
        ("Resize.width=128", "3", "width", 128),
        ("Resize.width=wide", "3", "width", "wide"),
        ("3.sizes.first=1.5", "3", "sizes.first", 1.5),
        ('3.image=["2", 0]', "3", "image", ["2", 0]),
        ("3.text=2024", "3", "text", "2024"),
        ('3.text="2024"', "3", "text", "2024"),
        ("3.text=", "3", "text", ""),
        ("3.text=NaN", "3", "text", "NaN"),
        ("3.width=true", "3", "width", True),
    ],
)
def test_set(prompt, setting, node, key, value):
    assert apply_setting(prompt, setting) == (node, key)
    assert prompt[node]["inputs"].pop(key) == value
    expected = copy.deepcopy(PROMPT)
    del expected[node]["inputs"][key]
    assert prompt == expected


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("nonsense", "NODE.INPUT=VALUE"),
        ("1.image", "NODE.INPUT=VALUE"),
        ("LoadImage.image=x", "could be node 1 or 2"),
        ("Nobody.image=x", "1 (Person v1.0), 2 (LoadImage), 3 (Resize), 4 (Note)"),
        ("3.height=4", "image, width, sizes.first, text"),
        ("4.text=x", "no inputs"),
        ("3.width=NaN", "--set 3.width is nan: give a finite number"),
        ("3.width=-Infinity", "--set 3.width is -inf"),
        ("3.width=1e999", "--set 3.width is inf"),
    ],
)
def test_a_wrong_set_names_what_exists(prompt, setting, told):
    with pytest.raises(UsageError) as error:
        apply_setting(prompt, setting)
    assert told in str(error.value)
    assert prompt == PROMPT


@pytest.mark.parametrize("workflow", ["AnchorCrafter", "MimicMotion baseline"])
def test_fast_sets_the_sampler_and_nothing_else(workflow):
    shipped, changed = (read_prompt(PACK / "workflows" / "api" / f"{workflow}.json") for _ in range(2))
    (sampler,) = (node_id for node_id, node in shipped.items() if node["class_type"] == "CraftersAnchorSampler")
    changed[sampler]["inputs"]["sigmas"] = ["1", 0]
    make_fast(changed)
    shipped[sampler]["inputs"] |= FAST
    assert changed == shipped


def test_fast_needs_a_sampler_of_ours(tmp_path, capsys):
    (tmp_path / "graph.json").write_text(json.dumps(PROMPT))
    assert main(["run", str(tmp_path / "graph.json"), "--fast"]) == 2
    assert capsys.readouterr().err == "error: --fast is a setting of Anchor Sampler, and the workflow has none.\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "not an API-format workflow"),
        ("{}", "not an API-format workflow"),
        ('{"1": {"class_type": "A"}}', "not an API-format workflow"),
        ('{"nodes": [], "links": []}', "Export (API)"),
        ('{"1": {"class_type": "A", "inputs": {"a": NaN}}}', "node 1.a is nan: give a finite number"),
        ("[" * 100_000, "nests too deep"),
    ],
)
def test_a_wrong_workflow_is_one_line_and_code_2(tmp_path, capsys, text, told):
    file = tmp_path / "graph.json"
    file.write_text(text)
    assert main(["run", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and told in err


def test_an_absent_workflow(capsys):
    assert main(["run", "nowhere.json"]) == 2
    assert "there is no workflow nowhere.json" in capsys.readouterr().err


def test_read_prompt(tmp_path):
    (tmp_path / "graph.json").write_text(json.dumps(PROMPT))
    assert read_prompt(tmp_path / "graph.json") == PROMPT


@pytest.mark.parametrize("line", ["", "fly", "run", "download", "run x.json --start --server u", "doctor --loud"])
def test_wrong_arguments(line, capsys):
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    assert "usage: crafters" in capsys.readouterr().err


def test_the_command_line_answers_without_torch():
    """It takes ten times as long to import."""
    told = """
        import sys
        from crafters.cli import main
        try:
            main(["run", "--help"])
        finally:
            print("torch" in sys.modules, "crafters.cli.run" in sys.modules, file=sys.stderr)
    """
    answer = subprocess.run([sys.executable, "-c", textwrap.dedent(told)], capture_output=True, text=True)
    assert answer.returncode == 0 and "usage: crafters run" in answer.stdout
    assert answer.stderr.split() == ["False", "True"]


def test_unknown_weights(capsys):
    assert main(["download", "svd", "sdxl"]) == 2
    err = capsys.readouterr().err
    assert "'sdxl'" in err and "dwpose" in err


@pytest.mark.parametrize("option", ["--cfg", "--shift"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "five"])
def test_numbers_of_the_command_line_are_finite(capsys, option, value):
    with pytest.raises(SystemExit):
        main(["animate", option, value])
    assert f"argument {option}: {value!r} is not a finite number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device", "a.mp4"), RuntimeError("[enforce fail at x] . file write failed")],
)
def test_a_full_disk_is_said(tmp_path, capsys, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr("crafters.cli.doctor.examine", full)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the disk is full (") and "free some space" in said
