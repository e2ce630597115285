"""Presenters who never hide their face behind what they present."""

import logging
from dataclasses import replace

import pytest
import torch
from crafters.models.body.anny import anny_body
from crafters.models.body.layout import EYES, HEAD, JAW, SIDES
from crafters.models.drawing.camera import Camera
from crafters.models.staging.gestures import GESTURES, read_script
from crafters.models.staging.presenter import present_product
from crafters.scenes.motion import photo_pose
from crafters.scenes.person import make_person

PICTURE, FPS, SECONDS = (192, 320), 8.0, 3.0
MUG, BOX, BOTTLE = (0.134, 0.137, 0.102), (0.13, 0.20, 0.07), (0.075, 0.24, 0.075)


@pytest.fixture(scope="module")
def wide():
    return photo_pose(1, "test", make_person(3, "test")).body_motion(make_person(3, "test"), PICTURE)


@pytest.fixture(scope="module")
def close(wide):
    """Head, shoulders and chest."""
    return replace(wide, focal=1.4 * wide.focal).moved(y=0.12)


def hidden(motion, place, size, hands=("right",)):
    """How much of the face, from eyes to chin and from ear to ear, the outlines of product and hands cover at worst,
    in widths of the face."""
    body, camera = anny_body(), Camera.of(motion, 0)
    vertices = body.vertices(motion.pose, motion.betas, motion.trans).double()
    head = body.skinning[:, [HEAD, JAW, *EYES]].sum(1) > 0.5
    face = camera.project(vertices[:, head])
    eyes = camera.project(motion.joints(body.skeleton)[:, EYES]).amin(1)
    low, high = torch.stack([face.amin(1)[:, 0], eyes[:, 1]], 1), face.amax(1)
    corners = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5], dtype=torch.float64)] * 3) * torch.tensor(size)
    worst = 0.0
    for points in (
        corners @ place[:, :3, :3].mT + place[:, None, :3, 3],
        *(vertices[:, body.hands[side].unique()] for side in hands),
    ):
        seen = camera.project(points)
        over = torch.minimum(seen.amax(1), high) - torch.maximum(seen.amin(1), low)
        covered = over.amin(1).clamp(min=0) / (high - low)[:, 0]
        worst = max(worst, float(covered.max()))
    return worst


@pytest.mark.parametrize("size", [MUG, BOX, BOTTLE, (0.04, 0.1, 0.04)], ids=lambda size: f"{size[0]:.2f}")
@pytest.mark.parametrize("gesture", GESTURES)
@pytest.mark.parametrize("seen", ["wide", "close"])
def test_no_gesture_hides_the_face(request, seen, gesture, size, caplog):
    script = read_script(gesture, SECONDS)
    photo, frames = request.getfixturevalue(seen), round(SECONDS * FPS)
    with caplog.at_level(logging.WARNING):
        motion, place = present_product(photo, anny_body().skeleton, size, script, ("right",), frames, FPS)
    assert hidden(motion, place, size) < 0.02
    assert "of the face" not in caplog.text


@pytest.mark.parametrize("gesture", ["raise", "offer"])
def test_two_hands_leave_it_free_too(wide, gesture):
    size = (0.3, 0.25, 0.1)
    script, frames = read_script(gesture, SECONDS), round(SECONDS * FPS)
    motion, place = present_product(wide, anny_body().skeleton, size, script, SIDES, frames, FPS)
    assert hidden(motion, place, size, SIDES) < 0.02


def test_a_raised_product_still_rises(wide):
    script, frames = read_script("raise", SECONDS), round(SECONDS * FPS)
    for size in (MUG, BOTTLE):
        _, place = present_product(wide, anny_body().skeleton, size, script, ("right",), frames, FPS)
        height = place[round(1.2 * FPS) :, 1, 3]
        assert height.max() - height.min() > 0.08


def test_what_cannot_stay_off_the_face_goes_as_low_as_it_can_and_is_told(close, caplog):
    size, frames = (0.17, 0.34, 0.1), round(SECONDS * FPS)
    with caplog.at_level(logging.WARNING):
        motion, place = present_product(close, anny_body().skeleton, size, read_script("hold", SECONDS), ("right",),
                                        frames, FPS)
    assert "covers a part of the face in frames" in caplog.text
    corner = place[-1, :3, 3] + torch.tensor([0, size[1] / 2, 0], dtype=torch.float64)
    bottom = Camera.of(motion, 0).project(corner)[1]
    assert 0.85 * PICTURE[1] < bottom < PICTURE[1]
