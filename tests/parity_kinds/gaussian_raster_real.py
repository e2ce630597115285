"""The published avatar in its neutral pose, where CRAFTERS_DATA has it."""

import hashlib

import torch
from crafters.models.avatar.gaussians import load_avatar
from crafters.models.avatar.rasterize import composite, project, rasterize
from parity_kinds.gaussian_raster import (
    camera_of,
    compare,
    compare_composite,
    compare_contributors,
    compare_float64,
)
from real_data import real_file


def check(case):
    path = real_file(f"anicrafter/{case.config['avatar_file']}")
    assert hashlib.md5(path.read_bytes()).hexdigest() == case.config["avatar_md5"]
    avatar, camera = load_avatar(path), camera_of(case.config)
    xyz = avatar.xyz() * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor(case.config["translation"])
    w, x, y, z = avatar.rotation.unbind(-1)
    rotation = torch.stack([-x, w, -z, y], -1)

    render = rasterize(xyz, avatar.rgb, avatar.opacity, avatar.scale, rotation, camera)
    compare(render, case.expected)
    white = torch.full((*render.alpha.shape[1:], 3), 255, dtype=torch.uint8)
    compare_composite(render, white, case.expected, "composite_over_white")
    splats = project(xyz, avatar.scale, rotation, camera)
    assert int((splats.radii > 0).sum()) == case.config["visible"]
    expected = case.expected["radii_histogram"].long()
    assert torch.equal(torch.bincount(splats.radii, minlength=len(expected))[: len(expected)], expected)
    compare_contributors(composite(splats, avatar.rgb, avatar.opacity, camera.size)[1], case.expected)
    compare_float64([xyz, avatar.rgb, avatar.opacity, avatar.scale, rotation], camera, case.expected)
