"""What the demo's measures see."""

from types import SimpleNamespace

import numpy as np
import pytest
from crafters.metrics.landmarks import body, body_distance
from crafters.metrics.masks import iou, overlap
from crafters.preprocessors.pose.placement import Placement
from crafters.proof.judge import find_product, flicker, judge_presenting, report
from crafters.scenes.placed import place_scene
from crafters.scenes.scene import make_scene
from PIL import Image

pytestmark = pytest.mark.slow

FRAMES = 1


@pytest.fixture(scope="module", params=[0, 1])
def scene(request):
    """A black and white bag before a black shirt; a white mug."""
    return make_scene(request.param, "test", (192, 256), FRAMES)


def score(scene, clip, mask=None) -> float:
    """IoU of where the product is found in a clip with where it is, in the scene or by `mask`."""
    mask = scene.product_mask if mask is None else mask
    return iou(*overlap(*(where.astype(np.uint8) * 255 for where in (mask, find_product(clip, scene)))))


def test_nobody_holds_anything_in_the_clip_without_product(scene):
    bare = scene.without_product
    assert bare.shape == scene.frames.shape and bare.dtype == np.uint8
    changed = np.abs(bare.astype(int) - scene.frames).max(-1) > 30
    assert changed[scene.product_mask].mean() > 0.6 and changed[~scene.product_mask].mean() < 0.01


def test_the_product_is_found_where_it_is(scene):
    assert score(scene, scene.frames) > 0.85


def test_a_product_elsewhere_is_found_elsewhere(scene):
    moved = scene.without_product.copy()
    mask = np.roll(scene.product_mask, 20, axis=1)
    moved[mask] = np.roll(scene.frames, 20, axis=1)[mask]
    assert score(scene, moved, mask) > 0.7 and score(scene, moved) < 0.7


def test_no_product_is_found_where_none_is(scene):
    assert not find_product(scene.without_product, scene).any()
    other = scene.frames.copy()
    other[scene.product_mask] = (120, 60, 160)  # a thing of another colour in its place
    assert score(scene, other) < 0.3


def test_a_movement_placed_on_the_photo_is_judged_by_where_it_belongs(scene):
    """The shipped graph moves the clip's person to the photo's: a perfect video is not where the clip was."""
    placement = Placement((0.9, 0.9), (0.08, 0.06), scene.size, scene.size)
    placed = place_scene(scene, placement)

    values = judge_presenting(placed, placed.frames, lambda frame: placed.poses[0])
    assert values["body LMD, %"] == 0 and values["PSNR, dB"] == 100 and values["Obj-IoU"] > 0.75
    where = [body(poses[0], *scene.size) for poses in (scene.poses, placed.poses)]
    assert body_distance(*where) > 0.03 * min(scene.size)
    corner = placed.frames[:, :5, :5]
    assert (corner == scene.background[:1, :5, :5]).all(), "the room is the photo's, and everywhere"


def test_flicker_is_the_change_of_what_stands_still():
    person, product = np.zeros((2, 3, 40, 40), bool)
    person[1, :10], product[:, 20:25] = True, True
    clip = np.full((3, 40, 40, 3), 100, np.uint8)
    clip[1] += 6  # and back again
    clip[1, :14] += 50  # the person came by
    clip[2, 17:28] += 90  # before and behind the product, and within 4 px of it
    scene = SimpleNamespace(person_mask=person, product_mask=product)
    assert flicker(scene, clip) == 6
    alone = SimpleNamespace(person_mask=person[:1], product_mask=product[:1])
    assert np.isnan(flicker(alone, clip[:1]))


def test_report_has_every_scene_their_means_and_sheets(tmp_path, capsys):
    sheets = [np.full((2, 3, 3), level, np.uint8) for level in (10, 20)]
    judged = [("0 mug", ({"PSNR": 20.0, "IoU": np.nan}, sheets[0])), ("1 bag", ({"PSNR": 22.5, "IoU": 0.5}, sheets[1]))]
    report(judged, tmp_path / "sheet.png")
    assert capsys.readouterr().out.splitlines() == [
        "0 mug PSNR 20; IoU nan;", "1 bag PSNR 22.5; IoU 0.5;", "mean PSNR 21.25; IoU 0.5;",
    ]
    assert np.array_equal(np.array(Image.open(tmp_path / "sheet.png")), np.concatenate(sheets))
