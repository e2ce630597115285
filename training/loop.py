"""The training loop: steps, optimiser, precision, averaging, processes, checkpoints and logs; a task knows the rest."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from . import checkpoints
from .batches import batches
from .log import Log
from .settings import Settings, Stage


class TrainingError(ValueError):
    """A run that cannot start or go on; the message says why and what to do."""


class Task(Protocol):
    """What is trained, on what, and towards what.

    trained: all that learns and all that is kept with it; every parameter of it that requires a gradient gets one at
    every step. fp32, on the CPU until the run starts.
    """

    trained: nn.Module

    def prepare(self, device: torch.device, rank: int, ranks: int) -> None:
        """Called once on each of `ranks` processes before the first step: bring what is not `trained` to `device`,
        fill caches (this process's share; all wait for each other afterwards)."""

    def __len__(self) -> int:
        """Number of samples the data holds."""

    def sample(self, index: int, draw: np.random.Generator, frames: int) -> dict[str, torch.Tensor]:
        """Sample `index`, CPU tensors that are stacked to a batch, with every random number its loss will need.

        All randomness comes from `draw`. Called by several threads at once. frames: of the stage.
        """

    def loss(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The mean over the batch's samples, and what else to log (means over samples too, detached). No randomness."""

    def save(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        """Write the files that are loaded for use. weights: the (averaged) state dict of `trained`, on the CPU."""

    def preview(self) -> dict[str, np.ndarray]:
        """Pictures by name, uint8 [H, W, 3], made with `trained`, which holds the averaged weights meanwhile."""


class _Objective(nn.Module):
    """The module that is prepared for several processes: their gradients meet only if its `forward` is the loss."""

    def __init__(self, task: Task):
        super().__init__()
        self.trained = task.trained
        self.loss = task.loss

    def forward(self, batch):
        return self.loss(batch)


def train(task: Task, settings: Settings, out: Path, report: Callable[[str], None] = lambda line: None) -> int:
    """Train until the last step or the time limit, and return the number of steps done in all.

    Goes on from the newest checkpoint in `out`, with the numbers an uninterrupted run would have had. They depend
    neither on the number of processes (`accelerate launch`) nor on `accumulate`, beyond rounding.

    out: gets `checkpoints/` (everything needed to go on), `export/` (the task's files), `previews/`, `log.csv` and
    `tensorboard/`. report: is given a line per log, on the main process. Raises TrainingError.
    """
    return _Run(task, settings, Path(out), report).run()


class _Run:
    def __init__(self, task: Task, settings: Settings, out: Path, report: Callable[[str], None]):
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        self.task, self.settings, self.out = task, settings, out
        AcceleratorState._reset_state()  # it refuses another precision than an earlier run's of this process
        precision = "no" if settings.precision == "fp32" else settings.precision
        try:
            self.accelerator = Accelerator(mixed_precision=precision)
        except ValueError as error:  # fp16 on a CPU, bf16 on an old GPU
            raise TrainingError(f"precision {settings.precision} is not possible here: {error}") from error
        self.ranks, self.main = self.accelerator.num_processes, self.accelerator.is_main_process
        self.report = report if self.main else lambda line: None
        for stage in settings.stages:
            if stage.batch % (self.ranks * stage.accumulate):
                raise TrainingError(
                    f"A batch of {stage.batch} cannot be shared by {self.ranks} processes in {stage.accumulate} "
                    "pieces each: choose a multiple."
                )
        if not len(task):
            raise TrainingError("There are no samples to train on.")
        self.learning = {name: p for name, p in task.trained.named_parameters() if p.requires_grad}
        if not self.learning:
            raise TrainingError("Nothing is trained: no parameter is chosen.")
        self.checkpoints = out / "checkpoints"

    def run(self) -> int:
        settings, accelerator = self.settings, self.accelerator
        began = time.monotonic()
        self.task.prepare(accelerator.device, accelerator.process_index, self.ranks)
        self._set_up()
        step = self._resume()
        if step > settings.steps:
            raise TrainingError(f"{self.out} was trained for {step} steps, more than the {settings.steps} asked for.")
        start = step
        log = Log(self.out, step, self.report) if self.main else None
        pending: list[dict[str, torch.Tensor]] = []
        for pieces in batches(self.task, settings, step, accelerator.process_index, self.ranks):
            stage, _ = settings.stage(step)
            pending.append(self._step(step, stage, pieces))
            step += 1
            out_of_time = self._agreed(settings.minutes and time.monotonic() - began > settings.minutes * 60)
            last = step == settings.steps or out_of_time
            if last or step % settings.log_every == 0 or step % settings.save_every == 0:
                values = self._means(pending, step)
                pending = []
                if log:
                    log.write(step, settings.steps, settings.rate(step - 1), values)
            if last or step % settings.save_every == 0:
                self._save(step)
            if settings.preview_every and (last or step % settings.preview_every == 0):
                self._preview(step, log)
            if last:
                break
        if step == start:  # all was done, but maybe not exported
            self._export()
        if log:
            log.close()
        self.report(f"{step} of {settings.steps} steps are done; the weights are in {self.out / 'export'}")
        return step

    def _set_up(self) -> None:
        """Bring network and optimiser to their devices."""
        settings, accelerator = self.settings, self.accelerator
        if (plugin := getattr(accelerator.state, "deepspeed_plugin", None)) is not None:
            stage = settings.stages[0]  # DeepSpeed wants to know, but the loop does the counting
            plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = stage.batch // (self.ranks * stage.accumulate)
            plugin.deepspeed_config["gradient_accumulation_steps"] = 1
            plugin.deepspeed_config["gradient_clipping"] = settings.clip_norm
        optimizer = torch.optim.AdamW(
            self.learning.values(),
            settings.learning_rate,
            settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.model, self.optimizer = accelerator.prepare(_Objective(self.task), optimizer)
        self.model.train()
        self.learning = {n: p for n, p in self.task.trained.named_parameters() if p.requires_grad}
        self.average = {}
        if settings.ema:
            sizes = [p.shape for p in self.learning.values()]
            if accelerator.distributed_type == "FSDP" or any(math.prod(size) == 0 for size in sizes):
                raise TrainingError(
                    "ema needs whole weights, not shards (FSDP, ZeRO-3), on every process: set it to 0."
                )
            self.average = {name: p.detach().float().clone() for name, p in self.learning.items()}

    def _step(self, step: int, stage: Stage, pieces: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """One optimiser step; returns what to log, on this process's device."""
        accelerator, settings = self.accelerator, self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate(step)
        logged: list[dict[str, torch.Tensor]] = []
        for number, batch in enumerate(pieces, 1):
            accelerator.sync_gradients = number == len(pieces)
            with nullcontext() if accelerator.sync_gradients else accelerator.no_sync(self.model):
                loss, values = self.model({k: v.to(accelerator.device, non_blocking=True) for k, v in batch.items()})
                accelerator.backward(loss / len(pieces))
            logged.append({"loss": loss.detach(), **values})
        norm = accelerator.clip_grad_norm_(self.model.parameters(), settings.clip_norm or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average:
            decay = min(settings.ema, (1 + step) / (10 + step))  # the first weights are soon forgotten
            with torch.no_grad():
                present = [p.float() for p in self.learning.values()]
                torch._foreach_lerp_(list(self.average.values()), present, 1 - decay)
        means = {name: torch.stack([v[name].float() for v in logged]).mean() for name in logged[0]}
        return means if norm is None else {**means, "gradient": torch.as_tensor(norm).detach()}

    def _means(self, pending: list[dict[str, torch.Tensor]], step: int) -> dict[str, float]:
        """Means over the steps since the last log and over all processes."""
        names = sorted(pending[0])
        values = torch.stack([torch.stack([one[name].float() for name in names]) for one in pending]).mean(0)
        values = self.accelerator.reduce(values, "mean").tolist()
        means = dict(zip(names, values, strict=True))
        # In fp16 a gradient may overflow: that step is left out, and the next is scaled down.
        watched = ("loss",) if self.settings.precision == "fp16" else ("loss", "gradient")
        if not all(math.isfinite(means.get(name, 0)) for name in watched):
            raise TrainingError(
                f"The loss is no longer a number near step {step}: lower learning_rate or train in another precision; "
                "the last checkpoint is sound."
            )
        return means

    def _agreed(self, stop: bool) -> bool:
        if self.ranks == 1 or not self.settings.minutes:
            return bool(stop)
        flag = torch.tensor(float(bool(stop)), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum"))

    def _resume(self) -> int:
        """Load the newest checkpoint that is whole; the step it was saved after, 0 without any."""
        damaged: list[tuple[Path, str]] = []
        for checkpoint in reversed(checkpoints.whole(self.checkpoints)):
            fault = checkpoints.fault(checkpoint)
            if fault is None:
                try:
                    step = self._load(checkpoint)
                    break
                except TrainingError:
                    raise
                except Exception as error:  # readers meet damaged bytes with errors of every kind
                    fault = " ".join(str(error).split())[:200]
                    if checkpoints.is_listed(checkpoint):
                        raise TrainingError(
                            f"{checkpoint} does not fit these settings ({fault}): use another --out or the settings it "
                            "began with."
                        ) from error
            damaged.append((checkpoint, fault))
        else:
            if damaged:
                raise TrainingError(
                    f"No checkpoint in {self.checkpoints} can be read ({damaged[0][0].name}: {damaged[0][1]}): use "
                    "another --out or the settings it began with."
                )
            return 0
        self.accelerator.wait_for_everyone()  # before what others look at gets another name
        for checkpoint, fault in damaged if self.main else ():
            aside = checkpoints.set_aside(checkpoint)
            self.report(f"{checkpoint.name} is damaged ({fault}) and set aside as {aside.name}")
        self.report(f"going on from step {step}")
        return step

    def _load(self, checkpoint: Path) -> int:
        self.accelerator.load_state(str(checkpoint))
        state = json.loads((checkpoint / checkpoints.PROGRESS).read_text())
        if self.average:
            kept = torch.load(checkpoint / "average.pt", map_location="cpu", weights_only=True)
            if kept.keys() != self.average.keys():
                raise TrainingError(f"{checkpoint} trained other parameters: use another --out.")
            for name, tensor in kept.items():
                self.average[name].copy_(tensor)
        return state["step"]

    def _save(self, step: int) -> None:
        target = checkpoints.folder_of(self.checkpoints, step)
        part = checkpoints.begin(target) if self.main else checkpoints.part_of(target)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(part))
        if self.main:
            if self.average:
                torch.save({name: tensor.cpu() for name, tensor in self.average.items()}, part / "average.pt")
            (part / checkpoints.PROGRESS).write_text(json.dumps({"step": step, "settings": asdict(self.settings)}))
        self.accelerator.wait_for_everyone()
        if self.main:
            checkpoints.publish(part, target)
            checkpoints.prune(self.checkpoints, self.settings.keep)
        self._export()

    def _export(self) -> None:
        prefix = "trained."
        state = self.accelerator.get_state_dict(self.model)
        if not self.main:
            return
        weights = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        weights = {name: tensor.detach().cpu() for name, tensor in {**weights, **self.average}.items()}
        part = checkpoints.begin(self.out / "export")
        self.task.save(part, weights)
        checkpoints.publish_files(part, self.out / "export")

    def _preview(self, step: int, log: Log | None) -> None:
        if log:
            with self._averaged(), torch.no_grad():
                self.task.trained.eval()
                log.pictures(step, self.task.preview())
            self.task.trained.train()
        self.accelerator.wait_for_everyone()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in the place of the last ones."""
        kept = {name: self.learning[name].detach().clone() for name in self.average}
        for name, tensor in self.average.items():
            self.learning[name].data.copy_(tensor)
        try:
            yield
        finally:
            for name, tensor in kept.items():
                self.learning[name].data.copy_(tensor)
