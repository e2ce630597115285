import cv2
import numpy as np
import pytest
from crafters.preprocessors.pose.draw_pose import LIMBS, WHEEL, draw_pose, draw_poses
from crafters.preprocessors.pose.keypoints import Pose
from helpers.poses import standing, together, with_joint


def test_nobody_is_black():
    image = draw_pose(Pose.empty(), 48, 64)
    assert image.shape == (64, 48, 3) and image.dtype == np.uint8 and not image.any()


def test_a_clip_is_drawn_frame_by_frame():
    poses, steps = [Pose.empty(), standing()], []
    drawn = draw_poses(poses, 48, 64, antialias=True, on_step=lambda *step: steps.append(step))
    assert drawn.shape == (2, 64, 48, 3) and not drawn[0].any() and steps == [(1, 2), (2, 2)]
    assert np.array_equal(drawn[1], draw_pose(poses[1], 48, 64, antialias=True))


def bodies_only(pose):
    return Pose(pose.body, *(np.full_like(part, np.nan) for part in pose.parts[1:]))


@pytest.mark.parametrize("size", [(288, 512), (512, 288), (211, 317), (2160, 2160)])
def test_bodies_equal_the_published_order_of_steps(size):
    """All limbs, then the whole canvas times 0.6, then all joints; colours as BGR, channels swapped last."""
    pose = together(standing(score=1.2), standing((0.4, 0.6), 0.9, 0.61, wobble=0.02), standing((1, 0.1), 0.5, 0.31))
    pose = with_joint(pose, 7, (0.3, 0.2, 0.3))
    zoom = 2160 / min(size)
    width, height = int(size[0] * zoom), int(size[1] * zoom)
    canvas = np.zeros((height, width, 3), np.uint8)
    for limb, color in zip(LIMBS, WHEEL, strict=False):
        for body in pose.body:
            (xa, ya, a), (xb, yb, b) = body[list(limb)]
            if a > 0.3 and b > 0.3:
                xs, ys = np.array([xa, xb]) * width, np.array([ya, yb]) * height
                length = ((xs[0] - xs[1]) ** 2 + (ys[0] - ys[1]) ** 2) ** 0.5
                angle = int(np.degrees(np.arctan2(ys[0] - ys[1], xs[0] - xs[1])))
                middle = (int(xs.mean()), int(ys.mean()))
                outline = cv2.ellipse2Poly(middle, (int(length / 2), 4), angle, 0, 360, 1)
                cv2.fillConvexPoly(canvas, outline, [int(c * (a * b)) for c in color[::-1]])
    canvas = (canvas * 0.6).astype(np.uint8)
    for joint, color in enumerate(WHEEL):
        for x, y, score in pose.body[:, joint]:
            if score > 0.3:
                cv2.circle(canvas, (int(x * width), int(y * height)), 4, [int(c * score) for c in color[::-1]], -1)
    expected = cv2.cvtColor(cv2.resize(canvas, size), cv2.COLOR_BGR2RGB)
    assert expected.any()
    assert np.array_equal(draw_pose(bodies_only(pose), *size), expected)


def color_at(image, point):
    height, width = image.shape[:2]
    return image[int(point[1] * height), int(point[0] * width)].tolist()


def test_colors_tell_joints_and_scores():
    pose = standing(score=0.5)
    image = draw_pose(pose, 2160, 2160)  # the canvas' own size: no resizing
    assert color_at(image, pose.body[0, 12]) == [127, 0, 0]  # left knee: pure red
    assert color_at(image, pose.body[0, 9]) == [127, 127, 0]  # right knee: yellow
    hip_to_knee = pose.body[0, [11, 12], :2].mean(axis=0)
    assert color_at(image, hip_to_knee) == [int(63 * 0.6), int(42 * 0.6), 0]  # (255, 170, 0) x 0.5 x 0.5
    assert color_at(image, pose.face[0, 30]) == [127] * 3
    assert color_at(image, pose.left_hand[0, 20]) == [127, 0, 0]


def test_points_that_were_not_found_are_left_out():
    pose = standing()
    hidden = Pose(pose.body, pose.face, np.full_like(pose.left_hand, np.nan), pose.right_hand)
    hand = pose.left_hand[0, 12]
    assert any(color_at(draw_pose(pose, 540, 960), hand)) and not any(color_at(draw_pose(hidden, 540, 960), hand))

    gone = Pose(*(np.concatenate([part[..., :2], part[..., 2:] * 0], axis=-1) * np.nan for part in pose.parts))
    assert not draw_pose(gone, 540, 960).any()


def test_hands_and_faces_are_drawn_whatever_they_score():
    pose = standing(score=0.2)
    image = draw_pose(pose, 2160, 2160)
    assert color_at(image, pose.body[0, 12]) == [0, 0, 0]
    assert color_at(image, pose.face[0, 10]) == [51] * 3
    assert color_at(image, pose.right_hand[0, 0]) == [51, 0, 0]


def test_without_faces_the_rest_is_the_same():
    pose = standing()
    faceless = Pose(pose.body, np.full_like(pose.face, np.nan), pose.left_hand, pose.right_hand)
    bare = draw_pose(pose, 192, 320, faces=False)
    assert np.array_equal(bare, draw_pose(faceless, 192, 320))
    assert not np.array_equal(bare, draw_pose(pose, 192, 320))
