"""The object-depth condition: networks, their steadying, the relief, and stand-ins."""

import numpy as np
import pytest
import torch
from crafters.models.checkpoint import CheckpointError
from crafters.models.loaded import Loaded
from crafters.preprocessors.condition_colours import inferno
from crafters.preprocessors.product.object_depth import DepthNetwork, Steady, load_depth, object_depth, relief
from crafters.preprocessors.product.stand_in import fit_stand_in, proportions

SIZE = 4, 60, 80


def box_mask(top=20, left=30, height=24, width=16):
    mask = torch.zeros(SIZE)
    mask[:, top : top + height, left : left + width] = 1
    return mask


def level(colours):
    """The inferno levels of colours [N, 3]."""
    table = inferno(torch.arange(256).byte())
    match = (colours[:, None] == table).all(-1)
    assert match.any(1).all()
    return match.float().argmax(1)


def test_relief_has_the_published_colours_and_black_is_exactly_black():
    mask = box_mask()
    mask[3, 20:44, 30:46] = 0
    depth = object_depth(torch.rand(*SIZE, 3), mask)
    assert depth.dtype == torch.uint8 and depth.shape == (*SIZE, 3)
    assert not depth[mask < 0.5].any() and depth[mask > 0.5].any(-1).all()
    levels = level(depth[0][mask[0] > 0.5])
    assert 190 <= levels.min() and levels.max() <= 225
    assert level(depth[0, 32, 38][None]) > level(depth[0, 20, 30][None])


def test_relief_is_brighter_where_the_product_is_nearer_and_fingers_do_not_dent_it():
    mask = box_mask() > 0.5
    mask[1] = False
    mask[1, 10:50, 25:55] = True
    levels = [level(frame[seen]).float().mean() for frame, seen in zip(relief(mask), mask, strict=True)]
    assert levels[1] > levels[0]
    whole, bitten = box_mask() > 0.5, box_mask() > 0.5
    bitten[:, 30:34, 30:40] = False
    assert (relief(bitten)[0, 32, 43].int() - relief(whole)[0, 32, 43].int()).abs().max() <= 8


def test_a_network_that_wanders_is_steadied_on_the_background():
    torch.manual_seed(0)
    scene = torch.rand(SIZE[1:]) * 2 + 1
    product = box_mask()[0] > 0.5
    steady, out = Steady(), []
    for frame in range(4):
        true = scene.clone()
        true[product] = 4 + 0.2 * frame  # it comes nearer
        true[:12, :20] += 0.5 * frame  # somebody moves: no background
        out.append((steady((1 + 0.2 * frame) * true - 0.3 * frame, product), true))
    for depth, true in out:
        torch.testing.assert_close(depth, true, atol=1e-4, rtol=0)


def test_network_range_is_the_clips_and_shape_survives():
    images, mask = torch.rand(*SIZE, 3), box_mask()
    near = torch.linspace(0, 1, 80).view(1, 80).expand(60, 80)
    depth = object_depth(images, mask, lambda frame: near)
    assert not depth[mask < 0.5].any()
    rows = level(depth[0][mask[0] > 0.5]).view(24, 16).float()
    assert (rows.diff(dim=1) > 0).all() and (depth == depth[:1]).all()
    assert rows.min() > 85 and rows.max() < 160  # the range is of the full frame


@pytest.mark.parametrize(
    ("mask", "said"), [(torch.zeros(SIZE), "visible in no frame"), (torch.ones(2, 60, 80), "The mask has 2 frames")]
)
def test_a_mask_that_cannot_be_used_is_said(mask, said):
    with pytest.raises(ValueError, match=said):
        object_depth(torch.rand(*SIZE, 3), mask)


def tiny_depth_anything():
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False, apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        head_hidden_size=8,
    )
    return DepthAnythingForDepthEstimation(config)


def tiny_dpt():
    from transformers import DPTConfig, DPTForDepthEstimation

    config = DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=32,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
    )
    return DPTForDepthEstimation(config)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "size"), [(tiny_depth_anything, (518, 686)), (tiny_dpt, (384, 384))])
def test_networks_load_from_their_folder(make, size, tmp_path):
    torch.manual_seed(0)
    made = make().eval()
    made.save_pretrained(tmp_path)
    network = DepthNetwork(Loaded(load_depth(tmp_path)))
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    depth = network(frame)
    assert depth.shape == size
    assert torch.isfinite(depth).all() and torch.equal(depth, network(frame))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="is a bert model"):
        load_depth(tmp_path)


def test_a_stand_in_takes_the_products_proportions_and_keeps_place_and_area():
    mask = box_mask()
    depth = relief(mask > 0.5).float() / 255
    fitted, shape = fit_stand_in(depth, mask, aspect=1.5)
    assert proportions(shape) == pytest.approx(1.5, rel=0.06)
    assert shape.sum() == pytest.approx(float(mask.sum()), rel=0.08)
    for axis in (1, 2):
        middle = [part[0].nonzero().float().mean(0)[axis - 1] for part in (mask, shape)]
        assert abs(middle[0] - middle[1]) <= 1
    assert torch.equal(fitted.any(-1), shape > 0.5)
    same, kept = fit_stand_in(depth, mask, proportions(mask))
    assert torch.equal(same, depth) and torch.equal(kept, mask)
    larger = fit_stand_in(depth, mask, proportions(mask), scale=1.5, shift=(0.5, 0))[1]
    assert larger.sum() == pytest.approx(2.25 * float(mask.sum()), rel=0.05)
    assert larger[0].nonzero().float().mean(0)[1] - mask[0].nonzero().float().mean(0)[1] == pytest.approx(8, abs=1)


def test_a_stand_in_of_another_shape_is_refused():
    mask = box_mask()
    depth = relief(mask > 0.5)
    with pytest.raises(ValueError, match="stretched"):
        fit_stand_in(depth, mask, aspect=60)
    with pytest.raises(ValueError, match="shows the product in no frame"):
        fit_stand_in(depth, torch.zeros(SIZE), aspect=1)
    with pytest.raises(ValueError, match="but the mask"):
        fit_stand_in(depth, mask[:2], aspect=1)
