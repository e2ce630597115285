"""`Stage Person`: a motion in the scene of a picture, where the user says that the person stands."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from ...media.frames import frame_ranges
from ...models.avatar.gaussians import Avatar
from ...models.avatar.render import fit_camera
from ...models.avatar.rig import Rig
from ...models.body.body import BodyModel
from ...models.body.motion import BodyMotion
from ...models.body.rotation import axis_angle_to_matrix
from ...models.drawing.camera import NEAR_GAUSSIANS, Camera
from ...models.drawing.mesh import render_mesh
from ..background.camera import Camera as ClipCamera
from ..body_motion.estimate import estimate_motion
from ..pose.keypoints import Pose
from .ground import (
    Person,
    StageError,
    Stand,
    bearing,
    ground_track,
    heading,
    horizon_of_tilt,
    tilt,
    tilt_for_height,
    tilt_of_horizon,
)

STANDING, FRAME_BY_FRAME = PATHS = ("standing", "frame by frame")
WHOLE = 0.995  # of the points: what the edge cuts off then is not worth a word
LOOKED_AT = 7  # frames of a background
UPRIGHT = 0.8  # of the stature: whose head is lower in the chosen frame bends or sits
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spot:
    """Where a picture shows the person. feet_x, feet_y, horizon: shares of its width and height, from the left and from
    above; pixels: how tall the person is drawn, and metres, how tall they really are (0: as their body is);
    camera_height: m above the ground; field_of_view: degrees over the longer side.

    Of `pixels`, `horizon` and `camera_height` two are given and the third follows.
    """

    feet_x: float
    feet_y: float
    field_of_view: float
    pixels: float | None = None
    metres: float = 0.0
    horizon: float | None = None
    camera_height: float | None = None


@dataclass(frozen=True)
class Track:
    """Where the person of another motion is in its own camera: standing at one place, or all along its path.

    horizon: where that camera sees it, a share of the picture's height.
    """

    motion: BodyMotion
    path: str = STANDING
    horizon: float = 0.5


class Staged(NamedTuple):
    """The motion before a camera that sees the picture at its size, its row that was placed, and a line on the rest."""

    motion: BodyMotion
    row: int
    report: str


class View(NamedTuple):
    """How far the camera looks down, radians, and how many of the motion's metres are one of the picture's."""

    angle: float
    unit: float


def clip_person(
    body: BodyModel, poses: Sequence[Pose], size: tuple[int, int], fps: float, field_of_view: float,
    on_step: Callable[[int, int], None] | None = None,
) -> BodyMotion:
    """The motion of the person whose `poses` a clip of `size` px (width, height) shows, for a `Track`."""
    return estimate_motion(body, poses, size, fps, field_of_view, on_step=on_step)[0]


def stage_person(
    motion: BodyMotion, body: BodyModel, size: tuple[int, int], place: Spot | Track, facing: float | None = None,
    frame: int = 1, filmed_pitch: float = 0.0, on_ground: bool = False, avatar: Avatar | None = None,
    rig: Rig | None = None,
) -> Staged:
    """`motion` in a picture of `size` px (width, height): the person of film frame `frame` (from 1) stands at `place`,
    and the others follow over the same ground.

    facing: degrees from the camera to the picture's right in that frame; None: as the motion has it. filmed_pitch:
    degrees that the camera of the motion looked down. on_ground: somebody touches the ground in every frame. avatar,
    rig: what is measured in place of the body, and gives the motion its shape.
    Raises StageError or MotionError, each a sentence, for what no camera shows; warns of what is cut off.
    """
    if (avatar is None) != (rig is None):
        raise ValueError("An avatar is staged with its rig, and a rig with its avatar: connect both, or neither.")
    same_film = isinstance(place, Track) and place.motion is motion
    pitch, person = None if same_film else math.radians(filmed_pitch), Person.of_body(body)
    if avatar is not None:
        person = Person.of_avatar(avatar, rig)
        if torch.allclose(rig.skeleton.joints, body.skeleton.joints, atol=1e-4):
            motion = replace(motion, betas=avatar.betas.expand_as(motion.betas))
    row = min(range(len(motion)), key=lambda row: abs(motion.frames[row] + 1 - frame))
    if isinstance(place, Spot):
        staged, view = _at_spot(person, motion.turned(tilt(-pitch)), size, place, facing, row, on_ground)
    else:
        staged, view = _on_track(person, body, motion, pitch, size, place, facing, row, on_ground)
    return Staged(staged, row, _report(person, staged, row, view))


def _at_spot(
    person: Person, motion: BodyMotion, size: tuple[int, int], spot: Spot, facing: float | None, row: int,
    on_ground: bool,
) -> tuple[BodyMotion, View]:
    """The motion, in the world's axes, before the picture's camera."""
    width, height = size
    focal = max(size) / 2 / math.tan(math.radians(spot.field_of_view / 2))
    camera, at = Camera.centred(focal, *size), (spot.feet_x * width, spot.feet_y * height)
    look = torch.tensor([(at[0] - width / 2) / focal, (at[1] - height / 2) / focal, 1], dtype=torch.float64)
    points = next(person.points(motion.only(row)))

    def turn(angle: float) -> torch.Tensor:
        return tilt(angle) @ _facing(person, motion, row, facing, bearing(tilt(angle).T @ look))

    def above(angle: float) -> float:
        """m from the ground up to a camera that sees the person as tall as asked."""
        seen = points @ turn(angle).T
        try:
            shift = Stand(person, seen, camera, at).for_tall(spot.pixels)
        except StageError:
            return math.nan
        return float(((seen + shift) @ tilt(angle)[:, 1]).max())

    if spot.horizon is None:
        angle = tilt_for_height(above, spot.camera_height)
    elif spot.feet_y > spot.horizon:
        angle = tilt_of_horizon(camera, spot.horizon * height)
    else:
        raise StageError(
            f"The feet at {spot.feet_y:g} of the picture's height are not below the horizon at {spot.horizon:g}, so "
            "that there is no ground to stand on: move the feet down, or the horizon up."
        )
    turned, down = motion.turned(turn(angle)), tilt(angle)[:, 1]
    unit = person.stature(motion) / spot.metres if spot.metres else 1.0  # bodies keep their size: the world changes
    one = turned.only(row)

    def shift_to(feet_y: float, pixels: float | None) -> torch.Tensor:
        stand = Stand(person, next(person.points(one)), camera, (at[0], feet_y))
        return stand.for_above(unit * spot.camera_height, down) if pixels is None else stand.for_tall(pixels)

    shift = shift_to(at[1], spot.pixels)
    if person.drawn:
        top, bottom = person.drawn(one.shifted(shift), camera)
        shift = shift_to(2 * at[1] - bottom, spot.pixels and 2 * spot.pixels - (bottom - top))
    if on_ground:
        _, low = ground_track(person, turned, down)
        turned = turned.shifted((low[row] - low)[:, None] * down)
    return turned.shifted(shift).seen_by(camera.focal, camera.principal, size), View(angle, unit)


def _on_track(
    person: Person, body: BodyModel, motion: BodyMotion, pitch: float | None, size: tuple[int, int], track: Track,
    facing: float | None, row: int, on_ground: bool,
) -> tuple[BodyMotion, View]:
    """As `_at_spot`; the motion's own camera looked down by `pitch`, radians, or (None) is that of the track."""
    clip = fit_camera(track.motion, *size)
    if not math.isclose(clip.fps, motion.fps, rel_tol=1e-6):
        _log.warning(
            "The clip's person has %.5g frames a second, the motion %.5g: the place was retimed to the motion's.",
            clip.fps, motion.fps,
        )
        clip = clip.retimed(motion.fps)
    there = torch.tensor(clip.frames)
    rows = [int((there - frame).abs().argmin()) for frame in motion.frames]
    away = [frame + 1 for frame, near in zip(motion.frames, rows, strict=True) if clip.frames[near] != frame]
    if away and track.path == FRAME_BY_FRAME:
        _log.warning(
            "The clip shows its person in frames %s only: in frames %s the motion stays where they were nearest to "
            "that time.", frame_ranges([frame + 1 for frame in clip.frames]), frame_ranges(away),
        )
    angle = tilt_of_horizon(Camera.of(clip, rows[row]), track.horizon * size[1])
    down = tilt(angle)[:, 1]
    owner = Person.of_body(body)
    track_there, _ = ground_track(owner, clip, down)
    motion = motion.turned(tilt(-(angle if pitch is None else pitch)))
    unit = person.stature(motion) / owner.stature(clip)
    wanted = track_there[rows] * unit
    turn = tilt(angle) @ _facing(person, motion, row, facing, bearing(tilt(angle).T @ wanted[row]))
    turned = motion.turned(turn)
    own, low = ground_track(person, turned, down)
    shift = wanted - own
    if track.path == STANDING:
        shift, own = shift[row].expand_as(shift), own[row].expand_as(own)
    if on_ground:
        shift = shift + (own @ down - low)[:, None] * down
    focal, principal = (of[rows] if track.path == FRAME_BY_FRAME else of[rows[row]] for of in
                        (clip.focal, clip.principal))
    return turned.shifted(shift).seen_by(focal, principal, size), View(angle, unit)


def _facing(person: Person, motion: BodyMotion, row: int, facing: float | None, where: float) -> torch.Tensor:
    """[3,3], about the vertical: so that they face the camera from `where` (of `bearing`), and `facing` degrees on."""
    if facing is None:
        return torch.eye(3, dtype=torch.float64)
    turn = math.radians(facing) - where - heading(person, motion, row)
    return axis_angle_to_matrix(torch.tensor([0, -turn, 0], dtype=torch.float64))


def _report(person: Person, motion: BodyMotion, row: int, view: View) -> str:
    """What became of the person. Raises StageError for what is not before the camera; warns of what the picture cuts
    off."""
    shown, near = {}, []
    for number, points in enumerate(person.points(motion)):
        frame = motion.frames[number] + 1
        if points[:, 2].min() < NEAR_GAUSSIANS:
            near.append(frame)
        at = Camera.of(motion, number).project(points) + 0.5
        shown[frame] = float(((at >= 0) & (at <= torch.tensor(motion.size))).all(1).double().mean())
        if number == row:
            here, xy = points, at
    if near:
        raise StageError(
            f"The person walks into the camera, or behind it, in frames {frame_ranges(near)}: let them face another "
            "way, stand farther away, or cut the motion (Edit Motion)."
        )
    camera, down, chosen = Camera.of(motion, row), tilt(view.angle)[:, 1], motion.frames[row] + 1
    feet = person.feet()
    x = float(xy[feet, 0].min() + xy[feet, 0].max()) / 2
    top, bottom = float(xy[person.head(), 1].min()), float(xy[:, 1].max())
    if person.drawn:
        top, bottom = person.drawn(motion.only(row), camera)
    place = f"frame {chosen}: feet at ({x:.0f}, {bottom:.0f}) px, head at {top:.0f} px, {bottom - top:.0f} px tall"
    if not shown[chosen]:
        raise StageError(
            f"Nothing of the person is in the picture of {motion.size[0]}×{motion.size[1]} px in {place}: move the "
            "feet, or change the height."
        )
    cut = [frame for frame, share in shown.items() if 0 < share < WHOLE]
    gone = [frame for frame, share in shown.items() if not share]
    if cut:
        _log.warning("The picture's edge cuts off some of the person in frames %s.", frame_ranges(cut))
    if gone:
        _log.warning("The person is outside the picture in frames %s.", frame_ranges(gone))
    above = float((here @ down).max())
    high = (above - float((here[person.head()] @ down).min())) / person.stature(motion.only(row))
    if high < UPRIGHT:
        _log.warning(
            "In frame %d the person bends or sits: the height asked for is theirs so. Choose a frame in which they "
            "stand for the height of a standing person.", chosen,
        )
    horizon = horizon_of_tilt(camera, view.angle) / motion.size[1]
    field_of_view = 2 * math.degrees(math.atan(max(motion.size) / 2 / camera.focal[0]))
    looks = f"{'down' if view.angle >= 0 else 'up'} by {abs(math.degrees(view.angle)):.1f}°"
    away, above = float(here[feet, 2].mean()) / view.unit, above / view.unit
    return (
        f"{place}, {away:.2f} m away; camera {above:.2f} m above the ground, looking {looks}; horizon at {horizon:.2f} "
        f"of the height; field of view {field_of_view:.0f}°; outside the picture in {len(gone)} of {len(shown)} frames."
    )


def check_still(background: torch.Tensor, place: Spot | Track) -> None:
    """Warn where the camera of a clip [B,H,W,C], 0…1, moves and the place does not move with it."""
    if len(background) == 1 or isinstance(place, Track) and place.path == FRAME_BY_FRAME:
        return
    some = np.linspace(0, len(background) - 1, min(LOOKED_AT, len(background))).round().astype(int).tolist()
    frames = (background[some, ..., :3].cpu().float() * 255).byte().numpy()
    if not ClipCamera(frames, np.zeros(frames.shape[:3], bool)).still:
        _log.warning(
            "The background's camera moves, but the person's does not: the feet will slide. Take a background that "
            "stands still, or the place of a clip's person, frame by frame."
        )


def overview(staged: Staged, body: BodyModel, background: torch.Tensor, most: int) -> torch.Tensor:
    """The body over the background [B,H,W,C], 0…1, in at most `most` frames from the first to the last: [n,H,W,3]."""
    motion, count = staged.motion, min(most, len(staged.motion))
    rows = [round(i * (len(motion) - 1) / max(count - 1, 1)) for i in range(count)]
    pictures = []
    for row in rows:
        one = motion.only(row)
        mesh = render_mesh(body.vertices(one.pose, one.betas, one.trans)[0], body.faces, Camera.of(one, 0))
        behind = background[min(motion.frames[row], len(background) - 1), ..., :3].cpu().float()
        pictures.append(torch.where(mesh.mask[0, ..., None], mesh.image.movedim(0, -1), behind))
    return torch.stack(pictures)
