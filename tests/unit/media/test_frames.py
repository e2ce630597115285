import numpy as np
import pytest
import torch
from crafters.media.frames import (
    Levels,
    cut_to_multiple,
    gathered,
    join_windows,
    levels,
    resize,
    resize_lanczos,
    stepped,
    to_image,
)


def test_a_loop_over_frames_reports_and_can_be_cancelled():
    steps = []
    for frame in stepped([1, 2, 3], lambda *step: steps.append(step)):
        assert len(steps) == frame - 1  # when the frame is done, not before
    assert steps == [(1, 3), (2, 3), (3, 3)]

    def cancel(done, total):
        if done == 2:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        for frame in stepped([1, 2, 3], cancel):
            seen.append(frame)
    assert seen == [1, 2]


def test_levels_are_rounded_and_kept_in_range():
    assert levels(torch.tensor([[-0.1, 0.499 / 255], [0.501 / 255, 1.2]])).tolist() == [[0, 0], [1, 255]]


def test_a_clip_is_gathered_from_frames_that_are_made_one_by_one():
    made = []

    def frames():
        for i in range(5):
            assert len(made) == i  # the one before is in the clip
            yield torch.full((2, 3), i)
            made.append(i)

    assert torch.equal(gathered(frames(), 5), torch.arange(5)[:, None, None].expand(5, 2, 3))
    pictures = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    assert torch.equal(to_image(iter(pictures), 4), torch.from_numpy(pictures).float() / 255)


def test_levels_come_when_asked_for():
    images = torch.rand(3, 4, 5, 3)
    clip = Levels(images)
    assert len(clip) == 3 and all(np.array_equal(*pair) for pair in zip(clip, levels(images), strict=True))
    clip.images[1] = 0
    assert not clip[1].any()


def test_a_clip_is_resized_frame_by_frame():
    images = torch.rand(3, 8, 6, 3)
    alone = torch.cat([resize_lanczos(image[None], 12, 16) for image in images])
    assert torch.equal(resize_lanczos(images, 12, 16), alone)


def test_resize_averages_when_shrinking_and_keeps_the_dtype():
    stripes = torch.zeros(40, 60, 3)
    stripes[:, ::2] = 1
    small = resize(stripes, 6, 4)
    assert small.shape == (4, 6, 3) and (small - 0.5).abs().max() < 0.1
    levels = resize((stripes * 255).byte(), 6, 4)
    assert levels.dtype == torch.uint8 and torch.equal(levels, resize(stripes * 255, 6, 4).round().byte())
    assert resize(stripes, 60, 40) is stripes


def test_sides_are_cut_evenly_to_multiples():
    images = torch.rand(2, 50, 70, 3)
    cut = cut_to_multiple(images, 16)
    assert torch.equal(cut, images[:, 1:49, 3:67])
    assert torch.equal(cut_to_multiple(images, 1), images)
    assert cut_to_multiple(torch.ones(2, 50, 70), 32).shape == (2, 32, 64)
    with pytest.raises(ValueError, match="70x50 pixels, too small"):
        cut_to_multiple(images, 64)


def test_windows_are_joined_where_they_repeat_each_other():
    video = torch.rand(20, 4, 6, 3)
    assert torch.equal(join_windows(video[:9], video[4:13], 5), video[:13])
    assert torch.equal(join_windows(video[:9], video[4:13], 5, 11), video[:11])
    assert torch.equal(join_windows(video[:9], None, 5, 7), video[:7])
    with pytest.raises(ValueError, match="6x4 pixels and the next window 3x4"):
        join_windows(video, video[:, :, :3], 1)
    with pytest.raises(ValueError, match="all of them repeat"):
        join_windows(video, video[:5], 5)
