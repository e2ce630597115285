"""Body motion from keypoints: gaps, cameras and limits, and a whole clip against the motion it was made from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from crafters.models.body.layout import BodyModelError
from crafters.models.body.load import load_body_model
from crafters.models.body.motion import MotionError
from crafters.models.body.rotation import axis_angle_to_matrix
from crafters.models.body.skinning import joint_transforms, move
from crafters.preprocessors.body_motion.body_points import BodyPoints
from crafters.preprocessors.body_motion.estimate import estimate_motion, shaking
from crafters.preprocessors.body_motion.fit import full_pose
from crafters.preprocessors.body_motion.init_from_keypoints import joint_limit_loss
from crafters.preprocessors.body_motion.targets import COCO, person_box, targets, wholebody
from crafters.preprocessors.pose.dwpose import to_pose
from crafters.preprocessors.pose.keypoints import Pose
from helpers.smplx_file import PUBLISHED, write_smplx

SIZE = (192, 256)


def test_openpose_goes_back_to_wholebody():
    points = np.random.RandomState(0).rand(133, 3)
    back = wholebody(to_pose(points[None]), *SIZE)
    kept = [i for i in range(133) if not 17 <= i < 23]  # OpenPose has no feet
    assert np.allclose(back[kept], points[kept] * (*SIZE, 1))
    assert not back[17:23].any() and not wholebody(Pose.empty(), *SIZE).any()


def test_unsure_points_and_feet_of_unsure_ankles_do_not_count():
    points = torch.full((1, 133, 3), 0.9)
    points[0, 15, 2], points[0, 5, 2], points[0, 6] = 0.55, 0.5, torch.tensor([torch.nan, torch.nan, 0])
    wanted = targets(points)[0]
    counted = {int(coco): bool(row[2] > 0) for coco, row in zip(COCO, wanted, strict=True)}
    assert not any(counted[i] for i in (5, 6, 17, 18, 19)) and all(counted[i] for i in (0, 15, 20, 21, 22))
    assert wanted.isfinite().all()
    assert person_box(torch.zeros(1, 4, 3)).isnan().all()


def test_elbows_and_knees_bend_one_way():
    straight = torch.eye(3).repeat(1, 53, 1, 1)
    assert joint_limit_loss(straight) == 0
    quarter = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # +90° about y
    for joint, turn, healthy in (
        (18, quarter.T, True),
        (18, quarter, False),
        (19, quarter, True),
        (19, quarter.T, False),
    ):
        pose = straight.clone()
        pose[:, joint] = turn
        assert (joint_limit_loss(pose) < 1e-9) == healthy, joint
    about_x = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    for turn, healthy in ((about_x, True), (about_x.T, False)):
        pose = straight.clone()
        pose[:, 4] = turn
        assert (joint_limit_loss(pose) < 1e-9) == healthy


def test_fingers_close_but_hardly_bend_back():
    down = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # −90° about z, as a left finger closes
    for joint, turn, healthy in ((22, down, True), (22, down.T, False), (37, down.T, True), (37, down, False)):
        pose = torch.eye(3).repeat(1, 53, 1, 1)
        pose[:, joint] = turn
        assert (joint_limit_loss(pose) < 1e-9) == healthy, joint


def test_shaking_is_an_acceleration():
    t = torch.arange(10, dtype=torch.float64) / 30
    falling = torch.stack([t * 0, 4.905 * t * t, t], -1)[:, None]
    assert shaking([falling, falling[:4]], 30) == pytest.approx(9.81)
    assert shaking([falling[:2]], 30) == 0


@pytest.mark.parametrize("name", ["SMPL-X", "Anny"])
def test_points_are_those_of_the_posed_mesh(name, tmp_path):
    generator = torch.Generator().manual_seed(0)
    model = load_body_model("Anny" if name == "Anny" else write_smplx(tmp_path, PUBLISHED))
    if name == "SMPL-X":
        model = replace(model, pose_dirs=1e-3 * torch.randn(model.pose_dirs.shape, generator=generator))
    pose = 0.4 * torch.randn(2, 53, 3, generator=generator)
    pose[:, 0] = 0
    betas = torch.randn(2, 10, generator=generator)
    at = BodyPoints(model)(axis_angle_to_matrix(pose[:, 1:]), betas)
    whole = full_pose(pose)
    rest = model.skeleton.rest(betas)
    joints = move(joint_transforms(axis_angle_to_matrix(whole), rest, model.skeleton.parents), rest)
    surface = torch.cat([model.vertices(whole, betas, torch.zeros(2, 3)), joints], 1)
    fingers = [*range(24, 44), *range(45, 65)]
    expected = model.keypoints[[*range(23), *fingers]] @ surface
    torch.testing.assert_close(at.points, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(at.head, joints[:, 15])


def test_a_body_without_known_points_is_a_sentence():
    model = replace(load_body_model("Anny"), keypoints=None)
    with pytest.raises(BodyModelError, match=r"The points of a body with \d+ vertices are not known: use"):
        BodyPoints(model)


def test_nobody_is_a_sentence():
    with pytest.raises(MotionError, match="None of 3 frames shows a person"):
        estimate_motion(None, [Pose.empty()] * 3, SIZE, 30)


@pytest.mark.slow
def test_a_clip_without_weights():
    from crafters.models.body.anny import anny_body
    from crafters.scenes.motion import make_motion
    from crafters.scenes.person import make_person

    person = make_person(3, "test")
    motion = make_motion(3, "test", person, None, 10, 15.0, "walk")
    truth = motion.body_motion(person, SIZE)
    focal, centre = truth.focal[0].numpy(), truth.principal[0].numpy()
    points = person.keypoints(motion.pose, motion.trans).numpy()
    xy = points[..., :2] / points[..., 2:] * focal + centre
    poses = [to_pose(np.column_stack([frame / SIZE, np.full(133, 0.95)])[None]) for frame in xy]
    poses[5] = Pose.empty()
    poses = [Pose.empty()] * 2 + poses + [Pose.empty()]  # comes late and goes early
    steps = []
    degrees = float(np.degrees(2 * np.arctan(max(SIZE) / 2 / focal[0])))
    model = anny_body()
    with torch.inference_mode():  # as ComfyUI calls nodes
        found, report = estimate_motion(model, poses, SIZE, 15.0, degrees, on_step=lambda *at: steps.append(at))

    assert found.frames == tuple(range(2, 12)) and report.missing == (7,)
    assert str(report).startswith("person from frame 3 to 12 of 13, 1 frame without the person filled in;")
    assert report.error < 3 and report.shaking <= report.shaking_before and report.shaking < 12
    assert steps[-1][0] == steps[-1][1] and steps == sorted(steps)
    assert (found.trans - truth.trans).norm(dim=-1).mean() < 0.5
    roots = axis_angle_to_matrix(found.pose[:, 0]).mT @ axis_angle_to_matrix(truth.pose[:, 0])
    turned = torch.rad2deg(((roots.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos())
    assert turned.mean() < 25


@pytest.mark.slow
def test_a_network_gives_the_start():
    from crafters.models.body.anny import anny_body
    from crafters.models.hmr.multihmr import MultiHMR, MultiHMRSize
    from crafters.models.loaded import Loaded

    torch.manual_seed(0)
    network = MultiHMR(MultiHMRSize(image=112, dim=24, depth=1, heads=2, head_depth=1)).eval()
    random = np.random.RandomState(0)
    poses = [to_pose(np.column_stack([random.rand(133, 2) * 0.3 + 0.3, np.full(133, 0.9)])[None])] * 3
    seen = []
    motion, report = estimate_motion(
        anny_body(), poses, SIZE, 15.0, 60.0, Loaded(network), torch.rand(3, SIZE[1], SIZE[0], 3),
        on_step=lambda *at: seen.append(at),
    )
    assert len(motion) == 3 and seen[-1] == (83, 83) and len(seen) == 83  # three looks, 30 and 50 steps
    assert np.isfinite(report.error)
