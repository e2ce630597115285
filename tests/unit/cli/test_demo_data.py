import argparse
import hashlib

import numpy as np
import pytest
from crafters.cli import demo_data as cli
from crafters.media.clip import read_clip, write_video
from crafters.scenes.anchorcrafter_data import write_dataset
from crafters.scenes.scene import make_scene
from crafters.training.datasets import anchorcrafter as anchor_data
from crafters.training.datasets import anicrafter as anicrafter_data
from PIL import Image

pytestmark = pytest.mark.slow

SIZE, FRAMES = (96, 128), 3
NAMES = ["person000000_product000002.mp4", "person000000_product000003.mp4", "person000001_product000004.mp4"]


def write(folder, seeds=(2, 3, 4), system="anchorcrafter", split="test", **options):
    return write_dataset(folder, system, split, seeds, SIZE, FRAMES, **options)


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    steps = []
    assert write(folder, on_step=lambda *step: steps.append(step)) == 3
    assert steps == [(0, 3), (2, 3), (3, 3)]
    return folder


def test_the_trainer_finds_no_fault(folder):
    clips, faults = anchor_data.find_clips(folder, FRAMES, reference_frame=True)
    assert [clip.film.name for clip in clips] == NAMES and not faults


def test_conditions_agree_after_decoding(folder):
    for name in NAMES:
        depth, fps = read_clip(folder / "depth_cut" / name)
        hand, pose, film = (read_clip(folder / kind / name)[0] for kind in ("hand_cut", "video_pose", "video_cut"))
        assert fps == 15 and depth.shape == hand.shape == pose.shape == film.shape == (FRAMES, 128, 96, 3)
        product = (depth > 0).any(-1)
        assert 0.01 < product.float().mean() < 0.4 and (depth[product][:, 1] > 16).all()
        assert not ((hand > 0).any(-1) & product).any()


def test_lossless_and_nearly_lossless(tmp_path):
    scene = make_scene(7, "train", SIZE, 2)
    for name, clip in {"hand": scene.hand_mesh, "depth": scene.object_depth, "pose": scene.pose_frames}.items():
        write_video(tmp_path / f"{name}.mp4", clip, 15, "exact")
        assert np.array_equal(read_clip(tmp_path / f"{name}.mp4")[0].numpy(), clip)
    write_video(tmp_path / "film.mp4", scene.frames, 15, "fine")
    film = read_clip(tmp_path / "film.mp4")[0].numpy().astype(float)
    assert 10 * np.log10(255**2 / np.mean((film - scene.frames) ** 2)) > 42  # dB
    assert {path.name for path in tmp_path.iterdir()} == {"hand.mp4", "depth.mp4", "pose.mp4", "film.mp4"}


def test_photos_and_views(folder):
    for person in ("person000000", "person000001"):
        photo, pose = (
            np.array(Image.open(folder / kind / f"{person}_0.png")) for kind in ("people_cut", "people_pose")
        )
        assert photo.shape == pose.shape == (128, 96, 3) and pose.any()
    for product in range(2, 5):
        views = [np.array(Image.open(folder / f"masked_object_cut/product{product:06d}_{i}.png")) for i in range(3)]
        assert all(view.shape == (518, 518, 3) and not view[0, 0].any() and view[259].any() for view in views)


def test_what_is_there_is_kept_and_what_is_missing_is_made_again(folder):
    before = digests(folder)
    assert write(folder) == 0
    film = folder / "video_cut" / NAMES[1]
    film.unlink()  # as an interruption leaves it
    (folder / "depth_cut" / NAMES[1]).write_bytes(b"half")
    assert write(folder) == 1
    assert digests(folder) == before


def test_other_settings_are_refused(folder):
    with pytest.raises(ValueError, match=r"other settings \(split test\): use those, or another folder"):
        write(folder, split="train")


@pytest.mark.slow
def test_processes_do_not_change_a_clip(folder, tmp_path):
    assert write(tmp_path, jobs=2) == 3
    assert digests(tmp_path) == digests(folder)


def test_anicrafter(tmp_path):
    assert write_dataset(tmp_path, "anicrafter", "train", [5], (128, 96), 4) == 1
    assert write_dataset(tmp_path, "anicrafter", "train", [5], (128, 96), 4) == 0
    clips, faults = anicrafter_data.find_clips(tmp_path, 5)
    assert len(clips) == 1 and not faults


def command(*arguments):
    parser = argparse.ArgumentParser()
    cli.register(parser.add_subparsers())
    args = parser.parse_args(["demo-data", *map(str, arguments)])
    return args.command(args)


def test_command(tmp_path):
    assert (
        command("--out", tmp_path, "--count", 1, "--start", 9, "--split", "test", "--size", "96x128", "--frames", 2)
        == 0
    )
    assert [path.name for path in tmp_path.glob("video_cut/*")] == ["person000002_product000009.mp4"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--size", "97x128"], "97x128: both sides must be even"),
        (["--size", "wide"], "'wide' is not WIDTHxHEIGHT"),
        (["--frames", "0"], "'0' is not a whole number above 0"),
        (["--split", "all"], "invalid choice"),
    ],
)
def test_mistakes_in_the_call(arguments, reason, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command("--out", tmp_path, *arguments)
    assert reason in capsys.readouterr().err
