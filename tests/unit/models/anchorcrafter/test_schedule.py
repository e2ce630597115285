"""Noise levels of the steps, and which of them are guided."""

import pytest
from crafters.models.anchorcrafter.schedule import FAST, SCHEDULES, align_your_steps, guided_steps

# Of the paper's page (arXiv 2404.14507), for SVD and ten steps.
TEN = [700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0]


def test_ten_steps_are_the_published_ones():
    assert align_your_steps(10) == pytest.approx(TEN, rel=1e-12)


def test_other_counts_lie_between_them():
    twenty, five = align_your_steps(20), align_your_steps(5)
    assert twenty[::2] == pytest.approx(TEN) and five == pytest.approx(TEN[::2])
    assert twenty[1] == pytest.approx((700 * 54.5) ** 0.5)
    assert twenty[19] == pytest.approx((0.034 * 0.002) ** 0.5)
    assert align_your_steps(1) == pytest.approx([700, 0])


def test_steps_that_begin_within_the_interval_are_guided():
    guided = {interval: [step for step, yes in enumerate(guided_steps(10, *interval)) if yes]
              for interval in ((0.0, 1.0), (0.1, 0.4), (0.3, 0.7), (0.0, 0.05), (0.95, 1.0))}
    assert guided == {(0.0, 1.0): list(range(10)), (0.1, 0.4): [1, 2, 3], (0.3, 0.7): [3, 4, 5, 6], (0.0, 0.05): [0],
                      (0.95, 1.0): []}


@pytest.mark.parametrize("interval", [(0.5, 0.5), (0.6, 0.5), (-0.1, 1), (0, 1.1), (float("nan"), 1)])
def test_what_is_no_interval_is_said(interval):
    with pytest.raises(ValueError, match="of the steps: the first must be smaller than the second, both 0 to 1"):
        guided_steps(10, *interval)


def test_the_fast_setting_is_less_than_a_fifth_of_the_published_passes():
    assert FAST["schedule"] in SCHEDULES
    guided = guided_steps(FAST["steps"], FAST["guidance_from"], FAST["guidance_until"])
    every_second = (1 + 0.25) / 2  # a pass with the deep part held is a fourth of a whole one
    assert FAST["cache_interval"] == 2 and (len(guided) + sum(guided)) * every_second + 1 <= 60 / 5
