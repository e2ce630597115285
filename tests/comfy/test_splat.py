"""Avatars go into ComfyUI's own splat nodes, and come back from them."""

import math

import pytest
import torch
from crafters.cli.client import ComfyError
from crafters.models.avatar.files import load_avatar, save_avatar
from crafters.models.avatar.render import render_avatar
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from crafters.models.body.motion_files import save_motion
from helpers.made_up import performers_avatar, waving

pytestmark = pytest.mark.comfy
WIDTH, HEIGHT = 160, 96


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


@pytest.fixture(scope="module")
def graph(comfy):
    """Loaded avatar, body, rig and motion."""
    folder = comfy.base / "input" / "splat"
    folder.mkdir()
    save_avatar(performers_avatar(4000), folder / "avatar.pth")
    save_motion(waving(3, WIDTH, HEIGHT), folder / "motion.npz")
    return {
        "avatar": node("CraftersLoadAvatar", avatar="splat/avatar.pth"),
        "body": node("CraftersLoadBodyModel", body="Anny"),
        "rig": node("CraftersRigAvatar", avatar=["avatar", 0], body=["body", 0]),
        "motion": node("CraftersLoadMotion", motion="splat/motion.npz", fps=15.0, width=WIDTH, height=HEIGHT),
    }


def test_one_frame_looks_the_same_in_cores_renderer(comfy, graph):
    moved = node("CraftersAvatarToSplat", avatar=["avatar", 0], rig=["rig", 0], motion=["motion", 0], frame=2)
    motion = waving(3, WIDTH, HEIGHT)
    fov = math.degrees(2 * math.atan(HEIGHT / 2 / float(motion.focal[1, 0])))
    eye = {"mode": "look_at", "mode.position_x": 0.0, "mode.position_y": 0.0, "mode.position_z": 0.0}
    ahead = {"target_x": 0.0, "target_y": 0.0, "target_z": -3.0, "roll": 0.0, "fov": fov, "zoom": 1.0}
    prompt = graph | {
        "splat": moved,
        "camera": node("CreateCameraInfo", **eye, **ahead, camera_type="perspective"),
        "drawn": node(
            "RenderSplat", splat=["splat", 0], camera_info=["camera", 0], width=WIDTH, height=HEIGHT, frames=1,
            splat_scale=1.0, sharpen=1.0, headlight_shading=0.0, opacity_threshold=0.0, render_style="color",
            background="#000000",
        ),
        "clip": node("CreateVideo", images=["drawn", 0], fps=15.0),
        "save": node("SaveVideo", video=["clip", 0], filename_prefix="splat", format="mp4", codec="h264"),
    }
    shown = torch.from_numpy(comfy.video(comfy.run(prompt))[0]) / 255
    avatar = performers_avatar(4000)
    rig = rig_from_body(anny_body(), avatar.points, avatar.neutral_transforms)
    own = render_avatar(avatar, rig, motion, WIDTH, HEIGHT)
    core, wanted = shown.amax(-1) > 0.15, own.image[1].amax(-1) > 0.15
    assert (core & wanted).sum() / (core | wanted).sum() > 0.85
    assert (shown - own.image[1])[core & wanted].abs().mean() < 0.08


def test_a_splat_from_a_file_becomes_an_avatar(comfy, graph):
    """As it stands, through a file as viewers have it, and moved and saved again."""
    prompt = graph | {
        "splat": node("CraftersAvatarToSplat", avatar=["avatar", 0]),
        "file": node("SplatToFile3D", splat=["splat", 0], format="ply"),
        "viewer": node("PreviewGaussianSplat", model_3d=["file", 0], viewport_state={}, width=64, height=64),
        "read": node("File3DToSplat", model_3d=["file", 0]),
        "made": node("CraftersAvatarFromSplat", splat=["read", 0], body=["body", 0]),
        "own rig": node("CraftersRigAvatar", avatar=["made", 0], body=["body", 0]),
        "drawn": node(
            "CraftersRenderAvatar", avatar=["made", 0], rig=["own rig", 0], motion=["motion", 0], width=WIDTH,
            height=HEIGHT,
        ),
        "clip": node("CreateVideo", images=["drawn", 0], fps=15.0),
        "save": node("SaveVideo", video=["clip", 0], filename_prefix="again", format="mp4", codec="h264"),
        "keep": node("CraftersSaveAvatar", avatar=["made", 0], filename_prefix="again", format="safetensors"),
        "told": node("PreviewAny", source=["made", 1]),
    }
    outputs = comfy.run(prompt)
    (report,) = outputs["told"]["text"]
    assert "of the gaussians lie within 3 cm of a standing body" in report
    (path,) = (comfy.base / "output").glob("again*.safetensors")
    made, avatar = load_avatar(path), performers_avatar(4000)
    assert made.posed and len(made) > 0.95 * len(avatar)
    own = rig_from_body(anny_body(), avatar.points, avatar.neutral_transforms)
    wanted = render_avatar(avatar, own, waving(3, WIDTH, HEIGHT), WIDTH, HEIGHT).image
    shown = torch.from_numpy(comfy.video(outputs)) / 255
    both = (shown.amax(-1) > 0.15, wanted.amax(-1) > 0.15)
    assert (both[0] & both[1]).sum() / (both[0] | both[1]).sum() > 0.75


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"motion": ["motion", 0]}, "Avatar to Splat needs the rig too"),
        ({"motion": ["motion", 0], "rig": ["rig", 0], "frame": 9}, "has no frame 9: it goes from 1 to 3"),
    ],
)
def test_mistakes_get_a_sentence(comfy, graph, changes, sentence):
    prompt = graph | {
        "splat": node("CraftersAvatarToSplat", avatar=["avatar", 0], **changes),
        "file": node("SplatToFile3D", splat=["splat", 0], format="ply"),
        "viewer": node("PreviewGaussianSplat", model_3d=["file", 0], viewport_state={}, width=64, height=64),
    }
    with pytest.raises(ComfyError, match=sentence):
        comfy.run(prompt)
