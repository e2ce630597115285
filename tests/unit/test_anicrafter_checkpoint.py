import json
import logging
import struct

import pytest
import torch
from crafters.models.anicrafter.checkpoint import AniCrafter, convert
from crafters.models.checkpoint import CheckpointError
from safetensors.torch import load_file, save_file
from stand_ins.small_wan import TARGETS, anicrafter_shapes, random_state

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
        ({**STATE, "pipe.dit.blocks.0.norm3.lora_A.default.weight": torch.ones(2, 2)}, "belong to no part of Wan"),
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


def test_another_wan_is_refused(tmp_path):
    weights = AniCrafter.from_files([write(tmp_path / "small.safetensors", STATE)])
    weights.check_fits(32, 3)
    for dim, blocks in ((64, 3), (32, 30)):
        with pytest.raises(CheckpointError, match="14B"):
            weights.check_fits(dim, blocks)
