"""The colours of AnchorCrafter's object conditions."""

import pytest
import torch
from crafters.preprocessors.condition_colours import (
    depth_condition,
    depth_levels,
    hand_colour,
    hand_condition,
    hand_light,
    inferno,
)

VIEW = torch.tensor([0.0, 0.0, -1.0])


def test_the_table_at_the_levels_the_published_product_shows():
    rows = inferno(torch.tensor([0, 190, 208, 219, 255], dtype=torch.uint8))
    assert rows.tolist() == [[0, 0, 3], [249, 139, 11], [252, 172, 16], [251, 194, 40], [253, 255, 165]]
    assert rows.dtype == torch.uint8


def test_one_range_for_the_whole_clip_and_the_whole_frame():
    depth = torch.zeros(2, 2, 2)
    depth[0, 0, 0], depth[1, 1, 1] = 4.0, 2.0
    assert depth_levels(depth)[:, [0, 1], [0, 1]].tolist() == [[255, 0], [0, 127]]


def test_depth_is_black_off_the_product_and_coloured_on_it():
    depth = torch.linspace(1, 2, 12).view(1, 3, 4)
    mask = torch.zeros(1, 6, 8)
    mask[0, 2:5, 3:7] = 1
    condition = depth_condition(depth, mask)
    assert condition.shape == (1, 6, 8, 3)
    assert torch.equal(condition.sum(-1) > 0, mask > 0)


def test_depth_finer_than_the_frame_is_averaged():
    depth = torch.tensor([1.0, 0, 0, 0]).repeat(32, 8)[None]
    condition = depth_condition(depth, torch.ones(1, 8, 8))
    assert condition[..., 1].unique().tolist() == [64]


@pytest.mark.parametrize("value", [1.0, float("inf"), float("nan")])
def test_depth_without_a_range_is_refused(value):
    depth = torch.ones(1, 2, 2)
    depth[0, 0, 0] = value
    with pytest.raises(ValueError, match="the same everywhere, or not finite"):
        depth_levels(depth)


def test_other_lengths_and_sizes_are_refused():
    with pytest.raises(ValueError, match="3 frames but the product mask 2"):
        depth_condition(torch.rand(3, 4, 4), torch.ones(2, 8, 8))
    with pytest.raises(ValueError, match="differ in size"):
        hand_condition(torch.zeros(2, 4, 4, 3), torch.ones(2, 8, 8))


def test_light_grows_towards_the_camera_and_stays_behind():
    normals = torch.tensor([[0, 0, -1.0], [0, 0.8, -0.6], [1, 0, 0], [0, 0, 1]])
    light = hand_light(normals, VIEW)
    torch.testing.assert_close(light, torch.tensor([1.05, 0.81, 0.45, 0.45]))
    assert hand_colour(light)[0].tolist() == [215, 228, 243]


def test_the_product_bites_into_the_hands():
    render = torch.full((1, 2, 2, 3), 0.8)
    mask = torch.tensor([[[1, 0], [0.4, 0.6]]])
    cut = hand_condition(render, mask)
    assert (cut[..., 0] > 0).tolist() == [[[False, True], [True, False]]]
    assert (render == 0.8).all()
