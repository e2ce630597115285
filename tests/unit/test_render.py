"""Clips and stills of an avatar, as nodes and the command line ask for them."""

from dataclasses import replace

import pytest
import torch
from crafters.models.avatar.body import load_body_model
from crafters.models.avatar.render import render_avatar, render_body, render_body_still, render_still
from crafters.models.avatar.rig import rig_from_body
from stand_ins.performance import waving
from stand_ins.synthetic_avatar import synthetic_avatar
from stand_ins.synthetic_body import write_synthetic_body


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return load_body_model(write_synthetic_body(tmp_path_factory.mktemp("body")))


@pytest.fixture(scope="module")
def avatar(body):
    return synthetic_avatar(body, 2000)


def extent(image):
    """The part of the height and of the width that is not white."""
    inside = (image[0] < 0.9).any(-1)
    return tuple((n.max() - n.min() + 1).item() / len(inside.any(a)) for a in (1, 0) for n in [inside.any(a).nonzero()])


@pytest.mark.parametrize(("width", "height"), [(384, 512), (512, 128), (64, 256)])
def test_a_still_shows_the_whole_person(avatar, width, height):
    image = render_still(avatar, width, height)
    assert image.shape == (1, height, width, 3)
    assert 0.8 < max(extent(image)) < 1
    for edge in (image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]):
        assert edge.min() > 0.98


def test_a_still_of_the_body_shows_all_of_it(body):
    image = render_body_still(body, 96, 128)
    assert image.shape == (1, 128, 96, 3)
    assert 0.8 < max(extent(1 - image)) < 1
    lit = image[image > 0]
    assert 0.55 < lit.min() and lit.max() < 0.81


def test_a_stray_gaussian_does_not_make_the_person_small(avatar):
    points = avatar.points.clone()
    points[0] += 50
    far = render_still(replace(avatar, points=points))
    assert max(extent(far)) > 0.8


def test_frames_are_shown_as_they_are_made(avatar, body):
    motion = waving(3, 64, 48)
    rig = rig_from_body(body, avatar.points, avatar.neutral_transforms)
    calls, frames = [], []

    def step(done, total):
        calls.append((done, total))

    image = render_avatar(avatar, rig, motion, 64, 48, on_step=step, on_frame=frames.append).image
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert torch.equal(torch.stack(frames), image)
    frames.clear()
    image, mask = render_body(body, motion, 64, 48, step, frames.append)
    assert torch.equal(torch.stack(frames), image) and mask.any()
    assert calls[3:] == calls[:3]


def test_a_cancel_comes_through(avatar, body):
    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_body(body, waving(3, 64, 48), 64, 48, cancel)


def test_a_body_out_of_sight_is_refused(body):
    with pytest.raises(ValueError, match="in no frame"):
        render_body(body, waving(2, 64, 48).moved(x=20), 64, 48)
