"""Wan's VAE and encoders as the pack reads them, beside ComfyUI's own; run by `test_anicrafter_patch.py`."""

import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402
from crafters.models.anicrafter import encoders, prompt  # noqa: E402
from crafters.models.clip_vision import ClipVision  # noqa: E402
from crafters.models.loaded import Loaded  # noqa: E402
from helpers.small_wan import random_state  # noqa: E402
from safetensors.torch import save_file  # noqa: E402


def save(path, state):
    save_file(state, path)
    return path


def close(a, b, rtol):
    assert (a - b).abs().max() <= rtol * max(1.0, b.abs().max().item()), (a - b).abs().max()


@torch.no_grad()
def test_one_vae_file_serves_the_host_and_us(tmp_path):
    import comfy.ldm.wan.vae

    with torch.random.fork_rng():
        torch.manual_seed(3)
        native = comfy.ldm.wan.vae.WanVAE(
            dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
            temperal_downsample=[False, True, True], image_channels=3, dropout=0.0,
        )
        # Core leaves the layers unfilled: they are made to be loaded.
        state = random_state({name: x.shape for name, x in native.state_dict().items()})
    for name in state:
        if name.endswith("gamma"):
            state[name] = torch.ones_like(state[name])
    path = save(tmp_path / "vae.safetensors", state)
    theirs = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(path)))
    ours = encoders.WanVAE(Loaded(encoders.load_vae(path, torch.float32)))
    clip = torch.rand(9, 32, 48, 3, generator=torch.Generator().manual_seed(1))
    latents = ours.encode(clip)
    close(latents, theirs.encode(clip).float(), 1e-3)
    close(ours.decode(latents), theirs.decode(latents).float(), 1e-3)


@torch.no_grad()
def test_clip_vision_equals_the_hosts(tmp_path):
    import comfy.clip_model
    import comfy.clip_vision
    import comfy.ops

    config = {
        "hidden_size": 160, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
        "image_size": 224, "patch_size": 14, "num_channels": 3, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
        "projection_dim": 16, "model_type": "clip_vision_model",
    }
    theirs = comfy.clip_vision.ClipVisionModel(config)
    state = random_state({name: x.shape for name, x in theirs.model.state_dict().items()})
    theirs.load_sd(state)
    ours = ClipVision(Loaded(encoders.load_clip_vision(save(tmp_path / "clip.safetensors", state))))
    # Core rounds what it is given to 8 bits.
    image = torch.randint(256, (1, 224, 224, 3), generator=torch.Generator().manual_seed(1)) / 255
    expected = theirs.encode_image(image, crop=False)["penultimate_hidden_states"]
    close(ours.encode_image(image).penultimate_hidden_states, expected.float(), 1e-3)


@torch.no_grad()
def test_text_encoder_equals_the_hosts(tmp_path, monkeypatch):
    import comfy.ops
    import comfy.text_encoders.t5

    config = {
        "d_ff": 96, "d_kv": 16, "d_model": 64, "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True,
        "model_type": "umt5", "num_heads": 4, "num_layers": 3, "vocab_size": 50, "relative_attention_num_buckets": 32,
    }
    theirs = comfy.text_encoders.t5.T5(config, torch.float32, "cpu", comfy.ops.disable_weight_init)
    state = random_state({name: x.shape for name, x in theirs.state_dict().items()})
    theirs.load_state_dict(state)
    pieces = torch.zeros(4, dtype=torch.uint8)
    path = save(tmp_path / "umt5.safetensors", {**state, "spiece_model": pieces})
    monkeypatch.setattr(prompt, "_sentencepiece", lambda pieces: None)
    module, _ = prompt.load_text_encoder(path, torch.float32)
    ids = [3, 17, 40, 8, 1]
    ours = prompt.TextEncoder(Loaded(module), lambda text: ids).encode("")
    padded = torch.tensor([ids + [0] * 507])
    expected = theirs(padded, (torch.arange(512) < 5)[None].long(), intermediate_output=None)[0]
    close(ours[:, :5], expected[:, :5], 1e-4)
