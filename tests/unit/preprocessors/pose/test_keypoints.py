import json

import numpy as np
import pytest
from crafters.preprocessors.pose.keypoints import Pose, from_openpose, to_openpose
from helpers.poses import standing, together, with_joint


def assert_same(actual, expected):
    for a, b in zip(actual.parts, expected.parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def as_json(poses, width=540, height=960):
    return json.loads(json.dumps(to_openpose(poses, width, height), allow_nan=False))


def test_round_trip():
    missing = with_joint(standing(wobble=0.01), 4, (np.nan, np.nan, 0))
    poses = [together(standing(), standing((0.2, 0.6), 0.3, 0.4)), Pose.empty(), missing]
    back, size = from_openpose(as_json(poses))
    assert size == (540, 960)
    for a, b in zip(back, poses, strict=True):
        assert_same(a, b)


def test_openpose_layout():
    (frame,) = as_json([standing()])
    assert frame["canvas_width"] == 540 and frame["canvas_height"] == 960
    (person,) = frame["people"]
    lengths = {key: len(value) for key, value in person.items()}
    hands = {"hand_left_keypoints_2d": 63, "hand_right_keypoints_2d": 63}
    assert lengths == {"pose_keypoints_2d": 54, "face_keypoints_2d": 210, **hands}
    nose = standing().body[0, 0]
    assert person["pose_keypoints_2d"][:3] == pytest.approx([nose[0] * 540, nose[1] * 960, 0.9])
    assert person["face_keypoints_2d"][-6:] == person["pose_keypoints_2d"][42:48]


def test_points_for_others_score_1_or_0():
    pose = with_joint(with_joint(standing(), 4, (0.4, 0.6, 0.2)), 7, (np.nan, np.nan, 0))
    (frame,) = as_json([pose.seen()])
    (person,) = frame["people"]
    body = np.reshape(person["pose_keypoints_2d"], (18, 3))
    assert [i for i in range(18) if body[i, 2] == 0] == [4, 7] and set(body[:, 2]) == {0, 1}
    assert body[4, :2] == pytest.approx([0.4 * 540, 0.6 * 960])
    assert Pose.empty().seen().people == 0


def test_normalised_coordinates_of_other_packs():
    frames = as_json([standing(), standing((0.7, 0.9))], 1, 1)
    for frame in frames:
        frame.update(canvas_width=540, canvas_height=960)
    for pose, expected in zip(from_openpose(frames)[0], [standing(), standing((0.7, 0.9))], strict=True):
        assert_same(pose, expected)


def test_missing_parts_and_null_entries():
    person = as_json([standing()])[0]["people"][0]
    person.update(hand_left_keypoints_2d=None, face_keypoints_2d=[], foot_keypoints_2d=[1.0] * 18)
    del person["hand_right_keypoints_2d"]
    person["pose_keypoints_2d"][12:15] = [None, None, None]
    frames = [None, {"people": None, "canvas_width": 540, "canvas_height": 960}]
    frames.append({"people": [None, person], "canvas_width": 540, "canvas_height": 960})
    nobody, nobody_either, pose = from_openpose(frames)[0]
    assert nobody.people == nobody_either.people == 0 and pose.people == 1
    for part in (pose.face, pose.left_hand, pose.right_hand, pose.body[:, 4]):
        assert np.isnan(part[..., :2]).all() and (part[..., 2] == 0).all()
    assert np.isfinite(np.delete(pose.body, 4, axis=1)).all()


def test_body_of_25_points():
    frames = as_json([standing()])
    points = np.array(frames[0]["people"][0]["pose_keypoints_2d"]).reshape(18, 3)
    # BODY_25: nose, neck, arms, mid-hip, legs, eyes and ears, then six points of the feet.
    body25 = np.concatenate([points[:8], [[270, 500, 1]], points[8:], np.ones((6, 3))])
    frames[0]["people"][0]["pose_keypoints_2d"] = body25.ravel().tolist()
    assert_same(from_openpose(frames)[0][0], standing())


def test_single_frame_is_taken_for_a_list():
    assert_same(from_openpose(as_json([standing()])[0])[0][0], standing())


def change(**values):
    frames = as_json([standing(), standing()])
    for key, value in values.items():
        if key in frames[1]:
            frames[1][key] = value
        else:
            frames[1]["people"][0][key] = value
    return frames


@pytest.mark.parametrize(
    "frames, words",
    [
        ([], "holds no frame"),
        (None, "holds no frame"),
        ([None], "holds no frame"),
        (["people"], "holds no frame"),
        ([*change(), 3], "frame 2: expected an OpenPose dict, not int"),
        (change(canvas_width=None), "frame 1: canvas_width and canvas_height must be given"),
        (change(canvas_width=541), "540x960 from frame 0, 541x960 from frame 1"),
        (change(people={"a": 1}), "frame 1: people must be a list"),
        (change(people=[1]), "frame 1: people must be a list"),
        (change(pose_keypoints_2d=[1.0] * 51), "frame 1, pose_keypoints_2d: expected 18 or 25 points"),
        (change(face_keypoints_2d=["x"] * 204), "frame 1, face_keypoints_2d: expected 68 or 70 points"),
        (change(hand_left_keypoints_2d=[[1.0] * 3] * 21), "hand_left_keypoints_2d: expected 21 points as a flat list"),
        (change(hand_right_keypoints_2d=7), "hand_right_keypoints_2d: expected 21 points"),
    ],
)
def test_nonsense_is_refused(frames, words):
    with pytest.raises(ValueError, match=words):
        from_openpose(frames)


def test_pose_refuses_wrong_shapes():
    with pytest.raises(ValueError, match=r"face must be \[1, 68, 3\], not \[1, 70, 3\]"):
        Pose(np.zeros((1, 18, 3)), np.zeros((1, 70, 3)), np.zeros((1, 21, 3)), np.zeros((1, 21, 3)))
