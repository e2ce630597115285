"""Splats of people from anywhere, which become avatars."""

import re

import pytest
import torch
from crafters.models.avatar.animate import Animator, Posed, as_stored, in_motion
from crafters.models.avatar.from_splat import avatar_from_splat
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.rotation import quaternion_product, quaternion_to_matrix
from helpers.made_up import waving


def standing(avatar, rig, legs, arms):
    """The avatar with its legs spread and its arms lowered by degrees, y up, facing +z: one frame."""
    pose = torch.zeros(1, 55, 3)
    pose[0, [1, 2, 16, 17], 2] = torch.deg2rad(torch.tensor([legs, -legs, -arms, arms], dtype=torch.float32))
    posed = Animator(avatar, rig)(pose, torch.zeros(1, 3))
    return posed._replace(xyz=posed.xyz[0], rotation=posed.rotation[0])


def elsewhere(posed, turn, units, place=(0.0, 0.0, 0.0)):
    """The same, turned by a quaternion, in units of 1 / `units` m, moved."""
    turn = torch.nn.functional.normalize(torch.tensor(turn), dim=0)
    xyz = units * posed.xyz @ quaternion_to_matrix(turn).T + torch.tensor(place)
    return posed._replace(xyz=xyz, rotation=quaternion_product(turn, posed.rotation), scale=units * posed.scale)


def differences(made, body, avatar, rig):
    """By how many m the gaussians of both avatars are apart in a motion, but for size and place; [N]."""
    pose = 0.3 * torch.randn(1, 55, 3, generator=torch.Generator().manual_seed(0))
    pose[:, 0] = 0
    own = rig_from_body(body, made.points, made.neutral_transforms)
    got, wanted = (Animator(*pair)(pose, torch.zeros(1, 3)).xyz[0] for pair in ((made, own), (avatar, rig)))
    got, wanted = got - got.mean(0), wanted - wanted.mean(0)
    return (got * (got * wanted).sum() / got.square().sum() - wanted).norm(dim=1)


@pytest.mark.parametrize(
    ("legs", "arms", "turn", "units"),
    [
        (0, 0, (0, 1.0, 0, 0), 1.0),  # as 3-D gaussian splatting has it: y down
        (10, 45, (0.7, -0.7, 0, 0), 100.0),  # z up, in centimetres
        (0, 72, (0.8, 0.1, 0.5, -0.2), 0.3),  # anyhow
    ],
)
@pytest.mark.slow
def test_a_splat_of_any_size_and_direction_moves_as_its_avatar(body, avatar, rig, legs, arms, turn, units):
    splat = elsewhere(standing(avatar, rig, legs, arms), turn, units, (3 * units, -2 * units, units))
    made, told = avatar_from_splat(splat, body)
    away = differences(made, body, avatar, rig)
    assert away.mean() < 0.03 and away.quantile(0.95) < 0.06
    assert made.posed and float(re.search(r"a metre is ([\d.e+]+)", told)[1]) == pytest.approx(units, rel=0.15)
    torch.testing.assert_close(made.rgb, splat.rgb)
    torch.testing.assert_close(made.opacity, splat.opacity)
    assert float((made.scale / avatar.scale).median()) == pytest.approx(1, abs=0.15)


@pytest.mark.slow
def test_gaussians_turn_with_the_body(body, avatar, rig):
    """Of long gaussians, the longest axis is where the avatar's own would be in the same motion."""
    splat = elsewhere(standing(avatar, rig, 0, 45), (0, 1.0, 0, 0), 1.0)
    made, _ = avatar_from_splat(splat, body)
    pose = torch.zeros(1, 55, 3)
    pose[0, 16, 1] = -1.0
    own = rig_from_body(body, made.points, made.neutral_transforms)
    turns = (Animator(*pair)(pose, torch.zeros(1, 3)).rotation[0] for pair in ((made, own), (avatar, rig)))
    normals = [quaternion_to_matrix(turn)[..., 2] for turn in turns]
    assert (normals[0] * normals[1]).sum(1).abs().median() > 0.97


@pytest.mark.slow
def test_who_faces_the_other_way_is_turned_round(body, avatar, rig):
    splat = elsewhere(standing(avatar, rig, 5, 40), (0, 1.0, 0, 0), 1.0)
    fronts = []
    for back_to_front in (False, True):
        made, _ = avatar_from_splat(splat, body, back_to_front)
        fronts.append(made.xyz()[torch.arange(len(made)), 2])
    # The same gaussians, in the same order: what was in front is behind.
    assert torch.corrcoef(torch.stack(fronts))[0, 1] < -0.7


def cloud(points):
    count = len(points)
    turn = torch.tensor([1.0, 0, 0, 0]).expand(count, 4)
    return Posed(points, turn, torch.full((count, 3), 0.01), torch.ones(count, 1), torch.full((count, 3), 0.5))


def things(person):
    random = torch.Generator().manual_seed(0)
    box = torch.rand(3000, 3, generator=random) - 0.5
    box[torch.arange(3000), torch.arange(3000) % 3] = 0.5
    yield "a box", box * torch.tensor([0.5, 1.7, 0.3])
    yield "two people", torch.cat([person, person + torch.tensor([1.5, 0, 0])])
    yield "half a person", person[person[:, 1] > person[:, 1].median()]
    yield "a person in a room", torch.cat([person, (box - 0.5) * 3])


@pytest.mark.slow
def test_what_is_no_standing_person_is_told_so(body, avatar):
    for what, points in things(avatar.xyz()):
        with pytest.raises(ValueError, match=r"cannot be one standing person: at best, \d+% of the gaussians"):
            avatar_from_splat(cloud(points), body)
            pytest.fail(what)


def test_next_to_nothing_is_no_person(body):
    with pytest.raises(ValueError, match="has 100 gaussians that are not transparent: too few"):
        avatar_from_splat(cloud(torch.rand(100, 3)), body)


def test_an_avatar_as_it_stands_faces_the_camera(avatar):
    shown = as_stored(avatar)
    torch.testing.assert_close(shown.xyz, avatar.xyz() * torch.tensor([1.0, -1, -1]))
    axes, stored = quaternion_to_matrix(shown.rotation), quaternion_to_matrix(avatar.rotation)
    torch.testing.assert_close(axes, torch.diag(torch.tensor([1.0, -1, -1])) @ stored, atol=1e-5, rtol=0)


def test_one_frame_of_a_motion(avatar, rig):
    motion = waving(3, 64, 48)
    posed = Animator(avatar, rig)(motion.pose, motion.trans)
    torch.testing.assert_close(in_motion(avatar, rig, motion, 1).xyz, posed.xyz[1])
    with pytest.raises(ValueError, match="The motion has no frame 4: it goes from 1 to 3."):
        in_motion(avatar, rig, motion, 3)
