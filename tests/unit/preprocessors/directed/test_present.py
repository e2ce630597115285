"""From a photo, a product and a script to conditions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from crafters.models.body.anny import anny_body
from crafters.models.body.layout import SPINES
from crafters.preprocessors.directed.present import direct, overview
from crafters.preprocessors.pose.keypoints import Pose
from crafters.preprocessors.product.views import on_black
from crafters.scenes.scene import make_scene
from helpers.poses import with_joint

SIZE = (144, 240)
OUT = (np.nan, np.nan, 0)


@pytest.fixture(scope="module")
def scene():
    return make_scene(1, "test", SIZE, 1, 15.0, "hold")


@pytest.fixture(scope="module")
def product(scene):
    return on_black([torch.from_numpy(view).float()[None] / 255 for view in scene.product_views])


def test_a_photo_becomes_consistent_conditions(scene, product):
    done = direct(anny_body(), scene.person_pose, SIZE, product, "raise 0-1", seconds=1.0, fps=8.0, height=14)
    poses, hands, depth, mask = done.conditions
    assert len(poses) == len(done.motion) == len(done.product.place) == 8
    assert hands.shape == depth.shape == (8, 240, 144, 3) and mask.shape == (8, 240, 144)
    assert mask.flatten(1).any(1).all() and hands.flatten(1).any(1).all()
    assert done.product.size[1] == pytest.approx(0.14) and "raise 0-1 s" in done.report
    photo = scene.person_pose.body[0, [0, 2, 5], :2] * SIZE
    assert np.abs(poses[0].body[0, [0, 2, 5], :2] * SIZE - photo).max() < 8, "over the photo's person"
    person = torch.from_numpy(scene.person_photo)[None] / 255
    shown = overview(done, person, 3)
    assert shown.shape == (3, 240, 144, 3) and 0 <= shown.min() and shown.max() <= 1
    assert ((shown[0] - shown[2]).abs().amax(-1) > 0.2).any()


@pytest.mark.parametrize(
    ("joints", "settings", "sentence"),
    [
        ([2], {}, "does not show the right shoulder"),
        ([5], {"hand": "both"}, "does not show the left shoulder"),
        ([5], {"gestures": "point"}, "does not show the left shoulder"),
        ([], {"gestures": "raise 0-2, turn 1-3"}, "overlap"),
        ([], {"height": 240}, "larger than the person"),
    ],
)
def test_what_the_photo_does_not_allow_is_one_sentence(scene, product, joints, settings, sentence):
    pose = scene.person_pose
    for joint in joints:
        pose = with_joint(pose, joint, OUT)
    with pytest.raises(ValueError, match=sentence):
        direct(anny_body(), pose, SIZE, product, **{"gestures": "raise", "fps": 4.0} | settings)


def test_a_photo_without_a_person_is_told(product):
    with pytest.raises(ValueError, match="No person was found"):
        direct(anny_body(), Pose.empty(), SIZE, product)


def test_a_hand_that_the_photo_cuts_off_is_made_up_and_told(scene, product, caplog):
    pose = with_joint(scene.person_pose, 4, OUT)
    pose = replace(pose, right_hand=np.full_like(pose.right_hand, np.nan))
    done = direct(anny_body(), pose, SIZE, product, "hold", seconds=1.0, fps=4.0, height=12)
    assert "does not show the right hand: what it looks like is made up" in caplog.text
    assert done.conditions.hand_mesh.any()


def test_a_close_up_counts_as_taken_from_a_photographers_distance(scene, product):
    parts = scene.person_pose.parts
    near = Pose(*(np.concatenate([2 * part[..., :2] - 0.5, part[..., 2:]], -1) for part in parts))
    done = direct(anny_body(), near, SIZE, product, "hold", seconds=0.5, fps=4.0, height=8)
    assert done.motion.joints(anny_body().skeleton)[0, SPINES[-1], 2] > 1.2
    assert done.motion.focal[0, 0] > 1.3 * (SIZE[1] / 2 / np.tan(np.pi / 6)), "narrower than 60°"
