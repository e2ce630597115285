"""`crafters prepare` before anything is made: the call, and clips that are none."""

import numpy as np
import pytest
from crafters.cli import main
from crafters.preprocessors.clip import read_clip, write_video
from crafters.training.prepare import Options, prepare
from crafters.training.prepared import CONDITIONS, Prepared


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
