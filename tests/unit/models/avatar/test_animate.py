from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from crafters.models.avatar.animate import Animator, animate
from crafters.models.avatar.rig import Rig
from crafters.models.body.motion import BodyMotion
from crafters.models.body.rotation import axis_angle_to_quaternion, quaternion_product
from helpers.made_up import performers_avatar


def motion_of(pose, trans):
    def rows(*values):
        return torch.tensor(values, dtype=torch.float64).expand(len(pose), len(values))

    frames = tuple(range(len(pose)))
    return BodyMotion(pose, trans, rows(*[3.0] * 10), rows(900, 900), rows(320, 240), (640, 480), frames, 25.0)


@pytest.fixture(scope="module")
def motion():
    generator = torch.Generator().manual_seed(0)
    pose = 0.4 * torch.randn(7, 55, 3, dtype=torch.float64, generator=generator)
    return motion_of(pose, torch.randn(7, 3, dtype=torch.float64, generator=generator))


def test_gaussians_move_with_the_mesh_they_lie_on(body, rig, avatar, motion):
    """Each stays where its template vertex goes: the published mesh without pose blend shapes is the same skinning."""
    mesh = replace(body, pose_dirs=torch.zeros_like(body.pose_dirs))
    betas = avatar.betas.expand(len(motion), -1)
    vertices = mesh.vertices(motion.pose, betas, motion.trans)
    rest = mesh.vertices(torch.zeros(1, 55, 3), betas[:1], torch.zeros(1, 3))[0]
    on_vertices = body.template[::5]
    standing = SimpleNamespace(
        points=on_vertices, offset=torch.zeros_like(on_vertices), neutral_transforms=torch.eye(4).expand(55, 4, 4),
        betas=avatar.betas, rotation=torch.eye(4)[:1].expand(len(on_vertices), 4), scale=on_vertices.abs(),
        opacity=on_vertices[:, :1], rgb=on_vertices,
    )
    unconstrained = torch.zeros(len(on_vertices), dtype=torch.bool)
    ties = Rig(body.skinning[::5], body.shape_dirs[::5], unconstrained, body.skeleton)
    posed = Animator(standing, ties)
    torch.testing.assert_close(posed.points, rest[::5], rtol=0, atol=1e-6)
    torch.testing.assert_close(posed(motion.pose, motion.trans).xyz, vertices[:, ::5], rtol=0, atol=1e-5)


def test_all_frames_at_once_are_the_frames_one_by_one(avatar, rig, motion, monkeypatch):
    monkeypatch.setattr("crafters.models.avatar.animate.CHUNK", 3 * len(avatar.points))
    parts = list(animate(avatar, rig, motion))
    assert [(part.start, part.stop) for part, _ in parts] == [(0, 3), (3, 6), (6, 7)]
    animator = Animator(avatar, rig)
    for part, posed in parts:
        for i in range(part.start, part.stop):
            single = animator(motion.pose[i : i + 1], motion.trans[i : i + 1])
            torch.testing.assert_close(posed.xyz[i - part.start], single.xyz[0], rtol=0, atol=1e-6)
            torch.testing.assert_close(posed.rotation[i - part.start], single.rotation[0], rtol=0, atol=1e-6)


def test_a_turn_of_the_whole_body_turns_every_gaussian(avatar, rig, body):
    """One rotation at the root: positions turn about the pelvis, orientations by that rotation on the neutral legs."""
    turn = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)
    pose = torch.zeros(2, 55, 3, dtype=torch.float64)
    pose[1, 0] = turn
    still, turned = (Animator(avatar, rig)(pose[i : i + 1], torch.zeros(1, 3)) for i in range(2))
    animator = Animator(avatar, rig)
    pelvis = animator.rest[0]
    q = axis_angle_to_quaternion(turn.float()).expand(len(avatar.points), 4)
    near_rigid = rig.skinning.max(dim=1).values > 1 - 1e-6
    expected = quaternion_product(q, still.rotation[0])
    torch.testing.assert_close(
        (expected * turned.rotation[0]).sum(-1).abs()[near_rigid], torch.ones(int(near_rigid.sum())), rtol=0, atol=1e-5
    )
    before, after = still.xyz[0] - pelvis, turned.xyz[0] - pelvis
    torch.testing.assert_close(before.norm(dim=1), after.norm(dim=1), rtol=0, atol=1e-5)
    assert near_rigid.float().mean() > 0.2


def test_the_performers_shape_does_not_matter_but_the_avatars_does(avatar, rig, motion):
    ((_, posed),) = animate(avatar, rig, motion)
    ((_, other),) = animate(avatar, rig, replace(motion, betas=-motion.betas))
    assert posed.xyz.equal(other.xyz)
    ((_, slim),) = animate(replace(avatar, betas=-avatar.betas), rig, motion)
    assert (posed.xyz - slim.xyz).abs().max() > 0.01


def test_constrained_gaussians_keep_their_rotation_and_stay_small(avatar, rig, motion):
    marked = avatar.points[:, 1] > 0
    large = replace(avatar, scale=avatar.scale + 0.03)
    ((_, posed),) = animate(large, replace(rig, constrained=marked), motion)
    still = avatar.rotation.expand(len(motion), -1, -1)
    same_way = (posed.rotation * still).sum(-1).abs()
    torch.testing.assert_close(same_way[:, marked], torch.ones_like(same_way[:, marked]), rtol=0, atol=1e-5)
    assert same_way[:, ~marked].min() < 0.9
    assert posed.scale[marked].max() == pytest.approx(0.02) and posed.scale[~marked].equal(large.scale[~marked])
    assert large.scale[marked].min() > 0.02, "the avatar itself stays as it was"
    assert posed.rgb.equal(avatar.rgb) and posed.opacity.equal(avatar.opacity)


def test_an_avatar_of_another_count_is_refused(rig, motion):
    other = performers_avatar(500)
    with pytest.raises(ValueError, match="The avatar has 500 gaussians, but the rig is for 2000"):
        next(animate(other, rig, motion))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_cuda_agrees_with_the_cpu_also_under_tf32(avatar, rig, motion):
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        ((_, gpu),) = animate(avatar, rig, motion, "cuda")
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    ((_, cpu),) = animate(avatar, rig, motion)
    torch.testing.assert_close(gpu.xyz.cpu(), cpu.xyz, rtol=0, atol=1e-5)
    torch.testing.assert_close(gpu.rotation.cpu(), cpu.rotation, rtol=0, atol=1e-5)
