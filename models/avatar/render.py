"""Pictures of an avatar and of the body mesh: clips as AniCrafter is shown them, and stills to look at."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from ...media.frames import black, put
from ..body.body import BodyModel, Skeleton
from ..body.motion import BodyMotion, MotionError
from ..body.rotation import quaternion_product, quaternion_to_matrix
from ..drawing.camera import NEAR_GAUSSIANS, Camera
from ..drawing.mesh import render_mesh
from ..drawing.rasterize import rasterize
from ..staging.held import HeldProduct
from ..threads import on_threads
from .animate import UPSIDE_DOWN, Posed, animate
from .gaussians import Avatar
from .rig import Rig
from .with_products import among, draw_products

STRETCH = 0.05  # the published clips are stretched by 0.4 % (1360×768 shown at 1280×720)
FILLED = 0.9  # of a still's side, by the person
AT_ONCE = 8  # frames on a CPU: each takes up to half a GB at 4K
CHEST = 9  # the joint that tells where a body is, which reaches about NEAR_GAUSSIANS around it


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
    backend: str = "auto",
    on_step: Callable[[int, int], None] | None = None,
    on_frame: Callable[[torch.Tensor], None] | None = None,
    length: int = 0,
    with_depth: bool = True,
    products: Sequence[HeldProduct] = (),
) -> AvatarClip:
    """The avatar in the film of `motion`, drawn at `width`×`height`; only one part of the clip is held on `device`.

    The clip goes from frame 0 of the film to the motion's last, or has `length` frames if that is more; nothing is in
    those without motion. on_step(done, total) comes after every frame drawn and may raise to cancel, then
    on_frame(image [H, W, 3]). with_depth: without it the depth is 0 all over and takes no memory. products: what the
    person holds, or stands in the scene. Raises ValueError when avatar and rig do not belong together, the size would
    stretch the person, the person is not before the camera, or the products were held in another motion.
    """
    motion = fit_camera(motion, width, height)
    _check_place(motion, rig.skeleton)
    places = [product.places(motion, rig.skeleton, avatar.betas) for product in products]
    frames = max(length, motion.frames[-1] + 1)
    size = frames, height, width
    depth = _upright(*size) if with_depth else torch.zeros(()).expand(size)
    clip = AvatarClip(black((*size, 3)), _upright(*size), depth)

    def poses() -> Iterator[tuple[int, Posed]]:
        for part, posed in animate(avatar, rig, motion, device):
            for row, xyz, rotation in zip(range(part.start, part.stop), posed.xyz, posed.rotation, strict=True):
                yield row, posed._replace(xyz=xyz, rotation=rotation)

    def draw(row_and_pose: tuple[int, Posed]) -> int:
        row, posed = row_and_pose
        frame, camera = motion.frames[row], Camera.of(motion, row)
        render = rasterize(posed.xyz, posed.rgb, posed.opacity, posed.scale, posed.rotation, camera, backend)
        seen = draw_products(products, [place[row] for place in places], camera)
        if seen is not None:
            render = among(render, posed, seen, camera, backend)
        put(clip.image, frame, render.rgb.movedim(0, -1))
        put(clip.alpha.mT, frame, render.alpha[0].mT)
        if with_depth:
            put(clip.depth.mT, frame, (render.depth[0] / render.alpha[0].clamp(min=1e-6)).mT)
        return row

    for row in on_threads(draw, poses(), AT_ONCE if torch.device(device).type == "cpu" else 1):
        if on_step:
            on_step(row + 1, len(motion))
        if on_frame:
            on_frame(clip.image[motion.frames[row]])
    return clip


def render_still(avatar: Avatar, width: int = 384, height: int = 512) -> torch.Tensor:
    """The avatar as it stands in its file, whole, facing the camera, on white: IMAGE [1, H, W, 3]."""
    xyz, camera = _facing(avatar.xyz(), width, height)
    return _on_white(avatar, xyz, torch.tensor(UPSIDE_DOWN), camera)[None]


def render_turntable(
    avatar: Avatar, frames: int = 24, width: int = 384, height: int = 512,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """One whole turn, from the front, in the avatar's own pose, on white: IMAGE [F, H, W, 3] in 0…1.

    on_step(done, total) comes after every frame and may raise to cancel.
    """
    xyz = avatar.xyz()
    low, high = xyz.quantile(0.001, 0), xyz.quantile(0.999, 0)  # a stray gaussian must not make the person small
    centred = xyz - (low + high) / 2
    radius = float(centred[:, ::2].norm(dim=1).quantile(0.999).clamp(min=1e-2))
    focal = 1.2 * height
    tall = float((high - low)[1].clamp(min=1e-2))
    distance = radius + focal * max(2 * radius / width, tall / height) / FILLED
    camera = Camera.centred(focal, width, height)
    images = torch.empty(frames, height, width, 3)

    def draw(frame: int) -> int:
        half = math.pi * frame / frames  # of the angle about y
        turn = quaternion_product(torch.tensor(UPSIDE_DOWN), torch.tensor([math.cos(half), 0.0, math.sin(half), 0.0]))
        seen = centred @ quaternion_to_matrix(turn).T + torch.tensor([0.0, 0.0, distance])
        images[frame] = _on_white(avatar, seen, turn, camera)
        return frame

    for frame in on_threads(draw, range(frames), AT_ONCE):
        if on_step:
            on_step(frame + 1, frames)
    return images


def _on_white(avatar: Avatar, xyz: torch.Tensor, turn: torch.Tensor, camera: Camera) -> torch.Tensor:
    """[H, W, 3]: the avatar at `xyz` [N, 3] before the camera, all gaussians turned by `turn` [4], wxyz."""
    rotation = quaternion_product(turn.expand(len(xyz), 4), avatar.rotation)
    render = rasterize(xyz, avatar.rgb, avatar.opacity, avatar.scale, rotation, camera)
    return (render.rgb + 1 - render.alpha).clamp(0, 1).movedim(0, -1)


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
    seen = (points - (low + high) / 2) * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0.0, 0.0, distance])
    return seen, Camera.centred(focal, width, height)


def render_body(
    body: BodyModel,
    motion: BodyMotion,
    width: int,
    height: int,
    on_step: Callable[[int, int], None] | None = None,
    on_frame: Callable[[torch.Tensor], None] | None = None,
    length: int = 0,
    products: Sequence[HeldProduct] = (),
) -> tuple[torch.Tensor, torch.Tensor]:
    """The performer's grey body in the film of `motion`: [F, H, W, 3] in 0…1 on black, and its mask [F, H, W].

    Its three channels are one in memory.

    on_step, on_frame, length: as for `render_avatar`; products are grey as the body. Raises ValueError for a size that
    would stretch the person, for a body that is not before the camera, and when no frame shows any of it.
    """
    motion = fit_camera(motion, width, height)
    _check_place(motion, body.skeleton)
    places = [product.places(motion, body.skeleton) for product in products]
    parts = [len(body.template), *(len(product.vertices) for product in products)]
    faces = torch.cat([part + sum(parts[:number]) for number, part in
                       enumerate([body.faces, *(product.faces for product in products)])])
    frames = max(length, motion.frames[-1] + 1)
    grey, mask = (_upright(frames, height, width) for _ in range(2))
    image = grey[..., None].expand(-1, -1, -1, 3)

    def draw(row: int) -> int:
        one, frame = slice(row, row + 1), motion.frames[row]
        vertices = body.vertices(motion.pose[one], motion.betas[one], motion.trans[one])[0]
        held = [product.placed(place[row]) for product, place in zip(products, places, strict=True)]
        render = render_mesh(torch.cat([vertices, *held]), faces, Camera.of(motion, row))
        put(grey.mT, frame, render.image[0].mT)
        put(mask.mT, frame, render.mask[0].mT)
        return row

    for row in on_threads(draw, range(len(motion)), AT_ONCE):
        if on_step:
            on_step(row + 1, len(motion))
        if on_frame:
            on_frame(image[motion.frames[row]])
    if not any(frame.any() for frame in mask):
        raise ValueError("The body is in no frame of this motion: move it to where its camera looks (Edit Motion).")
    return image, mask


def _upright(frames: int, height: int, width: int) -> torch.Tensor:
    """Zeros [F, H, W] whose columns lie together: people are taller than wide, so that less of it is not `black`."""
    return black((frames, width, height)).mT


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
    wrong = [frame for frame, z in zip(motion.frames, depth.tolist(), strict=True) if z < NEAR_GAUSSIANS]
    if wrong:
        raise MotionError(
            f"The body is {'around' if depth.min() > -NEAR_GAUSSIANS else 'behind'} the camera in {len(wrong)} of "
            f"{len(motion)} frames, the first being frame {wrong[0] + 1} (counted from 1): take them out of the "
            "motion, or move the person away (Edit Motion's z)."
        )
