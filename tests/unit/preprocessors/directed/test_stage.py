"""A person staged in a picture: where head and feet are drawn, on which ground, and what is said of bad places."""

from dataclasses import replace

import pytest
import torch
from crafters.models.avatar.render import render_avatar, render_body
from crafters.models.body.anny import anny_body
from crafters.models.body.layout import ANKLE, SHOULDER
from crafters.models.body.motion import BodyMotion, MotionError
from crafters.models.body.rotation import axis_angle_to_matrix
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.mesh import render_mesh
from crafters.preprocessors.directed.ground import Person, StageError, tilt
from crafters.preprocessors.directed.stage import (
    FRAME_BY_FRAME,
    STANDING,
    Spot,
    Track,
    check_still,
    clip_person,
    overview,
    stage_person,
)
from crafters.preprocessors.pose.draw_pose import draw_poses
from crafters.preprocessors.pose.from_body import motion_poses, posed_frames
from crafters.preprocessors.pose.keypoints import Pose
from crafters.scenes.avatar import avatar_rig
from crafters.scenes.room import make_room
from helpers.made_up import performers_avatar

SIZES = [(640, 360), (360, 640), (800, 560)]
SPOTS = [
    Spot(0.3, 0.9, 60, pixels=200, horizon=0.4),
    Spot(0.7, 0.8, 40, pixels=150, camera_height=2.5),
    Spot(0.5, 0.95, 75, metres=1.8, camera_height=1.4, horizon=0.45),
]
FACINGS = [None, 60.0, -90.0, 180.0]


@pytest.fixture(scope="module")
def body():
    return anny_body()


def walking(frames: int = 6, step: float = 0.1, fps: float = 15.0, size: tuple[int, int] = (200, 100)) -> BodyMotion:
    """Upright, arms down, towards a camera that looks ahead, by `step` m each frame."""
    pose, trans = torch.zeros(frames, 55, 3), torch.zeros(frames, 3)
    pose[:, 0, 0] = torch.pi
    pose[:, 16, 2], pose[:, 17, 2] = -1.2, 1.2
    trans[:, 2] = 3 - step * torch.arange(frames)
    camera = torch.tensor([[250.0, 250.0], [size[0] / 2, size[1] / 2]]).expand(frames, 2, 2).unbind(1)
    return BodyMotion(pose, trans, torch.zeros(frames, 10), *camera, size, tuple(range(frames)), fps)


def rows(mask: torch.Tensor) -> tuple[int, int]:
    """The upper edge of the first row and the lower edge of the last that a mask [H,W] covers."""
    covered = torch.nonzero(mask.any(1))[:, 0]
    return int(covered[0]), int(covered[-1]) + 1


def middle_of_feet(body, motion: BodyMotion, row: int) -> float:
    """px from the left, as the two feet alone are drawn."""
    one = motion.only(row)
    feet = torch.isin(body.skinning.argmax(1), torch.tensor([7, 8, 10, 11]))[body.faces].all(1)
    vertices = body.vertices(one.pose, one.betas, one.trans)[0]
    columns = torch.nonzero(render_mesh(vertices, body.faces[feet], Camera.of(one, 0)).mask[0].any(0))[:, 0]
    return (int(columns[0]) + int(columns[-1]) + 1) / 2


def ground(body, motion: BodyMotion, angle: float) -> torch.Tensor:
    """[F] m from the camera down to the lowest point of each frame."""
    return torch.stack([(points @ tilt(angle)[:, 1]).max() for points in Person.of_body(body).points(motion)])


def pitch_of(report: str) -> float:
    """Degrees down."""
    _, _, told = report.partition("looking ")
    way, _, degrees = told.split("°")[0].split()
    return float(degrees) * (1 if way == "down" else -1)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("spot", SPOTS, ids=["horizon", "camera height", "metres"])
@pytest.mark.parametrize("facing", FACINGS)
def test_head_and_feet_are_drawn_where_they_were_asked_for(body, size, spot, facing):
    staged = stage_person(walking(1), body, size, spot, facing)
    assert staged.motion.size == size
    _, mask = render_body(body, staged.motion, *size)
    top, bottom = rows(mask[0])
    assert abs(bottom - spot.feet_y * size[1]) <= 1
    if spot.pixels:
        assert abs(bottom - top - spot.pixels) <= 1
    assert abs(middle_of_feet(body, staged.motion, 0) - spot.feet_x * size[0]) <= 1
    assert f"{spot.feet_y * size[1]:.0f}) px" in staged.report
    if spot.camera_height:
        assert f"camera {spot.camera_height:.2f} m" in staged.report
    if spot.horizon:
        assert f"horizon at {spot.horizon:.2f}" in staged.report


@pytest.mark.parametrize(("facing", "across"), [(None, (1, 0, 0)), (90.0, (0, 0, -1))])
def test_the_drawn_pose_is_as_tall_and_stands_there(body, facing, across):
    """From far away a person is seen as a drawing in one scale: what is at a share of the stature is at that share of
    the pixels."""
    size, spot, motion = (400, 800), Spot(0.4, 0.9, 1, pixels=500, horizon=0.5), walking(1)
    (pose,), _ = motion_poses(body, stage_person(motion, body, size, spot, facing).motion)
    drawn = draw_poses([pose], *size, antialias=True)[0].any(-1)
    ((vertices, keypoints),) = posed_frames(body, motion)
    side = torch.tensor(across, dtype=vertices.dtype)
    feet = vertices[Person.of_body(body).feet()] @ side
    low, scale = vertices[:, 1].max(), 500 / (vertices[:, 1].max() - vertices[:, 1].min())
    for number, coco in ((0, 0), (2, 6), (5, 5), (10, 16), (13, 15)):  # nose, shoulders, ankles
        x, y, score = pose.body[0, number] * [*size, 1]
        assert y == pytest.approx(float(720 - scale * (low - keypoints[coco, 1])), abs=1)
        assert x == pytest.approx(float(160 + scale * (keypoints[coco] @ side - (feet.min() + feet.max()) / 2)), abs=1)
        assert score < 0.3 or drawn[int(y), int(x)]


def test_an_avatar_is_drawn_there_with_its_shoes_and_hair(body):
    avatar, spot = performers_avatar(4000), Spot(0.5, 0.9, 60, pixels=300, horizon=0.4)
    rig, size = avatar_rig(avatar), (320, 400)
    for facing in (0.0, 130.0):
        staged = stage_person(walking(1), body, size, spot, facing, avatar=avatar, rig=rig)
        clip = render_avatar(avatar, rig, staged.motion, *size, with_depth=False)
        top, bottom = rows(clip.alpha[0] > 0.5)
        assert abs(bottom - 360) <= 1 and abs(top - 60) <= 1
        assert "head at 60 px, 300 px tall" in staged.report
        assert torch.equal(staged.motion.betas[0].float(), avatar.betas), "mesh and pose have the avatar's shape"
        _, mask = render_body(body, staged.motion, *size)
        assert ((clip.alpha[0] > 0.5) & (mask[0] > 0)).sum() > 0.9 * mask.sum(), "the mesh is in the avatar"


def test_zero_faces_the_camera_and_ninety_the_pictures_right(body):
    for feet_x in (0.1, 0.5, 0.9):
        spot = Spot(feet_x, 0.9, 90, pixels=200, horizon=0.3)
        ahead = stage_person(walking(1), body, (640, 360), spot, 0.0).motion.joints(body.skeleton)[0]
        shoulders = ahead[list(SHOULDER.values())].norm(dim=1)
        assert abs(shoulders[0] - shoulders[1]) < 0.01, "both are as far from the camera"
        assert ahead[SHOULDER["left"], 0] > ahead[SHOULDER["right"], 0]
        aside = stage_person(walking(1), body, (640, 360), spot, 90.0).motion
        nose, neck = motion_poses(body, aside)[0][0].body[0, [0, 1], 0]
        assert nose > neck


def test_a_turn_keeps_the_feet_on_the_ground_and_the_camera_where_it_is(body):
    spot = Spot(0.4, 0.9, 60, pixels=250, horizon=0.3)
    heights = []
    for facing in (0.0, 45.0, 135.0, 250.0):
        staged = stage_person(walking(6), body, (640, 480), spot, facing)
        above = ground(body, staged.motion, torch.pi * pitch_of(staged.report) / 180)
        assert above.max() - above.min() < 2e-3, "all along the way"
        heights.append(float(above[0]))
    assert max(heights) - min(heights) < 0.02 * max(heights), "toes and heels are not the same way from the camera"


def test_the_horizon_crosses_the_body_as_high_as_the_camera(body):
    spot = Spot(0.5, 0.9, 4, metres=0.0, camera_height=1.2, horizon=0.45)
    staged = stage_person(walking(1), body, (400, 600), spot)
    _, mask = render_body(body, staged.motion, 400, 600)
    top, bottom = rows(mask[0])
    stature = Person.of_body(body).stature(walking(1))
    assert (bottom - 0.45 * 600) / (bottom - top) == pytest.approx(1.2 / stature, abs=0.01)
    child = stage_person(walking(1), body, (400, 600), replace(spot, metres=stature / 2))
    small = rows(render_body(body, child.motion, 400, 600)[1][0])
    assert small[1] == bottom and small[1] - small[0] == pytest.approx((bottom - top) / 2, abs=1.5)


def test_the_camera_looks_down_as_its_height_asks(body):
    told = [pitch_of(stage_person(walking(1), body, (640, 480), Spot(0.5, 0.8, 60, pixels=200, camera_height=height))
                     .report) for height in (0.5, 1.5, 3.0)]
    assert told[0] < told[1] < told[2] and told[0] < 0 < told[2]
    level = stage_person(walking(1), body, (640, 480), Spot(0.5, 0.8, 60, pixels=200, horizon=0.5))
    assert pitch_of(level.report) == 0
    height = float(ground(body, level.motion, 0.0)[0])
    again = stage_person(walking(1), body, (640, 480), Spot(0.5, 0.8, 60, pixels=200, camera_height=height))
    assert pitch_of(again.report) == pytest.approx(0, abs=0.1), "the two ways to say it agree"


def test_a_walk_keeps_its_length_and_its_perspective(body):
    spot = Spot(0.3, 0.6, 60, pixels=60, horizon=0.4)
    for facing, frame in ((0.0, 1), (90.0, 1), (40.0, 3)):
        staged = stage_person(walking(6, 0.5), body, (640, 480), spot, facing, frame)
        motion, angle = staged.motion, torch.pi * pitch_of(staged.report) / 180
        assert staged.row == frame - 1
        feet = motion.joints(body.skeleton)[:, list(ANKLE.values())].mean(1) @ tilt(angle)  # in the world's axes
        steps = (feet[1:] - feet[:-1])[:, [0, 2]].norm(dim=1)
        assert torch.allclose(steps, torch.full_like(steps, 0.5), atol=1e-3)
        _, mask = render_body(body, motion, 640, 480)
        top, bottom = map(torch.tensor, zip(*(rows(each) for each in mask), strict=True))
        assert abs(int(bottom[staged.row]) - 288) <= 1 and abs(int((bottom - top)[staged.row]) - 60) <= 1
        below = bottom - 0.4 * 480  # on one ground all are the larger, the farther their feet are below the horizon
        ratio = (bottom - top) / below
        assert (ratio - ratio[staged.row]).abs().max() < 0.05
    towards = stage_person(walking(6, 0.5), body, (640, 480), spot, 0.0).motion
    low = [float(Camera.of(towards, row).project(points)[:, 1].max())
           for row, points in enumerate(Person.of_body(body).points(towards))]
    assert low == sorted(low) and low[-1] > low[0] + 10, "who comes nearer goes down in the picture"


def test_feet_that_float_are_put_on_the_ground(body):
    motion = walking(6)
    wavering = motion.shifted(torch.tensor([[0, 0.1 * (row % 3), 0] for row in range(6)]))
    spot = Spot(0.5, 0.9, 60, pixels=200, horizon=0.4)
    angle = torch.pi * pitch_of(stage_person(motion, body, (640, 360), spot).report) / 180
    left, put = (ground(body, stage_person(wavering, body, (640, 360), spot, on_ground=put).motion, angle)
                 for put in (False, True))
    assert left.max() - left.min() > 0.15 and put.max() - put.min() < 2e-3


def test_a_motion_that_was_filmed_from_above_is_set_upright(body):
    spot = Spot(0.4, 0.9, 60, pixels=200, horizon=0.4)
    filmed = walking(3).turned(tilt(0.3))
    leaning, upright = (stage_person(filmed, body, (640, 360), spot, filmed_pitch=pitch).motion.joints(body.skeleton)
                        for pitch in (0.0, 0.3 * 180 / torch.pi))
    wanted = stage_person(walking(3), body, (640, 360), spot).motion.joints(body.skeleton)
    assert (upright - wanted).abs().max() < 2e-3 < (leaning - wanted).abs().max()


def test_the_clips_own_person_stays_where_they_are(body):
    clip = replace(walking(8), frames=tuple(range(3, 11)))
    for horizon in (0.5, 0.3):
        staged = stage_person(clip, body, (400, 200), Track(clip, FRAME_BY_FRAME, horizon)).motion
        assert torch.allclose(*(axis_angle_to_matrix(motion.pose) for motion in (staged, clip)), atol=1e-6)
        assert torch.allclose(staged.trans, clip.trans, atol=1e-6) and staged.frames == clip.frames
        assert torch.allclose(staged.focal, 2 * clip.focal)


def test_another_motion_takes_the_place_of_the_clips_person(body, caplog):
    clip = walking(8, 0.15, size=(200, 200)).moved(0.4, -0.1, 2.0)
    here = replace(walking(8, -0.05), betas=torch.full((8, 10), 0.5))
    size = (400, 400)
    there, *others = (rows(each) for each in render_body(body, clip, *size)[1])
    feet = [middle_of_feet(body, clip.resized(*size), row) for row in range(8)]
    standing = stage_person(here, body, size, Track(clip, STANDING)).motion
    following = stage_person(here, body, size, Track(clip, FRAME_BY_FRAME)).motion
    assert rows(render_body(body, standing, *size)[1][0]) == pytest.approx(there, abs=1)
    assert middle_of_feet(body, standing, 0) == pytest.approx(feet[0], abs=1)
    for row, seen in enumerate(render_body(body, following, *size)[1]):
        assert rows(seen) == pytest.approx((there, *others)[row], abs=1.5)
        assert middle_of_feet(body, following, row) == pytest.approx(feet[row], abs=1)
    own = here.trans[-1] - here.trans[0]
    assert torch.allclose((standing.trans[-1] - standing.trans[0]).norm(), own.norm(), atol=1e-6)
    assert not caplog.records


def test_a_clip_of_another_rate_or_length_is_taken_and_said(body, caplog):
    clip = walking(4, 0.2, fps=30.0)
    staged = stage_person(walking(8), body, (200, 100), Track(clip, FRAME_BY_FRAME)).motion
    assert len(staged) == 8 and staged.fps == 15
    assert "has 30 frames a second, the motion 15" in caplog.text
    assert "shows its person in frames 1-2 only: in frames 3-8" in caplog.text


@pytest.mark.slow
def test_keypoints_tell_where_the_clips_person_is(body):
    truth = stage_person(walking(2), body, (300, 400), Spot(0.4, 0.85, 60, pixels=260, horizon=0.5), 20.0).motion
    poses, size = motion_poses(body, truth)
    clip = clip_person(body, poses, size, 15.0, 60.0)
    staged = stage_person(walking(2), body, size, Track(clip, STANDING), 20.0).motion
    wanted, found = (rows(render_body(body, motion, *size)[1][0]) for motion in (truth, staged))
    assert found == pytest.approx(wanted, abs=0.06 * 260)
    assert middle_of_feet(body, staged, 0) == pytest.approx(middle_of_feet(body, truth, 0), abs=0.04 * 260)


def test_a_clip_without_a_person_is_told(body):
    with pytest.raises(MotionError, match="None of 8 frames shows a person for long enough"):
        clip_person(body, [Pose.empty()] * 8, (300, 400), 15.0, 60.0)


@pytest.mark.parametrize(
    ("spot", "facing", "sentence"),
    [
        (Spot(0.5, 0.4, 60, pixels=100, horizon=0.4), None, "not below the horizon"),
        (Spot(1.9, 0.9, 60, pixels=100, horizon=0.4), None, "Nothing of the person is in the picture of 640×360"),
        (Spot(0.5, 1.9, 60, pixels=100, horizon=0.4), None, "Nothing of the person is in the picture of 640×360"),
        (Spot(0.5, 0.9, 60, pixels=9000, horizon=0.4), None, "Nobody can stand there 9000 px tall"),
        (Spot(0.5, 0.9, 60, pixels=300, camera_height=40), None, "No camera 40 m above the ground"),
        (Spot(0.5, 0.9, 60, pixels=280, horizon=0.4), 0.0, "walks into the camera, or behind it, in frames"),
    ],
)
def test_a_place_where_nobody_can_stand_is_one_sentence(body, spot, facing, sentence):
    with pytest.raises(StageError, match=sentence):
        stage_person(walking(12, 0.5), body, (640, 360), spot, facing)


def test_a_film_of_another_shape_is_told(body):
    with pytest.raises(ValueError, match="would stretch this motion"):
        stage_person(walking(), body, (100, 200), Track(walking()))


def test_an_avatar_needs_its_rig(body):
    with pytest.raises(ValueError, match="connect both, or neither"):
        stage_person(walking(), body, (640, 360), SPOTS[0], avatar=performers_avatar(4000))


def test_an_avatar_without_feet_is_told(body):
    avatar = performers_avatar(4000)
    rig = avatar_rig(avatar)
    rig = replace(rig, skinning=torch.zeros_like(rig.skinning).index_fill_(1, torch.tensor(15), 1.0))
    with pytest.raises(StageError, match="has no head or no feet to be placed by"):
        stage_person(walking(), body, (640, 360), SPOTS[0], avatar=avatar, rig=rig)


def test_what_the_picture_cuts_off_is_said(body, caplog):
    stage_person(walking(1), body, (640, 360), Spot(0.5, 1.4, 60, pixels=600, horizon=0.4))
    assert "cuts off some of the person in frames 1" in caplog.text
    caplog.clear()
    staged = stage_person(walking(20, 0.2), body, (640, 360), Spot(0.5, 0.9, 60, pixels=200, horizon=0.4), 90.0)
    assert "outside the picture in frames" in caplog.text and "outside the picture in" in staged.report
    caplog.clear()
    stage_person(walking(1), body, (640, 360), SPOTS[0])
    assert not caplog.records


def test_who_does_not_stand_is_told(body, caplog):
    sitting = walking(1)
    pose = sitting.pose.clone()
    pose[:, [1, 2], 0], pose[:, [4, 5], 0] = -1.6, 2.4
    stage_person(replace(sitting, pose=pose), body, (640, 360), SPOTS[0])
    assert "bends or sits" in caplog.text


@pytest.mark.parametrize(("moving", "path", "told"), [(True, STANDING, True), (True, FRAME_BY_FRAME, False),
                                                      (False, STANDING, False)])
def test_a_camera_that_moves_is_told_where_feet_would_slide(caplog, moving, path, told):
    frames = torch.from_numpy(make_room(1, "test", (320, 240), 8, moving=moving).frames()).float() / 255
    check_still(frames, Track(walking(), path))
    assert ("the feet will slide" in caplog.text) == told
    check_still(frames[:1], SPOTS[0])
    assert len(caplog.records) == told


def test_the_preview_shows_the_mesh_on_the_background(body):
    background = torch.rand(3, 360, 640, 4)
    staged = stage_person(walking(6), body, (640, 360), SPOTS[0])
    shown = overview(staged, body, background, 4)
    mask = render_body(body, staged.motion, 640, 360)[1]
    assert shown.shape == (4, 360, 640, 3)
    for picture, row, frame in ((0, 0, 0), (3, 5, 2)):
        free = mask[row] == 0
        assert torch.equal(shown[picture][free], background[frame, ..., :3][free])
        assert (shown[picture][~free] != background[frame, ..., :3][~free]).any(-1).float().mean() > 0.99
