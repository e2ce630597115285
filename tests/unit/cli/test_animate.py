"""`crafters animate`: files to a video, alone and as two processes."""

import argparse
import shutil
import subprocess
import sys
from dataclasses import replace

import av
import numpy as np
import pytest
from crafters.cli.animate import _scene, register
from crafters.models.anicrafter import steady
from crafters.models.body.motion_files import save_motion
from crafters.proof.demo import SMALL, WEIGHTS
from helpers.made_up import waving, write_moving
from helpers.smplx_file import write_smplx
from PIL import Image

FRAMES = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Inputs by their option; the demo's networks, which the command finds by name."""
    folder = tmp_path_factory.mktemp("animate")
    paths = write_moving(folder, FRAMES)
    return {
        "--avatar": paths["Load Avatar"],
        "--motion": paths["Load Motion"],
        "--background": paths["Background Video"],
        "--character": paths["Character Photo"],
        "--body": write_smplx(folder),
        "--anicrafter": SMALL["CraftersLoadAniCrafter"]["weights"],
        "--wan": SMALL["UNETLoader"]["unet_name"],
        "--vae": "wan_small_vae.safetensors",
        "--clip-vision": "wan_small_clip.pth",
        "--prompt": SMALL["CraftersAniCrafterPrompt"]["file"],
        "--size": "160x96",
        "--steps": 2,
    }


@pytest.fixture
def arguments(made, monkeypatch):
    monkeypatch.setenv("CRAFTERS_MODELS", str(WEIGHTS))

    def arguments(out, **changed):
        chosen = {**made, **{f"--{name.replace('_', '-')}": value for name, value in changed.items()}, "--out": out}
        return ["animate", *(str(x) for pair in chosen.items() for x in pair)]

    return arguments


def animate(arguments):
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    args = parser.parse_args(arguments)
    return args.command(args)


def frames_of(path):
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return np.stack(frames).astype(int), float(container.streams.video[0].average_rate)


@pytest.mark.slow
def test_two_processes_make_the_video_of_one(arguments, tmp_path, capsys):
    assert animate(arguments(tmp_path / "one.mp4")) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "one.mp4")]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    start = tmp_path / "start.py"  # diffusers numbers the accelerators without asking whether there are any
    start.write_text(
        "import sys, torch\n"
        "torch.accelerator.device_count = lambda count=torch.accelerator.device_count(): max(1, count)\n"
        "from crafters.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [*torchrun, start, *arguments("two.mp4")], capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert done.stdout.split() == ["two.mp4"]
    (one, rate), (two, _) = (frames_of(tmp_path / name) for name in ("one.mp4", "two.mp4"))
    assert one.shape == (FRAMES, 96, 160, 3) and rate == 15
    assert animate(arguments(tmp_path / "other.mp4", seed=1)) == 0
    other, _ = frames_of(tmp_path / "other.mp4")
    assert np.abs(one - other).mean() > 2
    assert np.abs(one - two).mean() < 0.05 and np.abs(one - two).max() <= 4


@pytest.mark.slow
def test_several_windows_are_held_to_the_scene(arguments, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(steady, "steadied", lambda video, scene: asked.append((len(video), len(scene.free))) or video)
    assert animate(arguments(tmp_path / "one.mp4", steps=1, cfg=1)) == 0
    assert not asked
    assert animate(arguments(tmp_path / "several.mp4", steps=1, cfg=1, window=5, overlap=0)) == 0
    assert asked == [(FRAMES, 9)]  # padded to 8, behind the still


def faulty(tmp_path, made):
    """What is wrong, and what the command says of it."""
    text = tmp_path / "text.png"
    text.write_text("no picture")
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (32, 32)).save(clear)
    long = tmp_path / "long.png"
    Image.new("L", (16385, 1)).save(long)
    gappy = tmp_path / "motion.npz"
    shutil.copy(made["--motion"], gappy)
    yield {"avatar": "absent.pth"}, "There is no file absent.pth"
    yield {"character": "absent.png"}, "There is no file absent.png"
    yield {"character": text}, "is not a picture"
    yield {"character": long}, "long.png is too large"
    yield {"character": clear}, "mask of the character's photo is empty"
    yield {"wan": "absent.safetensors"}, "'absent.safetensors' is not in"
    yield {"prompt": made["--motion"]}, "motion.npz"
    yield {"frames": 20}, "The motion has 20 frames, the background 6"
    yield {"size": "96x160"}, "The background is 160×96"
    yield {"constraint": made["--motion"]}, "is not LHM's human_prior_constrain.npz"
    yield {"motion": tmp_path / "none"}, "neither a folder"
    yield {"overlap": 96, "window": 5, "steps": 0}, "steps is 0"


@pytest.mark.slow
def test_mistakes_get_a_sentence(arguments, made, tmp_path, capsys):
    for changed, sentence in faulty(tmp_path, made):
        assert animate(arguments(tmp_path / "never.mp4", **changed)) == 2, changed
        said = capsys.readouterr().err.strip().splitlines()
        assert sentence in said[-1] and said[-1].startswith("error: "), said
    assert not (tmp_path / "never.mp4").exists()


@pytest.fixture
def present(arguments, tmp_path):
    """A function from a motion and options to the film's number of frames and to those that show its person."""

    def present(motion, skip=0, **options):
        path = tmp_path / "motion.npz"
        save_motion(motion, path)
        parser = argparse.ArgumentParser()
        register(parser.add_subparsers())
        args = parser.parse_args(arguments("never.mp4", motion=path, **options))
        scene, frames, fps = _scene(args, True, skip)
        assert fps == 15
        shown, taken = ((clip > 0.3).flatten(1).any(1) for clip in (scene.mesh[1:], 1 - scene.free[1:]))
        assert shown.equal(taken)
        return frames, shown[:frames].nonzero()[:, 0].tolist()

    return present


def test_the_person_comes_and_goes_when_the_motion_does(present, caplog):
    assert present(replace(waving(8, 160, 96), frames=tuple(range(8, 16)), fps=60.0)) == (FRAMES, [2, 3])
    assert "The motion has 60 frames a second, the film 15: it was retimed" in caplog.text
    assert "The motion goes from frame 3 to 4 of the film's 6" in caplog.text
    with pytest.raises(ValueError, match="The motion has 7 frames, the background 6"):
        present(waving(FRAMES + 1, 160, 96))


@pytest.mark.slow
def test_the_motion_can_be_repeated_and_begun_later(present, caplog):
    late = replace(waving(2, 160, 96), frames=(2, 3))
    assert present(late, skip=1) == (FRAMES, [1, 2])
    assert present(late, frames=5) == (5, [2, 3, 4])
    assert "The motion ends at frame 4: it goes back and forth from there on" in caplog.text
    assert present(replace(waving(2, 160, 96), fps=7.5)) == (FRAMES, [0, 1, 2, 3])
    caplog.clear()
    assert present(waving(FRAMES, 160, 96)) == (FRAMES, [*range(FRAMES)]) and "The motion" not in caplog.text


def test_a_size_must_fit_the_grid(arguments, capsys):
    with pytest.raises(SystemExit):
        animate(arguments("never.mp4", size="100x96"))
    assert "multiples of 16" in capsys.readouterr().err
