"""Reading weight files: the good roads give the same tensors, the bad ones a sentence that names the file."""

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from crafters.models.checkpoint import CheckpointError, assign, read
from safetensors.torch import save_file
from torch import nn

MAPPINGS = Path("/proc/self/maps")


def state():
    return {"a.weight": torch.arange(12.0).view(3, 4), "a.bias": torch.arange(3.0)}


def written(path, how):
    if how == "safetensors":
        save_file(state(), path)
    elif how == "legacy":
        torch.save(state(), path, _use_new_zipfile_serialization=False)
    else:
        torch.save(state() if how == "flat" else {how: state(), "step": 3}, path)
    return path


@pytest.mark.parametrize("how", ["flat", "module", "state_dict", "legacy", "safetensors"])
def test_every_road_gives_the_same_tensors(tmp_path, how):
    # The content decides, not the name.
    tensors, header = read(written(tmp_path / "weights.ckpt", how))
    assert header == {}
    assert tensors.keys() == state().keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in state().items())


def test_safetensors_header_config(tmp_path):
    save_file(state(), tmp_path / "w.safetensors", {"config": '{"heads": [1, 2]}', "format": "pt"})
    assert read(tmp_path / "w.safetensors")[1] == {"heads": [1, 2]}


@pytest.mark.skipif(not MAPPINGS.exists(), reason="only Linux lists a process's mapped files")
@pytest.mark.parametrize("how", ["flat", "safetensors"])
def test_the_file_is_mapped(tmp_path, how):
    path = written(tmp_path / "w", how)
    assert str(path) not in MAPPINGS.read_text()
    tensors, _ = read(path)
    [(low, high)] = [
        (int(x, 16) for x in line.split()[0].split("-"))
        for line in MAPPINGS.read_text().splitlines()
        if line.endswith(str(path))
    ]
    assert all(low <= tensor.data_ptr() < high for tensor in tensors.values())


def refused(path):
    with pytest.raises(CheckpointError) as error:
        read(path)
    assert path.name in str(error.value) and str(error.value).endswith(".")
    return str(error.value)


def test_missing_file(tmp_path):
    assert "no file" in refused(tmp_path / "nothing.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    assert "is empty" in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    "text", ["<!doctype html><html>Sign in</html>", "version https://git-lfs.github.com/spec/v1\noid"]
)
def test_text_in_its_place(tmp_path, name, text):
    (tmp_path / name).write_text(text * 20)
    message = refused(tmp_path / name)
    assert "neither a safetensors nor a torch file" in message and "fetch it again" in message


@pytest.mark.parametrize("how", ["flat", "legacy", "safetensors"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_truncated_anywhere(tmp_path, how):
    whole = written(tmp_path / "whole", how).read_bytes()
    for length in range(1, len(whole), max(1, len(whole) // 60)):
        cut = tmp_path / f"cut{length}"
        cut.write_bytes(whole[:length])
        assert "fetch it again" in refused(cut)


@pytest.mark.parametrize("how", ["flat", "legacy", "safetensors"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_anywhere(tmp_path, how):
    whole = written(tmp_path / "whole", how).read_bytes()
    survived = 0
    for place in range(0, len(whole), max(1, len(whole) // 100)):
        damaged = tmp_path / f"damaged{place}"
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read(damaged)
            survived += 1
        except CheckpointError as error:
            assert damaged.name in str(error)
    assert survived < 100


class Code:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_pickled_code_is_not_run(tmp_path, how):
    path, target = tmp_path / "evil.pth", tmp_path / "it-ran"
    content = {"weight": torch.zeros(2), "code": Code(target)}
    if how == "pickle":
        path.write_bytes(pickle.dumps({"code": Code(target)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    message = refused(path)
    assert "would run code" in message and "safetensors.torch.save_file" in message
    assert not target.exists()
    if how == "pickle":
        subprocess.run([sys.executable, "-m", "pickle", path], check=True, capture_output=True)
    else:
        torch.load(path, weights_only=False)
    assert target.exists(), "the file was harmless: this test shows nothing"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(2)], "holds a list"),
        (torch.zeros(2), "holds a Tensor"),
        ({"weight": torch.zeros(2), "epoch": 3, "name": "x"}, "more than tensors (epoch, name)"),
        ({0: torch.zeros(2)}, "more than tensors (0)"),
        ({}, "no tensors"),
        ({"module": {}}, "no tensors"),
    ],
)
def test_a_torch_file_of_something_else(tmp_path, content, words):
    torch.save(content, tmp_path / "x.pth")
    assert words in refused(tmp_path / "x.pth")


@pytest.mark.parametrize(("config", "words"), [("{nope", "not JSON"), ("[1]", "not a JSON object")])
def test_broken_header_config(tmp_path, config, words):
    save_file(state(), tmp_path / "w.safetensors", {"config": config})
    assert words in refused(tmp_path / "w.safetensors")


def test_safetensors_without_tensors(tmp_path):
    save_file({}, tmp_path / "w.safetensors")
    assert "no tensors" in refused(tmp_path / "w.safetensors")


def test_torch_file_under_a_safetensors_name(tmp_path):
    assert "rename it to end in .pth" in refused(written(tmp_path / "w.safetensors", "flat"))


def test_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.pth", "w") as file:
        file.writestr("a.txt", "hello")
    assert "cannot be read" in refused(tmp_path / "photos.pth")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "folder.pth").mkdir()
    assert "no file" in refused(tmp_path / "folder.pth")


def module():
    with torch.device("meta"):
        return nn.ModuleDict({"a": nn.Linear(4, 3)})


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "diffusion_model.", "model.", "module._orig_mod.model."])
def test_wrappers_are_taken_off(tmp_path, prefix):
    wrapped = {prefix + name: tensor for name, tensor in state().items()}
    torch.save(wrapped, tmp_path / "w.pth")
    save_file(wrapped, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        assert read(tmp_path / name)[0].keys() == state().keys()


@pytest.mark.parametrize(
    ("names", "own"),
    [
        (["model.a", "head.a"], ["model.a", "head.a"]),  # a part of the network that is called so
        (["unet._orig_mod.a", "net.a"], ["unet.a", "net.a"]),  # a part that was compiled
        (["models.a"], ["models.a"]),
    ],
)
def test_names_of_ones_own_stay(tmp_path, names, own):
    save_file({name: torch.zeros(2) for name in names}, tmp_path / "w.safetensors")
    assert sorted(read(tmp_path / "w.safetensors")[0]) == sorted(own)


def test_weights_twice_in_a_file(tmp_path):
    save_file({"a.weight": torch.zeros(2), "_orig_mod.a.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    assert "holds a.weight twice" in refused(tmp_path / "w.safetensors")


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8])
def test_whole_numbers_are_no_weights(tmp_path, kind):
    save_file({**state(), "a.weight": torch.ones(3, 4, dtype=kind)}, tmp_path / "w.safetensors")
    assert "is quantised to" in refused(tmp_path / "w.safetensors")


def test_assign_shares_the_tensors():
    tensors, target = state(), module()
    assign(target, tensors, "x")
    assert target["a"].weight.data_ptr() == tensors["a.weight"].data_ptr()


def test_assign_names_all_faults_at_once():
    tensors = {"a.weight": torch.zeros(4, 3), **{f"more.{i}": torch.zeros(1) for i in range(6)}}
    with pytest.raises(CheckpointError) as error:
        assign(module(), tensors, "my.pth")
    assert str(error.value) == (
        "my.pth does not fit: of its tensors 1 missing (a.bias); 6 unknown (more.0, more.1, more.2, more.3 …); "
        "1 of another size (a.weight (4, 3) instead of (3, 4))."
    )
