import pytest
import torch
from crafters.media.frames import Levels, levels
from crafters.metrics.evaluate import evaluate
from crafters.metrics.networks import Networks
from crafters.metrics.pair import Pair

CHOSEN = ["psnr", "psnr-inside", "ssim", "obj-iou-clean"]


@pytest.mark.parametrize("smaller", [1, 2])
def test_clips_that_are_read_frame_by_frame_are_worth_the_same(smaller):
    draw = torch.Generator().manual_seed(0)
    truth, result = torch.rand(5, 24, 32, 3, generator=draw), torch.rand(5, 24, 32, 3, generator=draw)
    mask = torch.zeros(5, 24, 32)
    mask[:, 6:18, 8:20] = 1
    parts = truth, result[:, ::smaller, ::smaller], mask, mask.roll(2, 2)
    whole, read = (
        evaluate({"clip": lambda form=form: Pair(*map(form, parts))}, Networks(lambda *_: None), CHOSEN).json()
        for form in (levels, Levels)
    )
    assert whole == read and "psnr-inside" in whole
