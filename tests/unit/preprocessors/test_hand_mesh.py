"""Hand meshes fitted to keypoints: against hands whose pose is known."""

import numpy as np
import pytest
import torch
from crafters.models.drawing.camera import Camera
from crafters.models.hmr.multihmr import intrinsics
from crafters.preprocessors.hand_mesh.hands import HandMeshes, fit_hands, hand_points, masks_at, render_hands
from crafters.preprocessors.pose.keypoints import Pose

SIZE = (160, 120)


def pose(left=None, right=None, wrists=((100, 60), (40, 60))):
    """A frame with hands [21,2] px and the body's left and right wrist."""
    body, face = np.zeros((1, 18, 3)), np.zeros((1, 68, 3))
    for joint, wrist in zip((7, 4), wrists, strict=True):
        body[0, joint] = (wrist[0] / SIZE[0], wrist[1] / SIZE[1], 0.9)
    hands = [
        np.zeros((1, 21, 3)) if h is None else np.column_stack([h / SIZE, np.full(21, 0.9)])[None]
        for h in (left, right)
    ]
    return Pose(body, face, *hands)


def hand_at(x, y):
    """Points around a wrist."""
    return np.array([x, y]) + np.random.RandomState(0).rand(21, 2) * 20 * (np.arange(21) > 0)[:, None]


def test_crossed_hands_are_put_right_and_one_found_twice_counts_once():
    a, b = hand_at(100, 60), hand_at(40, 60)
    straight, crossed = hand_points([pose(a, b)], SIZE), hand_points([pose(b, a)], SIZE)
    assert straight["left"].equal(crossed["left"]) and straight["right"].equal(crossed["right"])
    assert np.allclose(straight["left"][0, :, :2], a, atol=1e-3)
    twice = hand_points([pose(a, a + 0.5)], SIZE)
    assert (twice["left"][0, :, 2] > 0).all() and not twice.get("right", torch.zeros(1)).any()


def test_product_masks_are_brought_to_the_frames():
    mask = torch.zeros(1, 2, 4)
    mask[..., :2] = 1
    assert masks_at(mask, 3, 8, 4).shape == (3, 4, 8) and masks_at(mask, 3, 8, 4)[2, :, :3].eq(1).all()
    with pytest.raises(ValueError, match="3 frames but 2 product masks"):
        masks_at(mask.repeat(2, 1, 1), 3, 8, 4)


def test_a_clip_without_hands_says_so():
    with pytest.raises(ValueError, match="None of 2 frames shows a hand"):
        fit_hands([Pose.empty(), pose()], SIZE, 15.0)


def test_the_nearer_hand_covers_the_other_and_the_product_both():
    square = torch.tensor([[-0.1, -0.1, 0.0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]])
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]])  # towards the camera
    tilted = square.clone()
    tilted[:, 2] = square[:, 0]
    there = {"left": torch.tensor([True, True]), "right": torch.tensor([True, False])}
    vertices = {
        "left": (square + torch.tensor([0, 0, 1.0])).expand(2, 4, 3),
        "right": (tilted * 0.5 + torch.tensor([0, 0, 0.7])).expand(2, 4, 3),
    }
    meshes = HandMeshes(
        vertices, there, {"left": faces, "right": faces}, Camera((100.0, 100.0), (32.0, 24.0), (64, 48))
    )
    product = torch.zeros(2, 48, 64)
    product[:, :24] = 1
    both, one = render_hands(meshes)
    assert both[24, 24].sum() > 0 and not both[30, 32].equal(one[30, 32])
    covered = render_hands(meshes, product)
    assert not covered[:, :24].any() and covered[0, 24:].equal(both[24:])
    assert str(meshes) == "left hand in 2 of 2 frames, right hand in 1 of 2 frames"
    render_hands(meshes, torch.ones(2, 48, 64))
    assert str(meshes) == "left hand in 0 of 2 frames, right hand in 0 of 2 frames"


def test_hamers_hands_lie_where_the_crop_was(tmp_path):
    from crafters.models.hmr.hamer import HaMeR, HaMeRSize
    from crafters.models.hmr.mano import load_mano
    from crafters.models.loaded import Loaded
    from crafters.preprocessors.hand_mesh.recover import recover_hands
    from helpers.mano_file import write_mano

    torch.manual_seed(0)
    network = HaMeR(HaMeRSize(32, 1, 2, 2, 32, 1, 2, 16, 32)).eval()
    network.mano_head.init_hand_pose += torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(16)
    network.mano_head.init_cam += torch.tensor([10.0, 0, 0])
    network.mano_head.deccam.requires_grad_(False).weight.zero_()
    network.mano_head.deccam.bias.zero_()
    mano = load_mano(write_mano(tmp_path / "MANO_RIGHT.pkl"))
    a, b = hand_at(100, 60), hand_at(40, 60)
    frames = [pose(a, b), pose(a, None), pose(a, None), pose(a, b)]
    meshes = recover_hands(Loaded(network), mano, torch.rand(4, SIZE[1], SIZE[0], 3), frames, 10.0)
    assert str(meshes) == "left hand in 4 of 4 frames, right hand in 4 of 4 frames"  # over a gap of two
    for side, points in (("left", a), ("right", b)):
        middle = meshes.vertices[side].mean(1)
        seen = middle[:, :2] / middle[:, 2:] * meshes.camera.focal[0] + torch.tensor(meshes.camera.principal)
        centre = torch.from_numpy((points.min(0) + points.max(0)) / 2)
        assert (seen - centre).norm(dim=-1).max() < 15, side
    assert render_hands(meshes).any()


OPEN = np.array([[0, 0], [-9, -6], [-15, -14], [-20, -20], [-24, -25], [-9, -28], [-11, -40], [-12, -48], [-13, -54],
                 [-1, -30], [-1, -43], [-1, -52], [-1, -59], [6, -28], [8, -40], [9, -48], [10, -54],
                 [12, -24], [16, -33], [19, -39], [21, -44]]) * 0.6


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["points", "palm"])
def test_a_frame_without_a_hand_costs_no_other_frame(lost, caplog):
    """It is bridged where it is short, and empty where it is long."""
    frames = [pose(OPEN + (100 + i, 90)) for i in range(12)]
    for frame in (3, 6, 7, 8, 9):
        hand = frames[frame].left_hand
        hand[:, [0, 1, 2, 5, 9, 13, 17] if lost == "palm" else slice(None)] = (np.nan, np.nan, 0)
    meshes = fit_hands(frames, SIZE, 10.0)  # bridges two frames
    assert all(vertices.isfinite().all() for vertices in meshes.vertices.values())
    render = render_hands(meshes)
    assert torch.nonzero(~render.bool().flatten(1).any(1))[:, 0].tolist() == [6, 7, 8, 9]
    assert str(meshes) == "left hand in 8 of 12 frames, right hand in 0 of 12 frames"
    assert "left hand is not drawn in frames 6-9" in caplog.text and "right" not in caplog.text
    middle = [torch.nonzero(frame.any(-1)).float().mean(0) for frame in render[2:5]]
    assert (middle[1] - (middle[0] + middle[2]) / 2).norm() < 1, "the bridged hand lies between its neighbours"


def test_misplaced_points_do_not_make_a_hand_tiny():
    """Of two hands beside each other one looks half as large: it is seen from its end, not twice as far away."""
    meshes = fit_hands([pose(OPEN + (120, 90), OPEN * (0.8, 0.24) + (40, 90))] * 6, SIZE, 10.0)
    far = {side: float(meshes.vertices[side][..., 2].mean()) for side in meshes.vertices}
    assert far["right"] < 1.4 * far["left"]


@pytest.mark.slow
def test_a_known_hand_is_found_again_within_the_limits_of_its_joints():
    from crafters.models.body.rotation import axis_angle_to_matrix
    from crafters.preprocessors.hand_mesh.hand_fit import HandPose, fit_hand, hand_distance
    from crafters.preprocessors.hand_mesh.hand_model import hand_model

    camera, frames = intrinsics(*SIZE).float(), 5
    for side, sign in (("left", 1.0), ("right", -1.0)):
        model = hand_model(side)
        free = torch.linspace(-0.8, 0.8, 15)[None, :, None] + torch.linspace(-0.3, 0.3, frames)[:, None, None]
        angles = model.angles(free.expand(frames, 15, 3))
        turn = axis_angle_to_matrix(torch.tensor([2.4, 0.3 * sign, 1.2 * sign])).expand(frames, 3, 3)
        truth = HandPose(angles, turn, torch.tensor([0.05, 0.02, 0.6]).expand(frames, 3))
        seen = truth.to_camera(model.points(angles)) @ camera.T
        wanted = torch.cat([seen[..., :2] / seen[..., 2:], torch.ones(frames, 21, 1)], -1)
        wanted[2, 8, :2] += 80  # one point is wrong
        found = fit_hand(model, wanted, camera, hand_distance(model, wanted, camera))
        assert ((found.angles >= model.least - 1e-5) & (found.angles <= model.greatest + 1e-5)).all()
        back = found.to_camera(model.points(found.angles)) @ camera.T
        off = (back[..., :2] / back[..., 2:] - seen[..., :2] / seen[..., 2:]).norm(dim=-1)
        assert off.mean() < 1.0, f"{side}: {off.mean():.2f} px"
        degrees = torch.rad2deg(
            (((found.turn.mT @ turn).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1).acos()
        )
        assert degrees.mean() < 25, f"{side}: turned {degrees.mean():.0f}°"
        trembling = (found.place[2:] + found.place[:-2] - 2 * found.place[1:-1]).norm(dim=-1)
        assert trembling.max() < 0.005  # m
