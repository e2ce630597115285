"""Every condition of both systems, made of one plain clip, stage by stage, into a folder that remembers.

Each stage has a fallback for where its network's weights are not there, but for the pose, which only DWPose finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..files.digest import content
from ..host.progress import Progress
from ..media.photo import read_photo
from ..models.anicrafter.conditions import GRID
from ..preprocessors.pose.follow import follow_person
from ..preprocessors.pose.keypoints import VISIBLE, Pose, from_openpose, to_openpose
from .folder import CONDITIONS, VIEWS, Prepared, read_fps

if TYPE_CHECKING:
    from ..preprocessors.segment.prompts import Prompt

ANCHOR, ANIMATED = SYSTEMS = ("anchorcrafter", "anicrafter")
AS_GOOD = 0.9  # of what is seen of the person in the best frame: serves as a photo as well


@dataclass(frozen=True)
class Tool:
    """A network: a name, what loads it when a stage first needs it, and the files that it is loaded from."""

    name: str
    load: Callable[[], Any]
    paths: tuple[Path, ...] = ()

    def told(self) -> str:
        """What the manifest notes: by the content of the files, as another network may come under the same name."""
        return " ".join([self.name, *map(content, self.paths)])


@dataclass(frozen=True)
class Options:
    """What to make of a clip, and how.

    first, every, frames, long_side: as for `read_clip`. point, box: the product in frame `frame` of the clip, in its
    pixels, upright; without either it is what the hands hold. product: photos of the product, the front first. person:
    a photo to place the conditions on. avatar: the character's file, with its photo or else a frame of the clip.
    field_of_view: degrees over the longer side. tools: by the names used here; those that are missing are done without.
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
    tools: dict[str, Tool] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """makes: conditions; of: conditions it is made of; by: tools; settings: fields of `Options`.

    shared: by all clips of a person or product, of which the first one counts. Paths among the settings stand for what
    the files hold.
    """

    makes: tuple[str, ...]
    make: Callable[[Clip], dict[str, Any]]
    of: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    systems: tuple[str, ...] = SYSTEMS
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

    def tool(self, name: str) -> Any:
        """The network, or None to do without."""
        tool = self.options.tools.get(name)
        return tool and tool.load()

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

    def made_of(self, stage: Stage) -> dict[str, Any]:
        """What the manifest notes of a stage's results."""
        noted = {what: content(self.path(what)) for what in stage.of} or {"source": content(self.source)}
        noted |= {name: self.options.tools[name].told() for name in stage.by if name in self.options.tools}
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


def prepare(source: Path, name: str, prepared: Prepared, options: Options) -> Iterator[tuple[str, str]]:
    """Make of a clip what is not there yet. Yields each condition and whether it was "made", "kept", is the user's
    "own", or, in place of what cannot be made, a sentence that says why.
    """
    if not source.is_file():
        raise FileNotFoundError(f"There is no video {source}.")
    clip = Clip(source, name, prepared, options)
    stages = [stage for stage in STAGES if set(stage.systems) & set(options.systems) and stage.wanted(options)]
    files = {what: clip.file(what) for stage in stages if not stage.shared for what in stage.makes}
    prepared.claim(dict.fromkeys(files.values(), clip.sources))
    questions = [(what, told) for what, file in files.items() if (told := prepared.question(file, clip.sources))]
    if questions:
        yield from questions
        return
    failed: set[str] = set()
    for stage in stages:
        if failed & set(stage.of):
            failed |= set(stage.makes)
            continue
        try:
            yield from _run(stage, clip)
        except (ValueError, OSError) as error:
            failed |= set(stage.makes)
            yield stage.makes[0], str(error)


def _run(stage: Stage, clip: Clip) -> Iterator[tuple[str, str]]:
    prepared, made_of = clip.prepared, clip.made_of(stage)
    values = cache(lambda: stage.make(clip))
    for what in stage.makes:
        file = clip.file(what)
        noted = prepared.noted(file)
        others = stage.shared and noted is not None and noted["clip"] != clip.name
        if prepared.is_own(file):
            yield what, "own"
        elif others or prepared.holds(file, made_of):
            yield what, "kept"
        else:
            fps = values().get("fps") or clip.fps
            sources = () if stage.shared else clip.sources
            CONDITIONS[what].put(prepared, clip.name, made_of, values()[what], fps, sources)
            yield what, "made"


def _film(clip: Clip) -> dict:
    from ..media.clip import read_clip

    cut = clip.options
    images, fps = read_clip(clip.source, cut.first, cut.every, cut.frames, cut.long_side, clip.progress("film"))
    height, width = (side // GRID * GRID for side in images.shape[1:3])
    if not height or not width:
        raise ValueError(f"{clip.source} is {images.shape[2]}×{images.shape[1]}; {GRID}×{GRID} is the least.")
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return {"film": images[:, top : top + height, left : left + width], "fps": fps}


def _copy(clip: Clip) -> dict:
    return dict.fromkeys(("anchor_film", "source"), clip.path("film"))


def _keypoints(clip: Clip) -> dict:
    from ..preprocessors.pose.extract import extract_poses

    detector = clip.tool("dwpose")
    if detector is None:
        raise ValueError(
            f"DWPose is not there: `crafters download dwpose`, or put the poses (OpenPose's JSON, a list with a frame "
            f"each) into {clip.path('keypoints')}."
        )
    poses = extract_poses(detector, clip.images, on_step=clip.progress("keypoints"))
    return {"keypoints": to_openpose(poses, *clip.size)}


def _product_mask(clip: Clip) -> dict:
    prompts = _prompts(clip)
    find = None if prompts else "what the hands hold"
    return {"product_mask": _mask(clip, "product_mask", prompts=prompts, poses=clip.poses(), find=find)}


def _person_mask(clip: Clip) -> dict:
    return {"person_mask": _mask(clip, "person_mask", poses=clip.poses(), find="person")}


def _mask(clip: Clip, what: str, **options: Any) -> torch.Tensor:
    from ..preprocessors.segment.flow import FlowTracker
    from ..preprocessors.segment.video import segment_video

    tracker = clip.tool("sam") or FlowTracker()
    masks, _ = segment_video(tracker, clip.images, on_step=clip.progress(what), **options)
    return torch.stack(list(masks.values())).any(0)


def _prompts(clip: Clip) -> tuple[Prompt, ...]:
    """What the user pointed at, in the film's pixels and frames."""
    from ..media.clip import read_clip
    from ..preprocessors.segment.prompts import Prompt

    told = clip.options
    if told.point is None and told.box is None:
        return ()
    height, width = read_clip(clip.source, frames=1)[0].shape[1:3]
    scale = min(1.0, told.long_side / max(width, height)) if told.long_side else 1.0
    margin = [(round(side * scale) - kept) // 2 for side, kept in zip((width, height), clip.size, strict=True)]

    def place(xy: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value * scale - margin[i % 2] for i, value in enumerate(xy))

    inside = () if told.point is None else (place(told.point),)
    box = None if told.box is None else place(told.box)
    return (Prompt(round((told.frame - told.first) / told.every), inside, box=box),)


def _object_depth(clip: Clip) -> dict:
    from ..preprocessors.product.object_depth import object_depth

    on_step = clip.progress("object_depth")
    return {"object_depth": object_depth(clip.images, clip.read("product_mask"), clip.tool("depth"), on_step)}


def _hand(clip: Clip) -> dict:
    from ..preprocessors.hand_mesh.hands import fit_hands, render_hands
    from ..preprocessors.hand_mesh.recover import recover_hands

    hamer, poses, on_step = clip.tool("hamer"), clip.poses(), clip.progress("hand")
    if hamer is None:
        meshes = fit_hands(poses, clip.size, clip.fps, clip.options.field_of_view, on_step)
    else:
        meshes = recover_hands(*hamer, clip.images, poses, clip.fps, on_step)
    return {"hand": render_hands(meshes, clip.read("product_mask"), clip.progress("hand, drawing"))}


def _pose(clip: Clip) -> dict:
    return {"pose": _drawn(clip.poses(), clip.size)}


def _drawn(poses: list[Pose], size: tuple[int, int]) -> torch.Tensor:
    from ..preprocessors.pose.draw_pose import draw_pose

    return torch.stack([torch.from_numpy(draw_pose(pose, *size)) for pose in poses])


def _person(clip: Clip) -> dict:
    poses = clip.poses()
    best = _photogenic(poses, clip.read("product_mask"))
    return {"person": clip.images[best], "person_pose": _drawn([poses[best]], clip.size)[0].float() / 255}


def _photogenic(poses: list[Pose], hidden: torch.Tensor | None = None) -> int:
    """The frame in which most of the person is seen; among equals, least of `hidden` [F, H, W]."""
    scores = (pose.body[0, :, 2] if pose.people else np.zeros(1) for pose in poses)
    sure = [float(score[score > VISIBLE].clip(0, 1).sum()) for score in scores]
    good = [frame for frame, value in enumerate(sure) if value >= AS_GOOD * max(sure)]
    return max(good, key=lambda frame: sure[frame] if hidden is None else -float(hidden[frame].sum()))


def _views(clip: Clip) -> dict:
    if clip.options.product:
        from ..preprocessors.product.views import product_views

        photos, masks = zip(*(read_photo(path) for path in clip.options.product), strict=True)
        photos, masks = [photo[0] for photo in photos], [None if mask is None else mask[0] for mask in masks]
        sides = [*zip(photos, masks, strict=True), (None, None), (None, None)][:3]
        named = {name: photo for name, (photo, _) in zip(("front", "left", "right"), sides, strict=True)}
        named |= {f"{name}_mask": mask for name, (_, mask) in zip(("front", "left", "right"), sides, strict=True)}
        views, _ = product_views(**named)
    else:
        from ..preprocessors.product.from_clip import views_from_clip

        views, _, _ = views_from_clip(clip.images, clip.read("product_mask"), on_step=clip.progress("views"))
    return dict(zip(VIEWS, views, strict=True))


def _background(clip: Clip) -> dict:
    from ..preprocessors.background.remove import remove_person

    painter, on_step = clip.tool("propainter"), clip.progress("background")
    return {"background": remove_person(clip.images, clip.read("person_mask"), painter, on_step=on_step)}


def _motion(clip: Clip) -> dict:
    from ..preprocessors.body_motion.estimate import estimate_motion

    motion, _ = estimate_motion(
        clip.tool("body"),
        clip.poses(),
        clip.size,
        clip.fps,
        clip.options.field_of_view or None,
        clip.tool("multihmr"),
        clip.images,
        clip.progress("motion"),
    )
    return {"motion": motion}


def _mesh(clip: Clip) -> dict:
    from ..models.avatar.render import render_body

    motion = clip.read("motion")
    mesh, mask = render_body(clip.tool("body"), motion, *clip.size, clip.progress("mesh"), length=len(clip.images))
    return {"mesh": mesh, "mesh_mask": mask}


def _reference(clip: Clip) -> dict:
    if clip.options.character:
        photo, mask = read_photo(clip.options.character)
    else:
        best, masks = _photogenic(clip.poses()), clip.read("person_mask")
        photo, mask = clip.images[best, None], masks[best, None]
    return {"reference": photo[0] if mask is None else torch.cat([photo[0], mask[0, ..., None]], -1)}


def _blend(clip: Clip) -> dict:
    from ..host.memory import compute_device
    from ..models.anicrafter.conditions import compose
    from ..models.avatar.gaussians import load_avatar
    from ..models.avatar.render import render_avatar
    from ..models.avatar.rig import rig_from_body
    from ..models.avatar.standing import unposed

    motion, avatar = clip.read("motion"), load_avatar(clip.options.avatar)
    rig = rig_from_body(clip.tool("body"), avatar.points, unposed(avatar, clip.tool("body").skeleton))
    drawn = render_avatar(
        avatar, rig, motion, *clip.size, compute_device(), on_step=clip.progress("avatar"), length=len(clip.images)
    )
    return {"blend": compose(drawn.image, drawn.alpha, clip.read("background"))}


def _placed(clip: Clip) -> dict:
    from ..preprocessors.person.size import fit_person
    from ..preprocessors.pose.extract import extract_poses
    from ..preprocessors.pose.placement import fit_placement, place_pose, place_video

    photo = fit_person(read_photo(clip.options.person)[0], clip.options.short_side)
    size = photo.shape[2], photo.shape[1]
    poses, (own,) = clip.poses(), extract_poses(clip.tool("dwpose"), photo)
    placement = fit_placement(poses, own, clip.size, size)
    hand, depth = (place_video(clip.read(what), placement, clip.progress(what)) for what in ("hand", "object_depth"))
    return {
        "photo": photo[0],
        "photo_pose": _drawn([own], size)[0].float() / 255,
        "placed_pose": _drawn([place_pose(pose, placement) for pose in poses], size),
        "placed_hand": hand,
        "placed_depth": depth,
    }


ONLY_ANCHOR, ONLY_ANIMATED = (ANCHOR,), (ANIMATED,)
PLACED = ("photo", "photo_pose", "placed_pose", "placed_hand", "placed_depth")
STAGES = (
    Stage(("film",), _film, settings=("first", "every", "frames", "long_side")),
    Stage(("anchor_film",), _copy, ("film",), systems=ONLY_ANCHOR),
    Stage(("source",), _copy, ("film",), systems=ONLY_ANIMATED),
    Stage(("keypoints",), _keypoints, ("film",), ("dwpose",)),
    Stage(("product_mask",), _product_mask, ("film", "keypoints"), ("sam",), ("point", "box", "frame"), ONLY_ANCHOR),
    Stage(("object_depth",), _object_depth, ("film", "product_mask"), ("depth",), systems=ONLY_ANCHOR),
    Stage(
        ("hand",), _hand, ("film", "keypoints", "product_mask"), ("hamer",), ("field_of_view",), ONLY_ANCHOR
    ),
    Stage(("pose",), _pose, ("film", "keypoints"), systems=ONLY_ANCHOR),
    Stage(("person", "person_pose"), _person, ("film", "keypoints", "product_mask"), systems=ONLY_ANCHOR, shared=True),
    Stage(VIEWS, _views, ("film", "product_mask"), settings=("product",), systems=ONLY_ANCHOR, shared=True),
    Stage(("person_mask",), _person_mask, ("film", "keypoints"), ("sam",), systems=ONLY_ANIMATED),
    Stage(("background",), _background, ("film", "person_mask"), ("propainter",), systems=ONLY_ANIMATED),
    Stage(
        ("motion",), _motion, ("film", "keypoints"), ("body", "multihmr"), ("field_of_view",), ONLY_ANIMATED
    ),
    Stage(("mesh", "mesh_mask"), _mesh, ("film", "motion"), ("body",), systems=ONLY_ANIMATED),
    Stage(
        ("reference",), _reference, ("film", "keypoints", "person_mask"), settings=("character",), systems=ONLY_ANIMATED
    ),
    Stage(
        ("blend",), _blend, ("film", "motion", "background"), ("body",), ("avatar",), ONLY_ANIMATED,
        lambda options: options.avatar is not None,
    ),
    Stage(
        PLACED, _placed, ("film", "keypoints", "hand", "object_depth"), ("dwpose",), ("person", "short_side"),
        ONLY_ANCHOR, lambda options: options.person is not None,
    ),
)
