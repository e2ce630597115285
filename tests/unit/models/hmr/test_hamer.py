"""Released files of HaMeR, Multi-HMR and MANO: their names, what else is in them, and what is refused."""

import argparse
import os
import pickle

import pytest
import torch
import torch.nn.functional as F
from crafters.models.body.layout import BodyModelError
from crafters.models.checkpoint import CheckpointError, read
from crafters.models.hmr import hamer, multihmr
from crafters.models.hmr.mano import load_mano
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


def loaded(monkeypatch, of, state, config):
    """The network that a released file of these tensors becomes."""
    monkeypatch.setattr(of, "read", lambda path, stand_ins: (state, config))
    return {hamer: hamer.load_hamer, multihmr: multihmr.load_multihmr}[of]("released")


def test_released_hamer_fits_name_by_name(monkeypatch):
    shapes = blocks("backbone.", 32, 1280, scale=False)
    shapes |= {"backbone.pos_embed": (1, 193, 1280), "backbone.patch_embed.proj.weight": (1280, 3, 16, 16)}
    shapes |= {"backbone.patch_embed.proj.bias": (1280,), "backbone.last_norm.weight": (1280,)}
    shapes |= {"backbone.last_norm.bias": (1280,)} | decoder("mano_head.transformer.", 6, 1, 1280, 512)
    for name, width in (("decpose", 96), ("decshape", 10), ("deccam", 3)):
        shapes |= linear(f"mano_head.{name}", width, 1024)
    shapes |= {f"mano_head.init_{name}": (1, n) for name, n in (("hand_pose", 96), ("betas", 10), ("cam", 3))}
    network = loaded(monkeypatch, hamer, on_meta(shapes | {"discriminator.weight": (1,)}), {})
    assert 660e6 < sum(p.numel() for p in network.parameters()) < 680e6


def multihmr_shapes(dim, depth, grid, image, head_depth):
    """Of the files' tensors; `grid`: patches along a side of the picture that DINOv2 was trained on."""
    vit, head, width = "backbone.encoder.", "x_attention_head.", dim + 99
    shapes = blocks(vit, depth, dim, scale=True)
    shapes |= {vit + "cls_token": (1, 1, dim), vit + "mask_token": (1, dim), vit + "pos_embed": (1, 1 + grid**2, dim)}
    shapes |= {vit + "patch_embed.proj.weight": (dim, 3, 14, 14), vit + "patch_embed.proj.bias": (dim,)}
    shapes |= {vit + "norm.weight": (dim,), vit + "norm.bias": (dim,), "smpl_layer.v_template": (3, 3)}
    shapes |= decoder(head + "transformer.", head_depth, width + 331, width, 256)
    for name, out in (("decpose", 318), ("decshape", 10), ("deccam", 3), ("decexpression", 10)):
        shapes |= linear(head + name, out, 1024)
    sizes = {"body_pose": 318, "betas": 10, "betas_kid": 11, "cam": 3, "expression": 10}
    shapes |= {f"{head}init_{name}": (1, length) for name, length in sizes.items()}
    shapes |= {f"{head}cross_{kind}_{axis}": (image // 14, width) for kind in ("queries", "values") for axis in "xy"}
    for name, out in (("mlp_classif", 1), ("mlp_offset", 2)):
        shapes |= linear(f"{name}.0", dim, dim) | linear(f"{name}.2", out, dim)
    return shapes


def test_released_multihmr_fits_name_by_name(monkeypatch):
    network = loaded(monkeypatch, multihmr, on_meta(multihmr_shapes(1024, 24, 37, 896, 2)), {})
    assert 9.9e6 < sum(p.numel() for p in network.x_attention_head.transformer.parameters()) < 10.1e6


def test_multihmrs_tokens_are_those_of_the_published_dinov2_at_another_size(monkeypatch):
    dim, depth, heads, image = 24, 2, 3, 70
    shapes = multihmr_shapes(dim, depth, 7, image, 1)
    state = {name: named_weight(name, shape).double() for name, shape in shapes.items()}
    config = {"image": image, "dim": dim, "depth": depth, "heads": heads, "head_depth": 1}
    network = loaded(monkeypatch, multihmr, state, config)
    picture = torch.randn(2, 3, image, image, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vit = {name.removeprefix("backbone.encoder."): tensor for name, tensor in state.items()}
    expected = plain_dinov2(vit, picture, depth, heads)[:, 1:]
    assert (network.tokens(picture) - expected).abs().max() < 1e-6


def test_positions_that_are_no_square_are_refused(monkeypatch):
    shapes = multihmr_shapes(24, 1, 7, 70, 1) | {"backbone.encoder.pos_embed": (1, 49, 24)}
    with pytest.raises(CheckpointError, match=r"released is not .*pos_embed has the shape \(1, 49, 24\)"):
        loaded(monkeypatch, multihmr, on_meta(shapes), {"image": 70, "dim": 24, "depth": 1, "heads": 3})


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
    assert read(tmp_path / "m.pt", multihmr.SETTINGS)[0]["a"].equal(weights["a"])


def test_files_that_would_run_code_or_are_others_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"state_dict": {"a": torch.ones(2)}, "more": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="would run code"):
        read(tmp_path / "evil.ckpt", hamer.SETTINGS)
    (tmp_path / "mano.pkl").write_bytes(pickle.dumps({"f": Evil()}))
    with pytest.raises(BodyModelError, match="mkdir"):
        load_mano(tmp_path / "mano.pkl")
    assert not (tmp_path / "ran").exists()
    torch.save({"backbone.pos_embed": torch.zeros(1, 193, 8)}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="does not fit"):
        hamer.load_hamer(tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="no file"):
        hamer.load_hamer(tmp_path / "none.ckpt")
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
