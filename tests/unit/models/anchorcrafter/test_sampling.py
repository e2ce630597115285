"""The sampling loop against its plain restatement, and what it does with memory, cancellation and numbers."""

import gc
import logging
from dataclasses import replace

import pytest
import torch
from crafters.models.anchorcrafter import sampling
from crafters.models.anchorcrafter.sampling import SCHEDULER, initial_noise, sample
from crafters.models.anchorcrafter.schedule import ALIGN_YOUR_STEPS, PUBLISHED, align_your_steps
from crafters.models.loaded import Loaded
from diffusers import EulerDiscreteScheduler
from helpers.plain_anchor import FEW_VIEW_TOKENS, condition_of, plain_sample, random_clip, small_mimic, small_system

STEPS, GUIDANCE, WINDOW = 3, (2.0, 4.0), 3


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks this small only lose by more
    yield
    torch.set_num_threads(threads)


class Case:
    """One system and one clip; `plain` is what must come out."""

    def __init__(self, system, frames=6, height=64, width=128, window=WINDOW, overlap=0, **options):
        self.model, self.clip = Loaded(system), random_clip(system.config, frames, height, width)
        self.condition = condition_of(system, self.clip)
        self.noise = initial_noise(self.condition, window, seed=7)
        self.options = {"steps": STEPS, "guidance": GUIDANCE, "window": window, **options}
        if overlap:
            self.options["overlap"] = overlap

    def plain(self, **options):
        return plain_sample(self.model.module, self.clip, self.noise, **{**self.options, **options})

    def sample(self, **options):
        return sample(self.model, self.condition, self.noise, **{**self.options, **options})


@pytest.fixture(scope="module")
def anchor():
    case = Case(small_system(FEW_VIEW_TOKENS))
    case.expected = case.plain()
    return case


@pytest.fixture(scope="module")
def mimic():
    case = Case(small_mimic(), overlap=1)
    case.expected = case.plain()
    return case


def close(actual, expected, atol=1e-4):
    assert actual.shape == expected.shape and actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


@pytest.mark.parametrize("rows", [0, 2, 3, 100])
def test_equals_the_plain_loop(anchor, rows):
    close(anchor.sample(rows=rows), anchor.expected)


@pytest.mark.parametrize("rows", [1, 100])
def test_mimicmotion_equals_the_plain_loop(mimic, rows):
    close(mimic.sample(rows=rows), mimic.expected)


@pytest.mark.slow
def test_mimicmotions_overlap(mimic):
    result = mimic.sample(overlap=2)
    close(result, mimic.plain(overlap=2))
    assert not torch.allclose(result, mimic.expected, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        {"frames": 5, "window": 11},  # shorter than a window
        {"frames": 2, "window": 11},
        {"frames": 2, "window": 2},
        {"frames": 7, "window": 3},  # the ring divides evenly
        {"frames": 4, "height": 128, "width": 192},
        {"frames": 4, "height": 192, "width": 128},
        {"frames": 5, "window": 11, "mimic": True, "overlap": 6},
        {"frames": 2, "window": 11, "mimic": True, "overlap": 6},
        {"frames": 5, "mimic": True, "overlap": 2, "width": 192},
    ],
    ids=str,
)
def test_lengths_and_sizes(case):
    system = small_mimic() if case.pop("mimic", False) else small_system(FEW_VIEW_TOKENS)
    case = Case(system, **case)
    close(case.sample(), case.plain())


def test_one_step(anchor):
    # From sigma 700 to 0 in one step: noise of 700 cancels, of which float32 keeps seven digits.
    close(anchor.sample(steps=1), anchor.plain(steps=1), atol=1e-3)


def test_guidance_is_spread_over_the_frames(anchor):
    # The last frames' scale tells: 4 either way.
    constant = anchor.sample(guidance=(4.0, 4.0), steps=1)[0]
    rising = anchor.sample(guidance=(2.0, 4.0), steps=1)[0]
    close(rising[-1], constant[-1], atol=1e-3)
    assert all(not torch.allclose(rising[i], constant[i], atol=1e-2) for i in range(5))


class Rows:
    """Counts the batch rows that reach the network."""

    def __init__(self, case):
        self.calls = []
        self.hook = case.model.module.unet.conv_in.register_forward_pre_hook(self.count)
        self.frames = min(case.options["window"], case.condition.frames)

    def count(self, module, args):
        self.calls.append(len(args[0]) // self.frames)

    def __enter__(self):
        return self.calls

    def __exit__(self, *error):
        self.hook.remove()


def test_guidance_of_one_leaves_the_unconditional_passes_out(anchor):
    windows = 3 * STEPS
    with Rows(anchor) as calls:
        unguided = anchor.sample(guidance=(1.0, 1.0))
    assert calls == [1] * windows
    close(unguided, anchor.plain(guidance=(1.0, 1.0)))
    with Rows(anchor) as calls:
        anchor.sample(guidance=(1.0, 2.0), steps=1)
    assert calls == [1] * 6


def test_align_your_steps_equals_the_plain_loop(anchor):
    sigmas = [700.0, 13.0, 0.9, 0.0]
    close(anchor.sample(sigmas=sigmas, steps=50), anchor.plain(sigmas=sigmas))
    chosen = anchor.sample(schedule=ALIGN_YOUR_STEPS)
    close(chosen, anchor.plain(sigmas=align_your_steps(STEPS)))
    assert torch.equal(chosen, anchor.sample(sigmas=torch.tensor(align_your_steps(STEPS)), steps=50))


def test_part_of_a_schedule_begins_at_its_own_noise(mimic):
    sigmas = torch.tensor([20.0, 2.0, 0.5])  # nor does it end at 0
    close(mimic.sample(sigmas=sigmas), mimic.plain(sigmas=sigmas.tolist()))


def test_the_default_is_the_published_schedule_to_the_bit(anchor):
    sigmas = EulerDiscreteScheduler(**SCHEDULER)
    sigmas.set_timesteps(STEPS)
    plain = anchor.sample()
    assert torch.equal(plain, anchor.sample(sigmas=sigmas.sigmas))
    assert torch.equal(plain, anchor.sample(schedule=PUBLISHED, guidance_from=0.0, guidance_until=1.0))
    assert not torch.allclose(plain, anchor.sample(schedule=ALIGN_YOUR_STEPS), atol=1e-2)


def test_outside_of_its_interval_guidance_is_one_and_costs_nothing(anchor, mimic):
    with Rows(anchor) as calls:
        middle = anchor.sample(guidance_from=1 / 3, guidance_until=2 / 3, rows=100)
    assert calls == [3, 6, 3]
    close(middle, anchor.plain(unguided=(0, 2)))
    close(mimic.sample(guidance_until=0.5), mimic.plain(unguided=(2,)))


def test_rows_share_calls(anchor):
    with Rows(anchor) as calls:
        anchor.sample(rows=4, steps=1)
    assert calls == [4, 2]


def test_rows_stay_within_what_attention_kernels_take(anchor, monkeypatch):
    monkeypatch.setattr("crafters.models.anchorcrafter.sampling.ATTENTION_BATCH", 3 * 8 * 16 + 5)
    with Rows(anchor) as calls:
        anchor.sample(rows=6, steps=1)
    assert calls == [3, 3]


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision_stays_near(dtype, limit):
    case = Case(small_system(FEW_VIEW_TOKENS), frames=3)
    expected = case.sample()
    case.model = Loaded(small_system(FEW_VIEW_TOKENS).to(dtype))
    result = case.sample()
    assert result.dtype == torch.float32 and result.isfinite().all()
    assert (result - expected).std() < limit * expected.std()


def test_the_same_seed_gives_the_same_bits(anchor):
    assert torch.equal(anchor.sample(steps=1), anchor.sample(steps=1))
    again = initial_noise(anchor.condition, WINDOW, seed=7)
    assert torch.equal(anchor.noise, again) and again.shape == (1, WINDOW, 4, 8, 16)
    assert not torch.equal(again, initial_noise(anchor.condition, WINDOW, seed=8))
    assert initial_noise(anchor.condition, 50, seed=7).shape[1] == anchor.condition.frames


def test_nothing_given_is_changed(anchor):
    tensors = {
        **anchor.model.module.state_dict(),
        "noise": anchor.noise,
        **{name: value for name, value in vars(anchor.condition).items() if isinstance(value, torch.Tensor)},
    }
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    anchor.sample(rows=3, steps=1)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in tensors.items())
    injected = anchor.model.module.unet.injected  # nor is anything left behind
    assert injected.context is None and injected.maps is None


def test_time_ids_reach_the_network(anchor):
    augmented = replace(anchor.condition, time_ids=(6, 127, 0.5))
    result = sample(anchor.model, augmented, anchor.noise, **{**anchor.options, "steps": 1})
    assert not torch.allclose(result, anchor.sample(steps=1), atol=1e-2)


def test_progress_and_previews(anchor):
    calls, steps = [], []
    result = anchor.sample(
        rows=4,
        on_call=lambda done, total: calls.append((done, total)),
        on_step=lambda step, latents, clean: steps.append((step, latents, clean)),
    )
    assert calls == [(done, 18) for done in (4, 6, 10, 12, 16, 18)]
    assert [step for step, _, _ in steps] == [0, 1, 2]
    assert torch.equal(steps[-1][1], result)
    # The last step goes to sigma 0, where the latents are the estimate itself.
    close(steps[-1][2], result)
    assert all(clean.shape == result.shape for _, _, clean in steps)


def test_cancel_stops_after_one_network_call(anchor):
    class CancelError(Exception):
        pass

    def on_call(done, total):
        raise CancelError

    with Rows(anchor) as calls, pytest.raises(CancelError):
        anchor.sample(on_call=on_call)
    assert calls == [1]


def test_cancel_leaves_nothing_in_memory(anchor):
    def tensors():
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    def cancelled():
        def on_call(done, total):
            raise InterruptedError

        with pytest.raises(InterruptedError):
            anchor.sample(on_call=on_call)

    cancelled()
    before = tensors()
    cancelled()
    assert tensors() == before


class SmallMemory:
    """The network as it would be on a GPU that holds `limit` rows."""

    def __init__(self, case, limit, monkeypatch):
        unet = case.model.module.unet
        predict = unet.predict
        self.refused = 0

        def tight(sample, *args):
            if len(sample) > limit:
                self.refused += 1
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return predict(sample, *args)

        monkeypatch.setattr(unet, "predict", tight)


def test_out_of_memory_halves_once_and_goes_on(anchor, monkeypatch, caplog):
    memory, calls = SmallMemory(anchor, 3, monkeypatch), []
    with caplog.at_level(logging.WARNING):
        result = anchor.sample(rows=6, on_call=lambda done, total: calls.append(done))
    close(result, anchor.expected)
    assert memory.refused == 1 and calls == list(range(3, 19, 3))
    assert [record.getMessage() for record in caplog.records] == ["Out of memory: going on with 3 passes at a time."]


def test_out_of_memory_for_a_single_pass_is_told(anchor, monkeypatch):
    SmallMemory(anchor, 0, monkeypatch)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        anchor.sample(rows=2)


def test_rows_follow_the_free_memory(anchor, monkeypatch):
    asked = []
    monkeypatch.setattr(anchor.model, "load", lambda memory=0: asked.append(memory) or torch.device("cpu"))
    for free, rows in ((0, 1), (10**12, 6)):
        monkeypatch.setattr(anchor.model, "free_memory", lambda free=free: free)
        with Rows(anchor) as calls:
            anchor.sample(steps=1)
        assert max(calls) == rows
    assert all(memory > 0 for memory in asked)


@pytest.mark.parametrize(("guidance", "kinds"), [((1.0, 1.0), 1), (GUIDANCE, 2)])
def test_what_is_held_between_steps_is_counted(anchor, monkeypatch, guidance, kinds):
    asked, made = [], []

    class Call(sampling._Call):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(sampling, "_Call", Call)
    monkeypatch.setattr(anchor.model, "load", lambda memory=0: asked.append(memory) or torch.device("cpu"))
    anchor.sample(steps=1, guidance=guidance)
    anchor.sample(steps=1, guidance=guidance, cache_interval=2)
    held = sum(features.nbytes for features in made[-1].held.values())
    assert len(made[-1].held) == kinds and held > 0 and not made[0].held
    assert asked[1] - asked[0] == held
    # The room for two rows, of which the second is needed for what is held.
    monkeypatch.setattr(anchor.model, "free_memory", lambda: 2 * asked[0] * 5 // 4 + held - 1)
    for interval, rows in ((1, 2), (2, 1)):
        with Rows(anchor) as calls:
            anchor.sample(steps=1, guidance=guidance, cache_interval=interval)
        assert max(calls) == rows


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"window": 1}, "window is 1"),
        ({"overlap": 4}, "overlap is 4; it must be at least 1 and less than the window"),
        ({"overlap": 0}, "overlap is 0; it must be at least 1"),
        ({"guidance_from": 0.5, "guidance_until": 0.5}, "from 0.5 until 0.5 of the steps: the first must be smaller"),
        ({"sigmas": []}, r"sigmas are \[\]: at least two falling numbers"),
        ({"sigmas": [3.0]}, "at least two falling numbers"),
        ({"sigmas": [3.0, 3.0, 0.0]}, "at least two falling numbers"),
        ({"sigmas": [3.0, float("nan"), 0.0]}, "at least two falling numbers"),
        ({"sigmas": [float("inf"), 1.0]}, "at least two falling numbers"),
        ({"sigmas": [3.0, -1.0]}, "the last 0 or above"),
    ],
)
def test_settings_that_make_no_sense(mimic, options, words):
    with pytest.raises(ValueError, match=words):
        mimic.sample(**options)


def test_the_reference_alone_is_no_clip(anchor):
    alone = replace(anchor.condition, maps=anchor.condition.maps[:1])
    with pytest.raises(ValueError, match="At least one driving frame"):
        sample(anchor.model, alone, anchor.noise)


def test_numbers_that_are_none_end_in_a_sentence(anchor):
    """Not in a black video: damaged weights, an overflow."""
    condition = replace(anchor.condition, context=anchor.condition.context * torch.nan)
    with pytest.raises(ValueError, match="sampler's latents are not finite"):
        sample(anchor.model, condition, anchor.noise, **anchor.options)


def test_the_deep_part_of_the_same_sample_gives_the_same_answer(anchor):
    unet, config = anchor.model.module.unet, anchor.model.module.unet.config
    generator = torch.Generator().manual_seed(1)
    sample_, context, maps = (
        torch.randn(shape, generator=generator)
        for shape in ((2, 3, config.in_channels, 8, 16), (2, 5, config.cross_attention_dim),
                      (2, 3, config.block_out_channels[0], 8, 16))
    )
    arguments = sample_, torch.tensor(0.5), context, torch.zeros(2, 3), maps
    deep, calls = [], []
    handle = unet.mid_block.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        whole = unet.predict(*arguments)
        assert torch.equal(unet.predict(*arguments, deep), whole) and deep[0].shape == (6, *maps.shape[2:])
        assert torch.equal(unet.predict(*arguments, deep), whole) and len(deep) == 1 and len(calls) == 2
        assert not torch.equal(unet.predict(*arguments, [deep[0] + 1]), whole)
        assert torch.equal(unet.predict(*arguments), whole), "the network itself must stay as it was"
    handle.remove()


@pytest.mark.parametrize("case", ["anchor", "mimic"])
def test_the_deep_part_is_computed_in_every_second_step_only(case, request):
    case = request.getfixturevalue(case)
    middle, calls = case.model.module.unet.mid_block, []
    handle = middle.register_forward_hook(lambda *_: calls.append(1))
    every = case.sample(steps=4)
    whole = len(calls)
    second = case.sample(steps=4, cache_interval=2)
    assert len(calls) - whole == whole // 2
    assert not torch.equal(second, every) and (second - every).abs().mean() < every.abs().mean()
    close(case.sample(steps=4, cache_interval=2, rows=3), second)
    # A pass whose deep part no step before has computed is computed whole: here those without conditions.
    calls.clear()
    case.sample(steps=4, cache_interval=2, guidance_from=0.25, guidance_until=0.5)
    assert whole // 4 + whole // 8 == len(calls)
    handle.remove()
    with pytest.raises(ValueError, match="cache_interval is 0"):
        case.sample(cache_interval=0)
