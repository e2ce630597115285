import json
import logging
import struct

import pytest
import torch
from crafters.models.anicrafter.checkpoint import LORA, AniCrafter, convert
from crafters.models.checkpoint import CheckpointError
from helpers.small_wan import TARGETS, anicrafter_shapes, random_state
from safetensors.torch import load_file, save_file

STATE = random_state(anicrafter_shapes(32, 3, 64, rank=2))


def write(path, state, **extra):
    save_file({name: tensor.contiguous() for name, tensor in {**state, **extra}.items()}, path)
    return path


def test_two_shards_are_read_as_one(tmp_path, caplog):
    names = list(STATE)
    frozen = {"pipe.vae.model.conv1.weight": torch.zeros(3), "pipe.dit.blocks.0.norm3.bias": torch.zeros(3)}
    shards = [
        write(tmp_path / "10.safetensors", {name: STATE[name] for name in names[:31]}, **frozen),
        write(tmp_path / "11.safetensors", {name: STATE[name] for name in names[31:]}),
    ]
    with caplog.at_level(logging.INFO):
        weights = AniCrafter.from_files(shards)
    assert "2 tensors that are not AniCrafter's own are ignored" in caplog.text
    assert weights.blocks == 3 and weights.embedders.dim == 32 and len(weights.lora) == 3 * len(TARGETS)
    a, b = weights.lora["blocks.2.ffn.0"]
    assert torch.equal(a, STATE["pipe.dit.blocks.2.ffn.0.lora_A.default.weight"]) and b.shape == (64, 2)
    host = weights.host_lora()
    assert len(host) == 2 * len(weights.lora)
    assert torch.equal(
        host["diffusion_model.blocks.1.cross_attn.k.lora_B.weight"],
        STATE["pipe.dit.blocks.1.cross_attn.k.lora_B.default.weight"],
    )
    stack = weights.embedders.state_dict()
    assert torch.equal(stack["smplx_embedding.12.bias"], STATE["smplx_embedding.12.bias"])


def test_converted_file_holds_the_same(tmp_path):
    shards = [write(tmp_path / "all.safetensors", STATE, frozen=torch.zeros(1000))]
    convert(shards, tmp_path / "small.safetensors", torch.bfloat16)
    small = load_file(tmp_path / "small.safetensors")
    assert len(small) == len(STATE)
    assert small["blend_embedding.0.weight"].dtype == torch.float32
    one, other = AniCrafter.from_files(shards), AniCrafter.from_files([tmp_path / "small.safetensors"])
    assert one.lora.keys() == other.lora.keys()
    for name in one.lora:
        assert all(torch.equal(x.bfloat16(), y) for x, y in zip(one.lora[name], other.lora[name], strict=True))
    for name, tensor in one.embedders.state_dict().items():
        assert torch.equal(tensor, other.embedders.state_dict()[name])


def test_a_large_shard_is_not_read_whole(tmp_path):
    """A file of 4 GB, all hole but for our tensors."""
    resource = pytest.importorskip("resource")
    size = 2**32
    header, offset, data = {"frozen": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}, size, []
    for name, tensor in STATE.items():
        end = offset + tensor.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        data.append(tensor.numpy().tobytes())
        offset = end
    text = json.dumps(header).encode()
    with open(tmp_path / "huge.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.seek(size, 1)
        file.writelines(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    weights = AniCrafter.from_files([tmp_path / "huge.safetensors"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    a, _ = weights.lora["blocks.0.self_attn.q"]
    assert torch.equal(a, STATE["pipe.dit.blocks.0.self_attn.q.lora_A.default.weight"])


def without(*words):
    return {name: tensor for name, tensor in STATE.items() if not all(word in name for word in words)}


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (without("blend_embedding"), "lacks blend_embedding"),
        (without("blocks"), "has no LoRA"),
        (without("blocks.1.ffn.0", "lora_A"), "blocks.1.ffn.0 has lora_B alone"),
        (without("blocks.1.self_attn.v"), "block 1 lacks the LoRA of self_attn.v"),
        (without("blocks.1."), "block 1 lacks the LoRA of cross_attn.k"),
        ({**STATE, "pipe.dit.blocks.0.norm3.lora_A.default.weight": torch.ones(2, 2)}, "no part of Wan .*norm3"),
        ({**STATE, "blocks.0.self_attn.q.lora_magnitude_vector": torch.ones(2)}, r"plain LoRA \(lora_magnitude, in"),
        ({**STATE, "blocks.0.self_attn.q.lokr_w1": torch.ones(2, 2)}, r"plain LoRA \(lokr, in"),
        ({**STATE, "blocks.0.self_attn.q.diff_b": torch.ones(2)}, r"plain LoRA \(diff_b, in"),
        ({**STATE, "blocks.0.norm3.diff": torch.ones(2)}, r"plain LoRA \(diff, in blocks\.0\.norm3"),
        ({**STATE, "more.blend_embedding.0.weight": torch.ones(2)}, r"blend_embedding\.0\.weight twice"),
        ({**STATE, "blocks.0.ffn.0.lora_A.weight": torch.ones(2)}, r"blocks\.0\.ffn\.0 A twice"),
        ({**STATE, "blocks.0.ffn.0.alpha": torch.ones(2)}, "LoRA of sizes"),
        ({**STATE, "blend_embedding.0.weight": torch.ones(2, dtype=torch.int8)}, "quantised to int8"),
        ({**STATE, "pipe.dit.blocks.0.ffn.0.lora_A.default.weight": torch.ones(3, 32)}, "LoRA of sizes"),
        ({**STATE, "smplx_embedding.2.bias": torch.ones(4)}, "of another size"),
        ({**STATE, "smplx_embedding.3.bias": torch.ones(4)}, "1 unknown"),
        (without("smplx_embedding.8.bias"), "1 missing"),
        ({"blocks.0.self_attn.q.weight": torch.ones(2, 2)}, "holds nothing of AniCrafter"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, state, fault):
    with pytest.raises(CheckpointError, match=fault):
        AniCrafter.from_files([write(tmp_path / "wrong.safetensors", state)])


def renamed(name):
    """The tensors with every LoRA tensor under another name; `name` is given the layer and A or B."""
    found = {key: LORA.search(key) for key in STATE}
    return {name(where[1], where[2]) if where else key: STATE[key] for key, where in found.items()}


DIFFUSERS = {"self_attn.o": "attn1.to_out.0", "cross_attn.o": "attn2.to_out.0", "self_attn.": "attn1.to_",
             "cross_attn.": "attn2.to_", "ffn.0": "ffn.net.0.proj", "ffn.2": "ffn.net.2"}
WORDS = {"A": "down", "B": "up"}


def diffusers(layer):
    for native, theirs in DIFFUSERS.items():
        layer = layer.replace(native, theirs)
    return layer


NAMES = {
    "peft": lambda layer, side: f"base_model.model.{layer}.lora_{side}.default.weight",
    "comfyui": lambda layer, side: f"diffusion_model.{layer}.lora_{side}.weight",
    "kohya": lambda layer, side: f"lora_unet_{layer.replace('.', '_')}.lora_{WORDS[side]}.weight",
    "diffusers": lambda layer, side: f"transformer.{diffusers(layer)}.lora_{side}.weight",
}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.diffusion_model.", "module._orig_mod."])
@pytest.mark.parametrize("names", NAMES)
def test_names_of_other_trainers(tmp_path, names, prefix):
    state = {prefix + name: tensor for name, tensor in renamed(NAMES[names]).items()}
    weights = AniCrafter.from_files([write(tmp_path / "theirs.safetensors", state)])
    expected = AniCrafter.from_files([write(tmp_path / "ours.safetensors", STATE)])
    assert weights.lora.keys() == expected.lora.keys()
    for layer, pair in expected.lora.items():
        assert all(torch.equal(x, y) for x, y in zip(weights.lora[layer], pair, strict=True))


def update(weights):
    a, b = weights.lora["blocks.1.self_attn.q"]
    return b @ a


HEADERS = [{"lora_alpha": "0.5"}, {"ss_network_alpha": "0.5", "ss_network_dim": "2"},
           {"lora_adapter_metadata": '{"transformer.r": 2, "transformer.lora_alpha": 0.5}'}]


@pytest.mark.parametrize("header", [None, *HEADERS], ids=["tensor", "peft", "kohya", "diffusers"])
def test_alpha_scales_the_lora(tmp_path, header):
    """An alpha of 0.5 at rank 2 is a quarter, in the file's own names as in ours."""
    layers = {LORA.search(key)[1] for key in STATE if LORA.search(key)}
    alphas = {} if header else {f"{layer}.alpha": torch.tensor(0.5) for layer in layers}
    save_file({**STATE, **alphas}, tmp_path / "scaled.safetensors", header)
    plain = AniCrafter.from_files([write(tmp_path / "plain.safetensors", STATE)])
    scaled = AniCrafter.from_files([tmp_path / "scaled.safetensors"])
    torch.testing.assert_close(update(scaled), update(plain) / 4)
    convert([tmp_path / "scaled.safetensors"], tmp_path / "small.safetensors")
    torch.testing.assert_close(update(AniCrafter.from_files([tmp_path / "small.safetensors"])), update(plain) / 4)


def test_a_header_speaks_of_its_own_file(tmp_path):
    names = list(STATE)
    half = [{name: STATE[name] for name in part} for part in (names[: len(names) // 2], names[len(names) // 2 :])]
    write(tmp_path / "10.safetensors", half[0])
    save_file(half[1], tmp_path / "11.safetensors", {"lora_alpha": "1"})
    mixed = AniCrafter.from_files([tmp_path / "10.safetensors", tmp_path / "11.safetensors"])
    plain = AniCrafter.from_files([write(tmp_path / "plain.safetensors", STATE)])
    for layer, (_, b) in mixed.lora.items():
        own = f"pipe.dit.{layer}.lora_B.default.weight" in half[1]
        torch.testing.assert_close(b, plain.lora[layer][1] / (2 if own else 1))


@pytest.mark.parametrize(
    ("header", "fault"), [({"lora_alpha": "much"}, "no number"), ({"lora_adapter_metadata": "{"}, "no number"),
                          ({"lora_adapter_metadata": '{"transformer.use_rslora": true}'}, "rank-stabilised")]
)
def test_a_header_that_cannot_be_followed(tmp_path, header, fault):
    save_file(STATE, tmp_path / "odd.safetensors", header)
    with pytest.raises(CheckpointError, match=rf"odd\.safetensors.*{fault}"):
        AniCrafter.from_files([tmp_path / "odd.safetensors"])


def test_averaged_copies_are_left_aside_by_name(tmp_path):
    """Before and after the weights in the file's order."""
    for prefix in ("ema.", "zz_ema.", "model_ema.module."):
        copies = {prefix + name: torch.zeros_like(tensor) for name, tensor in STATE.items()}
        weights = AniCrafter.from_files([write(tmp_path / f"{prefix}safetensors", STATE, **copies)])
        assert update(weights).any() and weights.embedders.blend_embedding[0].weight.any()


def test_a_file_over_another_is_refused(tmp_path):
    files = [write(tmp_path / "one.safetensors", STATE), write(tmp_path / "two.safetensors", STATE)]
    with pytest.raises(CheckpointError, match=r"one\.safetensors \+ two\.safetensors has .* twice"):
        AniCrafter.from_files(files)
    assert AniCrafter.from_files([files[0], files[0]]).blocks == 3


def test_another_wan_is_refused(tmp_path):
    weights = AniCrafter.from_files([write(tmp_path / "small.safetensors", STATE)])
    weights.check_fits(32, 3)
    for dim, blocks in ((64, 3), (32, 30)):
        with pytest.raises(CheckpointError, match="14B"):
            weights.check_fits(dim, blocks)
