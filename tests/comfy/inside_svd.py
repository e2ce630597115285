"""SVD's VAE and CLIP from its single file, beside what ComfyUI's own loader makes of it; run by
`test_anicrafter_patch.py`."""

import json
import struct

import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import comfy.ops  # noqa: E402
import comfy.sd  # noqa: E402
import folder_paths  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from comfy.ldm.models.autoencoder import AutoencodingEngine  # noqa: E402
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel  # noqa: E402
from crafters.host import svd  # noqa: E402
from crafters.models.checkpoint import CheckpointError  # noqa: E402
from crafters.nodes.anchorcrafter import CraftersLoadSVDFolder  # noqa: E402

VAE = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
       "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
UNET = {"image_size": 32, "in_channels": 8, "out_channels": 4, "model_channels": 320, "num_classes": "sequential",
        "adm_in_channels": 768, "num_res_blocks": [2] * 4, "channel_mult": [1, 2, 4, 4], "num_head_channels": 64,
        "transformer_depth": [1] * 6 + [0] * 2, "transformer_depth_output": [1] * 9 + [0] * 3,
        "transformer_depth_middle": 1, "context_dim": 1024, "use_spatial_transformer": True, "legacy": False,
        "use_linear_in_transformer": True, "extra_ff_mix_layer": True, "use_spatial_context": True,
        "merge_strategy": "learned_with_images", "merge_factor": 0.0, "video_kernel_size": [3, 1, 1],
        "use_temporal_attention": True, "use_temporal_resblock": True, "disable_temporal_crossattention": False,
        "max_ddpm_temb_period": 10000}


def clip_shapes(width=1280, layers=32, out=1024):
    """open_clip's ViT-H."""
    shapes = {"class_embedding": (width,), "positional_embedding": (257, width), "conv1.weight": (width, 3, 14, 14),
              "proj": (width, out)}
    pairs = {"ln_pre": (width,), "ln_post": (width,)}
    for layer in range(layers):
        inner = {"ln_1": (width,), "ln_2": (width,), "attn.out_proj": (width, width), "mlp.c_fc": (4 * width, width),
                 "mlp.c_proj": (width, 4 * width)}
        pairs |= {f"transformer.resblocks.{layer}.{name}": shape for name, shape in inner.items()}
        attention = f"transformer.resblocks.{layer}.attn.in_proj_"
        shapes |= {f"{attention}weight": (3 * width, width), f"{attention}bias": (3 * width,)}
    return shapes | {f"{name}.{part}": shape[: 1 if part == "bias" else 2]
                     for name, shape in pairs.items() for part in ("weight", "bias")}


def file_shapes():
    """Of svd_xt_1_1.safetensors."""
    with torch.device("meta"):
        unet = UNetModel(**UNET, device="meta", operations=comfy.ops.manual_cast)
        engine = AutoencodingEngine(
            regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"},
            encoder_config={"target": "comfy.ldm.modules.diffusionmodules.model.Encoder", "params": VAE},
            decoder_config={"target": "comfy.ldm.modules.temporal_ae.VideoDecoder",
                            "params": VAE | {"video_kernel_size": [3, 1, 1], "alpha": 0.0}},
        )
    prefixed = {"model.diffusion_model.": unet.state_dict(), svd.VAE_PREFIX: engine.state_dict()}
    shapes = {prefix + name: tuple(x.shape) for prefix, state in prefixed.items() for name, x in state.items()}
    return shapes | {svd.CLIP_PREFIX + name: shape for name, shape in clip_shapes().items()}


def write(path, shapes):
    """A safetensors file of half-precision tensors whose first numbers are random; the rest are holes in the file."""
    header, end = {}, 0
    for name, shape in shapes.items():
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + 2 * int(np.prod(shape))]}
        end += 2 * int(np.prod(shape))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    some = np.random.default_rng(1)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for entry in header.values():
            begin, past = entry["data_offsets"]
            file.seek(8 + len(text) + begin)
            file.write(some.normal(size=min(64, (past - begin) // 2)).astype("f2").tobytes())
        file.truncate(8 + len(text) + end)
    return path


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    write(folder / "svd_xt_1_1.safetensors", file_shapes())
    return folder


def same(ours, theirs):
    assert type(ours) is type(theirs)
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]), name


def test_equals_the_hosts_loader_without_the_unet(checkpoints, monkeypatch):
    _, _, vae, clip = comfy.sd.load_checkpoint_guess_config(
        str(checkpoints / "svd_xt_1_1.safetensors"), output_clip=False, output_clipvision=True, output_model=False
    )
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "checkpoints", ([str(checkpoints)], {".safetensors"}))
    monkeypatch.setattr(UNetModel, "__init__", None)  # were it made, this would fail
    options = {option.id: option for option in CraftersLoadSVDFolder.define_schema().inputs}["folder"].options
    assert "svd_xt_1_1.safetensors" in options
    own_vae, own_clip = CraftersLoadSVDFolder.execute("svd_xt_1_1.safetensors").result
    same(own_vae.first_stage_model, vae.first_stage_model)
    same(own_clip.model, clip.model)
    assert own_vae.vae_dtype == vae.vae_dtype and own_clip.config == clip.config
    latents = own_vae.decode(torch.zeros(2, 4, 8, 8))
    assert torch.equal(latents, vae.decode(torch.zeros(2, 4, 8, 8)))


def test_number_type_of_the_vae(checkpoints):
    vae, _ = svd.load_svd_file(checkpoints / "svd_xt_1_1.safetensors", torch.float16)
    assert vae.vae_dtype == torch.float16 == vae.first_stage_model.encoder.conv_in.weight.dtype


FAULTS = {
    "lacks its VAE or its CLIP": lambda s: {n: x for n, x in s.items() if not n.startswith(svd.CLIP_PREFIX)},
    r"of its tensors 1 missing \(encoder.conv_in.bias\)": lambda s: {
        n: x for n, x in s.items() if n != f"{svd.VAE_PREFIX}encoder.conv_in.bias"
    },
    "1 missing .vision_model.post_layernorm.bias": lambda s: {
        n: x for n, x in s.items() if n != f"{svd.CLIP_PREFIX}ln_post.bias"
    },
    "sizes that do not go together": lambda s: s | {f"{svd.VAE_PREFIX}encoder.conv_in.bias": (64,)},
}


@pytest.mark.parametrize("told", FAULTS)
def test_other_files_are_refused_in_a_sentence(tmp_path, told):
    file = write(tmp_path / "other.safetensors", FAULTS[told](file_shapes()))
    with pytest.raises(CheckpointError, match=rf"^other.safetensors.*{told}") as error:
        svd.load_svd_file(file)
    assert "\n" not in str(error.value)
