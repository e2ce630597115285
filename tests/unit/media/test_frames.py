from pathlib import Path

import numpy as np
import pytest
import torch
from crafters.media.frames import (
    Levels,
    black,
    cut_to_multiple,
    gathered,
    join_windows,
    levels,
    put,
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.bool])
@pytest.mark.parametrize("size", [(64, 48, 3), (37, 53, 3), (2, 3), ()])
def test_frames_that_are_black_in_part_come_whole(size, dtype):
    """Of any size: with pages that end within a row, across frames, and none at all."""
    frames = torch.zeros(5, *size)
    frames.view(5, -1)[1::2, ::17] = 1
    frames[4] = 1
    if dtype.is_floating_point:
        frames[2] = -0.0
    frames = frames.to(dtype)
    clip = gathered(iter(frames), 5)
    assert clip.dtype == dtype and torch.equal(clip, frames) and clip.is_contiguous()
    assert torch.equal(clip.float().signbit(), frames.float().signbit())


def in_use(clip: torch.Tensor) -> int:
    """Bytes of the memory that a clip lies in which are there."""
    regions = Path("/proc/self/smaps").read_text().split("VmFlags:")
    for region in regions:
        where, of = next((line for line in region.splitlines() if "-" in line.split()[0]), ""), {}
        start, _, stop = where.split(" ")[0].partition("-")
        if start and int(start, 16) <= clip.data_ptr() < int(stop, 16):
            of = dict(line.split(":", 1) for line in region.splitlines() if "kB" in line)
            return 1024 * int(of["Anonymous"].split()[0])
    raise LookupError


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="Linux tells what memory is in use")
def test_what_is_black_takes_no_memory():
    picture = torch.zeros(256, 1024, 3)
    picture[100:110, 300:400] = 0.5
    clip = gathered([picture] * 100, 100)
    assert clip.sum() == 100 * 10 * 100 * 3 / 2  # reading gives it none
    assert in_use(clip) < clip.nbytes / 20
    full = gathered([picture + 1] * 100, 100)
    assert in_use(full) >= full.nbytes


def test_a_clip_that_starts_black_takes_frames_in_any_order():
    clip = black((3, 50, 70))
    for t in (2, 0):
        put(clip, t, torch.full((50, 70, 7), t + 1.0)[..., 2])  # with gaps in memory
    assert clip[0].eq(1).all() and clip[1].eq(0).all() and clip[2].eq(3).all()
    assert black((0, 4, 5)).shape == (0, 4, 5)


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
