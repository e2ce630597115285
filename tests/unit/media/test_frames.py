import pytest
import torch
from crafters.media.frames import levels, resize, stepped


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


def test_resize_averages_when_shrinking_and_keeps_the_dtype():
    stripes = torch.zeros(40, 60, 3)
    stripes[:, ::2] = 1
    small = resize(stripes, 6, 4)
    assert small.shape == (4, 6, 3) and (small - 0.5).abs().max() < 0.1
    levels = resize((stripes * 255).byte(), 6, 4)
    assert levels.dtype == torch.uint8 and torch.equal(levels, resize(stripes * 255, 6, 4).round().byte())
    assert resize(stripes, 60, 40) is stripes
