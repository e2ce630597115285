"""Splats whose file does not say in which pose they stand."""

from dataclasses import replace

import pytest
import torch
from crafters.models.avatar.animate import Animator
from crafters.models.avatar.files import load_avatar, save_avatar
from crafters.models.avatar.ply import SH_0
from crafters.models.avatar.rig import neutral_pose, rig_from_body
from crafters.models.avatar.standing import unposed
from crafters.models.body.skinning import blend, move


@pytest.fixture(scope="session")
def avatar(avatar):
    """Of the mean shape and without offsets, so that nothing but the pose moves its points."""
    return replace(avatar, offset=torch.zeros_like(avatar.offset), betas=torch.zeros_like(avatar.betas))


def foreign(avatar, **changes):
    return replace(avatar, neutral_transforms=torch.zeros(55, 4, 4), **changes)


def standing(avatar, rig, legs, arms):
    """The avatar with its legs spread and its arms lowered by degrees, as another tool would have it."""
    pose = torch.zeros(1, 55, 3)
    angles = torch.deg2rad(torch.tensor([legs, -legs, -arms, arms], dtype=torch.float32))
    pose[0, [1, 2, 16, 17], 2] = angles
    posed = Animator(avatar, rig)(pose, torch.zeros(1, 3))
    return foreign(avatar, points=posed.xyz[0], rotation=posed.rotation[0])


def test_a_plain_ply_stays_unposed_however_it_is_saved(avatar, tmp_path):
    save_avatar(avatar, tmp_path / "own.ply")
    data = (tmp_path / "own.ply").read_bytes()
    header = [line for line in data.split(b"end_header\n")[0].split(b"\n") if b"comment" not in line]
    (tmp_path / "plain.ply").write_bytes(b"\n".join(header) + b"end_header\n" + data.split(b"end_header\n", 1)[1])
    plain = load_avatar(tmp_path / "plain.ply")
    assert not plain.posed and load_avatar(tmp_path / "own.ply").posed
    for ending in (".pth", ".safetensors", ".ply"):
        save_avatar(plain, tmp_path / f"again{ending}")
        assert not load_avatar(tmp_path / f"again{ending}").posed


def test_an_unknown_pose_must_be_said(body, avatar):
    with pytest.raises(ValueError, match="does not say in which pose it stands"):
        unposed(foreign(avatar), body.skeleton)
    assert unposed(avatar, body.skeleton) is avatar.neutral_transforms


def test_lhms_pose_moves_plain_splats_like_their_avatar(body, avatar, rig):
    plain, neutral = foreign(avatar), unposed(foreign(avatar), body.skeleton, "neutral")
    torch.testing.assert_close(neutral, neutral_pose(body.skeleton)[1], rtol=0, atol=1e-6)
    said = rig_from_body(body, avatar.points, neutral)
    pose, trans = 0.3 * torch.randn(2, 55, 3, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3)
    moved, known = Animator(plain, said)(pose, trans), Animator(avatar, rig)(pose, trans)
    same = said.skinning.eq(rig.skinning).all(1)
    assert same.float().mean() > 0.99
    torch.testing.assert_close(moved.xyz[:, same], known.xyz[:, same], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("pose", "legs", "arms"), [("T", 0, 0), ("A", 0, 45), ("A", 10, 35), ("A", 20, 63)])
def test_the_pose_is_undone(body, avatar, rig, pose, legs, arms, caplog):
    plain = standing(avatar, rig, legs, arms)
    back = unposed(plain, body.skeleton, pose)
    assert "lie closer" not in caplog.text
    straight = move(blend(rig.skinning, back), plain.points)
    wanted = move(blend(rig.skinning, avatar.neutral_transforms), avatar.points)
    assert (straight - wanted).norm(dim=1).quantile(0.95) < 0.025  # 2° at the hand


def lhm_plus_plus(path, avatar):
    """The avatar as LHM++ exports it: no comments, no offsets, opacities kept off 0 and 1."""
    names = ["x", "y", "z", "nx", "ny", "nz"] + [f"f_dc_{i}" for i in range(3)] + ["opacity"]
    names += [f"scale_{i}" for i in range(3)] + [f"rot_{i}" for i in range(4)]
    opacity = avatar.opacity.clamp(1e-3, 1 - 1e-3).logit()
    columns = avatar.xyz(), torch.zeros(len(avatar), 3), (avatar.rgb - 0.5) / SH_0, opacity, avatar.scale.log()
    rows = torch.cat([*columns, avatar.rotation], 1).numpy().astype("<f4")
    properties = "".join(f"property float {name}\n" for name in names)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(avatar)}\n{properties}end_header\n"
    path.write_bytes(head.encode() + rows.tobytes())


def test_lhm_plus_pluss_ply_moves_from_its_t_pose(body, avatar, rig, tmp_path):
    lhm_plus_plus(tmp_path / "tpose.ply", standing(avatar, rig, 0, 0))
    loaded = load_avatar(tmp_path / "tpose.ply")
    said = rig_from_body(body, loaded.points, unposed(loaded, body.skeleton, "T"))
    pose, trans = 0.3 * torch.randn(2, 55, 3, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3)
    moved, known = Animator(loaded, said)(pose, trans), Animator(avatar, rig)(pose, trans)
    same = said.skinning.eq(rig.skinning).all(1)
    assert same.float().mean() > 0.97
    torch.testing.assert_close(moved.xyz[:, same], known.xyz[:, same], rtol=0, atol=1e-4)


def test_lhm_plus_plus_may_have_exported_another_pose(body, avatar, rig, tmp_path):
    pose = torch.zeros(1, 55, 3)
    pose[0, [1, 2, 16, 17]] = torch.tensor([[-1.4, 0, 0], [-1.4, 0, 0], [0, -1.2, 0], [0, 1.2, 0]])  # sits, arms ahead
    posed = Animator(avatar, rig)(pose, torch.tensor([[0.3, 0.5, 3.0]]))
    lhm_plus_plus(tmp_path / "frame.ply", foreign(avatar, points=posed.xyz[0], rotation=posed.rotation[0]))
    loaded = load_avatar(tmp_path / "frame.ply")
    with pytest.raises(ValueError, match="no person in the pose T: .* take Avatar from Splat"):
        unposed(loaded, body.skeleton, "T")


def test_another_pose_than_the_one_said_is_told_of(body, avatar, caplog):
    unposed(foreign(avatar), body.skeleton, "T")
    assert "closer to the pose neutral than to T" in caplog.text


def test_a_heap_of_splats_is_no_person(body, avatar):
    random = torch.Generator().manual_seed(0)
    heap = torch.randn(len(avatar), 3, generator=random) * torch.tensor([0.6, 0.3, 0.6]) - torch.tensor([0, 0.3, 0])
    feet = torch.tensor([0, 1.3, 0])
    clouds = heap, heap, heap + 3, avatar.points * 100, avatar.points + feet, avatar.points[:, [0, 2, 1]]
    for points, pose in zip(clouds, ("A", "T", "neutral") * 2, strict=True):
        with pytest.raises(ValueError, match=f"no person in the pose {pose}: .* in metres, y up"):
            unposed(foreign(avatar, points=points), body.skeleton, pose)
    with pytest.raises(ValueError, match="no person"):
        unposed(foreign(avatar, opacity=torch.zeros(len(avatar), 1)), body.skeleton, "T")
