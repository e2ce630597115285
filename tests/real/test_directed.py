"""Photos as people bring them, told what to do with a real product: it lies on the person, and in the picture. The
published avatar with that product in its hand, in the published scene."""

import cv2
import numpy as np
import pytest
import torch
from crafters.media.clip import read_clip
from crafters.media.photo import read_photo
from crafters.models.anicrafter.conditions import compose
from crafters.models.avatar.files import load_avatar
from crafters.models.avatar.render import render_avatar, render_body
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from crafters.models.drawing.camera import Camera
from crafters.preprocessors.body_motion.estimate import estimate_motion
from crafters.preprocessors.directed.hold import hold
from crafters.preprocessors.directed.present import direct, overview
from crafters.preprocessors.product.views import ProductViews, product_views
from helpers.real_data import keep, real_file, real_poses

pytestmark = pytest.mark.slow


def toy() -> ProductViews:
    left, front, right = (read_photo(real_file(f"anchorcrafter/product_{i}.jpg"))[0][0, ..., :3] for i in range(3))
    return product_views(front, left, right)


@pytest.mark.parametrize(
    ("name", "gestures", "hand"),
    [("person_pink_wall", "hold, aside, offer", "both"), ("character_half", "raise, turn, shake", "right")],
)
def test_a_photo_is_directed(name, gestures, hand):
    poses, _ = real_poses(f"real/{name}_keypoints.npz")
    photo = read_photo(real_file(f"real/{name}.jpg"))[0][..., :3]
    height, width = photo.shape[1:3]
    done = direct(anny_body(), poses[0], (width, height), toy(), gestures, hand, height=20, seconds=4.0, fps=4.0)
    shown = overview(done, photo, 6)
    mask = done.conditions.product_mask
    share = mask.flatten(1).float().mean(1)
    keep(f"directed_{name}", torch.cat([photo, shown[:5]]), torch.cat([photo, shown[1:]]), product_share=share.mean())
    assert share.min() > 0.01 and share.max() < 0.4
    edge = torch.cat([mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]], 1)
    assert not edge.any(), "the product stays in the picture"
    eyes_to_chin = poses[0].face[0, [*range(17), *range(36, 48)], :2] * np.array([width, height])
    known = eyes_to_chin[~np.isnan(eyes_to_chin).any(1)]
    (left, top), (right, bottom) = known.min(0).astype(int), known.max(0).astype(int)
    assert not mask[:, top:bottom, left:right].any(), "and off the face"
    size = np.array([width, height])
    body = [0, 2, 5]  # nose and shoulders
    off = np.linalg.norm((done.conditions.poses[0].body[0, body, :2] - poses[0].body[0, body, :2]) * size, axis=1)
    assert off.max() < 0.04 * height


@pytest.mark.parametrize(("hand", "side"), [("left", "side"), ("both", "side")])
def test_the_published_avatar_holds_a_real_product(hand, side):
    every, frames, size = 8, 3, (1280, 720)
    poses, _ = real_poses("jogger")
    body = anny_body()
    motion, _ = estimate_motion(body, poses[: every // 2 * frames : every // 2], size, 20 / every)
    background, _ = read_clip(real_file("anicrafter/scene/bkgd_video.mp4"), every=every, frames=frames)
    background = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in background.numpy()])
    avatar = load_avatar(real_file("anicrafter/000000_gaussian.pth"))
    rig = rig_from_body(body, avatar.points, avatar.neutral_transforms)
    held = hold(body, motion, toy(), "bag", height=25, hand=hand, grip=side)
    clip = render_avatar(avatar, rig, held.motion, *size, products=held.products)
    blend = compose(clip.image, clip.alpha, torch.from_numpy(background).float() / 255, False)
    _, mask = render_body(body, held.motion, *size, products=held.products)
    wrists = held.motion.joints(body.skeleton)[:, 20 if hand == "left" else 21]
    near = [picture[_around(Camera.of(held.motion, row).project(wrists[row]))] for row, picture in enumerate(blend)]
    bare = render_avatar(avatar, rig, held.motion, *size)
    shown = ((clip.image - bare.image).abs().amax(-1) > 0.05).flatten(1).float()
    keep(f"held_{hand}_{side}", blend.numpy(), mask.numpy(), product_share=shown.mean())
    keep(f"held_{hand}_{side}_near", torch.stack(near).numpy())
    assert shown.mean(1).min() > 5e-4 and shown.mean() < 0.05


def _around(at: torch.Tensor, half: int = 110) -> tuple[slice, slice]:
    x, y = (int(side) for side in at)
    x, y = min(max(x, half), 1280 - half), min(max(y, half), 720 - half)
    return slice(y - half, y + half), slice(x - half, x + half)
