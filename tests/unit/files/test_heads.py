import json
import os

import numpy as np
import torch
from crafters.files.heads import mentions, model_type
from safetensors.torch import save_file


def test_tensors_are_told_by_a_files_head(tmp_path):
    state = {"pose_net.conv.weight": torch.zeros(2, 2)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pth")
    for file in (tmp_path / "a.safetensors", tmp_path / "a.pth"):
        assert mentions(file, ["pose_net."]) and mentions(file, ["lora", "pose_net."])
        assert not mentions(file, ["blend_embedding."])


def test_what_cannot_be_seen_quickly_is_left_in(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "huge.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    (tmp_path / "short.pth").write_bytes(b"PK\x03\x04 no archive")
    for name in ("old.pth", "empty.safetensors", "huge.safetensors", "short.pth", "gone.pth"):
        assert mentions(tmp_path / name, ["pose_net."])


def test_no_damage_stops_a_list(tmp_path):
    random = np.random.default_rng(1)
    torch.save({"pose_net.conv.weight": torch.zeros(2, 2)}, tmp_path / "whole.pth")
    whole = np.fromfile(tmp_path / "whole.pth", np.uint8)
    for number in range(500):
        damaged = whole.copy()
        damaged[random.integers(0, len(whole), 40)] = random.integers(0, 256, 40)
        damaged[: int(random.integers(1, len(whole)))].tofile(tmp_path / f"{number}a.pth")
        damaged.tofile(tmp_path / f"{number}b.pth")
        for part in "ab":
            assert mentions(tmp_path / f"{number}{part}.pth", ["pose_net."]) in (True, False)


def test_a_file_that_was_replaced_is_looked_at_again(tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({"one": torch.zeros(1)}, file)
    assert not mentions(file, ["two"])
    save_file({"two": torch.zeros(1)}, file)
    os.utime(file, ns=(1, 1))
    assert mentions(file, ["two"])


def test_a_folder_says_its_type(tmp_path):
    assert model_type(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    assert model_type(tmp_path) == "dinov2"
    (tmp_path / "config.json").write_text("[]")
    assert model_type(tmp_path) is None
