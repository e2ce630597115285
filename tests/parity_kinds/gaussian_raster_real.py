"""The published avatar in its neutral pose, where CRAFTERS_DATA has it."""

import hashlib

import torch
from crafters.models.avatar.files import load_avatar
from crafters.models.drawing.rasterize import composite, rasterize
from crafters.models.drawing.rasterize import project_gaussians as project
from helpers.real_data import real_file
from parity_kinds.gaussian_raster import (
    camera_of,
    compare,
    compare_composite,
    compare_contributors,
    compare_float64,
)

FP32_ONLY = "Gaussians are drawn in float32 at least."


def check(case):
    path = real_file(f"anicrafter/{case.config['avatar_file']}")
    assert hashlib.md5(path.read_bytes()).hexdigest() == case.config["avatar_md5"]
    avatar, camera, expected = load_avatar(path), camera_of(case.config), case.on_device(case.expected)
    xyz = avatar.xyz() * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor(case.config["translation"])
    w, x, y, z = avatar.rotation.unbind(-1)
    rotation = torch.stack([-x, w, -z, y], -1)
    gaussians = [part.to(case.device) for part in (xyz, avatar.rgb, avatar.opacity, avatar.scale, rotation)]
    xyz, rgb, opacity, scale, rotation = gaussians

    render = rasterize(*gaussians, camera)
    compare(render, expected)
    white = torch.full((*render.alpha.shape[1:], 3), 255, dtype=torch.uint8, device=case.device)
    compare_composite(render, white, expected, "composite_over_white")
    splats = project(xyz, scale, rotation, camera)
    assert int((splats.radii > 0).sum()) == case.config["visible"]
    histogram = expected["radii_histogram"].long()
    assert torch.equal(torch.bincount(splats.radii, minlength=len(histogram))[: len(histogram)], histogram)
    compare_contributors(composite(splats, rgb, opacity, camera.size)[1], expected)
    compare_float64(gaussians, camera, expected)
