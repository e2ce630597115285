"""AnchorCrafter's and MimicMotion's checkpoints: the released layout, every road in, every refusal."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from crafters.models.anchorcrafter.system import AnchorConfig, AnchorCrafter, convert
from crafters.models.checkpoint import DTYPES, CheckpointError
from helpers.plain_anchor import small_system
from helpers.small_models import ANCHOR, MIMIC
from safetensors.torch import save_file

RELEASED = {
    name: tuple(shape)
    for name, shape in json.loads((Path(__file__).parents[3] / "data" / "anchorcrafter_keys.json").read_text()).items()
}
CONV1 = "unet.down_blocks.{}.resnets.0.spatial_res_block.conv1.weight"
SIZED = ("safetensors with sizes", "bf16")
CONFIGS = {"anchorcrafter": ANCHOR, "mimicmotion": MIMIC}


def shapes(system):
    return {name: tuple(tensor.shape) for name, tensor in system.state_dict().items()}


def test_the_released_layout():
    with torch.device("meta"):
        system = AnchorCrafter(AnchorConfig())
    assert len(RELEASED) == 1570
    assert shapes(system) == RELEASED
    assert sum(tensor.numel() for tensor in system.parameters()) == pytest.approx(1.617e9, rel=1e-3)


def test_mimicmotions_layout():
    kept = {
        name: shape
        for name, shape in RELEASED.items()
        if name.startswith(("unet.", "pose_net.")) and ".processor." not in name
    }
    kept["unet.conv_in.weight"] = (320, 8, 3, 3)
    kept["pose_net.conv_layers.0.weight"], kept["pose_net.conv_layers.0.bias"] = (3, 3, 3, 3), (3,)
    kept["pose_net.conv_layers.2.weight"] = (16, 3, 4, 4)
    with torch.device("meta"):
        assert shapes(AnchorCrafter(AnchorConfig(product=False))) == kept


def test_sizes_are_read_off_the_released_tensors():
    state = {name: torch.empty(shape, device="meta") for name, shape in RELEASED.items()}
    assert AnchorConfig.infer(state, {}) == AnchorConfig()


@pytest.fixture(scope="module")
def state():
    return small_system().state_dict()


@pytest.fixture(scope="module", params=CONFIGS)
def small(request):
    return small_system(CONFIGS[request.param])


def write(path, state, road):
    if road == "safetensors":
        save_file(state, path)
    elif road == "safetensors with sizes":
        save_file(state, path, {"config": json.dumps({"num_attention_heads": [1, 1, 1, 1]})})
    else:
        torch.save(state if road == "flat" else {road: state, "epoch": 3}, path)


@pytest.mark.parametrize(
    ("road", "stored"),
    [("flat", "fp32"), ("flat", "fp16"), ("flat", "bf16"), ("module", "fp16"), ("safetensors", "fp16"), SIZED],
)
def test_every_road_gives_the_same_networks(tmp_path, small, road, stored):
    state = {name: tensor.to(DTYPES[stored]) for name, tensor in small.state_dict().items()}
    path = tmp_path / ("w.pth" if road in ("flat", "module") else "w.safetensors")
    write(path, state, road)
    system = AnchorCrafter.from_file(path)
    assert system.config.num_attention_heads == small.config.num_attention_heads
    loaded = system.state_dict()
    assert loaded.keys() == state.keys()
    assert all(loaded[name].dtype == DTYPES[stored] and torch.equal(loaded[name], state[name]) for name in state)
    assert not any(tensor.is_meta for tensor in (*system.parameters(), *system.buffers()))


@pytest.mark.parametrize("wanted", DTYPES)
def test_conversion_on_load(tmp_path, state, wanted):
    half = {name: tensor.half() for name, tensor in state.items()}
    torch.save(half, tmp_path / "w.pth")
    loaded = AnchorCrafter.from_file(tmp_path / "w.pth", DTYPES[wanted]).state_dict()
    assert all(torch.equal(loaded[name], tensor.to(DTYPES[wanted])) for name, tensor in half.items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_wrappers_are_taken_off(tmp_path, state, prefix):
    save_file({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "w.safetensors")
    loaded = AnchorCrafter.from_file(tmp_path / "w.safetensors").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_a_compiled_part(tmp_path, state):
    named = {name.replace("unet.", "unet._orig_mod.", 1): tensor for name, tensor in state.items()}
    save_file(named, tmp_path / "w.safetensors")
    assert AnchorCrafter.from_file(tmp_path / "w.safetensors").state_dict().keys() == state.keys()


def test_a_quantised_file(tmp_path, state):
    whole = {name: tensor.mul(100).to(torch.int8) if tensor.ndim > 1 else tensor for name, tensor in state.items()}
    scales = {f"{name}_scale": torch.ones(1) for name in whole if name.endswith(".weight")}
    for more in ({}, scales):
        save_file({**whole, **more}, tmp_path / "w.safetensors")
        with pytest.raises(
            CheckpointError, match=r"^w\.safetensors is quantised to int8: use its fp16 or bf16 file\.$"
        ):
            AnchorCrafter.from_file(tmp_path / "w.safetensors")


def test_the_networks_share_the_tensors(small):
    state = small.state_dict()
    system = AnchorCrafter.from_state(state)
    assert all(parameter.data_ptr() == state[name].data_ptr() for name, parameter in system.named_parameters())


LOAD = """
import gc, sys
from crafters.models.anchorcrafter.system import AnchorCrafter

def status(name):  # ru_maxrss would start from the parent's
    return int(open("/proc/self/status").read().split(name + ":")[1].split()[0]) * 1024

before = status("VmRSS")
for path in sys.argv[1:]:
    system = AnchorCrafter.from_file(path)
    assert all(parameter.sum() == 0 for parameter in system.parameters())  # every byte is read
    del system
    gc.collect()
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_does_not_double_the_weights(tmp_path):
    config = replace(ANCHOR, block_out_channels=(128, 192, 256, 256))
    with torch.device("meta"):
        layout = shapes(AnchorCrafter(config))
    state = {name: torch.zeros(shape) for name, shape in layout.items()}
    torch.save(state, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    size = (tmp_path / "w.pth").stat().st_size
    assert size > 200e6
    command = [sys.executable, "-c", LOAD, tmp_path / "w.pth", tmp_path / "w.safetensors"]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0.9 * size < grown < 1.4 * size


def refused(state, sizes=None):
    with pytest.raises(CheckpointError) as error:
        AnchorCrafter.from_state(state, sizes, "mine.pth")
    assert str(error.value).startswith("mine.pth ") and str(error.value).endswith(".")
    return str(error.value)


def test_the_refusal_names_the_file(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=r"^mine\.pth is not an AnchorCrafter"):
        AnchorCrafter.from_file(tmp_path / "mine.pth")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["model.diffusion_model.input_blocks.0.0.weight"], "looks like a Stable (Video) Diffusion model"),
        (["conv_in.weight", "down_blocks.0.resnets.0.spatial_res_block.conv1.weight"], "looks like a Stable (Video)"),
        (["blocks.0.self_attn.q.weight", "patch_embedding.weight"], "looks like a Wan video model"),
        (["model.diffusion_model.blocks.0.self_attn.q.weight"], "looks like a Wan video model"),
        (["unet.conv_in.weight"], "has a UNet but no pose_net"),
        (["lora.up.weight"], "its tensors are named like lora.up.weight"),
    ],
)
def test_another_models_file(names, words):
    message = refused({name: torch.zeros(2) for name in names})
    assert "is not an AnchorCrafter or MimicMotion checkpoint" in message and words in message


def test_an_empty_state_dict():
    with pytest.raises(CheckpointError, match="is not an AnchorCrafter"):
        AnchorCrafter.from_state({})


STRUCTURAL = [
    *(CONV1.format(level) for level in range(4)),
    "unet.conv_in.weight",
    "unet.add_embedding.linear_1.weight",
    "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    "unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.weight",
    "unet.up_blocks.3.resnets.1.temporal_res_block.conv2.bias",
    "pose_net.scale",
    "track_net.scale",
    "track_net.final_proj.weight",
    "obj_proj_net.proj_in.weight",
    "obj_attn_net.proj_out.weight",
    "obj_attn_net.seq_reduce.0.weight",
    "obj_attn_net.norm.weight",
]


@pytest.mark.parametrize("name", STRUCTURAL)
def test_one_missing_tensor_is_named(state, name):
    message = refused({other: tensor for other, tensor in state.items() if other != name})
    assert "does not fit" in message and "missing" in message and name in message


@pytest.mark.parametrize("name", STRUCTURAL)
def test_one_misshaped_tensor_is_refused(state, name):
    assert "does not fit" in refused({**state, name: torch.zeros(3)})


def test_one_more_tensor_is_named(state):
    message = refused({**state, "unet.down_blocks.4.extra.weight": torch.zeros(1)})
    assert "1 unknown (unet.down_blocks.4.extra.weight)" in message


def test_a_wrong_shape_is_shown_beside_the_right_one(state):
    message = refused({**state, "unet.conv_out.weight": torch.zeros(9, 32, 3, 3)})
    assert "unet.conv_out.weight (9, 32, 3, 3) instead of (4, 32, 3, 3)" in message


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"heads": 3, "depth": 2}, "unknown entries: depth, heads"),
        ({"num_attention_heads": [3, 3, 3, 3]}, "do not divide the widths"),
        ({"num_attention_heads": [1, 1]}, "four whole numbers above 0"),
        ({"num_attention_heads": [0, 1, 1, 1]}, "four whole numbers above 0"),
        ({"num_attention_heads": "many"}, "four whole numbers above 0"),
        ({"block_out_channels": [48, 48, 64, 64]}, "multiples of 32"),
        ({"view_heads": 5}, "does not divide view_dim"),
        ({"view_heads": 0}, "a whole number above 0"),
        ({"norm_groups": 5}, "a divisor of 32"),
        ({"layers_per_block": 1.5}, "a whole number above 0"),
        ({"product": "no"}, "true or false"),
        ({"layers_per_block": 2}, "missing"),
        ({"product": False}, "unknown"),
    ],
)
def test_sizes_that_cannot_be(state, sizes, words):
    message = refused(state, sizes)
    assert "does not fit" in message and words in message


def test_head_counts_come_from_the_header_or_the_caller(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors", {"config": json.dumps({"num_attention_heads": [2, 2, 4, 4]})})
    assert AnchorCrafter.from_file(tmp_path / "w.safetensors").config.num_attention_heads == (2, 2, 4, 4)
    given = AnchorCrafter.from_file(tmp_path / "w.safetensors", given={"num_attention_heads": (4, 4, 4, 4)})
    assert given.config.num_attention_heads == (4, 4, 4, 4)
    assert given.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2.heads == 4


def test_norm_groups_come_from_the_header(tmp_path, state):
    assert {norm.num_groups for norm in norms(AnchorCrafter.from_state(dict(state)))} == {32}
    save_file(state, tmp_path / "w.safetensors", {"config": json.dumps({"norm_groups": 4})})
    assert {norm.num_groups for norm in norms(AnchorCrafter.from_file(tmp_path / "w.safetensors"))} == {4}


def norms(system: AnchorCrafter) -> list[torch.nn.GroupNorm]:
    return [module for module in system.unet.modules() if isinstance(module, torch.nn.GroupNorm)]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_converted_file_gives_the_same_networks_at_half_the_size(tmp_path, kind, dtype):
    source, out = tmp_path / "w.safetensors", tmp_path / "half.safetensors"
    save_file(small_system(CONFIGS[kind]).state_dict(), source, {"config": json.dumps({"norm_groups": 4})})
    convert(source, out, dtype)
    assert out.stat().st_size < 0.6 * source.stat().st_size
    converted, expected = AnchorCrafter.from_file(out), AnchorCrafter.from_file(source, dtype)
    assert converted.config == expected.config and converted.config.norm_groups == 4
    for name, tensor in converted.state_dict().items():
        assert tensor.dtype == dtype and torch.equal(tensor, expected.state_dict()[name])


def test_conversion_refuses_numbers_that_half_precision_cannot_hold(tmp_path, state):
    save_file({**state, "unet.conv_out.bias": torch.full((4,), 70000.0)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"w.safetensors holds numbers beyond 65504 \(unet.conv_out.bias\)"):
        convert(tmp_path / "w.safetensors", tmp_path / "half.safetensors")
    assert not (tmp_path / "half.safetensors").exists()
    convert(tmp_path / "w.safetensors", tmp_path / "half.safetensors", torch.bfloat16)


def test_condition_maps_start_at_nothing():
    # An untrained map net leaves the base model as it was.
    system = AnchorCrafter(ANCHOR)
    for net, channels in ((system.pose_net, 6), (system.track_net, 3)):
        maps = net(torch.randn(2, channels, 64, 128))
        assert maps.shape == (2, 32, 8, 16) and (maps == 0).all() and net.scale == 2


def test_object_tokens(state):
    system = AnchorCrafter.from_state(state)
    views = torch.randn(1, 3 * 1370, 32)
    tokens = system.object_tokens(views)
    assert tokens.shape == (1, 19, 32)
    # The first three come from the class tokens alone; the other sixteen see every patch of every view.
    views[0, 1370 + 5] += 1
    moved = system.object_tokens(views)
    assert torch.equal(tokens[:, :3], moved[:, :3]) and not torch.equal(tokens[:, 3:], moved[:, 3:])
    views[0, 2 * 1370] += 1
    assert not torch.equal(moved[:, :3], system.object_tokens(views)[:, :3])
