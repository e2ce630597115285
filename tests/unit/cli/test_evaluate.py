"""`crafters evaluate` over folders, and the node over batches."""

import argparse
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from crafters.cli.evaluate import find_pairs, register
from crafters.media.clip import write_video
from crafters.preprocessors.pose.keypoints import Pose
from helpers.comfy_harness import ROOT
from helpers.poses import standing, together

FRAMES, HEIGHT, WIDTH = 3, 48, 64


def write_clip(path, level, frames=FRAMES, size=(HEIGHT, WIDTH)):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [np.full((*size, 3), level, dtype=np.uint8)] * frames, 10)


def write_mask(path, left):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask[16:32, left : left + 16] = 255
    write_video(path, [mask] * FRAMES, 10)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The published layout: two clips with masks."""
    monkeypatch.setenv("CRAFTERS_MODELS", str(tmp_path / "models"))
    for clip, level, left in (("ann_tea", 100, 16), ("bob_cup", 200, 24)):
        write_clip(tmp_path / "gt" / f"{clip}.mp4", 100)
        write_clip(tmp_path / "results" / f"{clip}.mp4", level)
        write_mask(tmp_path / "gt" / "mask" / f"{clip}.mp4", 16)
        write_mask(tmp_path / "results" / "mask" / f"{clip}.mp4", left)
    return tmp_path


def run(folders, *more):
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    where = ("--results", str(folders / "results"), "--truth", str(folders / "gt"))
    args = parser.parse_args(["evaluate", *where, *more])
    return args.command(args)


def test_two_clips(folders, capsys):
    metrics = ("obj-iou-clean", "psnr", "hand-lmd", "fvd")
    assert run(folders, "--metrics", *metrics, "--out", str(folders / "report")) == 0
    table = capsys.readouterr().out
    assert table == (folders / "report" / "report.md").read_text("utf-8")
    assert "crafters download dwpose" in table and "i3d_pretrained_400.pt" not in table
    assert "FVD. The clip has 3 frames; the network sees 16 at once." in table
    numbers = json.loads((folders / "report" / "report.json").read_text("utf-8"))["metrics"]
    assert numbers["obj-iou-clean"]["clips"] == pytest.approx({"ann_tea": 1, "bob_cup": 1 / 3}, abs=0.02)
    assert numbers["psnr"]["clips"]["bob_cup"] == pytest.approx(20 * np.log10(2.55), abs=0.2)
    assert (folders / "report" / "report.csv").read_text("utf-8").startswith("clip,obj-iou-clean,psnr\nann_tea,")
    assert cv2.imread(str(folders / "report" / "report.png")).shape[1] == 1120


def test_clips_that_do_not_match_are_named_and_the_rest_is_measured(folders, capsys):
    write_clip(folders / "results" / "extra.mp4", 1)
    write_clip(folders / "gt" / "lost.mp4", 1)
    write_clip(folders / "results" / "bob_cup.mp4", 1, frames=FRAMES + 1)
    (folders / "results" / "mask" / "bob_cup.mp4").unlink()
    (folders / "gt" / "torn.mp4").write_bytes(b"no video")
    write_clip(folders / "results" / "torn.mp4", 1)
    assert run(folders, "--metrics", "obj-iou-clean") == 1
    table = capsys.readouterr().out
    assert "| Obj-IoU, clean | 1 |" in table
    assert "extra was not compared. There is a generated clip extra, but no true one of that name." in table
    assert "lost was not compared. There is a true clip lost, but no generated one of that name." in table
    assert "bob_cup was not compared. The true clip has 3 frames, but there are 4 generated frames" in table
    assert "torn was not compared." in table and "cannot be read as a video" in table


def test_folders_that_are_not_there(folders):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        run(folders, "--people", str(folders / "nobody"))
    with pytest.raises(FileNotFoundError, match="holds no video"):
        run(folders, "--truth", str(folders))


def test_masks_elsewhere(folders, capsys):
    (folders / "gt" / "mask").rename(folders / "elsewhere")
    assert run(folders, "--metrics", "obj-iou") == 1
    assert "That needs masks of the true clip." in capsys.readouterr().out
    assert run(folders, "--metrics", "obj-iou", "--truth-masks", str(folders / "elsewhere")) == 0


def test_poses_and_the_persons_photo(folders):
    """The largest person of each frame; the photo is called as the clip's person."""
    people = folders / "human"
    people.mkdir()
    for name, level in (("ann_0.jpg", 50), ("bob.png", 90)):
        cv2.imwrite(str(people / name), np.full((20, 10, 3), level, dtype=np.uint8))

    def detector(picture):
        assert picture.dtype == np.uint8
        return together(standing(size=0.3), standing(size=0.8)) if picture.mean() < 150 else Pose.empty()

    masks = folders / "results" / "mask", folders / "gt" / "mask"
    pairs = find_pairs(folders / "results", folders / "gt", *masks, people, detector)
    ann, bob = pairs["ann_tea"](), pairs["bob_cup"]()
    assert ann.person.mean() == pytest.approx(50, abs=1) and bob.person.mean() == 90
    assert [pose.people for pose in ann.truth_people] == [1] * FRAMES == [pose.people for pose in ann.result_people]
    assert np.allclose(ann.truth_people[0].body, standing(size=0.8).body)
    assert [pose.people for pose in bob.result_people] == [0] * FRAMES
    assert ann.person_people.people == 1


@pytest.mark.comfy
def test_the_node(comfy_dir, tmp_path):
    code = f"""
import sys
sys.path.insert(0, {str(comfy_dir)!r})
import comfy.cli_args
comfy.cli_args.args.cpu = True
import comfy.model_management, comfy.utils, folder_paths, torch
from crafters.host import folders
folders.register()
folder_paths.set_temp_directory({str(tmp_path)!r})
from crafters.nodes.evaluate import NODES
node, = NODES
node.GET_SCHEMA()
frames, masks = torch.rand(4, 32, 48, 3), torch.zeros(4, 32, 48)
masks[:, 8:24, 8:24] = 1
point = [24.0, 16.0, 1.0]
hands = {{f"hand_{{side}}_keypoints_2d": point * 21 for side in ("left", "right")}}
person = {{"pose_keypoints_2d": point * 18, **hands}}
poses = [{{"people": [person], "canvas_width": 48, "canvas_height": 32}}] * 4
out = node.execute(frames, frames, masks, masks, poses, poses, metrics="obj-iou, hand-lmd,psnr")
table, numbers, plot = out.args
assert "| Obj-IoU | 1 |" in table and "| Hand LMD | 0 |" in table and "SSIM" not in table, table
assert plot.shape[0] == 1 and 0 <= plot.min() and plot.max() <= 1
assert out.ui["text"] == (table,) and out.ui["images"]
try:
    node.execute(frames, frames[:3])
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "The true clip has 4 frames, but there are 3 generated frames" in done.stdout
