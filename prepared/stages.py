"""What a stage is: conditions that are made of others, by networks and settings; and the clip that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..files.digest import content
from ..host.progress import Progress
from ..preprocessors.pose.follow import follow_person
from ..preprocessors.pose.keypoints import Pose, from_openpose
from .conditions import CONDITIONS, read_fps
from .folder import Prepared
from .tools import Tools

SYSTEMS = ("anchorcrafter", "anicrafter")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to make of a clip, and how.

    first, every, frames, long_side: as for `read_clip`. point, box: the product in frame `frame` of the clip, in its
    pixels, upright; without either it is what the hands hold. product: photos of the product, the front first. person:
    a photo to place the conditions on. avatar: the character's file, with its photo or else a frame of the clip.
    field_of_view: degrees over the longer side.
    """

    systems: tuple[str, ...] = SYSTEMS
    first: int = 0
    every: int = 1
    frames: int = 0
    long_side: int = 1024
    point: tuple[float, float] | None = None
    box: tuple[float, float, float, float] | None = None
    frame: int = 0
    product: tuple[Path, ...] = ()
    person: Path | None = None
    short_side: int = 576
    avatar: Path | None = None
    character: Path | None = None
    field_of_view: float = 60.0
    tools: Tools = field(default_factory=Tools)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """makes, of: conditions; tools: fields of `Tools`; settings: fields of `Options`. What is made is made again when
    one of them changes; paths among the settings stand for what the files hold.

    make(clip, **tools): of each condition its value, and `fps` where there is no film yet. It is given the tools by
    name, loaded, or None. shared: by all clips of a person or product, of which the first one counts.
    """

    makes: tuple[str, ...]
    make: Callable[..., dict[str, Any]]
    of: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    wanted: Callable[[Options], bool] = lambda options: True
    shared: bool = False


class Clip:
    """A clip on its way: its conditions as the folder holds them."""

    def __init__(self, source: Path, name: str, prepared: Prepared, options: Options):
        self.source, self.name, self.prepared, self.options = source, name, prepared, options

    def file(self, what: str) -> str:
        return CONDITIONS[what].of(self.name)

    def path(self, what: str) -> Path:
        return self.prepared.path(self.file(what))

    def read(self, what: str) -> Any:
        return CONDITIONS[what].read(self.path(what))

    @cached_property
    def images(self) -> torch.Tensor:
        """The film, float [F, H, W, 3] in 0…1."""
        return self.read("film")

    @cached_property
    def fps(self) -> float:
        return read_fps(self.path("film"))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.images.shape[2], self.images.shape[1]

    def poses(self) -> list[Pose]:
        """Of one person, as many as frames. Raises ValueError."""
        poses = follow_person(from_openpose(self.read("keypoints"))[0])
        if len(poses) != len(self.images):
            raise ValueError(f"{self.path('keypoints')} has {len(poses)} frames, the clip {len(self.images)}.")
        return poses

    def make(self, stage: Stage) -> dict[str, Any]:
        tools = {name: getattr(self.options.tools, name) for name in stage.tools}
        return stage.make(self, **{name: tool and tool.load() for name, tool in tools.items()})

    def made_of(self, stage: Stage) -> dict[str, Any]:
        """What the manifest notes of a stage's results."""
        noted = {what: content(self.path(what)) for what in stage.of} or {"source": content(self.source)}
        noted |= {name: tool.told() for name in stage.tools if (tool := getattr(self.options.tools, name))}
        noted |= {name: _plain(getattr(self.options, name)) for name in stage.settings}
        return {"clip": self.name, **noted} if stage.shared else noted

    @cached_property
    def sources(self) -> list[str]:
        """What tells the clip: the content of its file, and which of its frames are taken, of what size."""
        cut = self.options
        return [f"{content(self.source)} {cut.first} {cut.every} {cut.frames} {cut.long_side}"]

    def progress(self, what: str) -> Progress:
        return Progress(f"{self.name}, {what.replace('_', ' ')}")


def _plain(setting: Any) -> Any:
    """A setting as JSON says it."""
    if isinstance(setting, Path):
        return content(setting)
    return [_plain(part) for part in setting] if isinstance(setting, tuple) else setting
