import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from crafters.models.anicrafter import encoders, prompt
from crafters.models.anicrafter.checkpoint import AniCrafter
from crafters.models.anicrafter.patch import _round_timesteps, _to_bf16
from crafters.models.anicrafter.transformer import GroupOffloaded, _infer, load_transformer, merge_lora
from crafters.models.anicrafter.wan import WanCondition, denoise, initial_noise
from crafters.models.checkpoint import CheckpointError
from crafters.models.clip_vision import ClipVision
from crafters.models.loaded import Loaded
from helpers.small_wan import anicrafter_shapes, random_state, wan_shapes
from safetensors.torch import save_file

SIZES = {"dim": 128, "layers": 2, "ffn": 64}
WAN = random_state(wan_shapes(**SIZES, text=32, image=16, freq=32))


def save(path, state):
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def wan_file(tmp_path_factory):
    return save(tmp_path_factory.mktemp("wan") / "wan.safetensors", WAN)


@pytest.fixture
def transformer(wan_file):
    return load_transformer(wan_file, torch.float32)


@pytest.fixture
def weights(tmp_path):
    return AniCrafter.from_files([save(tmp_path / "a.safetensors", random_state(anicrafter_shapes(**SIZES), seed=1))])


@pytest.fixture
def condition():
    generator = torch.Generator().manual_seed(2)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    return WanCondition(
        tokens=random(1, 128, 2, 2, 3),
        concat=random(1, 20, 2, 4, 6),
        clip=random(1, 257, 16),
        positive=random(1, 512, 32),
        negative=random(1, 512, 32),
    )


def run(transformer, condition, **options):
    options = {"steps": 2, "published_rounding": False, **options}
    return denoise(Loaded(transformer), condition, initial_noise(condition, 0), **options)


def test_noise_is_the_published_one():
    concat = torch.zeros(1).expand(1, 20, 21, 90, 160)
    noise = initial_noise(WanCondition(*[concat] * 5), 0)
    known = torch.tensor([-1.125840, -1.152360, -0.250579, -0.433879, 0.848710, 0.692009])
    torch.testing.assert_close(noise.flatten()[:6], known, atol=1e-6, rtol=0)


def test_tokens_are_added_on_the_positive_pass_only(transformer, condition):
    plain = replace(condition, tokens=torch.zeros_like(condition.tokens))
    assert torch.equal(run(transformer, condition, guidance=0.0), run(transformer, plain, guidance=0.0))
    with_tokens = run(transformer, condition, guidance=1.0)
    assert (with_tokens - run(transformer, plain, guidance=1.0)).abs().max() > 0.01
    assert torch.equal(run(transformer, condition, guidance=1.0, strength=0.0), run(transformer, plain, guidance=1.0))
    half = replace(condition, tokens=condition.tokens / 2)
    torch.testing.assert_close(
        run(transformer, condition, guidance=1.0, strength=0.5), run(transformer, half, guidance=1.0)
    )
    assert not transformer.patch_embedding._forward_hooks


def test_guidance_1_saves_the_negative_pass_and_calls_may_cancel(transformer, condition):
    calls = []
    run(transformer, condition, guidance=1.0, on_call=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    calls.clear()
    run(transformer, condition, on_call=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(transformer, condition, on_call=cancel)


def test_published_rounding_keeps_times_and_latents_in_bf16(transformer, condition):
    told = []
    with torch.no_grad():
        for rounded in (True, False):
            seen = transformer.register_forward_pre_hook(lambda module, args: told.append(args[1].item()))
            result = run(transformer, condition, guidance=1.0, published_rounding=rounded)
            seen.remove()
            assert torch.equal(result, result.bfloat16().float()) == rounded
    assert told == [1000.0, 832.0, 1000.0, pytest.approx(833.3333)]


def test_rounding_by_bits_is_torchs():
    values = torch.cat([torch.rand(5000, generator=torch.Generator().manual_seed(0)) * 1000, torch.arange(1001.0)])
    assert torch.equal(_to_bf16(values), values.bfloat16().float())


@pytest.mark.slow
def test_no_compiler_leaves_the_rounding_out():
    def network(x, timestep):
        return x * timestep[:, None]

    times = torch.tensor([961.37, 333.77])
    compiled = torch.compile(lambda x, timestep: _round_timesteps(network, x, timestep))
    assert torch.equal(compiled(torch.ones(2, 3), times)[:, 0], times.bfloat16().float())


def test_the_last_estimate_is_the_result(transformer, condition):
    estimates = []
    result = run(transformer, condition, steps=3, on_step=lambda step, latents, clean: estimates.append(clean))
    torch.testing.assert_close(estimates[-1], result, atol=1e-5, rtol=1e-5)


def test_numbers_that_are_none_end_in_a_sentence(transformer, condition):
    with pytest.raises(ValueError, match="sampler's latents are not finite"):
        run(transformer, replace(condition, clip=condition.clip * torch.nan))


def test_what_does_not_belong_together_is_refused(transformer, condition):
    for name, wrong in (("tokens", "tokens"), ("positive", "positive"), ("clip", "clip")):
        with pytest.raises(ValueError, match=f"{wrong} has shape"):
            run(transformer, replace(condition, **{name: getattr(condition, name)[..., :-1]}))
    with pytest.raises(ValueError, match="steps is 0"):
        run(transformer, condition, steps=0)


def test_group_offloading_changes_nothing(transformer, condition, wan_file):
    offloaded = GroupOffloaded(load_transformer(wan_file, torch.float32), torch.device("cpu"))
    result = denoise(offloaded, condition, initial_noise(condition, 0), 2, published_rounding=False)
    assert torch.equal(result, run(transformer, condition))


def test_lora_is_added_once_and_rounded_once(transformer, weights):
    before = {name: tensor.clone() for name, tensor in transformer.state_dict().items()}
    merge_lora(transformer.to(torch.bfloat16), weights, 0.5)
    after = transformer.state_dict()
    a, b = weights.lora["blocks.1.self_attn.o"]
    name = "blocks.1.attn1.to_out.0.weight"
    assert torch.equal(after[name], (before[name].bfloat16().float() + 0.5 * (b @ a)).bfloat16())
    changed = [name for name in before if not torch.equal(before[name].bfloat16(), after[name])]
    assert len(changed) == len(weights.lora)


def test_lora_of_another_size_changes_nothing(transformer, tmp_path):
    state = random_state(anicrafter_shapes(**{**SIZES, "ffn": 48}))
    before = transformer.blocks[0].attn1.to_q.weight.clone()
    with pytest.raises(CheckpointError, match="does not fit a weight"):
        merge_lora(transformer, AniCrafter.from_files([save(tmp_path / "b.safetensors", state)]))
    assert torch.equal(transformer.blocks[0].attn1.to_q.weight, before)


def test_folder_and_prefixed_file_are_the_same(transformer, condition, tmp_path):
    transformer.save_pretrained(tmp_path / "transformer", max_shard_size="300KB")
    assert len(list((tmp_path / "transformer").glob("*.safetensors"))) > 1
    expected = run(transformer, condition)
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in WAN.items()}
    for path in (tmp_path, tmp_path / "transformer", save(tmp_path / "prefixed.safetensors", prefixed)):
        result = run(load_transformer(path, torch.float32), condition)
        torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)


def fp8(state, scaled):
    """As ComfyUI's fp8 files: matrices in fp8, divided by a scale of their own or not."""
    out = {"scaled_fp8": torch.empty(0, dtype=torch.float8_e4m3fn)} if scaled else {}
    for name, tensor in state.items():
        if tensor.ndim == 2 and name.startswith("blocks."):
            scale = tensor.abs().max() / 448 if scaled else torch.tensor(1.0)
            out[name] = (tensor / scale).to(torch.float8_e4m3fn)
            if scaled:
                out[name.replace(".weight", ".scale_weight")] = scale[None]
        else:
            out[name] = tensor
    return out


@pytest.mark.parametrize("scaled", [False, True])
def test_fp8_files(transformer, condition, tmp_path, scaled):
    model = load_transformer(save(tmp_path / "fp8.safetensors", fp8(WAN, scaled)), torch.float32)
    weight, exact = model.blocks[0].ffn.net[2].weight, transformer.blocks[0].ffn.net[2].weight
    assert (weight - exact).abs().max() < exact.abs().max() / 16
    assert not torch.equal(weight, exact)
    answers = run(model, condition), run(transformer, condition)
    assert (answers[0] - answers[1]).abs().max() < 0.1 * answers[1].abs().max()


def without(*prefixes):
    return {name: tensor for name, tensor in WAN.items() if not name.startswith(prefixes)}


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (without("img_emb"), "needs Wan 2.1 I2V"),
        ({**WAN, "patch_embedding.weight": torch.ones(128, 16, 1, 2, 2)}, "needs Wan 2.1 I2V"),
        (without("head.head.weight"), "not a Wan video model: tensor head.head.weight"),
        (without("blocks.1.ffn.0.bias"), "1 missing"),
        ({**WAN, "vace_blocks.0.after_proj.bias": torch.ones(2)}, "1 unknown"),
        ({**WAN, "blocks.0.ffn.0.weight": torch.ones(64, 64, dtype=torch.uint8)}, "quantised to uint8"),
    ],
)
def test_another_wan_is_refused(tmp_path, state, fault):
    with pytest.raises(CheckpointError, match=fault):
        load_transformer(save(tmp_path / "wrong.safetensors", state), torch.float32)


def test_folder_without_weights_and_gguf_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="needs config.json"):
        load_transformer(tmp_path)
    with pytest.raises(CheckpointError, match="GGUF"):
        load_transformer(tmp_path / "wan.gguf")


def test_latents_are_normalised_and_back():
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        config = AutoencoderKLWan(base_dim=8).config
    assert encoders.MEAN == tuple(config.latents_mean) and encoders.STD == tuple(config.latents_std)
    latents = torch.randn(1, 16, 2, 3, 4)
    normal = encoders.normalise(latents)
    torch.testing.assert_close(encoders.denormalise(normal), latents)
    torch.testing.assert_close(normal[0, 3], (latents[0, 3] - 0.1075) / 2.6558)


@torch.no_grad()
def test_vae_from_a_folder(tmp_path):
    from diffusers import AutoencoderKLWan

    AutoencoderKLWan(base_dim=8).save_pretrained(tmp_path)
    vae = encoders.WanVAE(Loaded(encoders.load_vae(tmp_path, torch.float32)))
    latents = vae.encode(torch.rand(5, 32, 48, 3))
    assert latents.shape == (1, 16, 2, 4, 6)
    assert vae.decode(latents).shape == (1, 5, 32, 48, 3)
    with pytest.raises(CheckpointError, match="not Wan 2.1's VAE"):
        encoders.load_vae(save(tmp_path / "other.safetensors", WAN))


@torch.no_grad()
def test_clips_wait_in_main_memory(tmp_path):
    """What goes into the encoder or comes out of the decoder is moved at once; the numbers are the network's."""
    from diffusers import AutoencoderKLWan

    network = AutoencoderKLWan(base_dim=8).eval()
    vae, images = encoders.WanVAE(Loaded(network)), torch.rand(9, 32, 48, 3)
    latents = network.encode(images.movedim(-1, 0)[None] * 2 - 1).latent_dist.mode()
    clip = (network.decode(latents).sample / 2 + 0.5).clamp(0, 1).movedim(1, -1)
    torch.testing.assert_close(vae.encode(images), latents)
    torch.testing.assert_close(vae.decode(latents), clip)
    seen = []
    with network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2])):
        vae.encode(images)
    assert seen == [1, 4, 4]
    assert not network.encoder._forward_pre_hooks and not network.decoder._forward_hooks


@torch.no_grad()
def test_threads_share_a_vae():
    """As a training's do: its preview decodes while the next samples are encoded."""
    from diffusers import AutoencoderKLWan

    vae, clips = encoders.WanVAE(Loaded(AutoencoderKLWan(base_dim=8).eval())), torch.rand(8, 9, 32, 48, 3)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(torch.no_grad()(vae.encode), clips))
    for clip, latents in zip(clips, together, strict=True):
        torch.testing.assert_close(latents, vae.encode(clip))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@torch.no_grad()
def test_the_vae_takes_no_more_of_the_gpu_for_a_longer_clip():
    from diffusers import AutoencoderKLWan

    vae = encoders.WanVAE(Loaded(AutoencoderKLWan(base_dim=8).cuda()))

    def most(frames):
        torch.cuda.reset_peak_memory_stats()
        vae.decode(vae.encode(torch.rand(frames, 256, 256, 3)))
        return torch.cuda.max_memory_allocated()

    most(9)
    assert most(129) < 1.2 * most(17)


@torch.no_grad()
def test_clip_vision_from_file_and_folder(tmp_path):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=80,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=1,
        patch_size=14,
        hidden_act="gelu",
    )
    CLIPVisionModel(config).eval().save_pretrained(tmp_path / "image_encoder")
    image = torch.rand(1, 224, 224, 3)
    folder = ClipVision(Loaded(encoders.load_clip_vision(tmp_path / "image_encoder")))
    states = folder.encode_image(image)["penultimate_hidden_states"]
    assert states.shape == (1, 257, 80)
    layers = folder.loaded.module(torch.zeros(1, 3, 224, 224), output_hidden_states=True).hidden_states
    assert len(layers) == 4  # embeddings and three layers: the last but one is after two

    state = {
        f"vision_model.{name.removeprefix('vision_model.')}": tensor.clone()
        for name, tensor in folder.loaded.module.state_dict().items()
    }
    state["visual_projection.weight"] = torch.zeros(4, 80)
    single = encoders.load_clip_vision(save(tmp_path / "clip.safetensors", state))
    torch.testing.assert_close(
        ClipVision(Loaded(single)).encode_image(image)["penultimate_hidden_states"], states
    )
    with pytest.raises(CheckpointError, match="not a CLIP image encoder"):
        encoders.load_clip_vision(save(tmp_path / "other.safetensors", WAN))


@torch.no_grad()
def test_text_encoder_with_its_tokenizer_inside(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    from transformers import UMT5Config, UMT5EncoderModel

    words = tmp_path / "words.txt"
    words.write_text("human in a scene\nblurred & grey\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(words), model_prefix=str(tmp_path / "t"), vocab_size=30, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        hard_vocab_limit=False, minloglevel=2,
    )
    pieces = torch.frombuffer(bytearray((tmp_path / "t.model").read_bytes()), dtype=torch.uint8)
    config = UMT5Config(
        vocab_size=40, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    model = UMT5EncoderModel(config).eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items() if "embed_tokens" not in name}
    path = save(tmp_path / "umt5.safetensors", {**state, "spiece_model": pieces})
    module, tokenize = prompt.load_text_encoder(path, torch.float32)
    encoder = prompt.TextEncoder(Loaded(module), tokenize)
    positive = encoder.encode(" human  in a scene ")
    length = len(tokenize("human in a scene"))
    assert positive.shape == (1, 512, 32) and tokenize("human")[-1] == 1
    assert (positive[0, length:] == 0).all() and (positive[0, :length] != 0).any(-1).all()
    ids = torch.tensor([tokenize("human in a scene") + [0] * (512 - length)])
    padded = model(ids, attention_mask=(torch.arange(512) < length)[None]).last_hidden_state
    torch.testing.assert_close(positive[0, :length], padded[0, :length], atol=1e-5, rtol=1e-4)
    assert torch.equal(encoder.encode("blurred &amp;amp; grey"), encoder.encode("blurred & grey"))
    assert encoder.encode("human in a scene " * 200)[0, -1].any()

    prompt.save_prompts(tmp_path / "prompts.safetensors", positive, positive * 2)
    one, two = prompt.load_prompts(tmp_path / "prompts.safetensors")
    assert torch.equal(one, positive.bfloat16().float()) and torch.equal(two, one * 2)
    with pytest.raises(CheckpointError, match="holds no prompts"):
        prompt.load_prompts(path)


def test_text_encoder_file_without_tokenizer_is_refused(tmp_path):
    path = save(tmp_path / "t5.safetensors", {"shared.weight": torch.zeros(4, 4)})
    with pytest.raises(CheckpointError, match="not a UMT5 text encoder"):
        prompt.load_text_encoder(path)


def test_config_of_a_folder_is_kept(transformer, tmp_path):
    transformer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert load_transformer(tmp_path).config.num_attention_heads == config["num_attention_heads"] == 1


@pytest.mark.slow
def test_two_processes_denoise_as_one(tmp_path):
    save(tmp_path / "wan.safetensors", random_state(wan_shapes(dim=256, layers=2, ffn=64, text=32, image=16, freq=32)))
    script = Path(__file__).parents[3] / "helpers" / "parallel_wan.py"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, tmp_path],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )
    differences = [float(file.read_text()) for file in tmp_path.glob("*.txt")]
    assert len(differences) == 2, done.stderr[:5000]
    assert max(differences) < 1e-5


def test_full_size_layout_is_the_released_one():
    """Wan 2.1 I2V 14B: 1303 tensors, known by the hash of their names and sizes; all have a place in diffusers'."""
    from diffusers import WanTransformer3DModel
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    shapes = wan_shapes(dim=5120, layers=40, ffn=13824)
    lines = sorted(x for name, shape in shapes.items() for x in (f"{name}:{'_'.join(map(str, shape))}", name))
    assert hashlib.md5(",".join(lines).encode()).hexdigest() == "6bfcfb3b342cb286ce886889d519a77e"
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    assert len(state) == 1303 and sum(tensor.numel() for tensor in state.values()) == 16_394_878_784
    with torch.device("meta"):
        own = WanTransformer3DModel(**_infer(state, None)).state_dict()
    converted = convert_wan_transformer_to_diffusers(state)
    assert {name: x.shape for name, x in converted.items()} == {name: x.shape for name, x in own.items()}
