"""Example inputs: every file that a shipped graph names, and none of the user's touched."""

import json

import house
import pytest
from crafters.media.clip import read_clip
from crafters.models.avatar.files import load_avatar
from crafters.models.body.motion_files import read_motion
from crafters.scenes import examples

LOADED = {"LoadImage": "image", "LoadVideo": "file", "CraftersLoadAvatar": "avatar", "CraftersLoadMotion": "motion"}


@pytest.fixture
def small(monkeypatch):
    for name, value in (("UPRIGHT", (64, 112)), ("WIDE", (112, 64)), ("FRAMES", 2)):
        monkeypatch.setattr(examples, name, value)


def test_they_are_what_the_graphs_name():
    nodes = [node for file in (house.ROOT / "workflows" / "api").glob("*.json")
             for node in json.loads(file.read_text("utf-8")).values()]
    named = {node["inputs"][LOADED[node["class_type"]]] for node in nodes if node["class_type"] in LOADED}
    assert named == {*examples.PRESENTING, *examples.MOVING}


@pytest.mark.slow
def test_they_can_be_read_and_users_files_stay(small, tmp_path):
    mine = tmp_path / "person.png"
    mine.write_text("mine")
    written = examples.write_examples(tmp_path, seed=3)
    assert {"person.png", *written} == {*examples.PRESENTING, *examples.MOVING} == {f.name for f in tmp_path.iterdir()}
    assert mine.read_text() == "mine" and "person.png" not in written
    for clip in (name for name in written if name.endswith(".mp4")):
        size = (64, 112) if clip in ("background.mp4", "source.mp4") else (112, 64)
        assert tuple(read_clip(tmp_path / clip)[0].shape) == (2, *size, 3)
    assert len(read_motion(tmp_path / "motion.npz")) == 2 and len(load_avatar(tmp_path / "actor_gaussian.pth")) > 1000
    assert examples.write_examples(tmp_path, seed=3) == []
