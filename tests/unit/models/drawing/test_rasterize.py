import importlib.util
import math

import numpy as np
import pytest
import torch
from crafters.models.drawing import composite_warp
from crafters.models.drawing import rasterize as module
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.rasterize import composite, project_gaussians, rasterize
from helpers.plain_rasterize import plain_rasterize

CAMERAS = [
    Camera((70, 70), (32, 24), (64, 48)),
    Camera((50, 61), (20, 40), (75, 41)),
    Camera((90, 90), (8, 8), (16, 9)),
]


def scene(seed, count=300):
    """Gaussians in and around view: needles and discs, opaque and faint, some behind, too near, or at equal depths."""
    random = np.random.default_rng(seed)
    z = random.choice([-1, 0.1, 0.2, 0.21, 2, *np.linspace(0.5, 4, 20)], count)
    xy = random.normal(0, 0.45, (count, 2)) * np.abs(z[:, None])
    scale = np.exp(random.normal(-3, 1.3, (count, 3)))
    rotation = random.normal(0, 0.5, (count, 4))  # not of unit length
    rotation[::2] /= np.linalg.norm(rotation[::2], axis=1, keepdims=True)
    opacity = random.choice([0, 0.003, 0.05, 0.6, 0.95, 1], (count, 1))
    values = np.c_[xy, z], random.random((count, 3)), opacity, scale, rotation
    return [torch.from_numpy(value.astype(np.float32).astype(np.float64)) for value in values]


def contributors(gaussians, camera):
    xyz, rgb, opacity, scale, rotation = gaussians
    return composite(project_gaussians(xyz, scale, rotation, camera), rgb, opacity, camera.size)[1]


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: "x".join(map(str, camera.size)))
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_plain_restatement(seed, camera):
    gaussians = scene(seed)
    expected, last = plain_rasterize(*(value.numpy() for value in gaussians), camera)
    render = rasterize(*gaussians, camera)
    np.testing.assert_allclose(torch.cat([render.rgb, render.alpha, render.depth]), expected, atol=1e-9)
    assert np.array_equal(contributors(gaussians, camera), last)


def test_float32_is_as_good():
    gaussians, camera = scene(2), CAMERAS[0]
    exact = rasterize(*gaussians, camera)
    assert (exact.alpha > 0.999).any()  # pixels end
    for one, other in zip(rasterize(*(value.float() for value in gaussians), camera), exact, strict=True):
        assert one.dtype == torch.float32
        # A pixel may end one gaussian sooner or later.
        assert ((one - other).abs() > 2e-5).float().mean() < 0.01 and (one - other).abs().max() < 0.02


def test_the_result_does_not_depend_on_the_sizes_of_chunks(monkeypatch):
    gaussians, camera = scene(3), CAMERAS[1]
    whole, last = rasterize(*gaussians, camera), contributors(gaussians, camera)
    for name, value in (("LAYERS", 3), ("ELEMENTS", {"cpu": 2000}), ("PAIRS", 60)):
        monkeypatch.setattr(module, name, value)
    for one, other in zip(rasterize(*gaussians, camera), whole, strict=True):
        assert (one - other).abs().max() < 1e-12
    assert torch.equal(contributors(gaussians, camera), last)


def test_bands_hold_all_tiles_once_and_few_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 100)
    tiles = torch.tensor([[0, 0, 9, 9]] * 5 + [[2, 3, 4, 5]] * 7)
    bands = list(module._bands(tiles, 10))

    def area(rectangles):
        return (rectangles[:, 2] - rectangles[:, 0]) * (rectangles[:, 3] - rectangles[:, 1])

    assert torch.equal(sum(area(band) for band in bands), area(tiles))
    assert all(area(band).sum() <= 100 for band in bands) and len(bands) > 3


def test_a_lone_gaussian():
    sigma, opacity = 0.1, 0.8
    camera = Camera((100, 100), (32.5, 32.5), (65, 65))
    rgb = torch.tensor([[1.0, 0.5, 0.25]])
    rotation = torch.tensor([[1.0, 0, 0, 0]])
    render = rasterize(
        torch.tensor([[0.0, 0, 2]]), rgb, torch.tensor([[opacity]]), torch.full((1, 3), sigma), rotation, camera
    )
    assert render.alpha[0, 32, 32] == pytest.approx(opacity)
    variance = (100 * sigma / 2) ** 2 + 0.3
    assert render.alpha[0, 32, 36].item() == pytest.approx(opacity * math.exp(-0.5 * 16 / variance), rel=1e-5)
    assert torch.allclose(render.rgb, rgb[0, :, None, None] * render.alpha)
    assert torch.allclose(render.depth, 2 * render.alpha)


def test_what_is_not_seen_leaves_no_trace():
    gaussians, camera = scene(4, count=40), CAMERAS[0]
    spoilt = [value.repeat(2, 1) for value in gaussians]
    spoilt[0][40:60, 0] = torch.nan
    spoilt[3][60:70, 1] = torch.inf
    spoilt[2][70:, 0] = torch.nan
    for one, other in zip(rasterize(*spoilt, camera), rasterize(*gaussians, camera), strict=True):
        assert torch.equal(one, other)

    for nothing in ([value[:0] for value in gaussians], [gaussians[0] * torch.tensor([1, 1, -1]), *gaussians[1:]]):
        nothing[0] = nothing[0].clamp(max=0.1)
        render = rasterize(*nothing, camera)
        assert render.rgb.shape == (3, 48, 64) and not any(value.any() for value in render)


def test_bad_input():
    xyz, *rest = scene(6, count=5)
    with pytest.raises(ValueError, match=r"xyz of 5 gaussians must be \[5, 3\], not \[5, 2\]"):
        rasterize(xyz[:, :2], *rest, CAMERAS[0])
    with pytest.raises(ValueError, match=r"rgb of 4 gaussians must be \[4, 3\], not \[5, 3\]"):
        rasterize(xyz[:4], *rest, CAMERAS[0])
    with pytest.raises(ValueError, match="'opengl'"):
        rasterize(xyz, *rest, CAMERAS[0], backend="opengl")


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: "x".join(map(str, camera.size)))
def test_warp_draws_what_torch_draws(camera):
    gaussians = [value.float() for value in scene(7, count=1000)]
    for one, other in zip(rasterize(*gaussians, camera, "warp"), rasterize(*gaussians, camera, "torch"), strict=True):
        assert one.abs().max() > 0.1
        # A pixel may end one gaussian sooner or later.
        assert ((one - other).abs() > 2e-5).float().mean() < 0.003 and (one - other).abs().max() < 0.02


def test_auto_says_that_warp_fails_and_draws_without_it(monkeypatch, caplog):
    gaussians = [value.float() for value in scene(7)]
    without = rasterize(*gaussians, CAMERAS[0], "torch")

    def fail(*_):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(composite_warp, "composite_tiles", fail)
    module._has_warp.cache_clear()
    try:
        for _ in range(2):
            assert torch.equal(rasterize(*gaussians, CAMERAS[0]).rgb, without.rgb)
    finally:
        module._has_warp.cache_clear()
    assert [record.getMessage() for record in caplog.records] == [
        "Avatars are drawn without Warp, slower: its kernel fails (no compiler)."
    ]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda():
    gaussians = [value.float() for value in scene(8)]
    there = rasterize(*(value.cuda() for value in gaussians), CAMERAS[0])
    for one, other in zip(there, rasterize(*gaussians, CAMERAS[0]), strict=True):
        assert ((one.cpu() - other).abs() > 2e-5).float().mean() < 0.01 and (one.cpu() - other).abs().max() < 0.02


@pytest.mark.skipif(
    not (torch.cuda.is_available() and importlib.util.find_spec("gsplat")), reason="needs CUDA and gsplat"
)
def test_gsplat_is_near():
    xyz, rgb, opacity, scale, rotation = (value.float().cuda() for value in scene(9))
    rotation = torch.nn.functional.normalize(rotation, dim=-1)
    gaussians = xyz, rgb, opacity, scale, rotation
    for one, other in zip(rasterize(*gaussians, CAMERAS[0], "gsplat"), rasterize(*gaussians, CAMERAS[0]), strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() < 0.03 * other.max()
