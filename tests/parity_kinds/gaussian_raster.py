import torch
from crafters.models.anicrafter.conditions import compose
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.rasterize import composite, rasterize
from crafters.models.drawing.rasterize import project_gaussians as project

FP32_ONLY = "Gaussians are drawn in float32 at least."


def check(case):
    x, expected = case.on_device(case.inputs), case.on_device(case.expected)
    camera = camera_of(case.config)
    render = rasterize(x["xyz"], x["rgb"], x["opacity"], x["scale"], x["rotation"], camera)
    compare(render, expected)
    compare_composite(render, x["background_uint8"], expected)
    splats = project(x["xyz"], x["scale"], x["rotation"], camera)
    assert torch.equal(splats.radii, expected["radii"])
    assert (splats.xy - expected["projected_xy"]).abs().max() <= 1e-4
    row = expected["conic"].abs().amax(-1, keepdim=True).clamp(min=1e-30)
    assert ((splats.conic - expected["conic"]).abs() / row).max() <= 1e-4
    compare_contributors(composite(splats, x["rgb"], x["opacity"], camera.size)[1], expected)
    compare_float64([x[name] for name in ("xyz", "rgb", "opacity", "scale", "rotation")], camera, expected)


def compare_float64(gaussians, camera, expected):
    """In float64, which the reference is computed in, every decision falls as there."""
    xyz, rgb, opacity, scale, rotation = (value.double() for value in gaussians)
    render = rasterize(xyz, rgb, opacity, scale, rotation, camera)
    for name in ("rgb", "alpha", "depth"):
        error = (getattr(render, name) - expected[name]).abs().max()
        assert error <= 1e-6, f"{name} (float64): off by {error:.3g}"
    last = composite(project(xyz, scale, rotation, camera), rgb, opacity, camera.size)[1]
    assert torch.equal(last, expected["contributors"])


def compare_composite(render, background, expected, name="composite"):
    """The avatar over a background, alpha applied twice; the last levels hang on rounding."""
    avatar, alpha, background = render.rgb.movedim(0, -1)[None], render.alpha, background[None].float() / 255
    composite = compose(avatar, alpha, background, truncate=False)[0].movedim(-1, 0)
    clear = expected["ambiguous_pixels"] == 0
    assert (composite - expected[name]).abs()[:, clear].max() <= 1e-4
    levels = (compose(avatar, alpha, background)[0] * 255).round().int() - expected[f"{name}_uint8"].int()
    assert levels.abs()[clear].max() <= 1 and (levels[clear] != 0).float().mean() < 0.01


def camera_of(config):
    return Camera(tuple(config["focal"]), tuple(config["princpt"]), (config["width"], config["height"]))


def compare(render, expected):
    """Where a decision (1/255, the end of a pixel) hangs on rounding, 0.02 is allowed, times the depth for depths."""
    clear = expected["ambiguous_pixels"] == 0
    for name, limit in (("rgb", 5e-5), ("alpha", 5e-5), ("depth", 1e-4)):
        error = (getattr(render, name) - expected[name]).abs()
        assert error.shape == expected[name].shape
        assert error[:, clear].max() <= limit, f"{name}: off by {error[:, clear].max():.3g}"
        rounding = 0.02 * max(1, expected[name].max())
        assert error.max() <= rounding, f"{name}: off by {error.max():.3g} where rounding decides"


def compare_contributors(contributors, expected):
    clear = expected["ambiguous_pixels"] == 0
    assert torch.equal(contributors[clear], expected["contributors"][clear])
