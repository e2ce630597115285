"""What photos leave on a product's solid, as cameras all around it see it."""

import math

import numpy as np
import pytest
import torch
from crafters.models.avatar.with_products import draw_products
from crafters.models.drawing.camera import Camera
from crafters.models.staging.held import HeldProduct, transform
from crafters.models.staging.holding import turn
from crafters.preprocessors.product.views import on_black
from crafters.scenes.product import make_product, views
from crafters.scenes.render import render

CAMERA = Camera.centred(2000, 240, 240)


def seen(product, degrees):
    """[240,240,3] on black, of a product turned so; the front looks to the left with a positive turn."""
    angle = torch.tensor([math.radians(degrees)], dtype=torch.float64)
    place = transform(turn(angle, 0 * angle), torch.tensor([[0, 0, 2.5]], dtype=torch.float64))[0]
    drawn, whole = draw_products([product], [place], CAMERA), torch.zeros(240, 240, 3)
    whole[drawn.rows, drawn.columns] = drawn.rgb.movedim(0, -1)
    return whole, place


def middle(picture):
    return picture[110:130, 110:130].mean((0, 1))


def two_halves():
    """Red on the left, blue on the right."""
    picture = torch.zeros(128, 128, 3)
    picture[8:120, 8:64, 0] = 1
    picture[8:120, 64:120, 2] = 1
    views = picture.expand(3, -1, -1, -1)
    return HeldProduct.of(views, (views > 0).any(-1).float(), (0.1, 0.1, 0.1), "box", torch.eye(4)[None])


def test_the_front_is_on_the_front_and_mirrored_on_the_back():
    product = two_halves()
    for degrees, left in ((0, 0), (180, 2)):
        picture, _ = seen(product, degrees)
        assert picture[120, 100].argmax() == left and picture[120, 140].argmax() == 2 - left
        assert picture[120, 100].max() > 0.95


def test_a_side_without_a_photo_goes_on_as_the_front_ends():
    product = two_halves()
    assert middle(seen(product, 90)[0]).tolist() == pytest.approx([0, 0, 1], abs=0.05)
    assert middle(seen(product, -90)[0]).tolist() == pytest.approx([1, 0, 0], abs=0.05)


@pytest.mark.parametrize(("seed", "kind"), [(7, "box"), (5, "can"), (12, "can")])
@pytest.mark.parametrize("swapped", [False, True])
def test_side_photos_are_on_their_sides_whichever_is_called_left(seed, kind, swapped):
    """Against the product that they are of, at angles that were not photographed, and in another light."""
    product = make_product(seed, "test")
    photos = [torch.from_numpy(view)[None] / 255 for view in views(product)]
    photos = photos[::-1] if swapped else photos
    place = torch.eye(4)[None]
    whole = HeldProduct.of(*on_black(photos), product.size, kind, place)
    front_only = HeldProduct.of(*on_black([photos[1]] * 3), product.size, kind, place)
    error, bare = 0.0, 0.0
    for degrees in (70, -70):
        (picture, at), (without, _) = seen(whole, degrees), seen(front_only, degrees)
        true = torch.from_numpy(render([product.meshes(at)], CAMERA).colour) / 255
        inside = (picture > 0).any(-1) & (true > 0).any(-1)
        assert inside.sum() > 5000
        error, bare = (sum_ + float((shown - true)[inside].abs().mean()) / 2
                       for sum_, shown in ((error, picture), (bare, without)))
    assert error < 0.12 and error < 0.96 * bare


def test_a_photo_of_something_else_is_not_taken():
    product = make_product(5, "test")
    photos = [torch.from_numpy(view)[None] / 255 for view in views(product)]
    other = torch.zeros_like(photos[0])
    other[:, 100:400, 100:400] = torch.tensor([0.0, 1.0, 0.0])
    held = HeldProduct.of(*on_black([other, photos[1], photos[2]]), product.size, "can", torch.eye(4)[None])
    for degrees in (90, -90, 45, -45):
        picture, _ = seen(held, degrees)
        assert not ((picture[..., 1] > 0.9) & (picture[..., 0] < 0.1)).any()


def test_no_black_comes_in_at_edges():
    held = two_halves()
    for degrees in range(0, 360, 30):
        picture, _ = seen(held, degrees)
        inner = torch.nn.functional.max_pool2d(-(picture.sum(-1) > 0.5).float()[None, None], 5, 1, 2)[0, 0] == -1
        assert picture[inner].sum(-1).min() > 0.95


def test_a_hole_in_the_mask_is_transparent_and_the_outline_is_the_masks():
    product = make_product(2, "test")  # a mug
    made = on_black([torch.from_numpy(view)[None] / 255 for view in views(product)])
    held = HeldProduct.of(*made, product.size, "mug", torch.eye(4)[None])
    shown = seen(held, 0)[0].any(-1).numpy()
    mask = made.masks[1].numpy() > 0.5
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    mask = mask[rows[0] : rows[-1], columns[0] : columns[-1]]
    high, wide = np.nonzero(shown.any(1))[0], np.nonzero(shown.any(0))[0]
    shown = shown[high[0] : high[-1], wide[0] : wide[-1]]
    y, x = (np.linspace(0, side - 1, 100).round().astype(int) for side in mask.shape)
    v, u = (np.linspace(0, side - 1, 100).round().astype(int) for side in shown.shape)
    a, b = mask[np.ix_(y, x)], shown[np.ix_(v, u)]
    assert (a & b).sum() / (a | b).sum() > 0.96
