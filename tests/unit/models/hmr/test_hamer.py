"""Released files of HaMeR, Multi-HMR and MANO: their names, what else is in them, and what is refused."""

import argparse
import os
import pickle

import pytest
import torch
import torch.nn.functional as F
from crafters.models.body.body import BodyModelError
from crafters.models.checkpoint import CheckpointError, assign
from crafters.models.hmr.backbones import dinov2_backbone, dinov2_state, vitpose_state
from crafters.models.hmr.files import part, read_released
from crafters.models.hmr.hamer import HaMeR, load_hamer
from crafters.models.hmr.mano import load_mano
from crafters.models.hmr.multihmr import MultiHMR
from helpers.mano_file import write_mano
from helpers.parity_case import named_weight


def decoder(prefix, layers, token, context, inner):
    names = {
        "to_token_embedding.weight": (1024, token),
        "to_token_embedding.bias": (1024,),
        "pos_embedding": (1, 1, 1024),
    }
    for i in range(layers):
        for j, more in enumerate(
            (
                {"to_qkv.weight": (3 * inner, 1024)},
                {"to_kv.weight": (2 * inner, context), "to_q.weight": (inner, 1024)},
                {
                    "net.0.weight": (1024, 1024),
                    "net.0.bias": (1024,),
                    "net.3.weight": (1024, 1024),
                    "net.3.bias": (1024,),
                },
            )
        ):
            out = {} if j == 2 else {"to_out.0.weight": (1024, inner), "to_out.0.bias": (1024,)}
            here = f"transformer.layers.{i}.{j}"
            names |= {f"{here}.norm.weight": (1024,), f"{here}.norm.bias": (1024,)}
            names |= {f"{here}.fn.{name}": shape for name, shape in (more | out).items()}
    return {prefix + name: shape for name, shape in names.items()}


def linear(name, out, into):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def blocks(prefix, count, dim, scale):
    names = {}
    for i in range(count):
        here = f"{prefix}blocks.{i}."
        for norm in ("norm1", "norm2"):
            names |= {f"{here}{norm}.weight": (dim,), f"{here}{norm}.bias": (dim,)}
        names |= linear(here + "attn.qkv", 3 * dim, dim) | linear(here + "attn.proj", dim, dim)
        names |= linear(here + "mlp.fc1", 4 * dim, dim) | linear(here + "mlp.fc2", dim, 4 * dim)
        names |= {f"{here}{ls}.gamma": (dim,) for ls in ("ls1", "ls2") if scale}
    return names


def on_meta(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def test_released_hamer_fits_name_by_name():
    shapes = blocks("backbone.", 32, 1280, scale=False)
    shapes |= {"backbone.pos_embed": (1, 193, 1280), "backbone.patch_embed.proj.weight": (1280, 3, 16, 16)}
    shapes |= {"backbone.patch_embed.proj.bias": (1280,), "backbone.last_norm.weight": (1280,)}
    shapes |= {"backbone.last_norm.bias": (1280,)} | decoder("mano_head.transformer.", 6, 1, 1280, 512)
    for name, width in (("decpose", 96), ("decshape", 10), ("deccam", 3)):
        shapes |= linear(f"mano_head.{name}", width, 1024)
    shapes |= {f"mano_head.init_{name}": (1, n) for name, n in (("hand_pose", 96), ("betas", 10), ("cam", 3))}
    state = on_meta(shapes)
    with torch.device("meta"):
        network = HaMeR()
    backbone = {f"backbone.{k}": v for k, v in vitpose_state(part(state, "backbone.")).items()}
    assign(network, backbone | {k: v for k, v in state.items() if not k.startswith("backbone.")}, "hamer.ckpt")
    assert 660e6 < sum(p.numel() for p in network.parameters()) < 680e6


def test_released_multihmr_fits_name_by_name():
    shapes = blocks("", 24, 1024, scale=True)
    shapes |= {"cls_token": (1, 1, 1024), "mask_token": (1, 1024), "pos_embed": (1, 1 + 37 * 37, 1024)}
    shapes |= {"patch_embed.proj.weight": (1024, 3, 14, 14), "patch_embed.proj.bias": (1024,)}
    shapes |= {"norm.weight": (1024,), "norm.bias": (1024,)}
    state = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    head = "x_attention_head."
    others = decoder(head + "transformer.", 2, 1454, 1123, 256)
    for name, width in (("decpose", 318), ("decshape", 10), ("deccam", 3), ("decexpression", 10)):
        others |= linear(head + name, width, 1024)
    sizes = {"body_pose": 318, "betas": 10, "betas_kid": 11, "cam": 3, "expression": 10}
    others |= {f"{head}init_{name}": (1, width) for name, width in sizes.items()}
    others |= {f"{head}cross_{kind}_{axis}": (64, 1123) for kind in ("queries", "values") for axis in "xy"}
    for name, out in (("mlp_classif", 1), ("mlp_offset", 2)):
        others |= linear(f"{name}.0", 1024, 1024) | linear(f"{name}.2", out, 1024)
    with torch.device("meta"):
        network = MultiHMR()
    backbone = {f"backbone.{k}": v for k, v in dinov2_state(state, 896).items()}
    assign(network, backbone | on_meta(others), "multiHMR_896_L.pt")
    assert 9.9e6 < sum(p.numel() for p in network.x_attention_head.transformer.parameters()) < 10.1e6


def test_dinov2_twin_equals_the_published_network_at_another_size():
    dim, depth, heads, image = 24, 2, 3, 70
    shapes = blocks("", depth, dim, scale=True) | {"cls_token": (1, 1, dim), "mask_token": (1, dim)}
    shapes |= {"pos_embed": (1, 1 + 49, dim), "patch_embed.proj.weight": (dim, 3, 14, 14)}
    shapes |= {"patch_embed.proj.bias": (dim,), "norm.weight": (dim,), "norm.bias": (dim,)}
    state = {name: named_weight(name, shape).double() for name, shape in shapes.items()}
    with torch.device("meta"):
        twin = dinov2_backbone(dim, depth, heads, image)
    assign(twin, dinov2_state(state, image), "the twin")
    picture = torch.randn(2, 3, image, image, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = twin.eval()(picture).last_hidden_state
    assert (found - plain_dinov2(state, picture, depth, heads)).abs().max() < 1e-6


def plain_dinov2(state, picture, depth, heads):
    """DINOv2 as its paper and its positions' rule have it: scale (n + 0.1)/m, bicubic, no antialiasing."""
    w = state.__getitem__
    x = F.conv2d(picture, w("patch_embed.proj.weight"), w("patch_embed.proj.bias"), stride=14)
    side, grid = x.shape[-1], w("pos_embed")[:, 1:].float().view(1, 7, 7, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, scale_factor=((side + 0.1) / 7,) * 2, mode="bicubic").double()
    x = x.flatten(2).mT + grid.flatten(2).mT
    x = torch.cat([(w("cls_token") + w("pos_embed")[:, :1]).expand(len(x), -1, -1), x], 1)

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w(name + ".weight"), w(name + ".bias"), 1e-6)

    def line(x, name):
        return F.linear(x, w(name + ".weight"), w(name + ".bias"))

    for i in range(depth):
        here = f"blocks.{i}."
        q, k, v = line(norm(x, here + "norm1"), here + "attn.qkv").unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        seen = ((q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + line(seen, here + "attn.proj") * w(here + "ls1.gamma")
        x = x + line(F.gelu(line(norm(x, here + "norm2"), here + "mlp.fc1")), here + "mlp.fc2") * w(here + "ls2.gamma")
    return norm(x, "norm")


def test_settings_beside_the_weights_are_passed_over(tmp_path):
    weights = {"a": torch.ones(2)}
    torch.save({"args": argparse.Namespace(img_size=896), "model_state_dict": weights}, tmp_path / "m.pt")
    assert read_released(tmp_path / "m.pt")[0]["a"].equal(weights["a"])


def test_files_that_would_run_code_or_are_others_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"state_dict": {"a": torch.ones(2)}, "more": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="would run code"):
        read_released(tmp_path / "evil.ckpt")
    (tmp_path / "mano.pkl").write_bytes(pickle.dumps({"f": Evil()}))
    with pytest.raises(BodyModelError, match="mkdir"):
        load_mano(tmp_path / "mano.pkl")
    assert not (tmp_path / "ran").exists()
    torch.save({"backbone.pos_embed": torch.zeros(1, 193, 8)}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="does not fit"):
        load_hamer(tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="no file"):
        load_hamer(tmp_path / "none.ckpt")
    with pytest.raises(BodyModelError, match="register"):
        load_mano(tmp_path / "none.pkl")


def test_mano_moves_with_its_wrist(tmp_path):
    hand = load_mano(write_mano(tmp_path / "MANO_RIGHT.pkl"))
    rest = torch.eye(3).expand(1, 16, 3, 3)
    turned = rest.clone()
    turned[:, 0] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    still, moved = (hand.vertices(rotations, torch.zeros(1, 10))[0] for rotations in (rest, turned))
    assert torch.allclose(still, hand.template, atol=1e-6)
    wrist = hand.regressor[0] @ hand.template
    assert torch.allclose(moved - wrist, (still - wrist) @ turned[0, 0].T, atol=1e-5)
    assert len(hand.faces) == 1538 + 14
    with pytest.raises(BodyModelError, match="778"):
        load_mano(write_mano(tmp_path / "small.pkl", 160))
