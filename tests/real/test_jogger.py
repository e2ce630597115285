"""The published scene of a jogger before a travelling camera through every stage without weights.

Keypoints are MediaPipe's, of every second frame. Published are the background (itself ProPainter's) and the body mesh.
"""

import cv2
import numpy as np
import pytest
import torch
from crafters.media.clip import read_clip
from crafters.metrics.pixels import psnr
from crafters.models.anicrafter.conditions import compose
from crafters.models.avatar.files import load_avatar
from crafters.models.avatar.render import render_avatar, render_body
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from crafters.preprocessors.background.remove import remove_person
from crafters.preprocessors.body_motion.estimate import estimate_motion
from crafters.preprocessors.segment.flow import FlowTracker
from crafters.preprocessors.segment.video import segment_video
from helpers.real_data import iou, keep, real_file, real_poses, tinted

pytestmark = pytest.mark.slow
EVERY, FRAMES, SIZE = 2, 12, (480, 272)


@pytest.fixture(scope="module")
def scene():
    """Source, background and body mesh, uint8 [12,272,480,3]; poses; rate."""
    poses, _ = real_poses("jogger")
    clips = {}
    for name in ("source", "bkgd", "smplx"):
        path = real_file(f"anicrafter/scene/{name}_video.mp4")
        frames, fps = read_clip(path, every=EVERY, frames=FRAMES, long_side=SIZE[0])
        clips[name] = np.stack([cv2.resize(f, SIZE, interpolation=cv2.INTER_AREA) for f in frames.numpy()])
    return clips, poses[:FRAMES], fps


@pytest.fixture(scope="module")
def motion(scene):
    _, poses, fps = scene
    return estimate_motion(anny_body(), poses, SIZE, fps)


def test_the_person(scene):
    """Beside where the clip differs from its published background."""
    clips, poses, _ = scene
    images = torch.from_numpy(clips["source"]).float() / 255
    masks = segment_video(FlowTracker(), images, poses=poses, find="person")[0][1].numpy()
    scores = []
    for mask, picture, behind, mesh in zip(masks, *clips.values(), strict=True):
        unlike = np.abs(picture.astype(int) - behind).max(-1).astype(np.float32)
        near = cv2.dilate((mesh.max(-1) > 30).astype(np.uint8), np.ones((25, 25))) > 0
        truth = (cv2.GaussianBlur(unlike, (0, 0), 1) > 25) & near | (cv2.erode(mesh, np.ones((9, 9))).max(-1) > 100)
        scores.append(iou(mask, cv2.morphologyEx(truth.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9))) > 0))
    keep("jogger_person", tinted(clips["source"], masks), IoU=np.mean(scores), worst=np.min(scores))
    assert np.mean(scores) > 0.88


def test_the_background(scene):
    clips, _, _ = scene
    mesh = np.stack([cv2.dilate(m.max(-1), np.ones((13, 13))) > 30 for m in clips["smplx"]])
    images = torch.from_numpy(clips["source"]).float() / 255
    filled = remove_person(images, torch.from_numpy(mesh).float(), dilation=6, scale=1.0)
    filled = (filled * 255).round().byte().numpy()
    score = np.nanmean([psnr(*part) for part in zip(clips["bkgd"], filled, mesh, strict=True)])
    keep("jogger_background", clips["source"], filled, clips["bkgd"], PSNR_dB=score)
    assert score > 24


def test_the_body(scene, motion):
    clips, _, _ = scene
    found, report = motion
    _, mask = render_body(anny_body(), found, *SIZE)
    score = iou(mask.numpy() > 0, clips["smplx"].max(-1) > 100)
    keep("jogger_body", tinted(clips["source"], mask.numpy() > 0), clips["smplx"], IoU=score, m_s2=report.shaking)
    assert score > 0.82 and report.shaking <= report.shaking_before


def test_another_character_takes_his_place(scene, motion):
    """The published avatar in the found motion, over the published background: it is where his body is."""
    clips, _, _ = scene
    avatar = load_avatar(real_file("anicrafter/000000_gaussian.pth"))
    rig = rig_from_body(anny_body(), avatar.points, avatar.neutral_transforms)
    clip = render_avatar(avatar, rig, motion[0], *SIZE)
    blend = compose(clip.image, clip.alpha, torch.from_numpy(clips["bkgd"]).float() / 255, False)
    score = iou(clip.alpha.numpy() > 0.5, clips["smplx"].max(-1) > 100)
    keep("jogger_avatar", blend.numpy(), clips["source"], IoU=score)
    assert score > 0.6
