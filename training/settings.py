"""What a training run is told: a YAML file and `--set name=value`, checked before anything starts."""

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..files.bounded import MIB, RefusedError, brief, read_text, read_yaml

T = TypeVar("T")


class SettingsError(RefusedError):
    """A setting that cannot be; the message names it and says what is wanted."""


@dataclass(frozen=True)
class Stage:
    """`steps` optimiser steps of `batch` samples, counted over all processes, of `frames` frames each.

    accumulate: in how many pieces a process works through its share of the batch, to save memory.
    """

    steps: int
    batch: int
    frames: int = 1
    accumulate: int = 1

    def __post_init__(self):
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise SettingsError(f"{field.name} of a stage is {getattr(self, field.name)}; 1 or more is wanted.")


@dataclass(frozen=True)
class Settings:
    """How to train. The learning rate rises over `warmup` steps, then stays or falls to `final_learning_rate`.

    betas, weight_decay: AdamW's. clip_norm: longest gradient, 0 for any. ema: decay of the averaged weights, 0 for
    none. precision: of the arithmetic; weights and optimiser stay fp32. Every so many steps: save_every (of those
    checkpoints the last `keep` stay), preview_every (0: never), log_every. minutes: stop cleanly after that long, 0 for
    never; the same command goes on. workers: threads that make the coming batches.
    """

    stages: tuple[Stage, ...]
    seed: int = 0
    learning_rate: float = 1e-4
    final_learning_rate: float = 0.0
    warmup: int = 0
    schedule: Literal["constant", "cosine"] = "constant"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    ema: float = 0.0
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    save_every: int = 500
    keep: int = 2
    preview_every: int = 0
    log_every: int = 20
    minutes: float = 0.0
    workers: int = 1

    def __post_init__(self):
        if not self.stages:
            raise SettingsError("stages is empty; one with steps and batch is wanted.")
        for name in ("save_every", "keep", "log_every", "workers"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; 1 or more is wanted.")
        for name in ("seed", "warmup", "preview_every", "weight_decay", "clip_norm", "minutes", "final_learning_rate"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} is {getattr(self, name)}; 0 or more is wanted.")
        if not self.learning_rate > 0:
            raise SettingsError(f"learning_rate is {self.learning_rate}; more than 0 is wanted.")
        for name, value in (("ema", self.ema), ("betas", self.betas[0]), ("betas", self.betas[1])):
            if not 0 <= value < 1:
                raise SettingsError(f"{name} is {value}; at least 0 and less than 1 is wanted.")

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    @property
    def frames(self) -> int:
        """Of the longest samples."""
        return max(stage.frames for stage in self.stages)

    def stage(self, step: int) -> tuple[Stage, int]:
        """The stage of a step (counted from 0), and how many samples all steps before it took."""
        samples = 0
        for stage in self.stages:
            if step < stage.steps:
                return stage, samples + step * stage.batch
            step -= stage.steps
            samples += stage.steps * stage.batch
        raise IndexError("There is no such step.")

    def rate(self, step: int) -> float:
        """The learning rate of a step; it depends on nothing else."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.learning_rate
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        fall = (1 + math.cos(math.pi * done)) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * fall


def read_settings(path: str | Path, changes: Sequence[str], task: type[T]) -> tuple[Settings, T]:
    """Settings of the loop, and those of the task (the file's section `task`), from a YAML file.

    changes: `name=value`, the value in YAML; dots lead into sections and lists: `task.data=clips`,
    `stages.0.steps=100`. Raises SettingsError.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"There is no settings file {path}.")
    try:
        data = read_yaml(read_text(path, MIB)) or {}
        for change in changes:
            name, equals, text = change.partition("=")
            if not equals:
                raise SettingsError(f"--set {change!r} is not NAME=VALUE.")
            _put(data, name.split("."), read_yaml(text), change)
    except SettingsError:
        raise
    except ValueError as error:
        raise SettingsError(f"{path.name} or a --set is not YAML that is read here: {brief(error)}.") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path.name} is not a list of settings (name: value).")
    own = data.pop("task", None) or {}
    try:
        return fill(Settings, data), fill(task, own, "task")
    except SettingsError as error:
        raise SettingsError(f"{path.name}: {error}") from error


def _put(data: Any, names: list[str], value: Any, change: str) -> None:
    for name in names[:-1]:
        if isinstance(data, dict):
            data = data.setdefault(name, {})
        elif isinstance(data, list) and name.isdecimal() and int(name) < len(data):
            data = data[int(name)]
        else:
            break
    last = names[-1]
    if isinstance(data, dict):
        data[last] = value
    elif isinstance(data, list) and last.isdecimal() and int(last) < len(data):
        data[int(last)] = value
    else:
        raise SettingsError(f"--set {change!r}: there is no such place in the settings.")


def fill(cls: type[T], data: Any, where: str = "") -> T:
    """A dataclass from what YAML gives, every entry known and of its type. `where` it is stands before the names.

    Raises SettingsError, as may `cls` itself.
    """
    prefix = where and f"{where}."
    if not isinstance(data, dict):
        raise SettingsError(f"{where or 'The file'} is {data!r}; settings (name: value) are wanted.")
    known = {field.name: field for field in fields(cls)}
    unknown = [str(name) for name in data if name not in known]
    if unknown:
        raise SettingsError(f"There is no setting {prefix}{unknown[0]}; there are {', '.join(known)}.")
    required = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING and n not in data]
    if required:
        raise SettingsError(f"{prefix}{required[0]} is missing.")
    hints = get_type_hints(cls)
    values = {name: _convert(hints[name], value, prefix + name) for name, value in data.items()}
    try:
        return cls(**values)
    except SettingsError:
        raise
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from error


def _convert(kind: Any, value: Any, name: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else _convert(next(a for a in args if a is not type(None)), value, name)
    if is_dataclass(kind):
        return fill(kind, value, name)
    if origin is Literal:
        if value in args:
            return value
        raise SettingsError(f"{name} is {value!r}; one of {', '.join(map(str, args))} is wanted.")
    if origin is tuple:
        if isinstance(value, list) and args[-1] is Ellipsis:
            return tuple(_convert(args[0], item, f"{name}.{i}") for i, item in enumerate(value))
        if isinstance(value, list) and len(value) == len(args):
            return tuple(_convert(a, item, f"{name}.{i}") for i, (a, item) in enumerate(zip(args, value, strict=True)))
        length = "" if args[-1] is Ellipsis else f" of {len(args)}"
        raise SettingsError(f"{name} is {value!r}; a list{length} is wanted.")
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            if math.isfinite(number := float(value)):  # YAML takes 1e-4 for text
                return number
        except (ValueError, OverflowError):
            pass
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif type(value) is kind:
        return value
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    raise SettingsError(f"{name} is {value!r}; {words[kind]} is wanted.")
