import numpy as np
import pytest
from crafters.preprocessors.product.silhouette import find_silhouette
from helpers.product_photo import BACKGROUNDS, KINDS, draw_product_photo


def overlap(kind: str, background: str, seed: int) -> tuple[float, bool]:
    """Intersection over union with the true silhouette, and whether the cut is told to be doubtful."""
    photo, shape = draw_product_photo(kind, background, seed)
    found = find_silhouette(photo)
    if found is None:
        return 0.0, True
    return float((found.mask & shape).sum() / (found.mask | shape).sum()), not found.sure


@pytest.mark.parametrize(
    ("kind", "background"),
    [("white bottle", "white"), ("white label", "white"), ("silver can", "white"), ("glass", "off-white"),
     ("mug", "gradient"), ("bottle", "shadow"), ("box", "contact shadow")],
)
def test_a_product_as_light_as_its_background(kind, background):
    assert overlap(kind, background, 1)[0] > 0.95


@pytest.mark.slow
def test_products_of_all_kinds():
    drawn = [(kind, background, seed) for kind in KINDS for background in BACKGROUNDS for seed in (10, 11, 12)]
    results = [overlap(*photo) for photo in drawn]
    assert np.mean([iou for iou, _ in results]) > 0.95
    silent = [photo for photo, (iou, doubtful) in zip(drawn, results, strict=True) if iou < 0.7 and not doubtful]
    assert not silent
    assert sum(doubtful for iou, doubtful in results if iou > 0.93) < 0.03 * len(results)


def test_a_handle_is_seen_through_and_a_label_is_not():
    photo = np.ones((240, 240, 3), np.float32)
    y, x = np.mgrid[0:240, 0:240]
    body, ring = (abs(x - 100) < 50) & (abs(y - 120) < 60), np.hypot(x - 150, y - 120)
    photo[body | ((ring < 40) & (ring > 27))] = (0.2, 0.2, 0.7)
    label = (abs(x - 100) < 20) & (abs(y - 120) < 20)
    photo[label] = 1
    mask = find_silhouette(photo).mask
    assert mask[label].all() and not mask[(ring < 24) & (x > 155)].any()
    assert mask[(ring < 38) & (ring > 29)].all()


def test_a_shadow_is_left_out():
    photo, shape = draw_product_photo("bottle", "contact shadow", 3)
    found = find_silhouette(photo).mask
    assert (found & ~shape).sum() < 0.02 * shape.sum()


def test_a_part_that_cannot_be_told_is_doubtful():
    photo = np.ones((200, 200, 3), np.float32)
    photo[40:160, 40:160] = 0.9
    assert find_silhouette(photo).sure
    photo[80:160, 80:160] = 1  # of the background's colour to the edge
    assert not find_silhouette(photo).sure


def test_a_grey_product_may_be_cut_off_by_the_border():
    photo = np.ones((200, 160, 3), np.float32)
    photo[60:, 50:110] = 0.8
    mask = find_silhouette(photo).mask
    assert mask[62:198, 52:108].all() and mask.sum() < 1.03 * 140 * 60


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (16, 17), (300, 20)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_photos_of_any_size(shape, level):
    photo = np.full((*shape, 3), level, np.float32)
    assert find_silhouette(photo) is None
    photo[shape[0] // 4 : -(shape[0] // 4) or None, shape[1] // 4 : -(shape[1] // 4) or None, 0] = 1 - level
    find_silhouette(photo)


def test_there_is_nothing_before_an_empty_background():
    assert find_silhouette(np.full((64, 64, 3), 0.8, np.float32)) is None
