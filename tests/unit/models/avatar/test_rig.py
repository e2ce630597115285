from dataclasses import replace

import numpy as np
import pytest
import torch
from crafters.models.avatar.animate import Animator
from crafters.models.avatar.rig import (
    LOWER_BODY,
    UPPER_BODY,
    neutral_pose,
    read_constraint,
    rig_from_body,
    rig_from_lhm,
    template_vertices,
)
from crafters.models.body.layout import BodyModelError
from crafters.models.body.skinning import blend, move
from crafters.models.checkpoint import CheckpointError
from safetensors.torch import save_file

COUNT = 2000  # gaussians of the avatar
AS_IT_STANDS = torch.eye(4).expand(55, 4, 4)


@pytest.fixture(scope="module")
def dense(body, avatar):
    """The T-posed samples that the avatar's points were made from, and the vertex each was skinned like."""
    generator = torch.Generator().manual_seed(1)
    face = body.faces[torch.randint(len(body.faces), (COUNT,), generator=generator)]
    share = torch.rand(COUNT, 3, generator=generator)
    points = (body.template[face] * (share / share.sum(1, keepdim=True))[..., None]).sum(1)
    return points, torch.cdist(points.double(), body.template.double()).argmin(dim=1)


def lhm_buffers(body, points, vertex, constrained):
    """What LHM's model.safetensors has of its body, and some of its networks."""
    parents = torch.tensor(body.skeleton.parents)
    layer = {
        "v_template": body.template, "shapedirs": body.shape_dirs, "J_regressor": body.regressor, "parents": parents,
        "lbs_weights": body.skinning,
    }
    buffers = {f"smplx_layer.{name}": tensor for name, tensor in layer.items()}
    buffers |= {"skinning_weight": body.skinning[vertex], "shape_dirs": body.shape_dirs[vertex]}
    buffers["is_constrain_body"] = constrained
    named = {f"renderer.smplx_model.{name}": tensor.clone() for name, tensor in buffers.items()}
    return {**named, "transformer.norm.weight": torch.ones(8)}


def test_the_neutral_pose_spreads_the_legs_and_comes_back(body):
    there, back = neutral_pose(body.skeleton)
    torch.testing.assert_close(there @ back, AS_IT_STANDS, rtol=0, atol=1e-6)
    joints = move(there[:, :3], body.skeleton.joints)
    moved = (joints - body.skeleton.joints).norm(dim=1) > 1e-6
    assert moved.nonzero().flatten().tolist() == [4, 5, 7, 8, 10, 11]
    hip, ankle = joints[1], joints[7]
    rest = body.skeleton.joints[7] - body.skeleton.joints[1]
    turned = torch.atan2(*(ankle - hip)[:2]) - torch.atan2(*rest[:2])
    assert turned.abs() == pytest.approx(np.radians(20), abs=1e-5)
    assert joints[7, 0] > body.skeleton.joints[7, 0] and joints[8, 0] < body.skeleton.joints[8, 0]  # outwards


def test_the_vertices_are_found_again_from_the_neutral_points(body, dense):
    points, vertex = dense
    assert template_vertices(body, points, AS_IT_STANDS).equal(vertex)
    there, back = neutral_pose(body.skeleton)
    found = template_vertices(body, move(blend(body.skinning[vertex], there), points), back)
    wrong = found != vertex
    # Half-way between two vertices that move differently, it may be the neighbour.
    assert wrong.float().mean() < 0.01
    assert (body.template[found] - body.template[vertex]).norm(dim=1).max() < 0.04


def test_both_sources_of_a_rig_move_the_avatar_alike(body, dense, avatar, tmp_path):
    points, vertex = dense
    there, back = neutral_pose(body.skeleton)
    avatar = replace(avatar, points=move(blend(body.skinning[vertex], there), points), betas=torch.linspace(-1, 1, 10))
    constraint = body.template[:, 1] > 0.1
    save_file(lhm_buffers(body, points, vertex, constraint[vertex]), tmp_path / "model.safetensors")
    stored = rig_from_lhm(tmp_path / "model.safetensors")
    found = rig_from_body(body, avatar.points, back, constraint)
    same = template_vertices(body, avatar.points, back) == vertex

    pose, trans = 0.3 * torch.randn(2, 55, 3, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3)
    a, b = Animator(avatar, stored)(pose, trans), Animator(avatar, found)(pose, trans)
    assert same.float().mean() > 0.99
    torch.testing.assert_close(a.xyz[:, same], b.xyz[:, same], rtol=0, atol=1e-6)
    torch.testing.assert_close(a.rotation[:, same], b.rotation[:, same], rtol=0, atol=1e-6)
    torch.testing.assert_close(a.scale[same], b.scale[same])
    assert (a.xyz - b.xyz).norm(dim=-1).max() < 0.1


def test_parts_of_the_body(body, avatar):
    rig = rig_from_body(body, avatar.points, avatar.neutral_transforms)
    upper, lower = rig.driven_by(UPPER_BODY), rig.driven_by(LOWER_BODY)
    assert avatar.points[upper & ~lower, 1].min() > -0.4
    assert avatar.points[lower, 1].max() < -0.1
    assert avatar.points[~(upper | lower), 1].min() > 0.0  # the head
    assert not rig.constrained.any()


def test_without_the_prior_nothing_is_constrained_and_that_is_said(body, avatar, caplog):
    rig_from_body(body, avatar.points, avatar.neutral_transforms)
    assert "No human_prior_constrain.npz" in caplog.text


def test_the_prior_is_read(body, avatar, tmp_path):
    masks = np.zeros(len(body.template))
    masks[body.template[:, 1] > 0.1] = 255
    np.savez(tmp_path / "human_prior_constrain.npz", masks=masks)
    constraint = read_constraint(tmp_path / "human_prior_constrain.npz")
    rig = rig_from_body(body, avatar.points, avatar.neutral_transforms, constraint)
    assert rig.constrained.equal(masks_at(rig, body, masks, avatar))
    assert 0.1 < rig.constrained.float().mean() < 0.5
    with pytest.raises(BodyModelError, match=f"mask is for 6890 vertices, but the body has {len(body.template)}"):
        rig_from_body(body, avatar.points, avatar.neutral_transforms, torch.zeros(6890, dtype=torch.bool))
    np.savez(tmp_path / "other.npz", vertices=masks)
    for name in ("other.npz", "absent.npz"):
        with pytest.raises(BodyModelError, match=f"{name} .*LHM's human_prior_constrain.npz"):
            read_constraint(tmp_path / name)


def masks_at(rig, body, masks, avatar):
    return torch.from_numpy(masks)[template_vertices(body, avatar.points, avatar.neutral_transforms)] > 0


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda b: b.pop("renderer.smplx_model.shape_dirs"), "has no renderer.smplx_model.shape_dirs"),
        (lambda b: b.update({"renderer.smplx_model.is_constrain_body": torch.zeros(7)}), r"the shape \(7,\) instead"),
    ],
)
def test_a_checkpoint_without_a_rig_is_refused(body, dense, tmp_path, spoil, message):
    buffers = lhm_buffers(body, *dense, torch.zeros(COUNT, dtype=torch.bool))
    spoil(buffers)
    save_file(buffers, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        rig_from_lhm(tmp_path / "model.safetensors")


def test_a_missing_or_cut_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="There is no file .*absent"):
        rig_from_lhm(tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(CheckpointError, match="cut.safetensors is not a whole safetensors file"):
        rig_from_lhm(tmp_path / "cut.safetensors")


def test_only_the_rig_is_read(body, dense, tmp_path, monkeypatch):
    import safetensors

    read = []
    real = safetensors.safe_open

    class Watched:
        def __init__(self, *arguments):
            self.file = real(*arguments)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def keys(self):
            return self.file.keys()

        def get_tensor(self, name):
            read.append(name)
            return self.file.get_tensor(name)

    save_file(lhm_buffers(body, *dense, torch.zeros(COUNT, dtype=torch.bool)), tmp_path / "model.safetensors")
    monkeypatch.setattr(safetensors, "safe_open", Watched)
    rig_from_lhm(tmp_path / "model.safetensors")
    assert read and all(name.startswith("renderer.smplx_model.") for name in read)
    assert "renderer.smplx_model.smplx_layer.lbs_weights" not in read
