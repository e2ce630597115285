"""From a motion and a product's photos to what avatars and bodies are drawn with."""

import pytest
import torch
from crafters.models.body.anny import anny_body
from crafters.preprocessors.directed.hold import hold, overview
from crafters.preprocessors.product.views import on_black
from crafters.scenes.product import make_product, views
from helpers.made_up import waving


@pytest.fixture(scope="module")
def product():
    return on_black([torch.from_numpy(view)[None] / 255 for view in views(make_product(7, "test"))])


def test_products_are_chained_and_shown(product):
    motion = waving(2, 160, 96)
    first = hold(anny_body(), motion, product, "box", height=23)
    both = hold(anny_body(), first.motion, product, "box", height=12, hand="left", earlier=first.products)
    last = hold(anny_body(), both.motion, product, "box", hand="table", x=0.8, earlier=both.products)
    assert [one.hands for one in last.products] == [("right",), ("left",), ()]
    assert last.products[0].size[1] == pytest.approx(0.23) and "12.0" in both.report and "left hand" in both.report
    assert "on a table" in last.report and torch.equal(last.motion.pose, both.motion.pose)
    shown, bare = overview(anny_body(), last, 4), overview(anny_body(), last._replace(products=()), 4)
    assert shown.shape == bare.shape == (2, 96, 160, 3)
    changed = (shown - bare).abs().amax(-1) > 0.1
    assert changed.flatten(1).sum(1).min() > 20 and changed.float().mean() < 0.1
    assert (shown[..., 0] - shown[..., 2]).abs().max() > 0.1, "in its colours"


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"height": 240.0}, "larger than the person"),
        ({"offset": 50.0}, "from the middle of a product"),
        ({"hand": "table", "nearer": 9.0}, "before the camera"),
    ],
)
def test_what_cannot_be_is_one_sentence(product, how, sentence):
    with pytest.raises(ValueError, match=sentence):
        hold(anny_body(), waving(1, 160, 96), product, **how)
