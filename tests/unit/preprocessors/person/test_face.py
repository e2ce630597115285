"""The face by itself: where it is, how steady, and what happens without one."""

import logging

import numpy as np
import pytest
import torch
from crafters.preprocessors.person.face import SIDE, face_clip
from crafters.preprocessors.pose.keypoints import Pose
from helpers.poses import standing

WIDTH, HEIGHT = 320, 240


def faces(places, wobble=0.0):
    return [standing(place, wobble=wobble, seed=seed) for seed, place in enumerate(places)]


def spot(pose):
    """A clip's frame with a white disc of the face's size where the face is."""
    x, y = (pose.face[0, :, :2].mean(0)) * (WIDTH, HEIGHT)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside = np.hypot(columns - x, rows - y) < 8
    return torch.from_numpy(inside.astype(np.float32))[..., None].expand(-1, -1, 3)


def middle(crop):
    """Of what is bright, x and y in parts of the crop's side."""
    rows, columns = np.nonzero(crop[..., 0].numpy() > 0.5)
    return np.array([columns.mean(), rows.mean()]) / SIDE


def test_face_is_in_the_middle_of_a_square():
    poses = faces([(0.4, 0.6)] * 3)
    clip = face_clip(torch.stack([spot(pose) for pose in poses]), poses)
    assert clip.shape == (3, SIDE, SIDE, 3)
    assert clip.min() >= 0 and clip.max() <= 1
    for crop in clip:
        x, y = middle(crop)
        assert abs(x - 0.5) < 0.01
        assert 0.5 < y < 0.58  # more room above than below
    across = (clip[0, :, :, 0] > 0.5).any(0).sum() / SIDE
    face = np.ptp(poses[0].face[0, :, 0]) * WIDTH
    assert across == pytest.approx(16 / (1.3**0.5 * face), abs=0.02)


def test_crop_is_steadier_than_the_points():
    poses = faces([(0.5, 0.5)] * 24, wobble=0.004)
    still = spot(standing((0.5, 0.5)))
    clip = face_clip(still.expand(24, -1, -1, -1), poses)
    places = np.array([middle(crop) for crop in clip])
    boxes = np.array([(pose.face[0, :, :2].min(0) + pose.face[0, :, :2].max(0)) / 2 for pose in poses])
    side = 1.3**0.5 * np.ptp(poses[0].face[0, :, 0]) * WIDTH
    trembling = np.diff(boxes[:, 0]).std() * WIDTH / side
    assert np.diff(places[:, 0]).std() < 0.4 * trembling


def test_place_is_kept_through_frames_without_a_face(caplog):
    places = [(0.3 + 0.01 * t, 0.5) for t in range(12)]
    there = faces(places)
    images = torch.stack([spot(pose) for pose in there])
    poses = [Pose.empty() if 5 <= t <= 7 else pose for t, pose in enumerate(there)]
    poses[9] = standing((0.9, 0.9))  # a mistake of one frame
    with caplog.at_level(logging.WARNING):
        clip = face_clip(images, poses)
    for crop in clip:
        assert np.abs(middle(crop) - (0.5, 0.53)).max() < 0.06
    assert "frames 6-8, 10" in caplog.text


def test_cut_is_no_motion():
    poses = faces([(0.25, 0.5)] * 6 + [(0.75, 0.5)] * 6)
    clip = face_clip(torch.stack([spot(pose) for pose in poses]), poses)
    for crop in clip:
        assert abs(middle(crop)[0] - 0.5) < 0.01


def test_beyond_the_picture_its_edge_goes_on():
    pose = standing((0.02, 0.5))
    images = torch.linspace(1, 0, WIDTH)[None, None, :, None].expand(2, HEIGHT, -1, 3)
    clip = face_clip(images, [pose, pose])
    assert torch.isfinite(clip).all()
    assert (clip[:, :, :100] > 0.99).all()


def test_no_face_is_one_sentence():
    images = torch.zeros(4, HEIGHT, WIDTH, 3)
    for nobody in (Pose.empty(), standing(score=0.1), standing((1.5, 0.5))):
        with pytest.raises(ValueError, match="No face is seen in any of the 4 frames"):
            face_clip(images, [nobody] * 4)
