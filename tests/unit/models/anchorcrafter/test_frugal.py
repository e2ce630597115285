"""Layers that spare memory: the same numbers as diffusers', for any pieces, with and without gradients."""

import copy

import pytest
import torch
from crafters.models.anchorcrafter import frugal
from crafters.models.anchorcrafter.frugal import SelfAttention, in_pieces, save_memory
from diffusers import AutoencoderKLTemporalDecoder
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.resnet import AlphaBlender
from helpers.plain_anchor import small_system
from helpers.small_models import ANCHOR
from torch import nn

ROWS, FRAMES, HEIGHT, WIDTH = 2, 5, 16, 8


@pytest.fixture(scope="module")
def unets():
    """The network as it is, and with diffusers' own layers."""
    ours = small_system().unet
    plain = copy.deepcopy(ours)
    for name, module in plain.named_modules():
        for kind in (FeedForward, nn.SiLU, AlphaBlender):
            if isinstance(module, kind):
                assert type(module) is not kind
                module.__class__ = kind
        if name.endswith(".attn1"):
            assert isinstance(module.processor, SelfAttention)
            module.set_processor(AttnProcessor2_0())
    return ours, plain


def given():
    draw = torch.Generator().manual_seed(1)
    shapes = ((ROWS, FRAMES, 12, HEIGHT, WIDTH), (ROWS, 20, ANCHOR.cross_attention_dim), (ROWS, 3),
              (ROWS, FRAMES, ANCHOR.block_out_channels[0], HEIGHT, WIDTH))
    sample, context, time_ids, maps = (torch.randn(shape, generator=draw) for shape in shapes)
    return sample, torch.tensor(0.7), context, time_ids, maps


@pytest.mark.parametrize("piece", [7, 64, 1 << 20])
@torch.no_grad()
def test_unet_equals_diffusers_layers(unets, monkeypatch, piece):
    monkeypatch.setattr(frugal, "PIECE", piece)
    ours, plain = (unet.predict(*given()) for unet in unets)
    assert (ours - plain).abs().max() < 1e-5 * plain.abs().max()


@torch.no_grad()
def test_no_layer_sees_more_tokens_than_a_piece_or_a_row(unets, monkeypatch):
    monkeypatch.setattr(frugal, "PIECE", 300)
    seen, hooks = [], []
    for module in unets[0].modules():
        inner = module.to_q if hasattr(module, "heads") and isinstance(module.processor, SelfAttention) else None
        inner = module.net[0] if isinstance(module, FeedForward) else inner
        if inner is not None:
            hooks.append(inner.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[:2])))
    unets[0].predict(*given())
    for hook in hooks:
        hook.remove()
    assert max(rows * tokens for rows, tokens in seen) <= 300
    assert (300 // FRAMES, FRAMES) in seen and (300 // (HEIGHT * WIDTH), HEIGHT * WIDTH) in seen


def test_gradients_are_diffusers(unets, monkeypatch):
    monkeypatch.setattr(frugal, "PIECE", 64)
    gradients = []
    for unet in unets:
        sample, *others = given()
        sample.requires_grad_()
        unet.predict(sample, *others).square().mean().backward()
        gradients.append(sample.grad)
    assert torch.equal(*gradients)


def test_what_is_given_is_left_alone(monkeypatch):
    monkeypatch.setattr(frugal, "PIECE", 6)
    tokens = torch.randn(5, 3, 2)
    kept = tokens.clone()
    with torch.no_grad():
        assert torch.equal(in_pieces(lambda rows: rows * 2, tokens), kept * 2) and torch.equal(tokens, kept)


@torch.no_grad()
def test_vae_equals_diffusers():
    torch.manual_seed(0)
    sizes = {"block_out_channels": (32, 32), "layers_per_block": 1, "down_block_types": ("DownEncoderBlock2D",) * 2}
    plain = AutoencoderKLTemporalDecoder(**sizes).eval()
    for name, parameter in plain.named_parameters():
        if name.endswith("mix_factor"):
            parameter.normal_()
    ours = copy.deepcopy(plain)
    save_memory(ours)
    latents, pictures = torch.randn(4, 4, 8, 8), torch.randn(2, 3, 16, 16)
    kept = latents.clone(), pictures.clone()
    assert torch.equal(ours.decode(latents, num_frames=4).sample, plain.decode(latents, num_frames=4).sample)
    assert torch.equal(ours.encode(pictures).latent_dist.mode(), plain.encode(pictures).latent_dist.mode())
    assert torch.equal(latents, kept[0]) and torch.equal(pictures, kept[1])
