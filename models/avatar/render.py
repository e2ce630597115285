"""Clips of an avatar and of the body mesh, as AniCrafter is shown them."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from ..body.body import BodyModel, Skeleton
from ..body.motion import BodyMotion, MotionError
from ..drawing.mesh import render_mesh
from ..drawing.rasterize import NEAR, Camera, rasterize, rasterize_frames
from .animate import animate
from .gaussians import Avatar
from .rig import Rig

STRETCH = 0.05  # the published clips are stretched by 0.4 % (1360×768 shown at 1280×720)
FILLED = 0.9  # of a still's side, by the person
CHEST = 9  # the joint that tells where a body is, which reaches about NEAR around it


class AvatarClip(NamedTuple):
    """image [F, H, W, 3] 0…1 on black, multiplied by its alpha; alpha [F, H, W]; depth [F, H, W] m where it is seen."""

    image: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor


def render_avatar(
    avatar: Avatar,
    rig: Rig,
    motion: BodyMotion,
    width: int,
    height: int,
    device: torch.device | str = "cpu",
    backend: str = "torch",
    on_step: Callable[[int, int], None] | None = None,
    on_frame: Callable[[torch.Tensor], None] | None = None,
    length: int = 0,
) -> AvatarClip:
    """The avatar in the film of `motion`, drawn at `width`×`height`; only one part of the clip is held on `device`.

    The clip goes from frame 0 of the film to the motion's last, or has `length` frames if that is more; nothing is in
    those without motion. on_step(done, total) comes after every frame drawn and may raise to cancel, then
    on_frame(image [H, W, 3]). Raises ValueError when avatar and rig do not belong together, the size would stretch the
    person, or the person is not before the camera.
    """
    motion = fit_camera(motion, width, height)
    _check_place(motion, rig.skeleton)
    frames = max(length, motion.frames[-1] + 1)
    clip = AvatarClip(
        torch.zeros(frames, height, width, 3), torch.zeros(frames, height, width), torch.zeros(frames, height, width)
    )
    for part, posed in animate(avatar, rig, motion, device):
        cameras = _cameras(motion, part)
        drawn = rasterize_frames(posed.xyz, posed.rgb, posed.opacity, posed.scale, posed.rotation, cameras, backend)
        for row, render in enumerate(drawn, part.start):
            frame = motion.frames[row]
            clip.image[frame] = render.rgb.movedim(0, -1).cpu()
            clip.alpha[frame] = render.alpha[0].cpu()
            clip.depth[frame] = (render.depth[0] / render.alpha[0].clamp(min=1e-6)).cpu()
            if on_step:
                on_step(row + 1, len(motion))
            if on_frame:
                on_frame(clip.image[frame])
    return clip


def render_still(avatar: Avatar, width: int = 384, height: int = 512) -> torch.Tensor:
    """The avatar as it stands in its file, whole, facing the camera, on white: IMAGE [1, H, W, 3]."""
    xyz, camera = _facing(avatar.xyz(), width, height)
    w, x, y, z = avatar.rotation.unbind(-1)
    render = rasterize(xyz, avatar.rgb, avatar.opacity, avatar.scale, torch.stack([-x, w, -z, y], -1), camera)
    return (render.rgb + 1 - render.alpha).clamp(0, 1).movedim(0, -1)[None]


def render_body_still(body: BodyModel, width: int = 384, height: int = 384) -> torch.Tensor:
    """The mean body at rest, whole, facing the camera, on black: IMAGE [1, H, W, 3]."""
    vertices, camera = _facing(body.template, width, height)
    return render_mesh(vertices, body.faces, camera).image.movedim(0, -1)[None]


def _facing(points: torch.Tensor, width: int, height: int) -> tuple[torch.Tensor, Camera]:
    """Points [N, 3] of a person in SMPL-X's axes, brought before a camera that sees them all; and the camera."""
    focal = 1.2 * height
    some = points[:: len(points) // 100_000 + 1]
    low, high = some.quantile(0.001, 0), some.quantile(0.999, 0)  # a stray gaussian must not make the person small
    across, tall, _ = (high - low).clamp(min=1e-3).tolist()
    distance = float(high[2] + focal * max(across / width, tall / height) / FILLED)
    # SMPL-X's y is up and the person faces +z; the camera's y is down and looks along +z: half a turn about x.
    seen = (points - (low + high) / 2) * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0.0, 0.0, distance])
    return seen, Camera((focal, focal), (width / 2, height / 2), (width, height))


def render_body(
    body: BodyModel,
    motion: BodyMotion,
    width: int,
    height: int,
    on_step: Callable[[int, int], None] | None = None,
    on_frame: Callable[[torch.Tensor], None] | None = None,
    length: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The performer's grey body in the film of `motion`: [F, H, W, 3] in 0…1 on black, and its mask [F, H, W].

    on_step, on_frame, length: as for `render_avatar`. Raises ValueError for a size that would stretch the person, for a
    body that is not before the camera, and when no frame shows any of it.
    """
    motion = fit_camera(motion, width, height)
    _check_place(motion, body.skeleton)
    frames = max(length, motion.frames[-1] + 1)
    image, mask = torch.zeros(frames, height, width, 3), torch.zeros(frames, height, width)
    for row, (frame, camera) in enumerate(zip(motion.frames, _cameras(motion, slice(None)), strict=True)):
        one = slice(row, row + 1)
        vertices = body.vertices(motion.pose[one], motion.betas[one], motion.trans[one])[0]
        render = render_mesh(vertices, body.faces, camera)
        image[frame], mask[frame] = render.image.movedim(0, -1), render.mask[0].float()
        if on_step:
            on_step(row + 1, len(motion))
        if on_frame:
            on_frame(image[frame])
    if not mask.any():
        raise ValueError("The body is in no frame of this motion: move it to where its camera looks (Edit Motion).")
    return image, mask


def fit_camera(motion: BodyMotion, width: int, height: int) -> BodyMotion:
    """`motion` seen at `width`×`height`. Raises ValueError where that would stretch the picture visibly."""
    aspect = motion.size[0] / motion.size[1]
    if abs(width / height / aspect - 1) > STRETCH:
        best = round(width / aspect / 16) * 16
        raise ValueError(
            f"{width}×{height} would stretch this motion, which was filmed at {motion.size[0]}×{motion.size[1]}: "
            f"choose the same shape, such as {width}×{best}."
        )
    return motion.resized(width, height)


def _check_place(motion: BodyMotion, skeleton: Skeleton) -> None:
    """Raises MotionError with the frames in which the body is around the camera or behind it."""
    depth = motion.joints(skeleton)[:, CHEST, 2]
    wrong = [frame for frame, z in zip(motion.frames, depth.tolist(), strict=True) if z < NEAR]
    if wrong:
        raise MotionError(
            f"The body is {'around' if depth.min() > -NEAR else 'behind'} the camera in {len(wrong)} of {len(motion)} "
            f"frames, the first being frame {wrong[0] + 1} (counted from 1): take them out of the motion, or move the "
            "person away (Edit Motion's z)."
        )


def _cameras(motion: BodyMotion, part: slice) -> list[Camera]:
    focal, principal = motion.focal[part].tolist(), motion.principal[part].tolist()
    return [Camera(tuple(f), tuple(c), motion.size) for f, c in zip(focal, principal, strict=True)]
