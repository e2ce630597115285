"""What a training run is told: a YAML file and `--set name=value`, checked before anything starts."""

import math
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..files.bounded import MIB, RefusedError, brief, read_text, read_yaml

T = TypeVar("T")
# What makes a class of settings: it refuses what it does not know, other types, other ranges, and what is not finite.
checked = partial(dataclass, frozen=True, config={"extra": "forbid", "allow_inf_nan": False})
_UNKNOWN = "unexpected_keyword_argument", "invalid_key"  # pydantic's names of faults
_WANTED = {"dataclass_type": "settings (name: value) are wanted", "tuple_type": "a list is wanted",
           "path_type": "a path is wanted"}
BelowOne = Annotated[float, Field(ge=0, lt=1)]


class SettingsError(RefusedError):
    """A setting that cannot be; the message names it and says what is wanted."""


@checked
class Stage:
    """`steps` optimiser steps of `batch` samples, counted over all processes, of `frames` frames each.

    accumulate: in how many pieces a process works through its share of the batch, to save memory.
    """

    steps: PositiveInt
    batch: PositiveInt
    frames: PositiveInt = 1
    accumulate: PositiveInt = 1


@checked
class Settings:
    """How to train. The learning rate rises over `warmup` steps, then stays or falls to `final_learning_rate`.

    betas, weight_decay: AdamW's. clip_norm: longest gradient, 0 for any. ema: decay of the averaged weights, 0 for
    none. precision: of the arithmetic; weights and optimiser stay fp32. Every so many steps: save_every (of those
    checkpoints the last `keep` stay), preview_every (0: never), log_every. minutes: stop cleanly after that long, 0 for
    never; the same command goes on. workers: threads that make the coming batches.
    """

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    seed: NonNegativeInt = 0
    learning_rate: PositiveFloat = 1e-4
    final_learning_rate: NonNegativeFloat = 0.0
    warmup: NonNegativeInt = 0
    schedule: Literal["constant", "cosine"] = "constant"
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 1e-2
    clip_norm: NonNegativeFloat = 1.0
    ema: BelowOne = 0.0
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    save_every: PositiveInt = 500
    keep: PositiveInt = 2
    preview_every: NonNegativeInt = 0
    log_every: PositiveInt = 20
    minutes: NonNegativeFloat = 0.0
    workers: PositiveInt = 1

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
    """A `checked` class from what YAML gives, every entry known, of its type and in its range.

    `where` it is stands before the names. Raises SettingsError.
    """
    try:
        return TypeAdapter(cls).validate_python(data)
    except ValidationError as error:
        # A misspelt name first: what is missing may be what it means.
        fault = min(error.errors(), key=lambda fault: fault["type"] not in _UNKNOWN)
        raise SettingsError(_told(cls, fault, where)) from error


def _told(cls: type, fault: dict[str, Any], where: str) -> str:
    """The sentence for one of pydantic's errors."""
    place = [str(part) for part in (where, *fault["loc"]) if part != ""]
    name, kind = ".".join(place) or "The file", fault["type"]
    if kind in _UNKNOWN:
        known = [field.name for field in fields(_section(cls, fault["loc"][:-1]))]
        near = get_close_matches(place[-1], known, 1)
        rather = f"{near[0]} may be meant" if near else f"there are {', '.join(known)}"
        return f"There is no setting {name}; {rather}."
    if kind == "missing":
        return f"{name} is missing."
    if kind == "value_error":
        return ": ".join([*[name] * bool(place), str(fault["ctx"]["error"])])
    said = re.sub("^[A-Z][a-z]+ should", "it should", fault["msg"]).replace(" after validation", "")
    return f"{name} is {fault['input']!r}; {_WANTED.get(kind, said)}."


def _section(cls: type, loc: Sequence[str | int]) -> type:
    """The class of settings at that place in `cls`."""
    for name in loc:
        if isinstance(name, str):
            hint = get_type_hints(cls)[name]
            cls = next(kind for kind in (hint, *get_args(hint)) if is_dataclass(kind))
    return cls
