"""The AnchorCrafter trainer on a tiny set: what it shows the network, what it asks of it, and what it leaves."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from crafters.cli import main
from crafters.cli.train import RECIPES
from crafters.media.clip import measure
from crafters.models.anchorcrafter.conditions import ProductTokens, anchor_condition
from crafters.models.anchorcrafter.encoders import FrameVAE
from crafters.models.anchorcrafter.loss import hoi_region, hoi_weight
from crafters.models.anchorcrafter.system import AnchorCrafter
from crafters.models.checkpoint import CheckpointError
from crafters.models.loaded import Loaded
from crafters.training.anchorcrafter.task import EXPORT, AnchorTask, kept
from crafters.training.datasets.anchorcrafter import find_clips, read_frames, read_photo
from crafters.training.loop import train
from crafters.training.settings import Settings, SettingsError, fill
from helpers.anchor_clips import MODEL, anchor_settings, write_clips, write_networks
from helpers.plain_task import run_processes
from PIL import Image

FRAMES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_networks(write_clips(tmp_path_factory.mktemp("set")))


@pytest.fixture(scope="module")
def task(folder):
    return AnchorTask(anchor_settings(folder, reference_frame=True, augmentation=None), FRAMES)


def batch_of(task, count=2, frames=FRAMES, **changes):
    samples = [task.sample(i, np.random.default_rng([7, i]), frames) for i in range(count)]
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
    return batch | {name: torch.full((count,), value) for name, value in changes.items()}


@pytest.fixture
def seen(monkeypatch):
    """`seen(task, batch)`: what the network is called with, its answer being a leaf; the loss, and its logs."""

    def run(task, batch):
        call = {}

        def predict(sample, timestep, context, time_ids, maps):
            call.update(sample=sample, timestep=timestep, context=context, time_ids=time_ids, maps=maps)
            call["output"] = torch.linspace(-1, 1, sample[:, :, :4].numel()).view_as(sample[:, :, :4]).requires_grad_()
            return call["output"]

        with monkeypatch.context() as patch:
            patch.setattr(task.trained.unet, "predict", predict)
            loss, logs = task.loss(batch)
        return {**call, "loss": loss, **logs}

    return run


def run_settings(**changes):
    base = {
        "stages": [{"steps": 4, "batch": 2, "frames": FRAMES}],
        "learning_rate": 1e-3,
        "save_every": 2,
        "log_every": 1,
    }
    return fill(Settings, {**base, **changes})


def test_a_sample(task):
    sample = task.sample(0, np.random.default_rng(0), FRAMES)
    shapes = {name: tuple(tensor.shape) for name, tensor in sample.items()}
    assert shapes == {
        "film_moments": (4, 8, 16, 8), "photos_moments": (2, 8, 16, 8), "conditions": (4, 9, 128, 64),
        "embedding": (32,), "tokens": (150, 32), "posterior": (6, 4, 16, 8), "noise": (4, 4, 16, 8),
        "sigma": (), "augmentation": (), "u": (),
    }
    assert sample["augmentation"] == 0 and (sample["conditions"][0, 3:] == 0).all()
    again, other = (task.sample(0, np.random.default_rng(seed), FRAMES) for seed in (0, 1))
    assert all(torch.equal(sample[name], again[name]) for name in sample)
    assert not torch.equal(sample["noise"], other["noise"])


@pytest.mark.parametrize("stride", [1, 2])
def test_films_and_conditions_run_alongside(folder, stride):
    task = AnchorTask(anchor_settings(folder, stride=stride, cache_films=False), 3)
    for seed in range(4):
        sample = task.sample(1, np.random.default_rng(seed), 3)
        left = [int((frame[1].amax(0) > 0).nonzero().min()) for frame in sample["conditions"][:, 6:]]
        assert np.diff(left).tolist() == [4 * stride] * 2  # the product moves 4 pixels a frame
        for film, depth in zip(sample["film"], sample["conditions"][:, 6:], strict=True):
            colours = film[:, depth[1] > 0]
            assert (colours.float().std(1) < 3).all()


def test_the_network_sees_what_it_will_see_at_inference(task, seen):
    batch = batch_of(task, 1, u=0.9)
    batch["posterior"] = torch.zeros_like(batch["posterior"])
    call = seen(task, batch)
    clip, encoders = task.clips[0], task.encoders
    photo = torch.from_numpy(np.array(Image.open(clip.person)))[None].float() / 255
    pose, hand, depth = (batch["conditions"][0].movedim(1, -1).float() / 255).split(3, -1)
    views = encoders.views(clip)
    wanted = anchor_condition(
        Loaded(AnchorCrafter.from_state(task.trained.state_dict(), {"num_attention_heads": [1] * 4, "view_heads": 1})),
        FrameVAE(Loaded(encoders.vae)), encoders.clip, photo, pose[:1], pose[1:],
        ProductTokens(views, encoders.dinov2.tokens(views)), depth[1:], hand[1:],
    )
    photos = torch.cat([wanted.image_latent, wanted.object_latent], 1)
    # What is cached is kept in half precision.
    torch.testing.assert_close(call["sample"][0, :, 4:], photos.expand(FRAMES, -1, -1, -1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(call["maps"][0], wanted.maps)
    torch.testing.assert_close(call["context"], wanted.context, rtol=2e-3, atol=2e-3)
    assert call["time_ids"].tolist() == [[7, 127, 0]]


def test_condition_dropout_by_thirds(task, seen):
    whole = seen(task, batch_of(task, u=0.9))
    for u, tokens, images in ((0.05, 0, 1), (0.15, 0, 0), (0.25, 1, 0), (0.35, 1, 1)):
        call = seen(task, batch_of(task, u=u))
        assert torch.equal(call["context"], whole["context"] * tokens)
        assert torch.equal(call["sample"][:, :, 4:], whole["sample"][:, :, 4:] * images)
        assert torch.equal(call["maps"], whole["maps"] * images)
        assert torch.equal(call["sample"][:, :, :4], whole["sample"][:, :, :4])


def test_each_sample_has_its_own_dropout():
    tokens, images = kept(torch.tensor([0.0, 0.1, 0.2, 0.3, 1.0]), 0.1)
    assert tokens.tolist() == [0, 0, 1, 1, 1] and images.tolist() == [1, 0, 0, 1, 1]
    assert all(k.all() for k in kept(torch.zeros(3), 0.0))


@pytest.mark.parametrize("region", ["pretrain", "finetune"])
def test_the_region_weights_exactly_the_regions_gradient(folder, seen, region):
    gradients = []
    for setting in ("none", region):
        task = AnchorTask(anchor_settings(folder, region=setting), FRAMES)
        batch = batch_of(task)
        call = seen(task, batch)
        call["loss"].backward()
        gradients.append(call["output"].grad)
        if setting == "none":
            plain = call["loss"]
    assert call["plain"] == pytest.approx(plain.item(), rel=1e-6)
    pixels = batch["conditions"] / 127.5 - 1
    inside = hoi_region(pixels[:, :, 6:], pixels[:, :, 3:6] if region == "pretrain" else None)
    weight = hoi_weight(inside)
    assert 1 < weight.max() and (weight == 1).any()
    torch.testing.assert_close(gradients[1], gradients[0] * weight, rtol=1e-4, atol=1e-9)


def test_noise_on_both_photos_is_one_and_told(folder, seen):
    task = AnchorTask(anchor_settings(folder, augmentation=[-3.0, 0.5]), FRAMES)
    draws = [task.sample(0, np.random.default_rng(seed), FRAMES) for seed in range(40)]
    strengths = torch.stack([draw["augmentation"] for draw in draws]).log()
    assert strengths.mean() == pytest.approx(-3, abs=0.3) and strengths.std() == pytest.approx(0.5, abs=0.2)
    clean = [task.encoders.person(task.clips[0], 0), task.encoders.product(task.clips[0])]
    noise = draws[0]["photos"] - torch.stack([c["pixels"] for c in clean]).float() / 127.5 + 1
    torch.testing.assert_close(noise[0], noise[1], rtol=0, atol=1e-6)
    assert noise[0].std() == pytest.approx(draws[0]["augmentation"].item(), rel=0.05)
    call = seen(task, batch_of(task))
    assert torch.equal(call["time_ids"][:, 2], batch_of(task)["augmentation"])


def test_frames_share_their_noise_as_in_the_sampler(folder):
    task = AnchorTask(anchor_settings(folder, shared_noise=0.9), FRAMES)
    frames = task.sample(0, np.random.default_rng(7), FRAMES)["noise"].flatten(1)
    assert frames.std() == pytest.approx(1, abs=0.1)
    assert torch.corrcoef(frames)[0, 1] == pytest.approx(0.9, abs=0.05)


def test_films_from_the_cache_and_from_the_file_are_the_same(folder, seen):
    calls = [
        seen(task, batch_of(task, u=0.9))
        for task in (AnchorTask(anchor_settings(folder, cache_films=kind), FRAMES) for kind in (True, False))
    ]
    for name in ("sample", "context", "maps", "loss"):
        torch.testing.assert_close(calls[0][name], calls[1][name], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("changes", [{"reference_frame": True}, {"ablate": ["hand_mesh", "view_fusion"]}])
def test_resident_clips_are_the_same(folder, seen, changes):
    calls = []
    for resident in (False, True):
        task = AnchorTask(anchor_settings(folder, augmentation=None, resident=resident, **changes), FRAMES)
        task.prepare(torch.device("cpu"), 0, 1)
        calls.append(seen(task, batch_of(task, len(task))))
    assert len(task) > 2
    for name in ("sample", "context", "maps", "loss"):
        assert torch.equal(calls[0][name], calls[1][name])


def test_the_frozen_vae_in_bf16_says_nearly_the_same_under_its_own_key(folder):
    exact, fast = (AnchorTask(anchor_settings(folder, vae_dtype=dtype), FRAMES) for dtype in ("fp32", "bf16"))
    assert fast.encoders.vae.dtype == torch.bfloat16 and exact.encoders.keys["clip"] != fast.encoders.keys["clip"]
    (a, b) = (task.encoders.clip_moments(task.clips[0], np.arange(2))[:, :4] for task in (exact, fast))
    assert not torch.equal(a, b) and (a - b).norm() < 0.03 * a.norm()


def gradients(task, batch):
    task.trained.zero_grad()
    task.loss(batch)[0].backward()
    return {name: p.grad for name, p in task.trained.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("ablate", [[], ["dual_adapter"]])
def test_all_that_is_trained_gets_a_gradient(folder, ablate):
    task = AnchorTask(anchor_settings(folder, ablate=ablate), 3)
    for u in (0.15, 0.9):
        found = gradients(task, batch_of(task, 1, 3, u=u))
        assert not [name for name, gradient in found.items() if gradient is None]
    idle = {name for name, p in task.trained.named_parameters() if not p.requires_grad}
    assert all(name.endswith("attn2.to_k.weight") for name in idle) and bool(idle) == (not ablate)


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_gradient(folder):
    plain, saving = (AnchorTask(anchor_settings(folder, gradient_checkpointing=on), 3) for on in (False, True))
    batch = batch_of(plain, 2, 3, u=0.9)
    saving.trained.train()
    for task in (plain, saving):
        torch.nn.init.normal_(task.trained.pose_net.final_proj.weight, generator=torch.Generator().manual_seed(1))
    expected, found = gradients(plain, batch), gradients(saving, batch)
    error = torch.stack([(found[name] - gradient).norm() for name, gradient in expected.items()]).norm()
    assert error < 1e-5 * torch.stack([gradient.norm() for gradient in expected.values()]).norm()


@pytest.mark.parametrize(
    ("chosen", "prefixes"),
    [
        (["pose_net", "track_net"], ("pose_net.", "track_net.")),
        (["object_nets"], ("obj_proj_net.", "obj_attn_net.")),
        ([r"unet\.down_blocks\.0\."], ("unet.down_blocks.0.",)),
    ],
)
def test_only_what_is_chosen_is_trained(folder, chosen, prefixes):
    task = AnchorTask(anchor_settings(folder, train=chosen), 3)
    learning = {name for name, p in task.trained.named_parameters() if p.requires_grad}
    assert learning == {
        name
        for name, _ in task.trained.named_parameters()
        if name.startswith(prefixes) and not name.endswith("attn2.to_k.weight")
    }


def test_the_dual_adapter_alone(folder, tmp_path):
    task = AnchorTask(anchor_settings(folder, train=["dual_adapter"]), 3)
    before = {name: tensor.clone() for name, tensor in task.trained.state_dict().items()}
    train(task, run_settings(stages=[{"steps": 1, "batch": 1, "frames": 3}]), tmp_path)
    changed = {name for name, tensor in task.trained.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all(".processor.to_" in name for name in changed)


def test_without_view_fusion_the_front_stands_for_all(folder):
    whole, front = (
        AnchorTask(anchor_settings(folder, ablate=ablate), 3).sample(0, np.random.default_rng(0), 3)["tokens"]
        for ablate in ([], ["view_fusion"])
    )
    assert torch.equal(front, whole[50:100].repeat(3, 1)) and not torch.equal(front, whole)


def test_without_hand_mesh_there_is_none(folder, seen):
    whole, without = (
        AnchorTask(anchor_settings(folder, ablate=ablate, region="pretrain"), 3) for ablate in ([], ["hand_mesh"])
    )
    a, b = batch_of(whole, 1, 3), batch_of(without, 1, 3)
    assert a["conditions"][:, :, 3:6].any() and not b["conditions"][:, :, 3:6].any()
    assert torch.equal(a["conditions"][:, :, 6:], b["conditions"][:, :, 6:])


@pytest.mark.slow
def test_the_loss_falls(folder, tmp_path):
    task = AnchorTask(anchor_settings(folder, noise_mean=0.0, noise_std=1.0), 3)
    stages = [{"steps": 40, "batch": 2, "frames": 3}]
    train(task, run_settings(stages=stages, learning_rate=2e-3, save_every=40, log_every=10), tmp_path)
    losses = [float(line.split(",")[1]) for line in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    assert losses[-1] < 0.7 * losses[0]


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """The folder of an uninterrupted run of four steps."""
    out = tmp_path_factory.mktemp("trained")
    task = AnchorTask(anchor_settings(folder, reference_frame=True, export_dtype="fp32"), FRAMES)
    train(task, run_settings(ema=0.9, preview_every=4), out)
    return out


def same(a, b, **tolerance):
    a, b = (AnchorCrafter.from_file(out / "export" / EXPORT).state_dict() for out in (a, b))
    for name in a:
        torch.testing.assert_close(a[name], b[name], **(tolerance or {"rtol": 0, "atol": 0}))


@pytest.mark.slow
def test_resume_equals_uninterrupted(folder, trained, tmp_path):
    settings = anchor_settings(folder, reference_frame=True, export_dtype="fp32")

    class Breaks(AnchorTask):
        def sample(self, index, draw, frames):
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls == 7:
                raise KeyboardInterrupt
            return super().sample(index, draw, frames)

    with pytest.raises(KeyboardInterrupt):
        train(Breaks(settings, FRAMES), run_settings(ema=0.9), tmp_path)
    assert not (tmp_path / "checkpoints" / "step-00000004").exists()
    train(AnchorTask(settings, FRAMES), run_settings(ema=0.9), tmp_path)
    same(tmp_path, trained)


def test_a_batch_is_the_mean_of_its_samples(task):
    """What accumulation and several processes rely on."""
    torch.nn.init.normal_(task.trained.pose_net.final_proj.weight, generator=torch.Generator().manual_seed(1))
    batch = batch_of(task, 2)
    whole = gradients(task, batch)
    halves = [gradients(task, {name: tensor[i : i + 1] for name, tensor in batch.items()}) for i in (0, 1)]
    mean = {name: (halves[0][name] + halves[1][name]) / 2 for name in whole}
    error = torch.stack([(whole[name] - mean[name]).norm() for name in whole]).norm()
    assert error < 1e-4 * torch.stack([gradient.norm() for gradient in mean.values()]).norm()


TWO = """
import sys
from pathlib import Path
from helpers.anchor_clips import anchor_settings
from crafters.training.anchorcrafter.task import AnchorTask
from crafters.training.loop import train
from crafters.training.settings import Settings, fill

stages = [{"steps": 2, "batch": 2, "frames": 3}]
settings = fill(Settings, {"stages": stages, "learning_rate": 1e-3, "log_every": 1})
train(AnchorTask(anchor_settings(Path(sys.argv[1])), 3), settings, Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_two_processes_equal_one(folder, tmp_path):
    for ranks in (1, 2):
        run_processes(["-c", TWO, str(folder), str(tmp_path / str(ranks))], ranks)
    logs = [list(csv.DictReader((tmp_path / ranks / "log.csv").open())) for ranks in "12"]
    for one, two in zip(*logs, strict=True):
        for name in ("loss", "gradient", "plain"):
            assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-3)


def test_the_export_loads_by_its_released_names(trained):
    system = AnchorCrafter.from_file(trained / "export" / EXPORT)
    released = json.loads((Path(__file__).parents[2] / "data" / "anchorcrafter_keys.json").read_text())
    assert set(system.state_dict()) < set(released)  # one layer per block where the released has two
    assert system.config.num_attention_heads == (1, 1, 1, 1) and system.config.view_heads == 1


def test_a_model_of_released_depth_has_every_released_name(folder, tmp_path):
    widths = {"block_out_channels": [32, 64, 96, 96], "num_attention_heads": [2, 2, 2, 2]}
    model = {**MODEL, **widths, "layers_per_block": 2}
    task = AnchorTask(anchor_settings(folder, export_dtype="bf16", model=model), 3)
    task.save(tmp_path, task.trained.state_dict())
    system = AnchorCrafter.from_file(tmp_path / EXPORT)
    released = json.loads((Path(__file__).parents[2] / "data" / "anchorcrafter_keys.json").read_text())
    assert len(released) == 1570 and set(system.state_dict()) == set(released)
    assert system.config == task.trained.config and next(system.parameters()).dtype == torch.bfloat16
    more = anchor_settings(folder, model=None, weights=str(tmp_path / EXPORT))
    again = AnchorTask(more, 3).trained
    assert again.config == system.config and next(again.parameters()).dtype == torch.float32


def test_without_the_dual_adapter_the_export_says_so(folder, tmp_path):
    task = AnchorTask(anchor_settings(folder, ablate=["dual_adapter"]), 3)
    task.save(tmp_path, task.trained.state_dict())
    system = AnchorCrafter.from_file(tmp_path / EXPORT, torch.float32)
    assert not system.config.adapter and not any("_ip" in name for name in system.state_dict())
    with pytest.raises(ValueError, match="ablate: dual_adapter goes with"):
        AnchorTask(anchor_settings(folder, model=None, weights=str(tmp_path / EXPORT)), 3)


def test_the_preview_is_a_picture(trained):
    picture = np.array(Image.open(trained / "previews" / "step-00000004-held_out.png"))
    assert picture.shape == (3 * 128, 3 * 64, 3)
    truth, result = picture[256:], picture[128:256]
    assert len(np.unique(truth.reshape(-1, 3), axis=0)) > 100 and result.std() > 1


def test_a_good_set_has_no_faults(folder):
    clips, faults = find_clips(folder, 6, reference_frame=True)
    assert len(clips) == 3 and not faults and clips[0].frames == 6


def damage(folder, tmp_path, how):
    shutil.copytree(folder, tmp_path / "bad", ignore=shutil.ignore_patterns("svd", "dinov2", "cache"))
    how(tmp_path / "bad")
    return find_clips(tmp_path / "bad", 3, reference_frame=True)


def blacken(bad):
    shutil.copy(write_clips(bad / "more", 1) / "hand_cut" / "anna0_box0.mp4", bad / "more" / "any.mp4")
    from crafters.media.clip import write_video

    write_video(bad / "depth_cut" / "anna1_box1.mp4", np.zeros((6, 128, 64, 3), np.uint8), 15, "exact")


def cut(path):
    path.write_bytes(path.read_bytes()[:80])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda bad: (bad / "hand_cut/anna1_box1.mp4").unlink(), "hand_cut/anna1_box1.mp4 is missing."),
        (lambda bad: (bad / "people_cut/anna1_0.png").unlink(), "people_cut/anna1_0.png is missing."),
        (lambda bad: (bad / "people_pose/anna1_0.png").unlink(), "people_pose/anna1_0.png is missing."),
        (lambda bad: (bad / "masked_object_cut/box1_0.png").unlink(), "masked_object_cut/box1_0.png is missing."),
        (lambda bad: cut(bad / "video_pose/anna1_box1.mp4"), "video_pose/anna1_box1.mp4 cannot be read as a video"),
        (lambda bad: cut(bad / "masked_object_cut/box1_1.png"), "box1_1.png is not a picture that can be read."),
        (lambda bad: write_clips(bad, 2, 2), "it has 2 frames, a sample needs 3."),
        (lambda bad: shutil.copy(write_clips(bad / "o", 2, 5) / "hand_cut/anna1_box1.mp4", bad / "hand_cut"),
         "hand_cut has 5 frames of 64×128, video_cut 6 of 64×128."),
        (lambda bad: shutil.copy(write_clips(bad / "o", 2, 6, (64, 192)) / "depth_cut/anna1_box1.mp4",
                                 bad / "depth_cut"), "depth_cut has 6 frames of 64×192, video_cut 6 of 64×128."),
        (blacken, "depth_cut shows no product in any frame."),
        (lambda bad: (bad / "video_cut/anna1_box1.mp4").rename(bad / "video_cut/anna1.mp4"), "the name is not <per"),
    ],
)
def test_bad_clips_are_named(folder, tmp_path, how, words):
    clips, faults = damage(folder, tmp_path, how)
    assert any(fault.startswith("anna1") and words in fault for fault in faults)
    assert all(not fault.startswith("anna2") for fault in faults) and clips[-1].film.stem == "anna2_box2"


def test_a_folder_without_clips(tmp_path):
    assert "has no clips" in find_clips(tmp_path, 1)[1][0]
    with pytest.raises(ValueError, match="clips that cannot be used:\n.*has no clips"):
        AnchorTask(anchor_settings(tmp_path), 3)


def test_a_film_damaged_in_the_middle_is_named_when_it_is_met(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "bad", ignore=shutil.ignore_patterns("cache"))
    film = tmp_path / "bad" / "video_cut" / "anna0_box0.mp4"
    data = bytearray(film.read_bytes())
    start = data.index(b"mdat") + 1500
    data[start : start + 9000] = bytes(len(data[start : start + 9000]))
    film.write_bytes(data)
    clips, faults = find_clips(tmp_path / "bad", 6)
    if not faults:
        with pytest.raises(ValueError, match=r"video_cut/anna0_box0\.mp4"):
            read_frames(clips[0].film, range(6))


def test_phone_photos_and_films_stand_upright(tmp_path):
    """Training reads what inference shows: EXIF's and a film's own turn are undone."""
    from crafters.media.clip import read_clip, write_video
    from crafters.proof.small.pictures import read

    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:32, :48] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    write_video(tmp_path / "film.mp4", [picture] * 3, 10)
    data = bytearray((tmp_path / "film.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 20] = (np.array([0, 1, 0, -1, 0]) * 65536).astype(">i4").tobytes()
    (tmp_path / "film.mp4").write_bytes(data)
    for shown in (
        read_photo(tmp_path / "photo.jpg"),
        read_photo(tmp_path / "photo.jpg", (64, 64)),
        read_frames(tmp_path / "film.mp4", [1])[0],
        read_frames(tmp_path / "film.mp4", [1], (64, 64))[0],
        read(tmp_path / "film.mp4")[0],
        read(tmp_path / "photo.jpg")[0],
    ):
        assert shown.shape[0] >= shown.shape[1] == 64
        assert shown[4, -4].min() > 200 > 50 > max(shown[4, 4].max(), shown[-4, -4].max())
    assert np.array_equal(read_clip(tmp_path / "film.mp4")[0][1].numpy(), read_frames(tmp_path / "film.mp4", [1])[0])


def test_frames_from_the_middle_are_those_counted_from_the_start(tmp_path):
    from fractions import Fraction

    import av

    path = tmp_path / "long.mp4"
    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=Fraction(25), options={"g": "10", "bf": "2", "crf": "4"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(60):
            picture = np.full((64, 64, 3), 4 * number, np.uint8)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        video.mux(stream.encode())
    assert measure(path) == (60, 64, 64)
    for frames in ([0], [0, 1, 5], [23, 24], [31, 40, 59], [59]):
        shades = [frame.mean() for frame in read_frames(path, frames)]
        assert shades == pytest.approx([4 * number for number in frames], abs=2.5)
    assert read_frames(path, [3], (128, 64))[0].shape == (64, 128, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sise": [64, 64]}, "There is no setting sise; size may be meant."),
        ({"size": [60, 128]}, "size.0 is 60; it should be a multiple of 64"),
        ({"resident": True}, "resident is for latents that are made once"),
        ({"dropout": 0.5}, "dropout is 0.5; it should be less than or equal to 0.333"),
        ({"model": None}, "either weights to start from or the sizes"),
        ({"region": "hands"}, "region is 'hands'; it should be 'pretrain', 'finetune' or 'none'"),
        ({"ablate": ["everything"]}, "ablate.0 is 'everything'; it should be 'dual_adapter'"),
        ({"model": {"product": False}}, "model.product must be true"),
        ({"model": {"view_tokns": 9}}, "There is no setting model.view_tokns; view_tokens may be meant."),
        ({"svd": 3}, "svd is 3; a path is wanted."),
        ({"train": "all"}, "train is 'all'; a list is wanted."),
        ({"model": {"block_out_channels": [48, 64, 64, 64]}}, "model: block_out_channels"),
    ],
)
def test_settings_that_cannot_be(tmp_path, changes, words):
    with pytest.raises(SettingsError) as error:
        anchor_settings(tmp_path, **changes)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": ["nothing"]}, "train: 'nothing' is none of all, unet"),
        (
            {"model": {"view_tokens": 50, "view_dim": 64, "view_heads": 2, "cross_attention_dim": 32}},
            "gives 50 tokens of 32",
        ),
    ],
)
def test_networks_that_do_not_go_together(folder, changes, words):
    with pytest.raises(ValueError, match=words):
        AnchorTask(anchor_settings(folder, **changes), 3)


def test_missing_networks_are_named(folder, tmp_path):
    with pytest.raises(CheckpointError, match="config.json"):
        AnchorTask(anchor_settings(folder, svd=str(tmp_path)), 3)


def test_the_command(folder, tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    settings = anchor_settings(folder)
    task = {name: str(getattr(settings, name)) for name in ("data", "svd", "dinov2", "cache")}
    task |= {"size": [64, 128], "stride": 1, "model": MODEL}
    recipe.write_text(json.dumps({"stages": [{"steps": 9, "batch": 1, "frames": 2}], "log_every": 1, "task": task}))
    call = ["train", "anchorcrafter", "--config", str(recipe), "--out", str(tmp_path / "out")]
    assert main([*call, "--set", "stages.0.steps=1"]) == 0
    told = capsys.readouterr().out
    assert "step 1/1: loss" in told and "1 of 1 steps are done" in told
    assert (tmp_path / "out" / "export" / EXPORT).is_file()
    assert main([*call, "--set", "tempo=1"]) == 2
    assert capsys.readouterr().err.startswith("error: r.yaml: There is no setting tempo")


@pytest.mark.parametrize("name", ["anchorcrafter-small.yaml", "anchorcrafter.yaml"])
def test_the_recipes_are_sound(name):
    from crafters.training.anchorcrafter.settings import AnchorSettings
    from crafters.training.settings import read_settings

    settings, own = read_settings(RECIPES[name], [], AnchorSettings)
    assert settings.steps >= 5000
    if own.weights is None:
        with torch.device("meta"):
            assert sum(p.numel() for p in AnchorCrafter(own.model).parameters()) < 8e6
        longest = max(stage.frames for stage in settings.stages)
        assert (longest - own.reference_frame - 1) * own.stride < 16  # frames of a demo clip
    else:
        assert (settings.learning_rate, settings.warmup, own.stride) == (1e-5, 100, 2)
