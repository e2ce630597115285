import logging

import cv2
import numpy as np
import pytest
import torch
from crafters.preprocessors.product.views import cut_out, fit_to_square, on_black, product_views
from helpers.real_data import real_file

RED, GREEN, BLUE = (0.8, 0.1, 0.1), (0.1, 0.7, 0.1), (0.1, 0.1, 0.8)


def photo(color=RED, background=(1, 1, 1), height=300, width=200, noise=0.01):
    """A plain box, 120 high and 60 wide, its upper left corner at row 100, column 80."""
    image = torch.tensor(background, dtype=torch.float32).expand(height, width, 3).clone()
    image[100:220, 80:140] = torch.tensor(color)
    return (image + noise * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def box_mask():
    mask = torch.zeros(300, 200)
    mask[100:220, 80:140] = 1
    return mask


def color_of(view):
    return [round(channel, 1) for channel in view[250:270, 250:270].mean((0, 1)).tolist()]


def test_views_on_black_tell_the_product():
    pictures = torch.zeros(3, 4, 4, 3)
    pictures[1, 2, 3, 0] = 0.5
    product = on_black(list(pictures[:, None]))
    assert torch.equal(product.views, pictures)
    assert product.masks.sum() == product.masks[1, 2, 3] == 1


def test_square_is_centred_and_black_around():
    image, mask = torch.full((100, 51, 3), 0.5), torch.ones(100, 51)
    view, square = fit_to_square(image, mask)
    assert view.shape == (518, 518, 3) and square.shape == (518, 518)
    columns = (square[259] > 0.5).nonzero()
    # (100 - 51) // 2 = 24 columns of 100 lie left of it.
    assert columns.min().item() == round(24 * 5.18) and columns.max().item() + 1 == round(75 * 5.18)
    assert view[259, 259].tolist() == [0.5] * 3 and not view[:, :100].any()
    wide, _ = fit_to_square(torch.full((51, 100, 3), 0.5), torch.ones(51, 100))
    assert torch.equal(wide, view.transpose(0, 1)) or (wide - view.transpose(0, 1)).abs().max() < 1e-6


@pytest.mark.parametrize("background", [(1, 1, 1), (0.2, 0.5, 0.9), (0, 0, 0)])
def test_plain_background_is_taken_away_and_the_product_cropped(background):
    image, mask = cut_out(photo(background=background), None, "front")
    assert mask.shape == image.shape[:2]
    assert abs(image.shape[0] - 124) <= 2 and abs(image.shape[1] - 64) <= 2  # 2 pixels of margin
    assert mask.mean() > 0.85
    assert image[0, 0].max() < 0.05 and image[60, 30].tolist() == pytest.approx(RED, abs=0.05)


def test_holes_of_the_background_colour_inside_the_product_stay():
    image = photo()
    image[150:170, 100:120] = 1
    shown, mask = cut_out(image, None, "front")
    assert shown[60, 30].min() > 0.9 and mask[60, 30] == 1


def test_dust_does_not_widen_the_crop():
    image = photo()
    image[20:23, 20:23] = 0
    assert cut_out(image, None, "front")[0].shape[0] < 130


def test_black_background_keeps_its_pixels():
    image = photo(background=(0, 0, 0))
    shown, _ = cut_out(image, None, "front")
    assert torch.equal(shown, image[98:222, 78:142])


def test_busy_background_is_kept_and_told(caplog):
    image = torch.rand(80, 60, 3)
    with caplog.at_level(logging.WARNING):
        shown, mask = cut_out(image, None, "left")
    assert torch.equal(shown, image) and mask.all()
    assert "left product photo" in caplog.text and "mask" in caplog.text


def test_mask_cuts_any_background():
    image = torch.rand(300, 200, 3) * 0.5 + 0.5
    shown, mask = cut_out(image, box_mask(), "front")
    assert shown.shape == (124, 64, 3) and mask.sum() == 120 * 60
    assert torch.equal(shown[2:-2, 2:-2], image[100:220, 80:140]) and not shown[:2].any()


def test_full_mask_of_any_size_counts_as_none():
    """ComfyUI's Load Image gives a 64x64 mask for a photo without transparency."""
    assert torch.equal(cut_out(photo(), torch.ones(64, 64), "front")[0], cut_out(photo(), None, "front")[0])


def test_glass_is_cut_out_whole():
    mask = box_mask()
    mask[110:] *= 0.35
    shown, cut = cut_out(photo(), mask, "front")
    assert shown.shape == (124, 64, 3) and cut[60, 30] == pytest.approx(0.35)


def test_an_uncertain_cut_is_told(caplog):
    image = photo((0.9, 0.9, 0.9), noise=0)
    image[140:, 100:] = 1  # three eighths of it cannot be told from the background
    with caplog.at_level(logging.WARNING):
        cut_out(image, None, "front")
    assert "front product's outline can hardly be told" in caplog.text


def test_bad_masks_and_photos():
    with pytest.raises(ValueError, match="mask of the right product photo is empty"):
        product_views(photo(), right=photo(), right_mask=torch.zeros(64, 64))
    with pytest.raises(ValueError, match="200x300"):
        product_views(photo(), front_mask=torch.eye(64))
    with pytest.raises(ValueError, match=r"front product photo must be one RGB picture"):
        product_views(photo()[None])
    with pytest.raises(ValueError, match="1 more product photos but 2 masks"):
        product_views(photo(), more=[photo()], more_masks=[None, None])


def test_order_is_left_front_right():
    views, masks = product_views(photo(GREEN), photo(RED), photo(BLUE))
    assert views.shape == (3, 518, 518, 3) and masks.shape == (3, 518, 518)
    assert [color_of(view) for view in views] == [list(RED), list(GREEN), list(BLUE)]
    assert 0 <= views.min() and views.max() <= 1


@pytest.mark.parametrize(
    "sides, expected",
    [
        ({}, [GREEN, GREEN, GREEN]),
        ({"left": photo(RED)}, [RED, GREEN, RED]),
        ({"right": photo(BLUE)}, [BLUE, GREEN, BLUE]),
        ({"more": [photo(BLUE)]}, [BLUE, GREEN, BLUE]),
        ({"right": photo(BLUE), "more": [photo(RED)]}, [RED, GREEN, BLUE]),
    ],
)
def test_missing_views(sides, expected):
    views, _ = product_views(photo(GREEN), **sides)
    assert [color_of(view) for view in views] == [list(color) for color in expected]


def test_most_different_photos_are_chosen():
    nearly_green, nearly_red = (0.1, 0.6, 0.1), (0.7, 0.1, 0.1)
    more = [photo(nearly_green), photo(nearly_red), photo(BLUE), photo(RED), photo(GREEN)]
    views, _ = product_views(photo(GREEN), more=more)
    assert {tuple(color_of(views[0])), tuple(color_of(views[2]))} == {RED, BLUE}


def test_unused_photos_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        product_views(photo(), photo(), photo(), more=[photo()])
    assert "1 more photos are not used" in caplog.text


def real_photo(index):
    image = cv2.imread(str(real_file(f"anchorcrafter/product_{index}.jpg")))
    return torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).float() / 255


@pytest.mark.slow
def test_published_photos_are_used_as_they_are():
    left, front, right = photos = [real_photo(i) for i in range(3)]
    views, masks = product_views(front, left, right)
    for view, image in zip(views, photos, strict=True):
        assert torch.equal(view, fit_to_square(image, torch.ones(image.shape[:2]))[0])
    assert all(0.5 < mask.mean() < 0.75 for mask in masks)


@pytest.mark.slow
def test_real_product_on_white_looks_as_on_black():
    image = real_photo(0)
    _, mask = cut_out(image, None, "left")
    height, width = image.shape[:2]
    white = torch.ones(height + 600, width + 600, 3)
    white[300:-300, 300:-300] = torch.where(mask[..., None] > 0, image, 1.0)
    (on_white,), (found,) = (x[:1] for x in product_views(white))
    (on_black,), (expected,) = (x[:1] for x in product_views(image))
    assert ((found > 0.5) & (expected > 0.5)).sum() / ((found > 0.5) | (expected > 0.5)).sum() > 0.97
    assert (on_white - on_black).abs().mean() < 0.03
