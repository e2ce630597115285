"""An avatar seen from all around."""

import math
from collections.abc import Callable

import torch

from ..body.rotation import quaternion_product
from ..drawing.rasterize import Camera, rasterize
from .gaussians import Avatar

FILLED = 0.9  # of the picture's side, by the person


def render_turntable(
    avatar: Avatar,
    frames: int = 24,
    width: int = 384,
    height: int = 512,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """One whole turn, from the front, in the avatar's own pose, on white: IMAGE [F,H,W,3] in 0…1.

    on_step(done, total) comes after every frame and may raise to cancel.
    """
    xyz = avatar.xyz()
    low, high = xyz.quantile(0.001, 0), xyz.quantile(0.999, 0)  # a stray gaussian must not make the person small
    centred = xyz - (low + high) / 2
    radius = float(centred[:, ::2].norm(dim=1).quantile(0.999).clamp(min=1e-2))
    focal = 1.2 * height
    tall = float((high - low)[1].clamp(min=1e-2))
    distance = radius + focal * max(2 * radius / width, tall / height) / FILLED
    camera = Camera((focal, focal), (width / 2, height / 2), (width, height))
    images = torch.empty(frames, height, width, 3)
    for frame in range(frames):
        half = math.pi * frame / frames  # of the angle about y
        turn = torch.tensor([math.cos(half), 0.0, math.sin(half), 0.0])
        # y up and towards +z becomes the camera's y down and z away: half a turn about x.
        whole = quaternion_product(torch.tensor([0.0, 1.0, 0.0, 0.0]), turn)
        sine, cosine = math.sin(2 * half), math.cos(2 * half)
        x, y, z = centred.unbind(-1)
        seen = torch.stack([cosine * x + sine * z, -y, sine * x - cosine * z + distance], dim=-1)
        rotation = quaternion_product(whole.expand(len(xyz), 4), avatar.rotation)
        render = rasterize(seen, avatar.rgb, avatar.opacity, avatar.scale, rotation, camera)
        images[frame] = (render.rgb + 1 - render.alpha).clamp(0, 1).movedim(0, -1)
        if on_step:
            on_step(frame + 1, frames)
    return images
