"""Every writer, killed or out of room at any byte: what has its name is whole, and a sentence says what went wrong."""

import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from crafters.files.whole import if_possible, whole
from crafters.media.clip import write_video
from crafters.models.anicrafter.checkpoint import convert
from crafters.models.anicrafter.prompt import keep_prompts, save_prompts
from crafters.models.avatar.files import kept_avatar, load_avatar, save_avatar
from crafters.models.avatar.gaussians import Avatar
from crafters.models.body.motion import BodyMotion
from crafters.models.body.motion_files import read_motion, save_motion
from crafters.training.cache import Cache
from helpers.small_wan import anicrafter_shapes, random_state
from safetensors.torch import save_file

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def avatar():
    draw = torch.Generator().manual_seed(0)
    points, eye = torch.rand(300, 3, generator=draw), torch.eye(4).repeat(55, 1, 1)
    rotation = torch.tensor([1.0, 0, 0, 0]).expand(300, 4)
    return Avatar(points, points, points, points[:, :1], points, rotation, eye, torch.zeros(10))


def motion():
    many = torch.zeros(6, 55, 3, dtype=torch.float64)
    two = torch.full((6, 2), 50.0, dtype=torch.float64)
    return BodyMotion(
        many, many[:, 0] + 2, torch.zeros(6, 10, dtype=torch.float64), two, two, (100, 100), range(6), 15.0
    )


def converted(path):
    source = path.with_name("source.safetensors")
    if not source.exists():
        save_file(random_state(anicrafter_shapes(32, 1, 64, rank=2)), source)
    convert([source], path)


WRITERS = {
    "avatar.safetensors": lambda path: save_avatar(avatar(), path),
    "avatar.pth": lambda path: save_avatar(avatar(), path),
    "avatar.ply": lambda path: save_avatar(avatar(), path),
    "motion.npz": lambda path: save_motion(motion(), path),
    "motion": lambda path: save_motion(motion(), path),
    "prompt.safetensors": lambda path: save_prompts(path, *torch.ones(2, 1, 512, 64)),
    "converted.safetensors": converted,
    "film.mp4": lambda path: write_video(path, np.random.default_rng(0).integers(0, 255, (4, 64, 96, 3), np.uint8), 15),
    "cached.npz": lambda path: Cache(path.parent).get(path.stem, lambda: {"a": np.arange(9999) % 977}),
}


def child(work):
    """How a process that does `work` ends: with the signal that killed it, or a status."""
    process = os.fork()
    if not process:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def kill_beyond(limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    no_room_beyond(limit)


def no_room_beyond(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def size(path):
    return max(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


@pytest.fixture(scope="module", params=WRITERS)
def writer(request, tmp_path_factory):
    """A writer's name, what it does, and how many bytes it writes."""
    folder = tmp_path_factory.mktemp("whole")
    WRITERS[request.param](folder / request.param)
    return request.param, WRITERS[request.param], size(folder / request.param)


def left(folder):
    return sorted(path.name for path in folder.glob("[!.]*") if path.name != "source.safetensors")


@pytest.mark.parametrize("moment", [0.0, 0.5, 0.95, "named"])
def test_killed_at_any_moment(tmp_path, writer, moment):
    """Nothing is there after it, or what was there before; and the next one writes as if nothing had been."""
    name, write, whole_size = writer

    def work():
        if moment == "named":
            os.replace = die
        else:
            kill_beyond(int(whole_size * moment))
        write(tmp_path / name)

    converted(tmp_path / "of.safetensors")
    (tmp_path / "of.safetensors").unlink()
    assert child(work) in (-signal.SIGXFSZ, -signal.SIGKILL) and left(tmp_path) == []
    if name not in ("motion", "cached.npz"):  # which are never written over
        (tmp_path / name).write_bytes(b"before")
        assert child(work) < 0 and (tmp_path / name).read_bytes() == b"before"
    write(tmp_path / name)
    assert left(tmp_path) == [name] and size(tmp_path / name) == whole_size


def test_killed_amid_a_folder(tmp_path):
    """Half a motion would read as a shorter one."""

    def work():
        written = Path.write_text
        Path.write_text = lambda path, *a, **k: die() if path.stem == "00004" else written(path, *a, **k)
        save_motion(motion(), tmp_path / "motion")

    assert child(work) == -signal.SIGKILL and left(tmp_path) == []
    save_motion(motion(), tmp_path / "motion")
    assert len(read_motion(tmp_path / "motion")) == 6


def test_no_room_ends_in_a_sentence(tmp_path, writer):
    name, write, whole_size = writer
    converted(tmp_path / "of.safetensors")
    (tmp_path / "of.safetensors").unlink()

    def work():
        no_room_beyond(whole_size // 2)
        with pytest.raises(OSError, match=rf"{name} was not written: there is no room left for it in [^\n]*\.$"):
            write(tmp_path / name)
        assert not [path for path in tmp_path.iterdir() if path.name != "source.safetensors"]
        os._exit(7)

    assert child(work) == 7


def test_an_error_of_the_writer_is_its_own(tmp_path):
    with pytest.raises(KeyError), whole(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise KeyError
    with pytest.raises(FileNotFoundError, match="elsewhere"), whole(tmp_path / "a.txt"):
        (tmp_path / "elsewhere").read_text()
    assert not list(tmp_path.iterdir())


def closed(monkeypatch):
    """Nothing may be written, as on a read-only file system: permissions do not stop root."""

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr("crafters.files.whole.Path.mkdir", refuse)


def test_where_nothing_may_be_written(tmp_path, monkeypatch):
    closed(monkeypatch)
    with pytest.raises(OSError, match=r"a\.ply was not written: .* may not be written to\.$"):
        save_avatar(avatar(), tmp_path / "models" / "a.ply")


def test_work_goes_on_where_nothing_can_be_kept(tmp_path, monkeypatch, caplog):
    closed(monkeypatch)
    keep_prompts(tmp_path / "kept" / "p.safetensors", *torch.ones(2, 1, 512, 64))
    assert "The prompt will be encoded anew in the next session: " in caplog.text
    made = kept_avatar(tmp_path / "kept" / "a.safetensors", avatar)
    assert torch.equal(made.points, avatar().points)
    assert "The avatar will be made anew in the next session: " in caplog.text
    assert "may not be written to" in caplog.text


def test_what_can_be_kept_is_kept_quietly(tmp_path, caplog):
    path = tmp_path / "kept" / "a.safetensors"
    kept_avatar(path, avatar)
    assert torch.equal(kept_avatar(path, pytest.fail).points, load_avatar(path).points) and not caplog.text
    with pytest.raises(ValueError), if_possible("Not of errors that are none of the disk's"):
        raise ValueError
