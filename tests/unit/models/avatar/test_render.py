"""Clips and stills of an avatar, as nodes and the command line ask for them."""

from dataclasses import replace

import pytest
import torch
from crafters.media.clip import read_clip
from crafters.models.avatar.gaussians import Avatar
from crafters.models.avatar.render import render_avatar, render_body, render_body_still, render_still, render_turntable
from crafters.models.body.motion_files import read_motion
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.mesh import render_mesh
from helpers.made_up import waving
from helpers.real_data import real_file


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


def test_frames_are_shown_as_they_are_made(avatar, rig, body):
    motion = waving(3, 64, 48)
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


def test_what_nobody_asks_for_takes_no_memory(avatar, rig, body):
    motion = waving(3, 64, 48)
    whole = render_avatar(avatar, rig, motion, 64, 48)
    without = render_avatar(avatar, rig, motion, 64, 48, with_depth=False)
    assert torch.equal(without.image, whole.image) and torch.equal(without.alpha, whole.alpha)
    assert whole.depth.any() and not without.depth.any() and without.depth.shape == whole.depth.shape
    assert without.depth.untyped_storage().nbytes() == 4
    image, mask = render_body(body, motion, 64, 48)
    assert image.untyped_storage().nbytes() == mask.untyped_storage().nbytes()  # of a grey body one channel
    vertices = body.vertices(motion.pose[:1], motion.betas[:1], motion.trans[:1])[0]
    drawn = render_mesh(vertices, body.faces, Camera.of(motion, 0))
    assert torch.equal(image[0], drawn.image.movedim(0, -1))


def test_who_comes_late_and_goes_early_is_in_no_other_frame(avatar, rig, body):
    motion = replace(waving(4, 64, 48), frames=(2, 3, 5, 6))
    shown = render_avatar(avatar, rig, motion, 64, 48, length=9)
    mesh, mask = render_body(body, motion, 64, 48, length=9)
    for clip in (*shown, mesh, mask):
        assert [bool(frame.any()) for frame in clip] == [frame in motion.frames for frame in range(9)]
    still = render_avatar(avatar, rig, motion.still(), 64, 48)
    assert len(still.image) == 1 and torch.equal(still.image[0], shown.image[2])
    assert len(render_body(body, motion, 64, 48)[0]) == 7  # to the motion's last frame


@pytest.mark.parametrize(("z", "where"), [(-5.0, "behind"), (-4.15, "around")])
def test_a_body_that_is_not_before_the_camera_is_refused(avatar, rig, body, z, where):
    motion = waving(6, 64, 48)
    trans = motion.trans.clone()
    trans[2:4, 2] += z
    for draw in (lambda m: render_body(body, m, 64, 48), lambda m: render_avatar(avatar, rig, m, 64, 48)):
        with pytest.raises(ValueError, match=f"{where} the camera in 2 of 6 frames, the first being frame 13"):
            draw(replace(motion, trans=trans, frames=tuple(range(10, 16))))


def test_a_cancel_comes_through(body):
    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_body(body, waving(3, 64, 48), 64, 48, cancel)


def test_a_body_out_of_sight_is_refused(body):
    with pytest.raises(ValueError, match="in no frame"):
        render_body(body, waving(2, 64, 48).moved(x=20), 64, 48)


@pytest.mark.slow
def test_the_published_mesh_video(body):
    """Its motion drawn with a free body in the place of SMPL-X: the same person at the same place in the same light."""
    motion = read_motion(real_file("anicrafter/scene/smplx_params/00001.json").parent, 20.0)
    published = read_clip(real_file("anicrafter/scene/smplx_video.mp4"))[0]
    some = [0, 40, 80]
    motion, published = motion._take(some), published[some].float() / 255
    ours, mask = render_body(body, motion, *motion.size)
    for frame in range(len(some)):
        there, here = published[frame].amin(-1) > 0.3, mask[frame] > 0
        assert (there & here).sum() > 0.75 * (there | here).sum()
        assert (ours[frame][~here] == 0).all()
        levels = [255 * clip[frame][there & here].flatten() for clip in (ours, published)]
        for share, known in ((0.5, 4), (0.99, 3)):  # the two surfaces are not turned alike everywhere
            one, other = (level.quantile(share) for level in levels)
            assert (one - other).abs() < known
    lit = 255 * ours[mask > 0]
    assert 0.56 * 255 - 0.01 <= lit.min() < 150 and 203 < lit.max() <= 204.01  # the published shading's range


@pytest.fixture
def marked():
    """A bar of gaussians upwards, red at its front, with a green arm at its left (+x)."""
    bar = torch.stack([torch.zeros(41), torch.linspace(-1, 1, 41), torch.zeros(41)], 1)
    front, arm = bar + torch.tensor([0, 0, 0.15]), torch.tensor([[0.4, 0.5, 0.0]])
    xyz = torch.cat([bar, front, arm])
    rgb = torch.tensor([[0.1, 0.1, 0.8]] * 41 + [[0.9, 0.1, 0.1]] * 41 + [[0.1, 0.8, 0.1]])
    n = len(xyz)
    return Avatar(
        torch.zeros(n, 3), xyz, rgb, torch.full((n, 1), 0.99), torch.full((n, 3), 0.03),
        torch.tensor([[1.0, 0, 0, 0]]).expand(n, 4), torch.eye(4).expand(55, 4, 4), torch.zeros(10),
    )


def place(image, channel):
    """Where a colour is seen: x, y in 0…1; None where it is not."""
    other = [c for c in range(3) if c != channel]
    seen = image[..., channel] - image[..., other].amax(-1) > 0.2
    return seen.nonzero().float().mean(0).flip(0) / torch.tensor(image.shape[1::-1]) if seen.any() else None


def test_a_turntable_turns_once_around(marked):
    steps = []
    images = render_turntable(marked, 4, 48, 64, lambda *step: steps.append(step))
    assert images.shape == (4, 64, 48, 3) and steps[-1] == (4, 4)
    front, quarter, back, _ = images
    assert place(front, 1)[0] > 0.6 and place(front, 1)[1] < 0.45  # its left is at the picture's right, up is up
    assert place(front, 2) is None and place(front, 0) is not None  # red hides blue
    assert place(back, 2) is not None and place(back, 0) is None and place(back, 1)[0] < 0.4
    assert place(quarter, 0)[0] > place(quarter, 2)[0]  # the front has turned to the picture's right
    assert images[:, 0].min() > 0.9  # on white, with room around


def test_gaussians_turn_with_it(marked):
    flat = replace(marked, scale=torch.tensor([[0.2, 0.03, 0.01]]).expand(len(marked), 3))
    front, side = render_turntable(flat, 4, 48, 64)[:2]
    assert (front < 0.9).any(-1).any(0).sum() > 1.5 * (side < 0.9).any(-1).any(0).sum()
