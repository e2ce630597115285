"""The Anny body in SMPL-X's layout."""

import sys

import pytest
import torch
from crafters.models.avatar.animate import Animator
from crafters.models.avatar.gaussians import Avatar
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from crafters.models.body.layout import BETAS, JOINTS, PARENTS, PELVIS_AT_REST, BodyModelError
from smplx.joint_names import JOINT_NAMES

MIRROR = torch.tensor([-1.0, 1, 1])
MIRRORED = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 22, 24, 23,
            *range(40, 55), *range(25, 40))


def test_layout_is_smplx():
    body = anny_body()
    assert body is anny_body()
    vertices = len(body.template)
    assert body.shape_dirs.shape == (vertices, 3, BETAS)
    assert body.pose_dirs.shape == (9 * (JOINTS - 1), 3 * vertices)
    assert body.regressor.shape == (JOINTS, vertices)
    assert body.skinning.shape == (vertices, JOINTS)
    assert body.faces.min() == 0 and body.faces.max() == vertices - 1
    assert body.skeleton.parents == PARENTS
    torch.testing.assert_close(body.skinning.sum(1), torch.ones(vertices))
    assert (body.skinning >= 0).all()
    pelvis = body.skeleton.joints[0]
    torch.testing.assert_close(pelvis, torch.tensor([0.0, *PELVIS_AT_REST[1:]]), atol=1e-4, rtol=0)


def test_joints_hang_on_each_other_as_in_smplx():
    chains = ["pelvis spine1 spine2 spine3 neck head jaw", "head left_eye_smplhf",
              "pelvis left_hip left_knee left_ankle left_foot",
              "spine3 left_collar left_shoulder left_elbow left_wrist"]
    chains += [f"left_wrist left_{finger}1 left_{finger}2 left_{finger}3"
               for finger in ("index", "middle", "pinky", "ring", "thumb")]
    chains = [chain.split() for chain in (*chains, *(chain.replace("left", "right") for chain in chains))]
    hangs = {joint: on for chain in chains for on, joint in zip(chain, chain[1:], strict=False)}
    names = JOINT_NAMES[:JOINTS]
    assert {names[joint]: names[parent] for joint, parent in enumerate(PARENTS[1:], 1)} == hangs


def test_rest_is_a_symmetric_t_pose():
    body = anny_body()
    joints = body.skeleton.joints
    torch.testing.assert_close(joints, (joints * MIRROR)[list(MIRRORED)], atol=1e-3, rtol=0)
    distance = torch.cdist(body.template * MIRROR, body.template).min(1).values
    assert distance.max() < 2e-3
    assert joints[20, 0] > joints[18, 0] > joints[16, 0] > 0, "the left arm is at +x"
    for arm in ([16, 18, 20, 28, 29, 30], [17, 19, 21, 43, 44, 45]):
        assert joints[arm, 1:].std(0).max() < 0.01, "arm, hand and fingers lie on one line along x"
    for leg in ([1, 4, 7], [2, 5, 8]):
        assert joints[leg][:, [0, 2]].std(0).max() < 1e-3, "legs stand straight"
    assert body.template[:, 1].argmax() in body.faces[body.parts["head"]].unique()
    assert (joints[[23, 24], 2] > joints[15, 2]).all() and joints[10, 2] > joints[7, 2], "it faces +z"


def test_palms_look_down_and_thumbs_forward():
    joints = anny_body().skeleton.joints
    for wrist, thumb in ((20, 37), (21, 52)):
        assert joints[thumb + 2, 2] > joints[wrist, 2] + 0.03
        assert joints[thumb + 2, 1] < joints[wrist, 1] - 0.02


def test_joints_lie_inside_the_body():
    body = anny_body()
    corners = body.template[body.faces].double()
    for joint, place in enumerate(body.skeleton.joints.double()):
        a, b, c = (corners - place).unbind(1)  # solid angle of every face (van Oosterom and Strackee)
        la, lb, lc = a.norm(dim=1), b.norm(dim=1), c.norm(dim=1)
        top = (a * torch.linalg.cross(b, c)).sum(1)
        bottom = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        winding = 2 * torch.atan2(top, bottom).sum() / (4 * torch.pi)
        assert winding > 0.9, f"joint {joint} is outside"


def test_betas_give_plausible_adults():
    body = anny_body()
    betas = torch.randn(200, BETAS, generator=torch.Generator().manual_seed(0))
    vertices = body.template + torch.einsum("vcb,nb->nvc", body.shape_dirs, betas)
    height = vertices[..., 1].amax(1) - vertices[..., 1].amin(1)
    assert 1.6 < height.mean() < 1.75 and 0.05 < height.std() < 0.15
    assert height.min() > 1.3 and height.max() < 2.1
    first = body.shape_dirs.flatten(0, 1)
    assert (first.norm(dim=0).diff() <= 0).all(), "the first directions change most"
    rest = body.skeleton.rest(betas)
    torch.testing.assert_close(rest[:, 0], body.skeleton.joints[:1,].expand(200, 1, 3)[:, 0], atol=2e-3, rtol=0)


def test_its_own_posing_and_the_avatars_animation_agree():
    """A gaussian on each of some vertices, animated, is where `smplx` brings the vertex."""
    body = anny_body()
    chosen = torch.arange(0, len(body.template), 97)
    rig = rig_from_body(body, body.template[chosen], torch.eye(4).expand(JOINTS, 4, 4))
    count = len(chosen)
    rotation = torch.tensor([1.0, 0, 0, 0]).expand(count, 4)
    betas = torch.linspace(-1, 1, BETAS)
    avatar = Avatar(
        offset=torch.zeros(count, 3), points=body.template[chosen], rgb=torch.zeros(count, 3),
        opacity=torch.ones(count, 1), scale=torch.full((count, 3), 0.01), rotation=rotation,
        neutral_transforms=torch.eye(4).expand(JOINTS, 4, 4), betas=betas,
    )
    pose = 0.3 * torch.randn(2, JOINTS, 3, generator=torch.Generator().manual_seed(1))
    trans = torch.tensor([[0.1, 0.2, 3.0], [0.0, -0.1, 2.5]])
    posed = Animator(avatar, rig)(pose, trans)
    wanted = body.vertices(pose, betas.expand(2, -1), trans)[:, chosen]
    off = (posed.xyz - wanted).norm(dim=-1)
    assert off.median() < 1e-4
    assert (off < 5e-3).float().mean() > 0.97, "but where vertices with other weights lie at the same place"


def test_hands_are_closed_and_apart():
    body = anny_body()
    for side, sign in (("left", 1), ("right", -1)):
        faces = body.hands[side]
        edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
        directed = {tuple(edge) for edge in edges}
        assert len(directed) == len(edges) and all((b, a) in directed for a, b in directed)
        corners = body.template[faces]
        volume = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum() / 6
        assert 2e-4 < volume < 6e-4, "m³, outside out"
        assert (sign * corners[..., 0] > 0.6).all()


def test_without_the_package_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "anny", None)
    anny_body.cache_clear()
    try:
        with pytest.raises(BodyModelError, match="pip install anny"):
            anny_body()
    finally:
        anny_body.cache_clear()
