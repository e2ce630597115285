import logging

import pytest
import torch
from crafters.preprocessors.person.size import fit_person


def photo(width, height):
    """Rows tell their height in red, columns theirs in green."""
    rows, columns = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
    return torch.stack([rows[:, None].expand(height, width), columns.expand(height, width)], -1)[None, ..., [0, 1, 1]]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((713, 1024), (576, 1024)),  # published photos
        ((1057, 1699), (576, 1024)),
        ((2259, 4016), (576, 1024)),
        ((900, 1200), (576, 1024)),
        ((1920, 1080), (1024, 576)),
        ((1000, 1000), (768, 768)),
        ((800, 1000), (704, 832)),
        ((1000, 800), (832, 704)),
        ((1500, 1000), (896, 640)),
        ((1080, 2400), (512, 1152)),
    ],
)
def test_a_photo_keeps_its_shape(size, expected):
    fitted = fit_person(photo(*size))[0]
    width, height = expected
    assert fitted.shape == (height, width, 3) and width * height <= 576 * 1024
    assert fitted[0, :, 0].max() < 0.005  # the head's side is never cut
    assert fitted[-1, :, 0].min() > 0.9 - 0.005
    if expected in ((576, 1024), (1024, 576)):
        torch.testing.assert_close(fitted, fit_person(photo(*size), shape="published")[0])


def test_the_published_rule_can_be_chosen(caplog):
    with caplog.at_level(logging.WARNING):
        fitted = fit_person(photo(1000, 1000), shape="published")[0]
    assert fitted.shape == (576, 1024, 3)
    torch.testing.assert_close(fitted[[0, -1], 0, 0], torch.tensor([0.219, 0.781]), atol=0.002, rtol=0)
    assert "44 % of the photo's height is cut off" in caplog.text


def test_another_size_than_learned_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        fit_person(photo(640, 640))
    assert "becomes 768×768" in caplog.text and "learned 1024×576" in caplog.text


def test_a_short_side_that_the_model_cannot_make():
    with pytest.raises(ValueError, match="short_side is 100; it must be a multiple of 64"):
        fit_person(photo(64, 64), 100)
