"""The base models: every folder and file they are met in, every refusal, and the calls they answer."""

import shutil
from copy import deepcopy

import pytest
import torch
from crafters.models.anchorcrafter.encoders import (
    DINOv2,
    FrameVAE,
    load_dinov2,
    load_image_encoder,
    load_vae,
)
from crafters.models.checkpoint import CheckpointError
from crafters.models.loaded import Loaded
from helpers.small_models import CLIP, DINOV2, VAE
from safetensors.torch import load_file, save_file

LOADERS = {"vae": load_vae, "image_encoder": load_image_encoder}
DINO = {**DINOV2, "image_size": 56}  # four patches a side


@pytest.fixture(scope="module")
def nets():
    from diffusers import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

    torch.manual_seed(2)
    nets = {
        "vae": AutoencoderKLTemporalDecoder(**VAE),
        "image_encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)),
        "dinov2": Dinov2Model(Dinov2Config(**DINO)),
    }
    return {name: net.eval().requires_grad_(False) for name, net in nets.items()}


@pytest.fixture(scope="module")
def saved(nets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("svd")
    for name, net in nets.items():
        net.save_pretrained(folder / name)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    """A copy of one model's folder to spoil: (folder above it, its weight file)."""

    def copy(name):
        shutil.copytree(saved / name, tmp_path / "svd" / name)
        [weights] = (tmp_path / "svd" / name).glob("*.safetensors")
        return tmp_path / "svd", weights

    return copy


def same(model, net, dtype=torch.float32):
    ours, wanted = model.state_dict(), net.state_dict()
    assert ours.keys() == wanted.keys()
    assert all(ours[name].dtype == dtype and torch.equal(ours[name], w.to(dtype)) for name, w in wanted.items())


@pytest.mark.parametrize("name", LOADERS)
def test_svd_folder(nets, saved, name):
    same(LOADERS[name](saved), nets[name])
    same(LOADERS[name](saved, torch.bfloat16), nets[name], torch.bfloat16)


@pytest.mark.parametrize("name", LOADERS)
def test_svd_folder_with_half_precision_files_only(nets, copy, name):
    folder, weights = copy(name)
    half = {key: tensor.half() for key, tensor in load_file(weights).items()}
    save_file(half, weights.with_suffix(".fp16.safetensors"), {"format": "pt"})
    weights.unlink()
    loaded = LOADERS[name](folder, torch.float32).state_dict()
    assert all(torch.equal(loaded[key], tensor.half().float()) for key, tensor in nets[name].state_dict().items())


@pytest.mark.parametrize("name", LOADERS)
def test_svd_folder_with_both_takes_the_full_precision(nets, copy, name):
    folder, weights = copy(name)
    zeros = {key: torch.zeros_like(tensor).half() for key, tensor in load_file(weights).items()}
    save_file(zeros, weights.with_suffix(".fp16.safetensors"), {"format": "pt"})
    same(LOADERS[name](folder), nets[name])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
@pytest.mark.parametrize("name", ["image_encoder", "dinov2", "dinov2 file"])
def test_wrappers_are_taken_off(nets, copy, name, prefix):
    folder, weights = copy(name.split()[0])
    save_file({prefix + key: tensor for key, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    same(load(name, folder, weights), nets[name.split()[0]])


FAULTS = {
    "missing": ("1 missing", lambda state, name: state.pop(name)),
    "unknown": ("1 unknown", lambda state, name: state.update({name: torch.zeros(1)})),
    "size": ("1 of another size", lambda state, name: state.update({name: torch.zeros(5)})),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [*LOADERS, "dinov2", "dinov2 file"])
def test_every_tensor_is_accounted_for(copy, name, fault):
    words, change = FAULTS[fault]
    folder, weights = copy(name.split()[0])
    state = load_file(weights)
    key = "stranger" if fault == "unknown" else min(name for name in state if name.endswith("norm2.bias"))
    change(state, key)
    save_file(state, weights, {"format": "pt"})
    with pytest.raises(CheckpointError) as error:
        load(name, folder, weights)
    assert words in str(error.value) and key in str(error.value)


def load(name, folder, weights):
    if name in LOADERS:
        return LOADERS[name](folder)
    return load_dinov2(folder / name if name == "dinov2" else weights)


@pytest.mark.parametrize("content", [b"", b"cut", None], ids=["empty", "text", "truncated"])
@pytest.mark.parametrize("name", [*LOADERS, "dinov2", "dinov2 file"])
def test_broken_weights(copy, name, content):
    folder, weights = copy(name.split()[0])
    weights.write_bytes(weights.read_bytes()[:5000] if content is None else content)
    with pytest.raises(CheckpointError) as error:
        load(name, folder, weights)
    assert name.split()[0] in str(error.value) or weights.name in str(error.value)


@pytest.mark.parametrize("name", [*LOADERS, "dinov2"])
def test_broken_folders(copy, name, tmp_path):
    folder, weights = copy(name)
    weights.unlink()
    with pytest.raises(CheckpointError, match=f"svd/{name} cannot be loaded"):
        load(name, folder, weights)
    (folder / name / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=f"{name}/config.json is not a JSON file"):
        load(name, folder, weights)
    (folder / name / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds no config\.json; give the whole folder"):
        load(name, folder, weights)


def test_dinov2_folder(nets, saved):
    same(load_dinov2(saved / "dinov2"), nets["dinov2"])
    same(load_dinov2(saved / "dinov2", torch.float16), nets["dinov2"], torch.float16)


@pytest.mark.parametrize("how", ["released names", "present names", "prefixed", "pth"])
def test_dinov2_single_file(nets, saved, tmp_path, how):
    # transformers saves under the released names whatever it calls the tensors itself.
    state = load_file(saved / "dinov2" / "model.safetensors")
    assert "encoder.layer.0.attention.attention.query.weight" in state
    if how == "present names":
        state = nets["dinov2"].state_dict()
    if how == "prefixed":
        state = {f"dinov2.{name}": tensor for name, tensor in state.items()}
    path = tmp_path / ("dinov2.pth" if how == "pth" else "dinov2.safetensors")
    torch.save(state, path) if how == "pth" else save_file(state, path)
    model = load_dinov2(path)
    same(model, nets["dinov2"])
    config = model.config
    assert (config.num_hidden_layers, config.num_attention_heads, config.patch_size) == (2, 1, 14)
    images = torch.rand(1, 3, 56, 56)
    torch.testing.assert_close(model(images).last_hidden_state, nets["dinov2"](images).last_hidden_state)


@pytest.mark.parametrize("name", ["blocks.0.attn.qkv.weight", "embeddings.cls_token"])
def test_not_a_dinov2_file(tmp_path, name):
    torch.save({name: torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth is not a DINOv2 file in transformers' layout"):
        load_dinov2(tmp_path / "other.pth")


def test_dinov2_nowhere(tmp_path):
    with pytest.raises(CheckpointError, match="no file"):
        load_dinov2(tmp_path / "dinov2.safetensors")


def test_vae_encodes_images(nets):
    vae, images = FrameVAE(Loaded(nets["vae"])), torch.rand(3, 64, 128, 3)
    latents = vae.encode(images)
    assert latents.shape == (3, 4, 8, 16) and latents.dtype == torch.float32
    # Unscaled modes of [−1, 1], one by one; alpha does not count.
    modes = nets["vae"].encode(images.movedim(-1, 1) * 2 - 1).latent_dist.mode()
    torch.testing.assert_close(latents, modes, atol=1e-5, rtol=1e-4)
    assert torch.equal(vae.encode(torch.cat([images, torch.rand(3, 64, 128, 1)], -1)), latents)


def test_vae_decodes_frames_together(nets):
    net = deepcopy(nets["vae"])
    net.decoder.time_conv_out.weight *= 10  # beyond black and white
    vae, latents = FrameVAE(Loaded(net)), torch.randn(3, 4, 8, 16)
    frames = vae.decode(latents)
    assert frames.shape == (3, 64, 128, 3) and frames.dtype == torch.float32
    decoded = net.decode(latents, num_frames=3).sample.movedim(1, -1) / 2 + 0.5
    assert decoded.min() < 0 and decoded.max() > 1
    torch.testing.assert_close(frames, decoded.clamp(0, 1))
    alone = vae.decode(latents[:1])
    assert not torch.allclose(alone, frames[:1])  # neighbours in time count


def test_vae_in_half_precision_answers_float32(nets, saved):
    vae = FrameVAE(Loaded(load_vae(saved, torch.bfloat16)))
    images = torch.rand(1, 64, 64, 3)
    latents = vae.encode(images)
    assert latents.dtype == vae.decode(latents).dtype == torch.float32
    torch.testing.assert_close(latents, FrameVAE(Loaded(nets["vae"])).encode(images), atol=0.05, rtol=0.05)


def test_dinov2_tokens(nets):
    dinov2, views = DINOv2(Loaded(nets["dinov2"])), torch.rand(3, 56, 56, 3)
    tokens = dinov2.tokens(views)
    assert tokens.shape == (1, 3 * 17, 32) and tokens.dtype == torch.float32
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((views - mean) / std).movedim(-1, 1)
    for view in range(3):
        expected = nets["dinov2"](pixels[view : view + 1]).last_hidden_state
        torch.testing.assert_close(tokens[:, 17 * view : 17 * (view + 1)], expected, atol=1e-5, rtol=1e-4)
