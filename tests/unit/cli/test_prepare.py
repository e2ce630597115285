"""`crafters prepare` before anything is made: the call, and clips that are none."""

import numpy as np
import pytest
from crafters.cli import main
from crafters.media.clip import read_clip, write_video
from crafters.prepared.conditions import CONDITIONS
from crafters.prepared.folder import Prepared
from crafters.prepared.prepare import prepare
from crafters.prepared.stages import Options
from crafters.prepared.tools import Tool, Tools, find_tools
from crafters.preprocessors.pose.keypoints import Pose


def run(folder, clip):
    return dict(prepare(clip, "a_b", Prepared(folder), Options()))


def test_corrupt_clip(tmp_path, capsys):
    (tmp_path / "bad_clip.mp4").write_bytes(b"\0" * 3000)
    states = run(
        tmp_path / "out",
        tmp_path / "bad_clip.mp4",
    )
    assert list(states) == ["film"] and "cannot be read as a video" in states["film"]
    assert (
        main(["prepare", str(tmp_path / "bad_clip.mp4"), str(tmp_path / "no.mp4"), "--out", str(tmp_path / "o")]) == 1
    )
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "bad_clip: film: " in told[0] and "There is no video" in told[1]


def test_odd_sides_are_cut_to_what_wan_takes(tmp_path):
    clip = tmp_path / "clip.mp4"
    write_video(clip, np.full((2, 90, 70, 3), 128, np.uint8), 15.0)
    states = run(tmp_path / "out", clip)
    assert states["film"] == "made" and "crafters download dwpose" in states["keypoints"]
    assert read_clip(tmp_path / "out" / CONDITIONS["film"].of("a_b"))[0].shape == (2, 80, 64, 3)


def test_another_clip_is_not_given_what_was_made_by_hand(tmp_path):
    """Under the same name, and of the same size and length; nothing is made before the question."""
    for name, level in (("a", 40), ("b", 200)):
        write_video(tmp_path / f"{name}.mp4", np.full((2, 64, 64, 3), level, np.uint8), 15.0)
    assert run(tmp_path / "out", tmp_path / "a.mp4")["film"] == "made"
    mask = tmp_path / "out" / CONDITIONS["product_mask"].of("a_b")
    write_video(mask, np.zeros((2, 64, 64, 3), np.uint8), 15.0)
    film = (tmp_path / "out" / CONDITIONS["film"].of("a_b")).read_bytes()
    states = run(tmp_path / "out", tmp_path / "b.mp4")
    assert list(states) == ["product_mask"] and "made for another clip" in states["product_mask"]
    assert (tmp_path / "out" / CONDITIONS["film"].of("a_b")).read_bytes() == film
    assert run(tmp_path / "out", tmp_path / "a.mp4")["film"] == "kept"
    mask.unlink()
    assert run(tmp_path / "out", tmp_path / "b.mp4")["film"] == "made"


def test_a_network_is_told_by_its_content(tmp_path):
    """Another one under the same name, of the same size."""
    weights, clip = tmp_path / "net.onnx", tmp_path / "a.mp4"
    write_video(clip, np.full((2, 64, 64, 3), 40, np.uint8), 15.0)
    person = Pose(*(np.full((1, points, 3), 0.5) for points in (18, 68, 21, 21)))
    options = Options(tools=Tools(dwpose=Tool("net.onnx", lambda: lambda image: person, (weights,))))
    states = []
    for text in ("one", "one", "two"):
        weights.write_text(text)
        told = prepare(clip, "a_b", Prepared(tmp_path / "out"), options)
        states.append(next(state for what, state in told if what == "keypoints"))
    assert states == ["made", "kept", "made"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.mp4", "b.mp4", "--click", "1,2"], "belong to one clip"),
        (["a.mp4", "x/a.mp4"], "have one name"),
        (["a.mp4", "--product", "1", "2", "3", "4"], "up to three photos"),
        (["a.mp4", "--weights", "sam=nowhere"], "'nowhere' is not in"),
    ],
)
def test_mistakes_in_the_call(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CRAFTERS_MODELS", str(tmp_path))
    assert main(["prepare", *arguments, "--out", str(tmp_path / "out")]) in (1, 2)
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--click", "1"], ["--box", "1,2,x,4"], ["--weights", "sams=x"]])
def test_arguments_that_cannot_be_read(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["prepare", "a.mp4", "--out", "out", *arguments])
    assert end.value.code == 2 and arguments[1] in capsys.readouterr().err


def test_weights_that_are_there_are_found(tmp_path, monkeypatch):
    """By tool; one of which a part is missing is done without, and Anny is the body where there is no other."""
    monkeypatch.setenv("CRAFTERS_MODELS", str(tmp_path))
    (tmp_path / "crafters").mkdir()
    for name in ("yolox_l.onnx", "dw-ll.onnx", "hamer.ckpt"):
        (tmp_path / "crafters" / name).write_text("weights")
    tools = find_tools({"detector": "yolox_l.onnx", "pose": "dw-ll.onnx", "hamer": "hamer.ckpt"})
    assert tools.dwpose.name == "yolox_l.onnx, dw-ll.onnx" and len(tools.dwpose.told().split()) == 4
    assert tools.hamer is tools.sam is None and (tools.body.name, tools.body.paths) == ("Anny", ())
