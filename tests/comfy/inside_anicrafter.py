"""AniCrafter on ComfyUI's own Wan model, sampled as KSampler does; run by `test_anicrafter_patch.py`."""

import copy
from dataclasses import replace

import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import comfy.context_windows  # noqa: E402
import comfy.ldm.wan.model  # noqa: E402
import comfy.lora  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.ops  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.supported_models  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode  # noqa: E402
from comfy_extras.nodes_model_advanced import ModelSamplingSD3  # noqa: E402
from comfy_extras.nodes_torch_compile import TorchCompileModel  # noqa: E402
from crafters.models.anicrafter import encoders, patch  # noqa: E402
from crafters.models.anicrafter.checkpoint import AniCrafter  # noqa: E402
from crafters.models.anicrafter.embedders import embed  # noqa: E402
from crafters.models.anicrafter.schedule import sigmas  # noqa: E402
from crafters.models.anicrafter.transformer import load_transformer, merge_lora  # noqa: E402
from crafters.models.anicrafter.wan import WanCondition, denoise  # noqa: E402
from crafters.models.checkpoint import CheckpointError  # noqa: E402
from crafters.models.clip_vision import ClipVisionOutput  # noqa: E402
from crafters.models.loaded import Loaded  # noqa: E402
from crafters.nodes.anicrafter import CraftersAniCrafterApply  # noqa: E402
from helpers.long_clip import jumps, ramp  # noqa: E402
from helpers.parity_case import find_cases  # noqa: E402
from helpers.small_wan import anicrafter_shapes, random_state, wan_shapes  # noqa: E402
from parity_kinds.anicrafter_denoise import make_scene  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

STEPS = 3
SLOT = ("double_block", 0)


def save(path, state):
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def wan_file(tmp_path_factory):
    return save(tmp_path_factory.mktemp("wan") / "wan.safetensors", random_state(wan_shapes()))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    state = random_state(anicrafter_shapes(), seed=1)
    return AniCrafter.from_files([save(tmp_path_factory.mktemp("ani") / "ani.safetensors", state)])


@pytest.fixture(scope="module")
def host(wan_file):
    """The MODEL that core's loader makes of the file, with the published shift."""
    model = comfy.sd.load_diffusion_model(str(wan_file))
    assert type(model.model).__name__ == "WAN21" and model.model.image_to_video
    return ModelSamplingSD3().patch(model, 5.0)[0]


@pytest.fixture(scope="module")
def make_condition():
    def make(frames):
        generator = torch.Generator().manual_seed(frames)

        def random(*shape):
            return torch.randn(shape, generator=generator)

        return WanCondition(
            tokens=random(1, 256, frames, 2, 3),
            concat=torch.cat([random(1, 4, frames, 4, 6).sigmoid(), random(1, 16, frames, 4, 6)], 1),
            clip=random(1, 257, 1280),
            positive=random(1, 512, 4096),
            negative=random(1, 512, 4096),
        )

    return make


@pytest.fixture(scope="module")
def condition(make_condition):
    return make_condition(3)


def noise_for(condition, batch=1):
    shape = (batch, 16, *condition.concat.shape[2:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def ksample(model, condition, noise=None, steps=STEPS, cfg=1.5, callback=None, sigmas=None):
    """As KSampler does with what core's nodes put into a conditioning; latents as the transformer knows them.

    sigmas: in the place of core's own, which it takes from a table of a thousand.
    """
    noise = noise_for(condition) if noise is None else noise
    extras = {
        "concat_latent_image": encoders.denormalise(condition.concat[:, 4:]),
        "concat_mask": 1 - condition.concat[:, :4],
        "clip_vision_output": ClipVisionOutput(condition.clip),
    }
    positive, negative = [[condition.positive, extras]], [[condition.negative, extras]]
    latent = torch.zeros_like(noise)
    samples = comfy.sample.sample(
        model, noise, steps, cfg, "euler", "simple", positive, negative, latent,
        callback=callback, disable_pbar=True, seed=0, sigmas=sigmas,
    )
    return encoders.normalise(samples)


def plain_apply(host, condition, **options):
    return patch.apply(host, condition.tokens, rounded_timesteps=False, **options)


def close(a, b, rtol=2e-4):
    assert (a - b).abs().max() <= rtol * max(1.0, b.abs().max().item()), (a - b).abs().max()


def added(model):
    return model.model_options["transformer_options"]["patches_replace"]["dit"][SLOT]


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_ksampler_equals_our_engine(host, condition, weights, wan_file, strength):
    transformer = load_transformer(wan_file, torch.float32)
    merge_lora(transformer, weights, strength)
    ours = denoise(Loaded(transformer), condition, noise_for(condition), 4, strength=strength, published_rounding=False)
    model = patch.apply_lora(host, weights, strength, comfy.sd.load_lora_for_models)
    theirs = ksample(plain_apply(model, condition, strength=strength), condition, steps=4)
    close(theirs, ours)
    assert (theirs - ksample(host, condition, steps=4)).abs().max() > 0.1


def test_strength_0_equals_no_patch_and_the_host_model_stays_as_it_was(host, condition):
    plain = ksample(host, condition)
    patched = plain_apply(host, condition)
    assert (ksample(patched, condition) - plain).abs().max() > 0.1
    assert torch.equal(ksample(plain_apply(host, condition, strength=0.0), condition), plain)
    assert torch.equal(ksample(host, condition), plain)


def test_tokens_act_on_the_positive_pass_only(host, condition):
    patched = plain_apply(host, condition)
    # At cfg 0 the result is the negative pass alone; the optimisation that skips the other is for cfg 1 only.
    close(ksample(patched, condition, cfg=0.0), ksample(host, condition, cfg=0.0), 1e-5)


def test_rows_of_any_order_and_batch(host):
    before = torch.arange(6.0).view(6, 1, 1).expand(6, 4, 8)
    tokens = torch.full((1, 8, 1, 2, 2), 100.0)
    add = patch.AddTokens(tokens, 0.5, (0.0, 1.0), None)
    options = {"sigmas": torch.tensor([0.7])}
    for parts, positive in (
        ([1, 0], (3, 4, 5)),
        ([0, 1], (0, 1, 2)),
        ([0], range(6)),
        ([1], ()),
        ([1, 0, 0], (2, 3, 4, 5)),
    ):
        rows = before.clone()
        seen = add({"img": rows, "transformer_options": {**options, "cond_or_uncond": parts}}, {"original_block": dict})
        expected = before + torch.tensor([50.0 if row in positive else 0.0 for row in range(6)]).view(6, 1, 1)
        assert torch.equal(seen["img"], expected)
        assert seen["img"] is rows  # no copy of what is as large as the clip


def test_a_batch_equals_its_rows(host, condition):
    patched, noise = plain_apply(host, condition), noise_for(condition, 2)
    both = ksample(patched, condition, noise)
    for i in range(2):
        close(both[i : i + 1], ksample(patched, condition, noise[i : i + 1]))


def test_start_and_end_percent(host, condition):
    def latents(model):
        starts = []
        last = ksample(model, condition, callback=lambda i, x0, x, total: starts.append(x.clone()))
        return starts[1], last  # after the first of three steps, and after the last

    def differ(one, other):
        return (one - other).abs().max() > 0.01

    plain, full = latents(host), latents(plain_apply(host, condition))
    late = latents(plain_apply(host, condition, start_percent=0.2))
    assert torch.equal(late[0], plain[0]) and differ(late[1], plain[1]) and differ(late[1], full[1])
    early = latents(plain_apply(host, condition, end_percent=0.2))
    assert torch.equal(early[0], full[0]) and differ(early[1], plain[1]) and differ(early[1], full[1])


def test_clones_share_the_tokens(host, condition):
    patched = plain_apply(host, condition)
    clone = patched.clone().clone()
    assert added(clone) is added(patched) and added(clone).tokens is condition.tokens
    assert copy.deepcopy(added(patched)) is added(patched)  # what older hosts do
    assert torch.equal(ksample(clone, condition), ksample(patched, condition))


def test_another_patch_on_the_same_block_goes_on_working(host, condition):
    def double(args, extra):
        return {"img": extra["original_block"](args)["img"] * 2}

    other = host.clone()
    other.set_model_patch_replace(double, "dit", *SLOT)
    both = ksample(plain_apply(other, condition), condition)
    assert (both - ksample(other, condition)).abs().max() > 0.01
    assert (both - ksample(plain_apply(host, condition), condition)).abs().max() > 0.01

    half = WanCondition(condition.tokens / 2, condition.concat, condition.clip, condition.positive, condition.negative)
    twice = plain_apply(plain_apply(host, half), half)
    close(ksample(twice, condition), ksample(plain_apply(host, condition), condition))


def test_other_loras_before_and_after(host, condition, weights):
    state = {f"diffusion_model.{name}": x for name, x in random_state(
        {"blocks.0.self_attn.q.lora_A.weight": (4, 256), "blocks.0.self_attn.q.lora_B.weight": (256, 4)}, seed=9
    ).items()}

    def with_other(model):
        return comfy.sd.load_lora_for_models(model, None, state, 1.0, 0)[0]

    def with_ours(model):
        return plain_apply(patch.apply_lora(model, weights, 1.0, comfy.sd.load_lora_for_models), condition)

    before, after = ksample(with_ours(with_other(host)), condition), ksample(with_other(with_ours(host)), condition)
    close(before, after)
    assert (after - ksample(with_ours(host), condition)).abs().max() > 0.01


def by_host(model, weights, strength=1.0):
    return patch.apply_lora(model, weights, strength, comfy.sd.load_lora_for_models)


def test_a_new_scene_or_strength_patches_no_weight_anew(host, condition, make_condition, weights, monkeypatch):
    """The host merges LoRAs into its weights when a model with other patches is sampled."""
    merged, merge = [], comfy.lora.calculate_weight
    monkeypatch.setattr(comfy.lora, "calculate_weight", lambda *args, **kw: merged.append(1) or merge(*args, **kw))

    def run(condition, model=host, lora=1.0, **options):
        merged.clear()
        return ksample(plain_apply(by_host(model, weights, lora), condition, **options), condition)

    run(condition, lora=0.25)  # another test may have left the whole strength merged
    first = run(condition)
    assert len(merged) == len(weights.lora)
    weak, other = run(condition, strength=0.5), run(replace(condition, tokens=condition.tokens.flip(2)))
    run(make_condition(4), end_percent=0.5)
    assert merged == [] and not torch.equal(weak, first) and not torch.equal(other, first)
    half = run(condition, lora=0.5)
    assert len(merged) == len(weights.lora) and not torch.equal(half, first)
    assert torch.equal(run(condition), first) and len(merged) == len(weights.lora)
    twice = run(condition, model=by_host(host, weights))
    assert len(merged) == len(weights.lora) and not torch.equal(twice, first)


@pytest.mark.parametrize("length", [0, 5])
def test_tokens_are_kept_while_sampling_where_there_is_room(host, make_condition, length):
    condition, asked, held = make_condition(10), [], []

    def run(free):
        model = plain_apply(host, condition, strength=0.7, free_memory=lambda device: asked.append(device) or free)
        if length:
            model.model_options["context_handler"] = windows(length, True)
        block = host.model.diffusion_model.blocks[0]
        hook = block.register_forward_pre_hook(lambda *args: held.append(added(model)._kept.copy()))
        result = ksample(model, condition)
        hook.remove()
        assert added(model)._kept == {}  # nothing is held afterwards
        return result

    kept = run(1 << 50)
    places = [(where, value is not None) for call in held for where, value in call.items()]
    assert set(places) == {((torch.device("cpu"), torch.float32), True)} and len(places) == len(held)
    assert len(asked) == 1
    held.clear()
    asked.clear()
    sent = run(1 << 20)  # less than the host reckons for a pass
    assert asked == [torch.device("cpu")] and all(value is None for call in held for value in call.values())
    assert torch.equal(kept, sent)


def test_embedders_see_a_scene_once(host, weights, monkeypatch):
    from crafters.models.anicrafter import embedders
    from crafters.models.anicrafter.conditions import Scene

    calls = []
    monkeypatch.setattr(embedders, "embed", lambda *args, **kw: calls.append(args[1]) or embed(*args, **kw))
    scenes = [Scene(torch.rand(5, 32, 32, 3), torch.rand(5, 32, 32, 3), torch.ones(5, 32, 32)) for _ in range(2)]

    def tokens(scene, own=weights, **options):
        return added(CraftersAniCrafterApply.execute(host, own, scene, 1.0, **options).args[0]).tokens

    first = tokens(scenes[0])
    assert tokens(scenes[0], end_percent=0.5) is first and len(calls) == 1
    assert not torch.equal(tokens(scenes[1]), first) and tokens(scenes[0]) is first and len(calls) == 2
    assert tokens(scenes[0], dtype="bf16") is not first and len(calls) == 3
    zero = copy.deepcopy(weights.embedders)
    torch.nn.init.zeros_(zero.blend_embedding[12].weight)
    assert not torch.equal(tokens(scenes[0], AniCrafter(zero, weights.lora)), first) and len(calls) == 4


def passes(model, run):
    """What a run answers, and how often the network was run through in it."""
    calls = []
    hook = model.model.diffusion_model.blocks[-1].register_forward_hook(lambda *args: calls.append(1))
    try:
        return run(), len(calls)
    finally:
        hook.remove()


def few_steps(weights):
    """A second LoRA, as one for few steps is: of another rank, under kohya's words. And both as one."""
    generator = torch.Generator().manual_seed(5)
    pairs = {
        name: (torch.randn(6, a.shape[1], generator=generator) / 16, torch.randn(len(b), 6, generator=generator) / 16)
        for name, (a, b) in weights.lora.items()
    }
    state = {
        f"diffusion_model.{name}.lora_{side}.weight": tensor
        for name, pair in pairs.items() for side, tensor in zip(("down", "up"), pair, strict=True)
    }
    both = {
        name: (torch.cat([a, pairs[name][0]]), torch.cat([b, pairs[name][1]], 1))
        for name, (a, b) in weights.lora.items()
    }
    return state, AniCrafter(weights.embedders, both)


def test_a_lora_for_few_steps_adds_up_with_ours(host, condition, weights):
    state, both = few_steps(weights)
    fewer = comfy.sd.load_lora_for_models(host, None, state, 1.0, 0)[0]
    found = ksample(plain_apply(by_host(fewer, weights), condition), condition, steps=4, cfg=1.0)
    close(found, ksample(plain_apply(by_host(host, both), condition), condition, steps=4, cfg=1.0))
    for less in (fewer, by_host(host, weights)):
        assert (found - ksample(plain_apply(less, condition), condition, steps=4, cfg=1.0)).abs().max() > 0.01


@pytest.mark.parametrize("node", [EasyCacheNode, LazyCacheNode])
def test_a_cache_node_leaves_passes_out(host, condition, weights, node):
    """With both LoRAs and guidance 1 a step is one pass; with a cache there are fewer."""
    state, _ = few_steps(weights)
    fewer = comfy.sd.load_lora_for_models(host, None, state, 1.0, 0)[0]
    model = patch.apply(by_host(fewer, weights), condition.tokens)
    without = patch.apply(by_host(fewer, weights), condition.tokens, strength=0.0)

    def run(model, steps=4):
        return passes(model, lambda: ksample(model, condition, steps=steps, cfg=1.0))

    def cached(model, threshold):  # random networks change much from step to step
        return node.execute(model, threshold, 0.15, 0.95, False).args[0]

    plain, most = run(model)
    never, every = run(cached(model, 0.0))
    assert (most, every) == (4, 4) and torch.equal(never, plain)
    (some, fewest), (other, _) = run(cached(model, 3.0), 8), run(cached(without, 3.0), 8)
    assert fewest < 8 and some.isfinite().all() and (some - other).abs().max() > 0.1


def test_model_is_told_the_rounded_time(host, condition):
    told = []

    def spy(executor, x, timestep, *args, **options):
        told.append(timestep[0].item())
        return executor(x, timestep, *args, **options)

    model = patch.apply(host, condition.tokens)
    model.add_wrapper_with_key("diffusion_model", "spy", spy)
    ksample(model, condition, cfg=1.0)
    assert told == [1000.0, 908.0, 716.0]  # of 1000, 909.2, 714.8 by core's table


def test_a_compiled_model_is_told_it_too(host, condition):
    """A compiler leaves out what goes to bf16 and back."""
    rounded, plain = patch.apply(host, condition.tokens), plain_apply(host, condition)
    compiled = TorchCompileModel.execute(rounded, "inductor").args[0]
    levels = torch.tensor([0.9613, 0.0])
    right, wrong, found = (ksample(model, condition, cfg=1.0, sigmas=levels) for model in (rounded, plain, compiled))
    assert (found - right).abs().max() < 0.05 * (right - wrong).abs().max()


def windows(length, fix, retain="", handler=comfy.context_windows.IndexListContextHandler):
    return handler(
        comfy.context_windows.get_matching_context_schedule("standard_static"),
        comfy.context_windows.get_matching_fuse_method("flat"),
        context_length=length, context_overlap=0, dim=2, cond_retain_index_list=retain, causal_window_fix=fix,
    )


class Uncut(comfy.context_windows.IndexListContextHandler):
    """As older hosts: the image latents stay whole."""

    def get_resized_cond(self, cond_in, x_in, window, device=None):
        cut = super().get_resized_cond(cond_in, x_in, window, device)
        for new, old in zip(cut, cond_in, strict=True):
            new["model_conds"]["c_concat"] = old["model_conds"]["c_concat"]
        return cut


@pytest.mark.parametrize(
    ("fix", "retain", "handler"),
    [
        (False, "", comfy.context_windows.IndexListContextHandler),
        (True, "", comfy.context_windows.IndexListContextHandler),
        (True, "0", comfy.context_windows.IndexListContextHandler),
        (False, "", Uncut),
        (True, "", Uncut),
    ],
)
def test_context_windows_equal_slicing_by_hand(host, make_condition, fix, retain, handler):
    """37 frames, ten latent ones, in two windows of five without overlap; one step, so that nothing is mixed."""
    condition = make_condition(10)
    noise = noise_for(condition)
    model = plain_apply(host, condition)
    model.model_options["context_handler"] = windows(5, fix, retain, handler)
    result = ksample(model, condition, noise, steps=1)

    pieces = []
    for start in (0, 5):
        anchor = [start - 1] if fix and start else []
        seen = anchor + list(range(start, start + 5))
        told = [0, *seen[1:]] if retain else seen
        part = WanCondition(
            condition.tokens[:, :, told], condition.concat[:, :, told], condition.clip, condition.positive,
            condition.negative,
        )
        pieces.append(ksample(plain_apply(host, part), part, noise[:, :, seen], steps=1)[:, :, len(anchor) :])
    close(result, torch.cat(pieces, 2), 1e-4)


def test_overlapping_windows_run_to_the_end(host, make_condition):
    condition = make_condition(11)
    model = plain_apply(host, condition)
    model.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        comfy.context_windows.get_matching_context_schedule("standard_uniform"),
        comfy.context_windows.get_matching_fuse_method("pyramid"),
        context_length=5, context_overlap=2, dim=2,
    )
    assert ksample(model, condition).isfinite().all()


@pytest.mark.parametrize(("schedule", "told"), [("standard_static", True), ("batched", False)])
def test_windows_that_cannot_follow_each_other_are_told(host, make_condition, caplog, schedule, told):
    condition = make_condition(11)
    model = plain_apply(host, condition)
    model.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        comfy.context_windows.get_matching_context_schedule(schedule),
        comfy.context_windows.get_matching_fuse_method("flat"),
        context_length=4, context_overlap=6, dim=2,
    )
    samples = ksample(model, condition)
    assert samples.isfinite().all() != told
    assert ("4 latent frames long and overlap by 6" in caplog.text) == told


def long_video(host, frames, length=21, overlap=4, steps=4, fuse="pyramid"):
    """As the shipped workflow, 21 latent frames that overlap by 4, but without FreeNoise: all frames share a noise."""
    condition, noise = ramp(frames, width=256, clip=1280, text=4096)
    model = plain_apply(host, condition)
    model.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        comfy.context_windows.get_matching_context_schedule("standard_uniform" if overlap else "standard_static"),
        comfy.context_windows.get_matching_fuse_method(fuse),
        context_length=length, context_overlap=overlap, dim=2, cond_retain_index_list="0",
    )
    return ksample(model, condition, noise, steps)


def test_windows_leave_no_seam(host):
    assert jumps(long_video(host, 42, length=42)) < 1.05
    assert jumps(long_video(host, 42, overlap=0, fuse="flat")) > 1.4  # what a seam looks like here
    assert jumps(long_video(host, 42)) < 1.05


def test_the_network_sees_no_more_of_a_longer_clip(host):
    def most(frames):
        tokens = set()
        block = host.model.diffusion_model.blocks[1]
        hook = block.register_forward_pre_hook(lambda module, args: tokens.add(args[0].shape[:2]))
        long_video(host, frames, steps=1)
        hook.remove()
        return max(tokens)

    assert most(25) == most(101)


def test_fp8_weights(condition, weights, wan_file, tmp_path):
    """Tokens and LoRA act on a model that is kept in fp8 as on the numbers that it stands for."""
    eight = {name: x.to(torch.float8_e4m3fn) for name, x in load_file(wan_file).items()}
    file = str(save(tmp_path / "eight.safetensors", eight))
    kept = {"dtype": torch.float8_e4m3fn}  # as Load Diffusion Model's weight_dtype asks
    models = [
        ModelSamplingSD3().patch(comfy.sd.load_diffusion_model(file, model_options=options), 5.0)[0]
        for options in (kept, {})
    ]
    held = models[0].model.diffusion_model.blocks[0].ffn[0].weight
    assert held.dtype == torch.float8_e4m3fn
    plain, with_tokens, with_lora = (
        [ksample(change(model), condition) for model in models]
        for change in (
            lambda model: model,
            lambda model: plain_apply(model, condition),
            lambda model: patch.apply_lora(model, weights, 1.0, comfy.sd.load_lora_for_models),
        )
    )
    close(*plain)
    close(*with_tokens)
    assert (with_tokens[0] - plain[0]).abs().max() > 0.1
    # The host rounds W + B·A to fp8 again.
    moved = with_lora[1] - plain[1]
    assert (with_lora[0] - with_lora[1]).norm() < 0.5 * moved.norm()


@pytest.mark.parametrize(
    ("channels", "out", "what"),
    [(36, 64, "Wan 2.2 I2V 14B, which has no image tokens"), (48, 192, "Wan 2.2 TI2V 5B"), (16, 64, "T2V")],
)
def test_another_wan_is_refused(condition, weights, tmp_path, channels, out, what):
    shapes = {name: shape for name, shape in wan_shapes(channels=channels).items() if "img" not in name}
    shapes |= {"head.head.weight": (out, 256), "head.head.bias": (out,)}
    model = comfy.sd.load_diffusion_model(str(save(tmp_path / "other.safetensors", random_state(shapes))))
    for use in (
        lambda: patch.apply(model, condition.tokens),
        lambda: patch.apply_lora(model, weights, 1.0, comfy.sd.load_lora_for_models),
    ):
        with pytest.raises(ValueError, match="not T2V, not 1.3B, not Wan 2.2"):
            use()


def test_wan_of_another_size_is_refused(weights, tmp_path):
    small = comfy.sd.load_diffusion_model(str(save(tmp_path / "1.3b.safetensors", random_state(wan_shapes(dim=128)))))
    with pytest.raises(CheckpointError, match="Wan model is 128 wide and has 2 blocks, but .* for 256 and 2"):
        patch.apply_lora(small, weights, 1.0, comfy.sd.load_lora_for_models)


def test_what_does_not_fit_is_refused(host, condition, make_condition, weights, tmp_path):
    with pytest.raises(ValueError, match="256 wide"):
        patch.apply(host, condition.tokens[:, :128])
    with pytest.raises(ValueError, match="same size and number of frames"):
        ksample(plain_apply(host, make_condition(4)), condition)
    larger = AniCrafter.from_files([save(tmp_path / "three.safetensors", random_state(anicrafter_shapes(layers=3)))])
    with pytest.raises(CheckpointError, match="has 2 blocks"):
        patch.apply_lora(host, larger, 1.0, comfy.sd.load_lora_for_models)
    with pytest.raises(CheckpointError, match="ComfyUI took 0 of the 20"):
        patch.apply_lora(host, weights, 1.0, lambda model, clip, lora, *strengths: (model.clone(), clip))


CASES = [case for case in find_cases() if case.kind == "anicrafter_denoise"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_published_numbers(case, tmp_path):
    """The reference case by core's own network; its sizes are smaller than core's loader takes, so it is made here."""
    config, x = case.config, case.inputs
    settings = comfy.supported_models.WAN21_I2V({
        "image_model": "wan2.1", "model_type": "i2v", "in_dim": 36, "dim": config["dim"], "ffn_dim": config["ffn_dim"],
        "freq_dim": config["freq_dim"], "text_dim": config["text_dim"], "num_heads": config["num_heads"],
        "num_layers": config["num_layers"],
    })
    settings.set_inference_dtype(torch.float32, None)
    base = settings.get_model({})
    base.diffusion_model.img_emb = comfy.ldm.wan.model.MLPProj(
        config["image_dim"], config["dim"], operation_settings={"operations": comfy.ops.disable_weight_init}
    )
    base.diffusion_model.load_state_dict(case.weights(part="wan"), strict=True)
    cpu = torch.device("cpu")
    model = ModelSamplingSD3().patch(comfy.model_patcher.ModelPatcher(base, cpu, cpu), 5.0)[0]
    weights = AniCrafter.from_files([save(tmp_path / "ani.safetensors", case.weights(part="anicrafter"))])

    scene = make_scene(case)
    tokens = embed(Loaded(weights.embedders), scene, dtype=torch.float32)
    concat = torch.cat([scene.concat_mask(), x["blend_latents"][None]], 1)
    condition = WanCondition(tokens, concat, x["clip_feature"], x["text_positive"], x["text_negative"])
    model = plain_apply(patch.apply_lora(model, weights, 1.0, comfy.sd.load_lora_for_models), condition)
    starts = []
    last = ksample(
        model, condition, x["noise"], config["steps"], config["guidance"],
        callback=lambda i, x0, latents, total: starts.append(latents.clone()), sigmas=sigmas(config["steps"]),
    )
    for i, latents in enumerate([*starts[1:], last]):
        case.check(f"latents_after_step_{i}", latents)
