import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from crafters.cli.train import RECIPES
from crafters.media.clip import write_video
from crafters.models.anicrafter.checkpoint import AniCrafter
from crafters.models.anicrafter.embedders import embed
from crafters.models.anicrafter.names import native_name
from crafters.models.anicrafter.transformer import load_transformer, merge_lora
from crafters.models.anicrafter.wan import added_tokens
from crafters.models.loaded import Loaded
from crafters.training.anicrafter.task import AniCrafterSettings, AniCrafterTask
from crafters.training.anicrafter.wan import TARGETS, WanSizes, new_transformer
from crafters.training.datasets import anicrafter as data
from crafters.training.loop import train
from crafters.training.settings import Settings, Stage, read_settings
from helpers.small_wan import anicrafter_shapes, random_state, wan_shapes
from PIL import Image
from safetensors.torch import load_file, save_file

FRAMES, HEIGHT, WIDTH = 5, 32, 48
SIZES = {"dim": 32, "layers": 2, "ffn": 24}
CODE = {"text": 16, "image": 16}


def smooth(draw, *shape):
    """A picture or clip without sharp edges, uint8."""
    coarse = torch.from_numpy(draw.random((3, *[max(2, n // 8) for n in shape]), np.float32))[None]
    mode = {2: "bilinear", 3: "trilinear"}[len(shape)]
    fine = torch.nn.functional.interpolate(coarse, shape, mode=mode, align_corners=True)[0]
    return (fine.movedim(0, -1) * 255).byte().numpy()


def write_clip(folder, seed, frames=8, size=(WIDTH, HEIGHT)):
    """A clip whose blend is the film with the person's part darker, and whose person moves to the right."""
    draw = np.random.default_rng(seed)
    width, height = size
    film = smooth(draw, frames, height, width)
    body = np.zeros((frames, height, width, 1), bool)
    for i in range(frames):
        body[i, 8:28, 4 + 2 * i : 16 + 2 * i] = True
    folder.mkdir(parents=True)
    grey = np.broadcast_to(np.where(body, 160, 0), film.shape).astype(np.uint8)
    mask = np.broadcast_to(np.where(body, 255, 0), film.shape).astype(np.uint8)
    for name, clip in zip(data.VIDEOS, (film, np.where(body, film // 2, film), grey, mask), strict=True):
        write_video(folder / name, list(np.ascontiguousarray(clip)), 15)
    Image.fromarray(smooth(draw, 40, 24)).save(folder / data.REFERENCE)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Clips, networks and a prompt, all very small."""
    from crafters.models.anicrafter.prompt import pad_text, save_prompts
    from diffusers import AutoencoderKLWan
    from transformers import CLIPVisionConfig, CLIPVisionModel

    root = tmp_path_factory.mktemp("anicrafter")
    for i in range(3):
        write_clip(root / "clips" / f"clip{i}", i)
    torch.manual_seed(0)
    AutoencoderKLWan(base_dim=8).save_pretrained(root / "vae")
    clip = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1, patch_size=14
    )
    CLIPVisionModel(clip).save_pretrained(root / "clip")
    save_prompts(root / "prompt.safetensors", *(pad_text(torch.randn(1, 4, 16)) for _ in range(2)))
    save_file(random_state(wan_shapes(**SIZES, **CODE)), root / "wan.safetensors")
    return root


def task(files, seed=0, **options):
    options = {"transformer": files / "wan.safetensors", "prompt": files / "prompt.safetensors", "rank": 2,
               "dtype": "fp32", "export_dtype": "fp32", **options}
    settings = AniCrafterSettings(
        data=files / "clips", vae=files / "vae", clip_vision=files / "clip", cache=files / "cache", **options
    )
    return AniCrafterTask(settings, FRAMES, seed)


def settings(steps, batch=2, **options):
    return Settings(
        (Stage(steps, batch, FRAMES),), learning_rate=3e-3, **{"log_every": 1, "save_every": steps, **options}
    )


def batch_of(task, count=2, frames=FRAMES, seed=0):
    samples = [task.sample(i, np.random.default_rng([seed, i]), frames) for i in range(count)]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def randomise(trained, seed=1):
    """So that nothing is zero any more."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in trained.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def losses(out):
    rows = [line.split(",") for line in (out / "log.csv").read_text().split()]
    return [float(row[rows[0].index("loss")]) for row in rows[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("train_what", [("adapters",), ("base",)])
def test_loss_falls(files, tmp_path, train_what):
    options = {"transformer": None, "model": WanSizes(**SIZES, **CODE)} if "base" in train_what else {}
    train(task(files, train=train_what, **options), settings(40), tmp_path)
    values = losses(tmp_path)
    assert np.mean(values[-8:]) < 0.85 * np.mean(values[:8])


@pytest.mark.slow
def test_resumed_equals_uninterrupted(files, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(task(files), settings(6, save_every=3, ema=0.9), whole)

    class KilledError(Exception):
        pass

    def stop(line):
        if line.startswith("step 5"):
            raise KilledError

    with pytest.raises(KilledError):
        train(task(files), settings(6, save_every=3, ema=0.9), parts, stop)
    train(task(files), settings(6, save_every=3, ema=0.9), parts)
    one, two = (load_file(out / "export" / "anicrafter.safetensors") for out in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one) and len(one) == len(two)


def test_new_adapters_leave_the_base_as_it_is(files):
    plain = load_transformer(files / "wan.safetensors", torch.float32)
    new = task(files)
    batch = batch_of(new)
    sigma = batch["sigma"][:, None, None, None, None]
    noisy = torch.lerp(batch["latents"], batch["noise"], sigma)
    text = torch.where(batch["kept"][:, None, None] > 0, *new.texts)
    times = (batch["sigma"] * 1000).bfloat16().float()
    expected = plain(torch.cat([noisy, batch["concat"]], 1), times, text, batch["clip"], return_dict=False)[0]
    assert torch.equal(new.velocity(batch), expected)


def test_only_what_is_trained_gets_gradients(files):
    for groups in (("adapters",), ("base",), ("adapters", "base")):
        one = task(files, train=groups)
        randomise(one.trained)
        one.loss(batch_of(one))[0].backward()
        assert all(p.grad is not None and p.grad.any() for name, p in one.trained.named_parameters()), groups
        assert all((p.grad is not None) == ("base" in groups) for p in one.base.parameters())
        assert set(one.trained) == ({"embedders", "lora"} if "adapters" in groups else set()) | set(groups) - {
            "adapters"
        }


@torch.no_grad()
def test_exported_adapters_do_at_inference_what_they_did_in_training(files, tmp_path):
    trained = task(files, dropout=0.0)
    randomise(trained.trained)
    trained.save(tmp_path, trained.trained.state_dict())
    state = load_file(tmp_path / "anicrafter.safetensors")
    assert {k: tuple(v.shape) for k, v in state.items()} == anicrafter_shapes(**SIZES, rank=2)

    weights = AniCrafter.from_files([tmp_path / "anicrafter.safetensors"])
    transformer = load_transformer(files / "wan.safetensors", torch.float32)
    merge_lora(transformer, weights)
    batch = batch_of(trained, 1)
    window = list(data.windows(trained.clips[:1], FRAMES))[np.random.default_rng([0, 0]).integers(2)]
    tokens = embed(Loaded(weights.embedders), window.scene(), dtype=torch.float32)
    sigma = batch["sigma"].item()
    inputs = torch.cat([torch.lerp(batch["latents"], batch["noise"], sigma), batch["concat"]], 1)
    times = torch.tensor([sigma * 1000]).bfloat16().float()
    with added_tokens(transformer, tokens):
        expected = transformer(inputs, times, trained.texts[0], batch["clip"], return_dict=False)[0]
    torch.testing.assert_close(trained.velocity(batch), expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_exported_base_is_the_trained_one(files, tmp_path):
    trained = task(files, transformer=None, model=WanSizes(**SIZES, **CODE), prompt=None, train=("base",))
    randomise(trained.trained)
    trained.save(tmp_path, trained.trained.state_dict())
    state = load_file(tmp_path / "wan.safetensors")
    assert {name: tuple(x.shape) for name, x in state.items()} == wan_shapes(**SIZES, **CODE)
    again = task(files, transformer=tmp_path / "wan.safetensors", prompt=tmp_path / "anicrafter_prompt.safetensors")
    batch = batch_of(trained)
    assert torch.equal(again.velocity(batch_of(again)), trained.velocity(batch))


@torch.no_grad()
def test_base_in_fp8_is_a_fp8_file_of_comfyuis_kind(files, tmp_path):
    trained = task(
        files, transformer=None, model=WanSizes(**SIZES, **CODE), prompt=None, train=("base",), export_dtype="fp8"
    )
    randomise(trained.trained)
    trained.save(tmp_path, trained.trained.state_dict())
    state = load_file(tmp_path / "wan.safetensors")
    kinds = {name: tensor.dtype for name, tensor in state.items()}
    assert kinds["blocks.0.ffn.0.weight"] == torch.float8_e4m3fn and kinds["head.head.weight"] == torch.float16
    assert {kinds[name] for name in kinds if state[name].ndim != 2} == {torch.float16}
    again = load_transformer(tmp_path / "wan.safetensors", torch.float32).state_dict()
    for name, tensor in trained.base.state_dict().items():
        torch.testing.assert_close(again[name], tensor, rtol=2**-4, atol=2**-10)


def test_adapters_go_on_from_a_file(files, tmp_path):
    first = task(files)
    randomise(first.trained)
    first.save(tmp_path, first.trained.state_dict())
    second = task(files, anicrafter=(tmp_path / "anicrafter.safetensors",), rank=99)
    for name, tensor in first.trained.state_dict().items():
        assert torch.equal(second.trained.state_dict()[name], tensor)
    save_file(random_state(anicrafter_shapes(**SIZES, targets=TARGETS[:4])), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other layers"):
        task(files, anicrafter=(tmp_path / "other.safetensors",))


def test_gradient_checkpointing_changes_no_number(files):
    gradients = []
    for checkpointing in (False, True):
        one = task(files, gradient_checkpointing=checkpointing)
        randomise(one.trained)
        one.trained.train(), one.base.train()
        loss = one.loss(batch_of(one))[0]
        loss.backward()
        gradients.append([loss, *(p.grad for p in one.trained.parameters())])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-4)


@pytest.mark.slow
def test_a_dropped_sample_sees_what_the_negative_pass_sees(files):
    one = task(files)
    randomise(one.trained)
    batch = batch_of(one)
    answers = {kept: one.velocity({**batch, "kept": torch.full((2,), float(kept))}) for kept in (0, 1)}
    changed = {**batch, "kept": torch.zeros(2), "mesh": 255 - batch["mesh"], "blend": 255 - batch["blend"]}
    assert torch.equal(one.velocity(changed), answers[0])
    one.texts = one.texts[1], one.texts[1]
    assert torch.equal(one.velocity(changed), answers[0])
    assert (answers[0] - answers[1]).abs().max() > 1e-3
    drawn = [one.sample(0, np.random.default_rng(i), FRAMES)["kept"].item() for i in range(60)]
    assert 0.7 < np.mean(drawn) < 1


def test_noise_shares_are_shifted(files):
    for how in ("uniform", "logit_normal"):
        one = task(files, timesteps=how, shift=5.0)
        drawn = np.array([one._sigma(np.random.default_rng(i)) for i in range(2000)])
        assert 0 < drawn.min() and drawn.max() < 1
        even = drawn / (5 - 4 * drawn)  # the shift undone
        assert abs(np.median(even) - 0.5) < 0.03
        spread = {"uniform": 0.25, "logit_normal": 0.1685}[how]  # quarter of the way: sigmoid(±0.674) is 0.5 ± 0.1624
        assert abs(np.percentile(even, 75) - np.percentile(even, 25)) / 2 == pytest.approx(spread, abs=0.02)


def test_person_weight_moves_the_loss_to_the_person(files):
    one, two = task(files), task(files, person_weight=3.0)
    batch = batch_of(one)
    even, values = one.loss(batch)
    weighted, same = two.loss(batch)
    share = batch["person"].mean((1, 2, 3, 4))
    assert values["person"] == same["person"] and share.min() > 0
    error = (one.velocity(batch) - batch["noise"] + batch["latents"]).square().mean(1, keepdim=True)
    weight = 1 + 2 * batch["person"]
    expected = (error * weight / weight.mean((1, 2, 3, 4), keepdim=True)).mean()
    assert weighted.item() == pytest.approx(expected.item(), rel=1e-5)
    assert even.item() == pytest.approx(error.mean().item(), rel=1e-5)


def test_latents_are_made_once(files, tmp_path):
    settings = dict(cache=tmp_path / "cache")
    one = AniCrafterTask(
        AniCrafterSettings(files / "clips", files / "vae", files / "clip", prompt=files / "prompt.safetensors",
                           transformer=files / "wan.safetensors", dtype="fp32", rank=2, **settings), FRAMES,
    )
    first = batch_of(one)
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    second = batch_of(one)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()} == kept
    assert all(torch.equal(first[name], second[name]) for name in first)
    window = next(data.windows(one.clips[:1], FRAMES))
    fresh = one.encoders.encode(window)
    assert fresh["latents"].shape == (16, 2, 4, 6) and fresh["concat"].shape == (20, 2, 4, 6)
    assert np.array_equal(fresh["concat"], one.encoders(window)["concat"])


def test_samples_are_what_inference_is_shown(files):
    one = task(files)
    batch = batch_of(one, 1)
    assert batch["blend"].shape == (1, 5, HEIGHT, WIDTH, 3) and batch["free"].shape == (1, 5, HEIGHT, WIDTH)
    assert set(batch["free"].unique().tolist()) == {0, 255} and (batch["free"][:, 0] == 255).all()
    assert torch.equal(batch["blend"][:, 0], batch["mesh"][:, 0])  # the still
    assert (batch["blend"][0, 0, 0, 0] == 255).all()  # on white
    assert (batch["person"][:, :, 0] == 0).all() and batch["person"].max() > 0.9


def test_bad_clips_are_named(tmp_path, files):
    import shutil

    folder = tmp_path / "clips"
    for name in ("good", "missing", "short", "other", "nobody", "grey", "odd", "broken", "small"):
        if name in ("short", "other", "odd"):
            write_clip(
                folder / name,
                1,
                2 if name == "short" else 8,
                {"odd": (40, 32), "other": (64, 32)}.get(name, (WIDTH, HEIGHT)),
            )
        else:
            shutil.copytree(files / "clips" / "clip0", folder / name)
    (folder / "missing" / data.REFERENCE).unlink()
    (folder / "broken" / data.BLEND).write_bytes(b"no video")
    flat = [np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in (0, 128)]
    write_video(folder / "nobody" / data.MASK, flat[:1] * 8, 15)
    write_video(folder / "grey" / data.MASK, flat[1:] * 8, 15)
    write_video(folder / "small" / data.MESH, flat[:1] * 6, 15)
    clips, faults = data.find_clips(folder, FRAMES)
    assert [clip.folder.name for clip in clips] == ["good"]
    said = dict(fault.split(": ", 1) for fault in faults)
    assert said == {
        "missing": "reference.png missing.",
        "short": "it has 2 frames; at least 4 are wanted.",
        "other": "its size is (64, 32), that of good (48, 32).",
        "nobody": "mask_video.mp4 shows nobody.",
        "grey": "mask_video.mp4 is not black and white.",
        "odd": "its frames are 40×32; both sides must be multiples of 16.",
        "broken": said["broken"],
        "small": "(frames, height, width) of smplx_video.mp4 are (6, 32, 48), of mask_video.mp4 (8, 32, 48).",
    }
    assert "blend_video.mp4 cannot be read as a video" in said["broken"]
    with pytest.raises(ValueError, match="(?s)cannot be used.*missing: reference.png.*small: "):
        AniCrafterTask(AniCrafterSettings(folder, files / "vae", files / "clip", tmp_path / "cache"), FRAMES)
    with pytest.raises(ValueError, match="5, 9, 13"):
        data.find_clips(folder, 8)
    with pytest.raises(ValueError, match="holds no clips"):
        data.find_clips(tmp_path / "nothing", FRAMES)


def test_windows_do_not_overlap(files):
    clips, _ = data.find_clips(files / "clips", 5)
    assert [window.first for window in data.windows(clips[:1], 5)] == [0, 4]
    assert [window.first for window in data.windows(clips[:1], 9)] == [0]


def test_a_transparent_photo_shows_its_person_alone(files, tmp_path):
    folder = write_clip(tmp_path / "clips" / "one", 0)
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[10:30, 15:25] = (200, 0, 0, 255)
    Image.fromarray(picture).save(folder / data.REFERENCE)
    clips, _ = data.find_clips(tmp_path / "clips", FRAMES)
    still = next(data.windows(clips, FRAMES)).scene().blend[0]
    assert (still[0, 0] == 1).all() and (
        still[HEIGHT // 2, WIDTH // 2] - torch.tensor([200 / 255, 0, 0])
    ).abs().max() < 0.02


def test_preview_leaves_training_as_it_was(files, tmp_path):
    one = task(files, held_out=files / "clips", preview_steps=2)
    train(one, settings(2, preview_every=1), tmp_path)
    picture = np.asarray(Image.open(tmp_path / "previews" / "step-00000002-clip0.png"))
    assert picture.shape == (4 * HEIGHT, FRAMES * WIDTH, 3)
    assert all(p.requires_grad for p in one.trained.parameters()) and not one.base.training


def test_settings_that_make_no_sense_are_refused(files):
    for wrong, said in (
        ({"prompt": None}, "prompt is missing"),
        ({"train": ()}, "(?s)train.*at least 1 item"),
        ({"train": ("base",), "anicrafter": (files / "a.safetensors",)}, "adapters are not trained"),
        ({"dropout": 1.0}, "(?s)dropout.*less than 1"),
    ):
        with pytest.raises(ValueError, match=said):
            task(files, **wrong)


def test_names_are_wans_own():
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    with torch.device("meta"):
        names = {native_name(name): name for name in new_transformer(WanSizes(layers=3)).state_dict()}
    assert set(names) == set(wan_shapes(layers=3))
    assert all(theirs == name for theirs, name in convert_wan_transformer_to_diffusers(dict(names)).items())


@pytest.mark.parametrize("recipe", ["wan-small", "anicrafter-small", "anicrafter"])
def test_recipes_are_settings(recipe):
    loop, own = read_settings(RECIPES[f"{recipe}.yaml"], ["task.data=clips"], AniCrafterSettings)
    assert loop.steps > 0 and own.data == Path("clips")
    assert all(stage.frames % 4 == 1 for stage in loop.stages)


@pytest.mark.slow
def test_two_processes_equal_one(files, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; from test_anicrafter import settings, task, train\n"
        f"train(task(Path({str(files)!r})), settings(3), Path({str(tmp_path / 'two')!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    train(task(files), settings(3), tmp_path / "one")
    one, two = (load_file(tmp_path / name / "export" / "anicrafter.safetensors") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-5, rtol=1e-3)
