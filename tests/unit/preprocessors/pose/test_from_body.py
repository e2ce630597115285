"""Poses of a motion: where a made-up scene has them, low where nothing is seen."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from crafters.models.body.anny import anny_body
from crafters.models.body.motion_files import read_motion
from crafters.preprocessors.pose.from_body import HIDDEN, OUTSIDE, SEEN, motion_poses
from crafters.scenes.scene import make_scene
from helpers.amass_file import amass

SIZE = (128, 96)


@pytest.fixture(scope="module")
def scene():
    return make_scene(4, "test", SIZE, 4, 15.0, "walk")


def test_the_pose_is_where_the_scene_has_it(scene):
    poses, size = motion_poses(anny_body(), scene.motion)
    assert size == SIZE and len(poses) == 4
    for found, true in zip(poses, scene.poses, strict=True):
        for part, wanted in zip(found.parts, true.parts, strict=True):
            assert np.abs(part[..., :2] - wanted[..., :2]).max() * SIZE[0] < 0.05
        body = np.r_[found.body[0, :, 2], found.face[0, :, 2]]
        assert (np.abs(body - np.r_[true.body[0, :, 2], true.face[0, :, 2]]) < 0.01).mean() > 0.95


def test_who_turns_round_hides_the_face(scene):
    still = scene.motion.still()
    (front,), _ = motion_poses(anny_body(), still)
    (back,), _ = motion_poses(anny_body(), still.moved(degrees=180))
    # A head is less deep than what joints may lie below a surface, a body seen from the side is not.
    (side,), _ = motion_poses(anny_body(), still.moved(degrees=90))
    assert front.body[0, 0, 2] == SEEN and np.ptp(back.body[0, [2, 5], 0]) > 0
    assert back.body[0, 2, 0] > back.body[0, 5, 0] and front.body[0, 2, 0] < front.body[0, 5, 0]
    assert (side.body[0, [2, 5], 2] == HIDDEN).any()


def test_gaps_are_empty_and_another_size_scales(scene):
    motion = replace(scene.motion, frames=(1, 2, 4, 6))
    poses, size = motion_poses(anny_body(), motion, 256, 192)
    assert size == (256, 192) and [pose.people for pose in poses] == [0, 1, 1, 0, 1, 0, 1]
    small, _ = motion_poses(anny_body(), scene.motion)
    assert np.abs(poses[1].body - small[0].body)[..., :2].max() < 0.01
    with pytest.raises(ValueError, match="would stretch this motion"):
        motion_poses(anny_body(), motion, 256, 100)


def test_a_motion_that_leaves_the_picture_is_told(scene, caplog):
    away = scene.motion.moved(x=50)
    with caplog.at_level(logging.WARNING):
        poses, _ = motion_poses(anny_body(), away)
    assert "outside the picture in frames 1-4" in caplog.text
    assert (poses[0].body[0, [0, *range(2, 18)], 2] == OUTSIDE).all()


def test_motion_capture_becomes_poses(tmp_path):
    motion = read_motion(amass(tmp_path, frames=3), size=(160, 96))
    poses, size = motion_poses(anny_body(), motion)
    assert size == (160, 96) and all(pose.people == 1 for pose in poses)
