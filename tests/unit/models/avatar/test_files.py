import pickle
import subprocess
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from crafters.models.avatar.files import load_avatar, save_avatar
from crafters.models.avatar.gaussians import NAMES, SHAPES, Avatar
from crafters.models.avatar.ply import PROPERTIES
from crafters.models.checkpoint import CheckpointError
from helpers.real_data import real_file


def avatar(count=50, seed=0):
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(shape, generator=g)

    opacity = uniform(count, 1)
    opacity[:4, 0] = torch.tensor([0.0, 1.0, 1e-5, 0.9999999])
    return Avatar(
        offset=uniform(count, 3) * 0.1 - 0.05,
        points=uniform(count, 3) * 2 - 1,
        rgb=uniform(count, 3),
        opacity=opacity,
        scale=uniform(count, 3) * 0.05,
        rotation=torch.nn.functional.normalize(uniform(count, 4) - 0.5, dim=-1),
        neutral_transforms=uniform(55, 4, 4),
        betas=uniform(10) - 0.5,
        visible_ratio=0.75,
        has_head=1,
    )


def items(of):
    return [getattr(of, name) for name in NAMES]


def difference(one, other, relative=False):
    """The greatest difference of each item."""
    result = {}
    for name in NAMES:
        a, b = (torch.as_tensor(getattr(of, name)).double() for of in (one, other))
        result[name] = ((a - b).abs() / (b.abs() if relative else 1)).max()
    return result


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".PTH"])
def test_exact_round_trip(tmp_path, ending):
    save_avatar(avatar(), tmp_path / f"a{ending}")
    back = load_avatar(tmp_path / f"a{ending}")
    assert not any(difference(back, avatar()).values())
    assert (back.visible_ratio, back.has_head, len(back)) == (0.75, 1, 50)


def test_ply_round_trip(tmp_path):
    before = avatar()
    save_avatar(before, tmp_path / "a.ply")
    after = load_avatar(tmp_path / "a.ply")
    error = difference(after, before)
    exact = ("offset", "rotation", "neutral_transforms", "betas", "visible_ratio", "has_head")
    assert not any(error[name] for name in exact)
    assert max(error["points"], error["rgb"]) < 2e-7  # rounding of a sum, and of f_dc
    relative = difference(after, before, relative=True)
    assert relative["scale"] < 1e-6 and error["opacity"] < 1e-7
    assert after.opacity[1] == 1 and after.opacity[0] < 1e-37


def test_ply_is_what_viewers_expect(tmp_path):
    one = avatar()
    save_avatar(one, tmp_path / "a.ply")
    header, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"] and len(header) < 8192
    properties = [line.split()[2] for line in lines if line.startswith("property float ")]
    assert properties[:17] == [
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
        *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    ]
    rows = np.frombuffer(body, "<f4").reshape(50, len(properties))
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows[:, :3], one.points + one.offset)
    np.testing.assert_allclose(rows[:, 6:9] * 0.28209479177387814 + 0.5, one.rgb, atol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-rows[:, 9:10].astype(np.float64))), one.opacity, atol=1e-6)
    np.testing.assert_allclose(np.exp(rows[:, 10:13]), one.scale, rtol=1e-5)
    np.testing.assert_array_equal(rows[:, 13:17], one.rotation)


def write_ply(path, columns, head="ply\nformat binary_little_endian 1.0\n", tail="", count=None, body=None):
    """columns: name → (ply type, numpy type, values)."""
    count = len(next(iter(columns.values()))[2]) if count is None else count
    kind = np.dtype([(name, numpy) for name, (_, numpy, _) in columns.items()])
    rows = np.zeros(len(next(iter(columns.values()))[2]), kind)
    for name, (_, _, values) in columns.items():
        rows[name] = values
    lines = "".join(f"property {of} {name}\n" for name, (of, _, _) in columns.items())
    header = f"{head}element vertex {count}\n{lines}{tail}end_header\n"
    path.write_bytes(header.encode() + (rows.tobytes() if body is None else body))


def foreign(count=4):
    """As trainers of gaussian splatting write it, with one degree of view-dependent colour; one column is double."""
    random = np.random.default_rng(0)
    names = [name for name in PROPERTIES if not name.startswith("offset")] + [f"f_rest_{i}" for i in range(9)]
    columns = {name: ("float", "<f4", random.normal(size=count)) for name in names}
    columns["x"] = ("double", "<f8", random.normal(size=count))
    return columns


def test_a_foreign_ply(tmp_path):
    columns = foreign()
    write_ply(tmp_path / "a.ply", columns, tail="element face 1\nproperty list uchar int vertex_indices\n")
    got = load_avatar(tmp_path / "a.ply")
    assert not got.offset.any() and not got.betas.any()
    assert not got.posed and not got.neutral_transforms.any()
    np.testing.assert_allclose(got.xyz()[:, 0], columns["x"][2].astype(np.float32))
    np.testing.assert_allclose(got.scale[:, 1], np.exp(columns["scale_1"][2]), rtol=1e-5)
    np.testing.assert_allclose(got.rotation.norm(dim=-1), 1, rtol=1e-6)
    rotation = np.stack([columns[f"rot_{i}"][2] for i in range(4)], 1)
    np.testing.assert_allclose(got.rotation, rotation / np.linalg.norm(rotation, axis=1, keepdims=True), atol=1e-6)


def test_positions_changed_by_an_editor_are_kept(tmp_path):
    save_avatar(avatar(), tmp_path / "a.ply")
    data = bytearray((tmp_path / "a.ply").read_bytes())
    start = data.index(b"end_header\n") + len(b"end_header\n")
    data[start : start + 4] = np.float32(7).tobytes()
    (tmp_path / "a.ply").write_bytes(data)
    assert load_avatar(tmp_path / "a.ply").xyz()[0, 0] == pytest.approx(7)


def test_the_real_avatar(tmp_path):
    one = load_avatar(real_file("anicrafter/000000_gaussian.pth"))
    assert len(one) == 40000 and (one.visible_ratio, one.has_head) == (0.5, 0)
    check_numbers_of_the_real_avatar(one)
    save_avatar(one, tmp_path / "a.ply")
    error = difference(load_avatar(tmp_path / "a.ply"), one)
    assert max(error.values()) < 2e-7


def check_numbers_of_the_real_avatar(one):
    """As the published file was measured: 30000 gaussians of the body, then 10000 of the head."""

    def near(tensor, *known, tolerance):
        assert tensor.flatten().tolist() == pytest.approx(known, abs=tolerance)

    near(torch.stack(one.offset.aminmax()), -0.0538, 0.0517, tolerance=5e-5)
    near(one.offset.std(), 0.0229, tolerance=5e-5)
    body, head = one.points.split((30000, 10000))
    near(body.abs().amax(0)[[0, 2]], 0.86, 0.15, tolerance=5e-3)
    near(torch.stack(body[:, 1].aminmax()), -1.244, 0.148, tolerance=5e-4)
    near(torch.stack([head[:, 0].abs().max(), head[:, 1].min(), head[:, 1].max()]), 0.097, 0.099, 0.419, tolerance=5e-4)
    near(torch.stack(one.rgb.aminmax()), 0.0002, 0.9990, tolerance=5e-5)
    near(one.opacity.median(), 0.83, tolerance=5e-3)
    near(torch.stack(one.scale.aminmax()), 3.6e-4, 0.05, tolerance=5e-6)
    near((one.scale == 0.05).float().mean(), 0.013, tolerance=5e-4)
    near(((one.scale - 0.02).abs() < 1e-7).any(1).float().mean(), 0.11, tolerance=5e-3)
    near(one.rotation[:, 0].mean(), 0.82, tolerance=5e-3)
    near(one.rotation.norm(dim=1).aminmax()[0], 1, tolerance=1e-5)
    turned = (one.neutral_transforms[:, :3, :3] - torch.eye(3)).abs().amax((1, 2)) > 0.01
    assert turned.nonzero().flatten().tolist() == [1, 2, 4, 5, 7, 8, 10, 11]  # the legs
    near(one.neutral_transforms[1:3, 0, 1].abs(), *[np.sin(np.pi / 9)] * 2, tolerance=5e-4)


def broken(**changes):
    return dict(zip(NAMES, items(avatar(8)), strict=True)) | changes


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"rgb": torch.rand(7, 3)}, r"rgb has the shape \[7, 3\] instead of \[8, 3\]"),
        ({"opacity": torch.rand(8)}, r"opacity has the shape \[8\] instead of \[8, 1\]"),
        ({"neutral_transforms": torch.eye(4).repeat(24, 1, 1)}, r"\[24, 4, 4\] instead of \[55, 4, 4\]"),
        ({"points": torch.full((8, 3), torch.nan)}, "points holds a value that is not a finite number"),
        ({"betas": torch.full((10,), 1e300, dtype=torch.double)}, "betas holds a value that is not a finite"),
        ({"rotation": torch.zeros(8, 4)}, "rotation holds a quaternion of length 0"),
        ({"opacity": torch.full((8, 1), -2.5)}, r"opacity goes from -2.5 to -2.5, outside 0..1"),
        ({"scale": torch.full((8, 3), -4.0)}, "scale goes from -4 to -4, outside 0..inf"),
        ({"rgb": torch.ones(8, 3, dtype=torch.int)}, "rgb is no tensor of floating-point numbers"),
        ({"offset": None}, "offset is no tensor"),
        ({"points": torch.tensor(1.0)}, r"offset has the shape \[8, 3\] instead of \[0, 3\]"),
        ({"visible_ratio": "half"}, "visible_ratio is 'half', not a number"),
        ({name: torch.zeros(0, shape[1]) for name, shape in SHAPES.items() if shape[0] == "N"}, "no gaussians"),
    ],
)
def test_unusable_items(tmp_path, changes, reason):
    with pytest.raises(ValueError, match=reason):
        Avatar(**broken(**changes))
    torch.save(list(broken(**changes).values()), tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="bad.pth is not a usable avatar: .*" + reason):
        load_avatar(tmp_path / "bad.pth")


@pytest.mark.parametrize(
    "content, reason",
    [
        (lambda: items(avatar())[:9], "a list of 9 instead of a list of 10"),
        (lambda: {"a": torch.ones(1)}, "it holds a dict instead of a list of 10"),
        (lambda: subprocess.Popen, "would run code"),
    ],
)
def test_files_that_are_no_avatars(tmp_path, content, reason):
    torch.save(content(), tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="bad.pth.*" + reason):
        load_avatar(tmp_path / "bad.pth")


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".ply"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.95])
def test_truncated_files(tmp_path, ending, kept):
    path = tmp_path / f"cut{ending}"
    save_avatar(avatar(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(CheckpointError, match="cut"):
        load_avatar(path)


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".ply"])
def test_garbage(tmp_path, ending):
    path = tmp_path / f"garbage{ending}"
    for seed in range(3):
        path.write_bytes(np.random.default_rng(seed).bytes(3000))
        with pytest.raises(CheckpointError, match="garbage"):
            load_avatar(path)
    path.write_bytes(pickle.dumps([1] * 10, protocol=2))
    with pytest.raises(CheckpointError, match="garbage"):
        load_avatar(path)


def test_safetensors_of_something_else(tmp_path):
    from safetensors.torch import save_file

    save_file({"unet.weight": torch.ones(3)}, tmp_path / "unet.safetensors")
    with pytest.raises(CheckpointError, match="unet.safetensors is not an avatar: offset is missing"):
        load_avatar(tmp_path / "unet.safetensors")


def test_unusable_ply(tmp_path):
    path, columns = tmp_path / "a.ply", foreign()

    def refused(reason, *args, **options):
        write_ply(path, *args, **options)
        with pytest.raises(CheckpointError, match="a.ply.*" + reason):
            load_avatar(path)

    refused("not a binary little-endian", columns, head="ply\nformat ascii 1.0\n")
    refused("no end", columns, tail="comment\n" * 2000)
    refused("no start", columns, head="not a ply\n")
    refused("cut off: it holds fewer than its 5 gaussians", columns, count=5)
    refused("there are no gaussians", columns, count=0)
    refused("first element", columns, head="ply\nformat binary_little_endian 1.0\nelement camera 1\n")
    refused("no property f_dc_0", {name: columns[name] for name in ("x", "y", "z")})
    chunks = "ply\nformat binary_little_endian 1.0\nelement chunk 1\nproperty float min_x\n"
    refused("SuperSplat's compressed ply: export it there as a plain", columns, head=chunks)
    refused("`half x`", columns | {"x": ("half", "<f2", columns["x"][2])})
    refused("a property twice", columns, tail="property float x\n")
    refused("comments .* damaged", columns, tail="comment crafters avatar AAAA\n")
    refused(
        "rotation holds a quaternion of length 0", columns | {f"rot_{i}": ("float", "<f4", [0] * 4) for i in range(4)}
    )
    refused("scale holds a value that is not a finite", columns | {"scale_0": ("float", "<f4", [1000] * 4)})


def test_unknown_endings_and_missing_files(tmp_path):
    with pytest.raises(CheckpointError, match=r"a.obj is not an avatar file: .*\.safetensors, \.pth, \.ply"):
        load_avatar(tmp_path / "a.obj")
    with pytest.raises(ValueError, match="cannot be saved as a.obj"):
        save_avatar(avatar(), tmp_path / "a.obj")
    with pytest.raises(CheckpointError, match="There is no file"):
        load_avatar(tmp_path / "a.ply")


def test_items_are_float32_on_the_cpu():
    one = avatar()
    half = replace(one, rgb=one.rgb.half().requires_grad_())
    assert half.rgb.dtype == torch.float32 and not half.rgb.requires_grad
    assert [field.name for field in fields(Avatar)][: len(SHAPES)] == list(SHAPES)
