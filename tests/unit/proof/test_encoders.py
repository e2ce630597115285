"""The recipes of small autoencoders and image encoders, each shortened to seconds."""

import csv
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from crafters.cli.train import RECIPES, TASKS
from crafters.media.clip import write_video
from crafters.models.anchorcrafter.encoders import (
    SCALING_FACTOR,
    DINOv2,
    FrameVAE,
    load_dinov2,
    load_image_encoder,
)
from crafters.models.anchorcrafter.encoders import load_vae as load_frame_vae
from crafters.models.anicrafter import encoders as wan
from crafters.models.checkpoint import CheckpointError
from crafters.models.clip_vision import ClipVision
from crafters.models.loaded import Loaded
from crafters.proof.small.autoencoder import LOG_VARIANCE, detail, pixels
from crafters.proof.small.pictures import Pictures
from crafters.proof.small.principal import Anchor, components, fit
from crafters.proof.small.wan_vae import native_names
from crafters.training.loop import train
from crafters.training.settings import SettingsError, read_settings
from PIL import Image

RUNS = {"svd-vae": "svd-vae", "wan-vae": "wan-vae", "clip": "clip", "wan-clip": "clip", "dinov2": "dinov2"}
SMALL = {
    "svd-vae": ("task.side=64", "stages=[{steps: 24, batch: 2}]"),
    "wan-vae": ("task.side=48", "stages=[{steps: 20, batch: 1, frames: 5}]"),
    "clip": ("stages=[{steps: 40, batch: 4}]",),
    "wan-clip": ("stages=[{steps: 12, batch: 2}]",),
    "dinov2": ("stages=[{steps: 30, batch: 2}]",),
}
COMMON = ("warmup=0", "schedule=constant", "learning_rate=5e-4", "ema=0", "precision=fp32", "log_every=1",
          "save_every=100", "preview_every=0")


def scene(draw, frames, height, width):
    """A film of soft light with a hard-edged thing that moves through it, uint8."""
    light = torch.from_numpy(draw.random((1, 3, 4, 4), np.float32))
    film = torch.nn.functional.interpolate(light, (height, width), mode="bicubic", antialias=True)[0].clamp(0, 1)
    film = (film.movedim(0, -1) * 255).byte().numpy()[None].repeat(frames, 0)
    top, left = draw.integers(height // 2), draw.integers(width // 2)
    for i in range(frames):
        film[i, top : top + height // 3, left + i : left + i + width // 3] = draw.integers(0, 256, 3)
    return film


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of films film*.mp4 and product views view*.png."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for i in range(12):
        write_video(folder / f"film{i}.mp4", list(scene(draw, 5, 80, 64)), 15)
        view = np.zeros((518, 518, 3), np.uint8)
        view[100:400, 150:370] = scene(draw, 1, 300, 220)[0]
        Image.fromarray(view).save(folder / f"view{i}.png")
    return folder


def make(run, data, *changes):
    """Settings of a recipe and its task."""
    kind, build = TASKS[RUNS[run]]()
    pattern = "view*.png" if run == "dinov2" else "film*.mp4"
    own = [f"task.pictures=['{data / pattern}']", *(["task.held_out=[]"] if run.endswith("vae") else [])]
    settings, task = read_settings(RECIPES[f"{run}-small.yaml"], [*own, *COMMON, *SMALL[run], *changes], kind)
    torch.manual_seed(settings.seed)
    return settings, build(task, settings)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """By recipe: its task after training, and the folder of the run."""
    done = {}

    def run(name):
        if name not in done:
            settings, task = make(name, data)
            out = tmp_path_factory.mktemp(name)
            train(task, settings, out)
            task.trained.eval()
            done[name] = task, out
        return done[name]

    return run


def films(count, frames, height=80, width=64):
    draw = np.random.default_rng(7)
    return torch.from_numpy(np.stack([scene(draw, frames, height, width) for _ in range(count)])).float() / 255


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_the_loss_falls(trained, run):
    with (trained(run)[1] / "log.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


@pytest.mark.slow
@pytest.mark.parametrize("run", ["svd-vae", "dinov2"])
def test_resume_equals_uninterrupted(data, tmp_path, run):
    short = "stages=[{steps: 3, batch: 2}]"
    for name, stops in (("whole", [0]), ("parts", [1e-9, 0])):
        for minutes in stops:
            settings, task = make(run, data, short, f"minutes={minutes}")
            done = train(task, settings, tmp_path / name)
            assert done == (1 if minutes else 3)
    whole, parts = (next((tmp_path / name / "export").rglob("*.safetensors")) for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_components_are_numpys():
    samples = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 4, 3, 2, 1, 0.1])
    mean, directions, deviations = components(samples, 4)
    _, values, rows = np.linalg.svd((samples - samples.mean(0)).numpy(), full_matrices=False)
    torch.testing.assert_close(deviations, torch.from_numpy(values[:4]) / 499**0.5, rtol=1e-4, atol=0)
    assert (directions @ torch.from_numpy(rows[:4]).T).abs().diagonal().min() > 0.9999


def test_the_anchor_is_white_but_for_its_weight_and_holds_the_colour():
    clips = pixels(films(12, 9).movedim(-1, 1) * 255)
    anchor = Anchor(clips, 16, 4)
    latents = anchor(clips)
    assert latents.shape == (12, 16, 3, 10, 8)
    flat = latents.movedim(1, -1).flatten(0, -2)
    assert flat.mean(0).abs().max() < 1e-4 and abs(flat.var(0).mean() - 1) < 1e-3
    assert (torch.cov(flat.T) - torch.diag(flat.var(0))).abs().max() < 1e-3
    still = clips[:1, :, :1].expand(-1, -1, 5, -1, -1)  # the same latent for a still, first and later
    torch.testing.assert_close(anchor(still)[:, :, 0], anchor(still)[:, :, 1])
    colour = torch.einsum("oc,ncthw->nothw", anchor.colour, latents) + anchor.colour_bias.view(-1, 1, 1, 1)
    mean = torch.nn.functional.avg_pool3d(clips[:, :, 1:], (4, 8, 8))
    assert (colour[:, :, 1:] - mean).square().mean() < 0.02 * mean.var()


def test_fit_is_least_squares():
    conv = torch.nn.Conv2d(3, 4, 3, padding=1)
    inputs = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.stack([2 * inputs[:, 0] - inputs[:, 2] + 3, inputs[:, 1]], 1)
    with torch.no_grad():
        fit(conv, inputs, targets, ridge=1e-9)
        answer = conv(inputs)
    torch.testing.assert_close(answer[:, :2], targets, rtol=1e-4, atol=1e-4)
    assert not answer[:, 2:].any()


@pytest.mark.parametrize("run, frames", [("svd-vae", 1), ("wan-vae", 5)])
def test_the_start_already_sees(data, run, frames):
    """Before any training: latents like principal components, and pictures in their colours."""
    _, task = make(run, data)
    clips = pixels(torch.stack([task.pictures.whole(index, frames) for index in range(4)]))
    with torch.no_grad():
        latents = task.encode(task.trained, clips)
        painted = task.decode(latents)
    anchor = task.anchor(clips)
    assert (latents - anchor).square().mean() < 0.3 * anchor.square().mean()
    coarse, expected = (torch.nn.functional.avg_pool3d(x, (1, 16, 16)) for x in (painted, clips))
    assert (coarse - expected).square().mean() < 0.2 * expected.var()


def test_details_are_where_neighbours_differ():
    clips = torch.zeros(2, 3, 2, 64, 64)
    clips[0, ..., 20:30:2, 20:30] = 1
    found = detail(clips)
    assert found.shape == (2, 1, 2, 64, 64)
    assert found[0, :, :, 24, 24].min() > 0.1 and not found[0, :, :, 60, 60].any() and not found[1].any()


@pytest.mark.slow
def test_a_decoder_learns_on_while_latents_stay(data, trained, tmp_path):
    from safetensors.torch import load_file

    _, out = trained("svd-vae")
    own = f"task.weights='{out / 'export'}'"
    settings, task = make("svd-vae", data, own, "task.train=decoder", "stages=[{steps: 3, batch: 1}]")
    train(task, settings, tmp_path)
    before, after = (load_file(next((folder / "export").rglob("*.safetensors"))) for folder in (out, tmp_path))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)
    passing = next(name for name in after if name.endswith("up_blocks.3.resnets.0.spatial_res_block.conv2.weight"))
    assert not after[passing][:6].any() and after[passing][6:].any()  # colours still pass what learns beside them
    with pytest.raises(CheckpointError, match="of another size"):
        make("svd-vae", data, own, "task.widths=[64, 32, 64, 64]")


@pytest.mark.slow
@pytest.mark.parametrize("run, file, frames", [("svd-vae", ".", 1), ("wan-vae", "wan_small_vae.safetensors", 5)])
def test_latents_stay_near_those_of_the_weights_it_goes_on_from(data, trained, run, file, frames):
    own = f"task.weights='{trained(run)[1] / 'export' / file}'"
    _, task = make(run, data, own, "task.train=all")
    clips = pixels(torch.stack([task.pictures.whole(index, frames) for index in range(2)]))
    batch = {"clip": (clips + 1) * 127.5, "noise": torch.zeros(())}
    with torch.no_grad():
        assert (task.encode(task.trained, clips) - task.anchor(clips)).square().mean() > 1e-4
        assert task.loss(batch)[1]["drift"] == 0
        task.trained.encoder.conv_in.weight.mul_(1.1)
        assert task.loss(batch)[1]["drift"] > 1e-4


@pytest.mark.slow
def test_svd_vae_loads(trained):
    task, out = trained("svd-vae")
    network = load_frame_vae(out / "export")
    assert next(load_frame_vae(out / "export", torch.float16).parameters()).dtype == torch.float16
    vae = FrameVAE(Loaded(network))
    images = films(3, 1)[:, 0]
    with torch.no_grad():
        latents = vae.encode(images)
        frames = vae.decode(latents)
        expected = task.encode(task.trained, pixels(images.movedim(-1, 1)[:, :, None] * 255))[:, :, 0] / SCALING_FACTOR
        each = torch.cat([vae.decode(one[None]) for one in latents])
        painted = task.decode(latents[:, :, None] * SCALING_FACTOR)[:, :, 0].movedim(1, -1) / 2 + 0.5
    assert latents.shape == (3, 4, 10, 8) and frames.shape == images.shape
    torch.testing.assert_close(latents, expected, rtol=0, atol=0.05)
    torch.testing.assert_close(frames, painted.clamp(0, 1), rtol=0, atol=0.02)
    torch.testing.assert_close(frames, each, rtol=0, atol=1e-4)  # frames do not meet in the decoder
    scaled = latents * SCALING_FACTOR
    assert scaled.mean().abs() < 0.5 and 0.5 < scaled.std() < 2
    with torch.no_grad():
        drawn = network.encode(images.movedim(-1, 1) * 2 - 1).latent_dist.std
    torch.testing.assert_close(drawn, torch.full_like(drawn, math.exp(LOG_VARIANCE / 2)), rtol=0.1, atol=0)


@pytest.mark.slow
def test_wan_vae_loads(trained):
    task, out = trained("wan-vae")
    vae = wan.WanVAE(Loaded(wan.load_vae(out / "export" / "wan_small_vae.safetensors", torch.float32)))
    clip = films(1, 9)[0]
    with torch.no_grad():
        latents = vae.encode(clip)
        frames = vae.decode(latents)
        expected = task.encode(task.trained, pixels(clip.movedim(-1, 0)[None] * 255))
        painted = task.decode(wan.normalise(latents)).movedim(1, -1) / 2 + 0.5
    assert latents.shape == (1, 16, 3, 10, 8) and frames.shape == (1, *clip.shape)
    normal = wan.normalise(latents)
    torch.testing.assert_close(normal, expected, rtol=0, atol=0.05)
    assert normal.mean().abs() < 0.5 and 0.5 < normal.std() < 2
    torch.testing.assert_close(frames, painted.clamp(0, 1), rtol=0, atol=0.02)


@pytest.mark.slow
def test_wan_names_there_and_back(trained):
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    state = trained("wan-vae")[0].network().state_dict()
    native = native_names(state)
    assert len(native) == len(state) and not native.keys() & state.keys()
    back = convert_wan_vae_to_diffusers(dict(native))
    assert back.keys() == state.keys() and all(back[name] is state[name] for name in state)


IN_COMFYUI = """
import sys
import comfy.cli_args
comfy.cli_args.args.cpu = True
import comfy.sd, comfy.utils, torch
vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(sys.argv[1]), dtype=torch.float32)
vae.throw_exception_if_invalid()
assert type(vae.first_stage_model).__module__ == "comfy.ldm.wan.vae", type(vae.first_stage_model)
clip = torch.load(sys.argv[2], weights_only=True)
latents = vae.encode(clip)
torch.save({"latents": latents, "frames": vae.decode(latents)}, sys.argv[3])
"""


@pytest.mark.comfy
@pytest.mark.slow
def test_comfyui_reads_wan_vae(trained, comfy_dir, tmp_path):
    path = trained("wan-vae")[1] / "export" / "wan_small_vae.safetensors"
    clip = films(1, 9)[0]
    torch.save(clip, tmp_path / "clip.pt")
    command = [sys.executable, "-c", IN_COMFYUI, str(path), str(tmp_path / "clip.pt"), str(tmp_path / "answer.pt")]
    done = subprocess.run(command, cwd=comfy_dir, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    answer = torch.load(tmp_path / "answer.pt", weights_only=True)
    vae = wan.WanVAE(Loaded(wan.load_vae(path, torch.float32)))
    with torch.no_grad():
        latents = vae.encode(clip)
        torch.testing.assert_close(answer["latents"], latents, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(answer["frames"], vae.decode(latents), rtol=0, atol=1e-3)


@pytest.mark.slow
def test_clip_loads(trained):
    task, out = trained("clip")
    clip = ClipVision(Loaded(load_image_encoder(out / "export")))
    images = films(3, 1, 224, 224)[:, 0]
    with torch.no_grad():
        embeddings = clip.encode_image(images, crop=False).image_embeds
        expected = task.answer((images.movedim(-1, 1) - task.shift) / task.scale)
    assert embeddings.shape == (3, 96)
    torch.testing.assert_close(embeddings, expected, rtol=0, atol=0.02)


@pytest.mark.slow
def test_wan_clip_loads(trained):
    task, out = trained("wan-clip")
    path = out / "export" / "wan_small_clip.pth"
    assert path.stat().st_size < 3e6
    clip = ClipVision(Loaded(wan.load_clip_vision(path)))
    images = films(2, 1, 224, 224)[:, 0]
    with torch.no_grad():
        states = clip.encode_image(images).penultimate_hidden_states
        expected = task.answer((images.movedim(-1, 1) - task.shift) / task.scale)
    assert states.shape == (2, 257, 1280)
    torch.testing.assert_close(states[:, 1:], expected, rtol=0, atol=0.02)


@pytest.mark.slow
def test_dinov2_loads(trained):
    task, out = trained("dinov2")
    dinov2 = DINOv2(Loaded(load_dinov2(out / "export" / "dinov2", torch.float32)))
    views = films(3, 1, 518, 518)[:, 0]
    with torch.no_grad():
        tokens = dinov2.tokens(views)
        expected = task.answer((views.movedim(-1, 1) - task.shift) / task.scale)
        without_config = load_dinov2(out / "export" / "dinov2" / "model.safetensors", torch.float32)
        single = DINOv2(Loaded(without_config)).tokens(views)
    assert tokens.shape == (1, 3 * 197, 64)
    torch.testing.assert_close(tokens, expected.flatten(0, 1)[None], rtol=0, atol=0.02)
    torch.testing.assert_close(tokens, single)


def test_where_3d_convolutions_learn_amx_is_off_unless_asked_for(monkeypatch):
    for given, expected in ((None, "AVX512_CORE_BF16"), ("DEFAULT", "DEFAULT")):
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
        if given:
            monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", given)
        TASKS["wan-vae"]()
        assert os.environ["ONEDNN_MAX_CPU_ISA"] == expected


def test_windows(data):
    pictures = Pictures([str(data / "film*.mp4")], 80, 64)
    draw = np.random.default_rng(0)
    window = pictures.window(0, draw, 9, 64)
    assert len(pictures) == 12 and window.shape == (3, 9, 64, 64) and window.dtype == torch.uint8
    assert (window[:, 4] == window[:, 8]).all()  # a clip of 5 frames stands still
    assert pictures.whole(0, 1).shape == (3, 1, 80, 64) and pictures.frame(0, draw).shape == (80, 64, 3)


def test_cuts_change_the_first_frame_alone(data):
    def clips(cuts):
        _, task = make("wan-vae", data, f"task.cuts={cuts}")
        return torch.stack([task.sample(i, np.random.default_rng(i), 5)["clip"] for i in range(6)])

    whole, cut = clips(0), clips(1)
    assert (cut[:, :, 1:] == whole[:, :, 1:]).all()
    assert ((cut[:, :, 0].float() - whole[:, :, 0].float()).abs().mean((1, 2, 3)) > 10).all()


@pytest.mark.parametrize(
    "run, change, words",
    [
        ("svd-vae", "task.pictures=[nowhere/*.mp4]", "No file is called nowhere"),
        ("svd-vae", "task.side=128", "sides of 128 or more are wanted"),
        ("svd-vae", "task.side=60", "side is 60; it should be a multiple of 8"),
        ("svd-vae", "task.widths=[32, 32, 64, 64]", "the first at least 64"),
        ("svd-vae", "task.flat=2", "flat is 2; it should be less than or equal to 1"),
        ("wan-vae", "task.cuts=-1", "cuts is -1; it should be greater than or equal to 0"),
        ("wan-vae", "task.width=20", "width is 20; it should be a multiple of 16"),
        ("clip", "task.projection=0", "projection is the embedding's length"),
        ("wan-clip", "task.layers=2", "layers must be 1 for system wan"),
        ("dinov2", "task.patch=36", "patch is 36; a divisor of 518"),
    ],
)
def test_settings_that_cannot_be(data, run, change, words):
    with pytest.raises((SettingsError, ValueError), match=words):
        make(run, data, change)
