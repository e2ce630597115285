"""What the avatar's nodes decide and say, in ComfyUI's process; run by `test_anicrafter_patch.py`."""

import json
from dataclasses import replace

import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import folder_paths  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from crafters.models.avatar.files import save_avatar  # noqa: E402
from crafters.models.body.anny import anny_body  # noqa: E402
from crafters.models.body.motion_files import save_motion  # noqa: E402
from crafters.nodes.anicrafter import CraftersComposeScene  # noqa: E402
from crafters.nodes.avatar import (  # noqa: E402
    CraftersEditMotion,
    CraftersLoadAvatar,
    CraftersLoadMotion,
    CraftersRenderAvatar,
    CraftersRenderBodyMesh,
    CraftersRigAvatar,
)
from helpers.made_up import performers_avatar, waving  # noqa: E402

WIDTH, HEIGHT = 64, 48


def run(node, **inputs):
    return node.execute(**inputs).args


@pytest.fixture(scope="module")
def body():
    return anny_body()


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path))
    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    return tmp_path


def present(clip):
    return [bool(frame.any()) for frame in clip]


def test_who_comes_late_and_goes_early_does_so_in_the_scene(given, body, caplog):
    save_avatar(performers_avatar(500), given / "a.pth")
    save_motion(replace(waving(4, WIDTH, HEIGHT), frames=(2, 3, 4, 5)), given / "late")
    motion, report = run(CraftersLoadMotion, motion="late", fps=15.0)
    assert "3 to 6" in report and "begins at frame 3 of the film" in caplog.text
    (avatar,) = run(CraftersLoadAvatar, avatar="a.pth")
    (rig,) = run(CraftersRigAvatar, avatar=avatar, body=body)
    image, alpha, _ = run(CraftersRenderAvatar, avatar=avatar, rig=rig, motion=motion, width=WIDTH, height=HEIGHT)
    mesh, mask = run(CraftersRenderBodyMesh, body=body, motion=motion, width=WIDTH, height=HEIGHT)
    background = torch.full((8, HEIGHT, WIDTH, 3), 0.5)
    scene, blend, _ = run(
        CraftersComposeScene, avatar=image, alpha=alpha, background=background, character=torch.ones(1, 64, 48, 3),
        mesh=mesh, mesh_mask=mask,
    )
    there = [False, False, True, True, True, True, False, False]
    assert present(scene.mesh[1:]) == present(1 - scene.free[1:]) == there
    assert present((blend - background).abs() > 0.05) == there
    assert "The motion ends at frame 6 of 8" in caplog.text
    (cut,) = run(CraftersLoadMotion, motion="late", fps=15.0, first_frame=2)[:1]
    assert cut.frames == (0, 1, 2, 3)
    assert run(CraftersEditMotion, motion=motion, frames=8)[0].frames == (2, 3, 4, 5, 6, 7)
    assert run(CraftersEditMotion, motion=motion, fps=30.0)[0].frames == tuple(range(4, 12))


def test_the_films_rate(given, caplog):
    count = 240
    poses = np.zeros((count, 165))
    poses[:, 0] = np.pi / 2
    np.savez(given / "walk.npz", poses=poses, trans=np.zeros((count, 3)), betas=np.ones(16), gender="male",
             mocap_frame_rate=120.0)
    kept = run(CraftersLoadMotion, motion="walk.npz", fps=30.0)[0]
    assert len(kept) == 240 and kept.fps == 120
    assert "walk.npz has 120 frames a second of its own, not 30: connect the film's" in caplog.text
    assert "male SMPL-X" in caplog.text
    film = run(CraftersLoadMotion, motion="walk.npz", fps=30.0, film_fps=25.0)[0]
    assert len(film) == 50 and film.fps == 25


def test_gaps(given, caplog):
    save_motion(waving(80, WIDTH, HEIGHT, 30.0), given / "gappy")
    for number in (*range(5, 10), *range(20, 60)):
        (given / "gappy" / f"{number:05d}.json").unlink()
    whole = run(CraftersLoadMotion, motion="gappy", fps=30.0)[0]
    assert whole.frames == (*range(19), *range(59, 80))
    assert "filled in between their neighbours: 5." in caplog.text and "away for 40 frames" in caplog.text
    frame = given / "gappy" / "00070.json"
    frame.write_text(json.dumps({**json.loads(frame.read_text()), "trans": [0, 0, 0.1]}))
    motion = run(CraftersLoadMotion, motion="gappy", fps=30.0)[0]
    with pytest.raises(ValueError, match="around the camera in 1 of 40 frames, the first being frame 70"):
        run(CraftersRenderBodyMesh, body=anny_body(), motion=motion, width=WIDTH, height=HEIGHT)
    with pytest.raises(ValueError, match="gappy has gaps"):
        run(CraftersLoadMotion, motion="gappy", fps=30.0, fill_gaps=False)


def test_plain_splats_are_moved_when_their_pose_is_said(given, body):
    own = performers_avatar(500)
    save_avatar(own, given / "own.pth")
    save_avatar(replace(own, neutral_transforms=torch.zeros(55, 4, 4)), given / "plain.ply")
    size, motion = {"width": WIDTH, "height": HEIGHT}, waving(2, WIDTH, HEIGHT)
    shown = []
    for name, pose in (("own.pth", "as stored"), ("plain.ply", "neutral")):
        (avatar,) = run(CraftersLoadAvatar, avatar=name)
        (rig,) = run(CraftersRigAvatar, avatar=avatar, body=body, pose=pose)
        shown.append(run(CraftersRenderAvatar, avatar=avatar, rig=rig, motion=motion, **size)[0])
    assert (shown[0] - shown[1]).abs().mean() < 1e-3 < shown[0].mean()
    with pytest.raises(ValueError, match="does not say in which pose it stands"):
        run(CraftersRigAvatar, avatar=avatar, body=body)
