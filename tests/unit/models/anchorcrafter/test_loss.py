"""The HOI-region reweighting loss on cases that can be worked out by hand."""

import math

import pytest
import torch
from crafters.models.anchorcrafter.loss import hoi_loss, hoi_region, hoi_weight, network_input

SIZE = 64  # pixels; eight latent cells a side


def depth(*boxes):
    """[1, F, 3, S, S] black (−1), one (top, left, side) of coloured depth per frame; None for a frame without."""
    frames = torch.full((1, len(boxes), 3, SIZE, SIZE), -1.0)
    for frame, box in enumerate(boxes):
        if box:
            top, left, side = box
            frames[0, frame, :, top : top + side, left : left + side] = 0.2
    return frames


def test_the_region_is_where_green_is_not_black():
    frames = depth((8, 16, 24))
    frames[0, 0, 0, 0, 0] = 0.5  # red alone is no object
    region = hoi_region(frames)
    assert region.shape == (1, 1, 1, SIZE, SIZE) and region.sum() == 24 * 24
    assert region[0, 0, 0, 8:32, 16:40].all()


def test_hands_join_the_region_when_pre_training():
    product, hand = depth((0, 0, 16)), depth((8, 8, 16))
    assert hoi_region(product).sum() == 256
    assert hoi_region(product, hand).sum() == 256 + 256 - 64
    assert hoi_region(depth(None), hand).sum() == 256
    assert hoi_region(depth(None), depth(None)).sum() == 0


def test_a_hand_pixel_is_any_that_is_not_black():
    hand = depth(None)
    hand[0, 0, 2, 5, 7] = -0.5
    assert hoi_region(depth(None), hand).nonzero().tolist() == [[0, 0, 0, 5, 7]]


@pytest.mark.parametrize(("side", "cells"), [(8, 1), (16, 4), (32, 16), (64, 64)])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_the_weight_is_frame_over_region(side, cells, rate):
    weight = hoi_weight(hoi_region(depth((0, 0, side))), rate)
    assert weight.shape == (1, 1, 1, 8, 8)
    inside = weight[0, 0, 0, : side // 8, : side // 8]
    assert (inside == rate * 64 / cells).all()
    assert weight.sum() == pytest.approx(rate * 64 + (64 - cells))


def test_each_frame_has_its_own_area():
    weight = hoi_weight(hoi_region(depth((0, 0, 16), None, (8, 8, 32))))
    assert weight[0, 0].max() == 16 and weight[0, 2].max() == 4
    assert (weight[0, 1] == 1).all()


def test_a_region_lost_in_down_sampling_is_none():
    # Nearest takes the first pixel of each cell of eight.
    assert (hoi_weight(hoi_region(depth((1, 1, 7)))) == 1).all()


@pytest.mark.parametrize("sigma", [0.01, 1.0, 50.0])
def test_network_input(sigma):
    latents, noise = torch.full((1, 2, 4, 3, 3), 2.0), torch.full((1, 2, 4, 3, 3), -1.0)
    scaled, timestep = network_input(latents, noise, torch.tensor([sigma]))
    assert scaled.flatten().tolist() == pytest.approx([(2 - sigma) / math.sqrt(sigma**2 + 1)] * 72, rel=1e-5)
    assert timestep.tolist() == pytest.approx([0.25 * math.log(sigma)])


def case(sigmas, frames=2):
    torch.manual_seed(0)
    shape = (len(sigmas), frames, 4, 8, 8)
    latents, noise, sigma = torch.randn(shape), torch.randn(shape), torch.tensor(sigmas)
    scaled, _ = network_input(latents, noise, sigma)
    wide = sigma.view(-1, 1, 1, 1, 1)
    perfect = (noise - wide * latents) / (wide**2 + 1).sqrt()  # v that leads back to the latents
    return perfect, scaled, latents, sigma


@pytest.mark.parametrize("sigmas", [[0.1], [1.0], [20.0], [0.3, 5.0]])
def test_a_perfect_network_loses_nothing(sigmas):
    perfect, scaled, latents, sigma = case(sigmas)
    assert hoi_loss(perfect, scaled, latents, sigma, torch.ones(1)) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_error_of_v():
    # With c_out = −σ/√(σ²+1), the EDM weight turns an error e of v into e² at every σ.
    perfect, scaled, latents, sigma = case([0.3, 1.0, 20.0])
    assert hoi_loss(perfect + 0.5, scaled, latents, sigma, torch.ones(1)) == pytest.approx(0.25, rel=1e-3)


def test_the_weight_multiplies_where_it_lies():
    perfect, scaled, latents, sigma = case([1.0], frames=1)
    weight = hoi_weight(hoi_region(depth((0, 0, 16))))  # four cells of 16
    error = torch.zeros_like(perfect)
    error[..., :2, :2] = 0.5
    assert hoi_loss(perfect + error, scaled, latents, sigma, weight) == pytest.approx(0.25 * 16 * 4 / 64, rel=1e-4)
    elsewhere = torch.zeros_like(perfect)
    elsewhere[..., 4:6, 4:6] = 0.5
    assert hoi_loss(perfect + elsewhere, scaled, latents, sigma, weight) == pytest.approx(0.25 * 4 / 64, rel=1e-4)


def test_gradients_reach_the_network():
    perfect, scaled, latents, sigma = case([0.5, 2.0])
    output = (perfect + 0.1).requires_grad_()
    hoi_loss(output, scaled, latents, sigma, torch.ones(1)).backward()
    torch.testing.assert_close(output.grad, torch.full_like(output, 2 * 0.1 / output.numel()), rtol=1e-3, atol=0)
