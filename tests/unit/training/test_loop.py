"""The training loop on a task of a few parameters: what it promises about numbers, files and settings."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from crafters.training import checkpoints
from crafters.training.loop import TrainingError, train
from crafters.training.settings import SettingsError, Stage, read_settings
from helpers import plain_task
from helpers.plain_task import PlainTask, plain_settings, run_processes
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    assert train(PlainTask(), plain_settings(), out) == 12
    return out


def exported(out):
    return load_file(out / "export" / "plain.safetensors")


def same(a, b, **tolerance):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], **(tolerance or {"rtol": 0, "atol": 0}))


def rows(out):
    with (out / "log.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_the_loss_falls(tmp_path):
    train(PlainTask(), plain_settings(stages=[{"steps": 150, "batch": 8}], save_every=150), tmp_path)
    losses = [float(row["loss"]) for row in rows(tmp_path)]
    assert losses[-1] < losses[0] / 5


def test_what_a_run_leaves(whole):
    names = [path.name for path in sorted((whole / "checkpoints").iterdir())]
    assert names == ["step-00000008", "step-00000012"]
    assert [row["step"] for row in rows(whole)] == ["3", "4", "6", "8", "9", "12"]
    assert set(rows(whole)[0]) == {"step", "loss", "learning_rate", "largest", "gradient"}
    assert any((whole / "tensorboard").iterdir())
    assert not list(whole.rglob("*.part"))


def stopped(out, at, **changes):
    """A run that breaks off with an error in the middle of step `at`."""

    class Breaks(PlainTask):
        calls = 0

        def loss(self, batch):
            self.calls += 1
            if self.calls == at:
                raise KeyboardInterrupt
            return super().loss(batch)

    with pytest.raises(KeyboardInterrupt):
        train(Breaks(), plain_settings(**changes), out)


def test_resume_equals_uninterrupted(tmp_path, whole):
    stopped(tmp_path, 7)  # 4 is saved, 5 and 6 are lost, 6 is in the log
    assert train(PlainTask(), plain_settings(), tmp_path) == 12
    same(exported(tmp_path), exported(whole))
    assert rows(tmp_path) == rows(whole)
    newest = [torch.load(o / "checkpoints/step-00000012/optimizer.bin", weights_only=True) for o in (tmp_path, whole)]
    for (name, state), other in zip(newest[0]["state"].items(), newest[1]["state"].values(), strict=True):
        same(state, other), name


def test_the_time_limit_saves_and_goes_on(tmp_path, whole):
    done = train(PlainTask(), plain_settings(minutes=1e-9), tmp_path)
    assert done == 1 and checkpoints.whole(tmp_path / "checkpoints")[-1].name == "step-00000001"
    assert train(PlainTask(), plain_settings(), tmp_path) == 12
    same(exported(tmp_path), exported(whole))


def test_a_finished_run_only_exports(tmp_path, whole):
    train(PlainTask(), plain_settings(), tmp_path)
    (tmp_path / "export" / "plain.safetensors").unlink()
    assert train(PlainTask(), plain_settings(), tmp_path) == 12
    same(exported(tmp_path), exported(whole))
    with pytest.raises(TrainingError, match="12 steps, more than the 6"):
        train(PlainTask(), plain_settings(stages=[{"steps": 6, "batch": 4}]), tmp_path)


@pytest.mark.parametrize("threads", [1, 3])
def test_accumulation_and_threads_change_nothing(tmp_path, whole, threads):
    stages = [{"steps": 12, "batch": 4, "accumulate": 2}]
    train(PlainTask(), plain_settings(stages=stages, workers=threads), tmp_path)
    same(exported(tmp_path), exported(whole), rtol=1e-5, atol=1e-6)


def run_plain(out, **changes):
    run_processes([plain_task.__file__, str(out), json.dumps(changes)], 2)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_equal_one(tmp_path, whole, accumulate):
    run_plain(tmp_path, stages=[{"steps": 12, "batch": 4, "accumulate": accumulate}])
    same(exported(tmp_path), exported(whole), rtol=1e-5, atol=1e-6)
    for mine, one in zip(rows(tmp_path), rows(whole), strict=True):
        assert float(mine["loss"]) == pytest.approx(float(one["loss"]), rel=1e-4)


@pytest.mark.slow
def test_processes_may_change_between_parts_of_a_run(tmp_path, whole):
    stopped(tmp_path, 6)
    run_plain(tmp_path)
    same(exported(tmp_path), exported(whole), rtol=1e-5, atol=1e-6)


def test_precision_may_differ_between_runs_of_a_process(tmp_path, whole):
    for precision in ("bf16", "fp32"):
        train(PlainTask(), plain_settings(precision=precision), tmp_path / precision)
    same(exported(tmp_path / "fp32"), exported(whole))
    same(exported(tmp_path / "bf16"), exported(whole), rtol=0, atol=0.05)
    assert not torch.equal(exported(tmp_path / "bf16")["0.weight"], exported(whole)["0.weight"])


def test_stages_differ_in_batch_and_frames(tmp_path):
    seen = []

    class Watched(PlainTask):
        def sample(self, index, draw, frames):
            seen.append((index, frames))
            return super().sample(index, draw, frames)

    stages = [{"steps": 2, "batch": 5, "frames": 1}, {"steps": 5, "batch": 2, "frames": 8}]
    train(Watched(), plain_settings(stages=stages), tmp_path)
    assert [frames for _, frames in seen] == [1] * 10 + [8] * 10
    for epoch in (seen[:10], seen[10:]):
        assert sorted(index for index, _ in epoch) == list(range(10))
    assert [i for i, _ in seen[:10]] != [i for i, _ in seen[10:]]


def test_previews_show_the_averaged_weights(tmp_path):
    held = []

    class Watched(PlainTask):
        def preview(self):
            held.append({name: tensor.clone() for name, tensor in self.trained.state_dict().items()})
            return super().preview()

    task = Watched()
    train(task, plain_settings(preview_every=12), tmp_path)
    same(held[0], exported(tmp_path))
    assert not torch.equal(task.trained[0].weight, held[0]["0.weight"])
    assert [path.name for path in (tmp_path / "previews").iterdir()] == ["step-00000012-weights.png"]


def test_without_averaging_the_last_weights_are_kept(tmp_path):
    task = PlainTask()
    train(task, plain_settings(ema=0), tmp_path)
    same(exported(tmp_path), {name: tensor.detach() for name, tensor in task.trained.state_dict().items()})


def test_frozen_parameters_stay(tmp_path):
    task = PlainTask()
    task.trained[0].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in task.trained.state_dict().items()}
    train(task, plain_settings(), tmp_path)
    after = exported(tmp_path)
    assert all(torch.equal(after[name], before[name]) == name.startswith("0.") for name in before)


KILLED = """
import os, sys
from pathlib import Path
from crafters.training import checkpoints
from crafters.training.loop import train
from helpers.plain_task import PlainTask, plain_settings

fatal, count = int(sys.argv[2]), 0
sync = checkpoints._sync_entry

def dying(path):
    global count
    count += 1
    if count == fatal:
        os.kill(os.getpid(), 9)
    sync(path)

checkpoints._sync_entry = dying
train(PlainTask(), plain_settings(keep=1), Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("fatal", [1, 4, 9, 11, 14, 17])
def test_killed_while_saving(tmp_path, whole, fatal):
    """Wherever a save is cut off, the run goes on to the same numbers."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path, str(fatal)], env=env, capture_output=True)
    assert done.returncode == -9
    assert train(PlainTask(), plain_settings(keep=1), tmp_path) == 12
    same(exported(tmp_path), exported(whole))
    assert not list(tmp_path.rglob("*.part"))


def test_half_a_checkpoint_is_none(tmp_path, whole):
    part = checkpoints.begin(checkpoints.folder_of(tmp_path / "checkpoints", 99))
    (part / "model.safetensors").write_bytes(b"half")
    assert checkpoints.whole(tmp_path / "checkpoints") == []
    train(PlainTask(), plain_settings(), tmp_path)
    same(exported(tmp_path), exported(whole))


def damages(checkpoint):
    """Of every file: gone, empty, cut off, a byte that is another one, and words in its place."""
    for file in sorted(path.relative_to(checkpoint) for path in checkpoint.rglob("*") if path.is_file()):
        data = (checkpoint / file).read_bytes()
        for name, new in {
            "gone": None,
            "empty": b"",
            "cut off": data[: len(data) // 2],
            "flipped": data[: len(data) // 3] + bytes([data[len(data) // 3] ^ 0x10]) + data[len(data) // 3 + 1 :],
            "words": b"<html>no</html>",
        }.items():
            yield f"{file} {name}", file, new


@pytest.fixture(scope="module")
def stopped_late(tmp_path_factory):
    """A run that broke off after steps 4 and 8 were saved."""
    out = tmp_path_factory.mktemp("stopped")
    stopped(out, 11)
    return out


def go_on(out):
    told = []
    assert train(PlainTask(), plain_settings(), out, told.append) == 12
    return told


@pytest.mark.slow
@pytest.mark.parametrize("listed", [True, False], ids=["", "of an earlier version"])
def test_damaged_newest_checkpoints(tmp_path, whole, stopped_late, listed):
    """The one before is gone on from, which is said, and nothing is lost but the steps between."""
    for name, file, new in damages(stopped_late / "checkpoints" / "step-00000008"):
        out = tmp_path / name.replace(" ", "-")
        shutil.copytree(stopped_late, out)
        newest = out / "checkpoints" / "step-00000008"
        if not listed:
            for checkpoint in newest.parent.iterdir():
                (checkpoint / checkpoints.LIST).unlink()
            if file.name in (checkpoints.LIST, "random_states_0.pkl") or name.endswith("flipped"):  # nothing tells
                continue
        (newest / file).unlink()
        if new is not None:
            (newest / file).write_bytes(new)
        told = go_on(out)
        if name != f"{checkpoints.LIST} gone":  # all else is whole
            assert told[0].startswith("step-00000008 is damaged (") and told[0].endswith("step-00000008.damaged"), name
            assert "\n" not in told[0] and "going on from step 4" in told
        same(exported(out), exported(whole))


def test_a_damaged_checkpoint_is_set_aside(tmp_path, whole, stopped_late):
    shutil.copytree(stopped_late, tmp_path, dirs_exist_ok=True)
    newest = tmp_path / "checkpoints" / "step-00000008"
    data = bytearray((newest / "model.safetensors").read_bytes())
    data[-1] ^= 1  # a weight that is a little another one: nothing else would tell
    (newest / "model.safetensors").write_bytes(data)
    aside = "step-00000008 is damaged (model.safetensors is damaged) and set aside as step-00000008.damaged"
    assert go_on(tmp_path)[:2] == [aside, "going on from step 4"]
    same(exported(tmp_path), exported(whole))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000008", "step-00000008.damaged", "step-00000012"]


def test_without_any_sound_checkpoint_it_says_so(tmp_path, stopped_late):
    shutil.copytree(stopped_late, tmp_path, dirs_exist_ok=True)
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        (checkpoint / "optimizer.bin").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"No checkpoint in .* \(step-00000008: optimizer\.bin is damaged\): use"):
        train(PlainTask(), plain_settings(), tmp_path)


def test_other_networks_checkpoint(tmp_path, whole):
    class Wider(PlainTask):
        def __init__(self):
            super().__init__()
            self.trained = torch.nn.Linear(6, 2)

    with pytest.raises(TrainingError, match=r"does not fit these settings .*: use another --out"):
        train(Wider(), plain_settings(), whole)
    assert checkpoints.whole(whole / "checkpoints")


def test_a_loss_that_is_no_number_is_not_saved(tmp_path):
    with pytest.raises(TrainingError, match="no longer a number near step"):
        train(PlainTask(), plain_settings(learning_rate=1e30, weight_decay=0), tmp_path)
    assert not checkpoints.whole(tmp_path / "checkpoints")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": [{"steps": 1, "batch": 3, "accumulate": 2}]}, "A batch of 3 cannot be shared by 1 processes in 2"),
    ],
)
def test_runs_that_cannot_start(tmp_path, changes, words):
    with pytest.raises(TrainingError, match=words):
        train(PlainTask(), plain_settings(**changes), tmp_path)


def test_nothing_to_train(tmp_path):
    task = PlainTask()
    task.trained.requires_grad_(False)
    with pytest.raises(TrainingError, match="Nothing is trained"):
        train(task, plain_settings(), tmp_path)


def test_the_learning_rate():
    stages = [{"steps": 60, "batch": 1}, {"steps": 50, "batch": 1}]
    settings = plain_settings(stages=stages, learning_rate=1e-3, final_learning_rate=1e-5, warmup=10, schedule="cosine")
    assert settings.rate(0) == pytest.approx(1e-4) and settings.rate(9) == pytest.approx(1e-3)
    assert settings.rate(60) == pytest.approx((1e-3 + 1e-5) / 2)
    assert settings.rate(109) == pytest.approx(1e-5, rel=0.1)
    assert plain_settings(stages=stages, learning_rate=1e-3).rate(99) == 1e-3


def write(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_settings_come_from_file_and_call(tmp_path):
    path = write(tmp_path, "stages:\n- {steps: 5, batch: 2}\nlearning_rate: 1e-3\ntask:\n  steps: 7\n  batch: 1\n")
    settings, task = read_settings(path, ["stages.0.steps=9", "ema=0.5", "task.frames=3", "betas=[0.9, 0.99]"], Stage)
    assert settings.stages == (Stage(9, 2),) and settings.learning_rate == 1e-3 and settings.ema == 0.5
    assert settings.betas == (0.9, 0.99) and task == Stage(7, 1, 3)


ONE = "stages: [{steps: 1, batch: 1}]"


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        (f"{ONE}\nsead: 3", [], "There is no setting sead; seed may be meant."),
        ("stages: [{steps: 1, batch: 1, frame: 2}]", [], "There is no setting stages.0.frame; frames may be meant."),
        (f"{ONE}\nx: 3", [], "There is no setting x; there are stages, seed"),
        (f"{ONE}\n3: 3", [], "There is no setting 3; there are stages, seed"),
        ("stages: [{step: 1, batch: 1}]", [], "There is no setting stages.0.step; steps may be meant."),
        ("seed: 1", [], "stages is missing"),
        ("stages: []", [], "stages is []; it should have at least 1 item, not 0."),
        ("stages: 5", [], "stages is 5; a list is wanted"),
        ("stages: [{steps: 0, batch: 1}]", [], "stages.0.steps is 0; it should be greater than 0."),
        ("stages: [{steps: 1}]", [], "stages.0.batch is missing"),
        (f"{ONE}\nseed: one", [], "seed is 'one'; it should be a valid integer"),
        (f"{ONE}\nema: 1.0", [], "ema is 1.0; it should be less than 1."),
        (f"{ONE}\nprecision: fp8", [], "precision is 'fp8'; it should be 'fp32', 'fp16' or 'bf16'."),
        (f"{ONE}\nlearning_rate: fast", [], "learning_rate is 'fast'; it should be a valid number"),
        (ONE, ["seed"], "--set 'seed' is not NAME=VALUE"),
        (ONE, ["stages.3.steps=2"], "there is no such place"),
        ("stages: [", [], "is not YAML"),
        (f"{ONE}\ntask: 5", [], "task is 5; settings (name: value) are wanted."),
        (f"{ONE}\ntask: {{steps: 1, batch: 1, speed: 2}}", [], "There is no setting task.speed"),
    ],
)
def test_settings_that_cannot_be(tmp_path, text, changes, words):
    with pytest.raises(SettingsError) as error:
        read_settings(write(tmp_path, text + "\ntask: {steps: 1, batch: 1}" * ("task:" not in text)), changes, Stage)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_there_is_no_such_file(tmp_path):
    with pytest.raises(SettingsError, match="There is no settings file"):
        read_settings(tmp_path / "none.yaml", [], Stage)
