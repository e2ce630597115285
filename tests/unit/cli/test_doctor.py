"""`crafters doctor`."""

import json
import re
import sys
from pathlib import Path

import pytest
from crafters.cli import doctor, main
from crafters.host.weights import CATALOGUE, RESTRICTIONS, describe_size, named, needed_by, providing, restricted

GRAPH = {
    "1": {"class_type": "ImageOnlyCheckpointLoader", "inputs": {"ckpt_name": "svd_xt_1_1.safetensors"}},
    "2": {"class_type": "CraftersLoadDINOv2", "inputs": {"name": "dinov2-large"}},
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["1", 0], "note": ""}},
}


@pytest.fixture
def report(tmp_path, monkeypatch, capsys):
    api = tmp_path / "pack" / "workflows" / "api"
    api.mkdir(parents=True)
    (api / "Small.json").write_text(json.dumps(GRAPH))
    monkeypatch.setattr(doctor, "PACK", tmp_path / "pack")

    def report():
        code = main(["doctor", "--models", str(tmp_path / "models")])
        return code, [line.strip() for line in capsys.readouterr().out.splitlines()]

    return report


def test_versions_and_device(report):
    code, lines = report()
    assert code == 0
    for package in ("python", "torch", "diffusers", "transformers", "onnxruntime", "cv2", "ComfyUI"):
        assert any(line.startswith(package) for line in lines), package
    assert any("providers: " in line and "CPUExecutionProvider" in line for line in lines)
    assert not any("BROKEN" in line for line in lines)


def test_every_requirement_is_looked_at():
    text = (Path(doctor.__file__).parents[1] / "requirements.txt").read_text()
    named = {re.split(r"[>=<]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}
    imported = {"opencv-python": "cv2", "pillow": "PIL", "pyyaml": "yaml"}
    assert {imported.get(name, name) for name in named} | {"torch"} == set(doctor._NEEDED)


def test_missing_then_found(report, tmp_path):
    _, lines = report()
    assert any(line.startswith("svd: missing") and "4.8 GB, gated" in line for line in lines)
    assert "Small: needs crafters download svd dinov2-large" in lines

    for weights in (named("svd"), named("dinov2-large")):
        for file in weights.files:
            path = tmp_path / "models" / file.kind / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    _, lines = report()
    assert f"svd: {tmp_path / 'models' / 'checkpoints' / 'svd_xt_1_1.safetensors'}" in lines
    assert "Small: ready" in lines

    (tmp_path / "models" / "clip_vision" / "dinov2-large" / "config.json").unlink()
    _, lines = report()
    assert "Small: needs crafters download dinov2-large" in lines


def test_what_only_the_user_may_fetch(report, tmp_path):
    api = tmp_path / "pack" / "workflows" / "api"
    body = {"class_type": "CraftersLoadBodyModel", "inputs": {"body": "smplx/SMPLX_NEUTRAL.npz"}}
    (api / "Moving.json").write_text(json.dumps({**GRAPH, "4": body}))
    _, lines = report()
    (line,) = (line for line in lines if line.startswith("smplx: missing"))
    folder = tmp_path / "models" / "crafters" / "smplx"
    assert line.endswith(f"register at https://smpl-x.is.tue.mpg.de and put SMPLX_NEUTRAL.npz into {folder}")
    assert "Moving: needs crafters download svd dinov2-large and smplx by hand" in lines
    folder.mkdir(parents=True)
    (folder / "SMPLX_NEUTRAL.npz").touch()
    _, lines = report()
    assert f"smplx: {folder / 'SMPLX_NEUTRAL.npz'}" in lines
    assert "Moving: needs crafters download svd dinov2-large" in lines


def test_a_broken_package_is_code_1(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "smplx", None)
    monkeypatch.delitem(sys.modules, "smplx.vertex_ids", raising=False)
    code, lines = report()
    assert code == 1
    assert any(line.startswith("smplx: BROKEN: ") for line in lines)


def test_onnxruntime_may_be_missing(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, lines = report()
    assert code == 0
    assert any(line.startswith("onnxruntime: not installed, DWPose runs on OpenCV") for line in lines)


def test_an_older_comfyui_is_code_1(report, tmp_path, monkeypatch):
    (tmp_path / "comfy").mkdir()
    for name, text in {"comfy/cli_args.py": "", "main.py": "", "comfyui_version.py": '__version__ = "0.3.64"'}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("COMFYUI_DIR", str(tmp_path))
    code, lines = report()
    assert code == 1
    told = "This ComfyUI is 0.3.64, Crafters needs 0.30.0 or newer: update ComfyUI."
    assert f"ComfyUI: 0.3.64 in {tmp_path}: {told}" in lines


def test_the_catalogue_answers_by_file_and_folder():
    assert providing("dw-ll_ucoco_384.onnx") is named("dwpose")
    assert providing("dinov2-large") is named("dinov2-large")
    assert providing("") is None and providing("other.onnx") is None
    assert [weights.name for weights in needed_by(GRAPH)] == ["svd", "dinov2-large"]


def test_of_sets_that_share_a_file_the_one_is_needed_that_the_graph_uses_whole():
    vae, clip = "wan_2.1_vae.safetensors", "clip_vision_h.safetensors"
    for names, needed in (
        (("wan2.2_animate_14B_bf16.safetensors", vae, clip), ["wan-animate"]),
        (("wan2.1_i2v_720p_14B_fp16.safetensors", vae, clip), ["wan-i2v"]),
        (("wan2.1_vace_14B_fp16.safetensors", vae), ["vace"]),
        ((vae,), ["wan-i2v"]),
        (("wan2.1_14B_SCAIL_2_fp16.safetensors",), ["scail-2"]),
    ):
        prompt = {str(number): {"class_type": "Any", "inputs": {"name": name}} for number, name in enumerate(names)}
        assert [weights.name for weights in needed_by(prompt)] == needed


def test_the_catalogue_is_sound():
    assert len({weights.name for weights in CATALOGUE}) == len(CATALOGUE)
    files = {file for weights in CATALOGUE for file in weights.files}  # sets may share one
    assert len({(file.kind, file.name) for file in files}) == len(files)
    assert all(file.size > 0 and not file.name.startswith("/") for weights in CATALOGUE for file in weights.files)


@pytest.mark.parametrize(("size", "text"), [(6.47e9, "6.5 GB"), (134e6, "134 MB"), (549, "549 bytes"), (12e9, "12 GB")])
def test_sizes(size, text):
    assert describe_size(size) == text


def test_commercial_says_what_a_workflow_may_not_be_used_for(capsys):
    assert main(["doctor", "--commercial"]) == 0
    told = dict(re.findall(r"^(\S[^\n]*?):(.*?)(?=^\S|\Z)", capsys.readouterr().out, re.DOTALL | re.MULTILINE))
    assert "SMPL-X (non-commercial research): Anny" in told["AniCrafter"] and "MimicMotion" not in told["AnchorCrafter"]
    assert "Stability AI Community" in told["MimicMotion baseline"]


def test_restrictions_follow_the_nodes_and_their_choices():
    def parts(node, **inputs):
        return [one.part for one in restricted({"1": {"class_type": node, "inputs": inputs}})]

    assert parts("CraftersLoadBodyModel", body="Anny") == [] and parts("CraftersLoadDWPose", pose="a.onnx") == []
    assert parts("CraftersLoadBodyModel", body="smplx/SMPLX_NEUTRAL.npz") == ["SMPL-X"]
    assert parts("CraftersLoadLHM", lhm="LHM-1B.safetensors", sapiens="s.safetensors") == ["LHM", "Sapiens"]
    assert parts("CraftersRigAvatar", lhm="none", constraint="none") == []
    assert parts("CraftersRigAvatar", lhm="LHM-1B.safetensors", constraint="none") == ["LHM"]


def test_every_restricted_node_exists():
    ours = {node for one in RESTRICTIONS for node in one.nodes if node.startswith("Crafters")}
    sources = "".join(file.read_text(encoding="utf-8") for file in (doctor.PACK / "nodes").glob("*.py"))
    assert ours and all(f'node_id="{node}"' in sources for node in ours)
