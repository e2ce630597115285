"""The demo's cartoon scene, and the networks that find its doll."""

import sys
from itertools import combinations

import av
import cv2
import numpy as np
import pytest
from crafters.preprocessors.pose.dwpose import BODY, NECK, DWPose
from stand_ins import figure
from stand_ins.doll import PERSON_SIZE, make_scene, scene_joints
from stand_ins.doll_pose import write_doll_pose

pytestmark = pytest.mark.slow

FRAMES = 6
SIZE = (360, 640)
JOINTS = [index for index in range(18) if index != NECK]  # of OpenPose's body


@pytest.fixture(scope="module")
def dwpose(tmp_path_factory):
    paths = write_doll_pose(tmp_path_factory.mktemp("networks"))
    return DWPose(paths["detector"], paths["pose"], provider="cpu")


@pytest.fixture(scope="module", params=[0, 1])
def scene(request, tmp_path_factory):
    return request.param, make_scene(tmp_path_factory.mktemp("scene"), request.param, FRAMES, *SIZE)


def read_clip(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def read_image(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def largest_error(dwpose, image, true_joints):
    """In pixels, over all keypoints; every one must be seen, on the one person found."""
    pose = dwpose(image)
    assert len(dwpose.detect(image)) == pose.people == 1
    found = pose.body[0, JOINTS]
    assert (found[:, 2] > 0.5).all()
    height, width = image.shape[:2]
    true = true_joints[np.array(BODY)[JOINTS]]
    return np.linalg.norm(found[:, :2] * (width, height) - true, axis=1).max()


def test_driving_keypoints_are_found(scene, dwpose):
    seed, paths = scene
    frames, (joints, _) = read_clip(paths["driving"]), scene_joints(seed, FRAMES, *SIZE)
    assert len(frames) == FRAMES and frames[0].shape == (SIZE[1], SIZE[0], 3)
    for frame, true in zip(frames, joints, strict=True):
        assert largest_error(dwpose, frame, true) < 1.5


def test_driving_keypoints_are_found_at_half_size(scene, dwpose):
    seed, paths = scene
    joints, _ = scene_joints(seed, FRAMES, *SIZE)
    for frame, true in zip(read_clip(paths["driving"]), joints, strict=True):
        half = cv2.resize(frame, (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_LINEAR)
        assert largest_error(dwpose, half, (true + 0.5) / 2 - 0.5) < 1


def test_person_keypoints_are_found(scene, dwpose):
    seed, paths = scene
    image = read_image(paths["person"])
    assert image.shape == (PERSON_SIZE[1], PERSON_SIZE[0], 3)
    assert largest_error(dwpose, image, scene_joints(seed)[1]) < 2.5


def test_landscape_keypoints_are_found(tmp_path, dwpose):
    paths = make_scene(tmp_path, seed=2, frames=1, width=640, height=360)
    [frame], (joints, _) = read_clip(paths["driving"]), scene_joints(2, 1, 640, 360)
    assert largest_error(dwpose, frame, joints[0]) < 1.5


def test_nothing_is_found_without_pins(tmp_path, monkeypatch, dwpose):
    """The pins' colours occur nowhere else: not in the rooms, nor on dolls and product."""
    monkeypatch.setattr(figure, "draw_pins", lambda canvas, joints: None)
    for seed in range(4):
        paths = make_scene(tmp_path, seed, 1, *SIZE)
        for image in (*read_clip(paths["driving"]), read_image(paths["person"]), read_image(paths["product_left"])):
            assert len(dwpose.detect(image)) == 0
            assert dwpose(image).body[0, JOINTS, 2].max() < 0.1


def test_only_body_keypoints_are_seen(scene, dwpose):
    pose = dwpose(read_image(scene[1]["person"]))
    assert max(part[..., 2].max() for part in (pose.face, pose.left_hand, pose.right_hand)) == 0


def test_pins_stay_apart():
    assert len(figure.PIN_COLOURS) == 17
    for one, other in combinations(figure.PIN_COLOURS.values(), 2):
        assert np.abs(np.subtract(one, other)).max() >= 127


def test_hand_mesh_is_light_blue_beside_the_product(scene):
    """Colours as in the published clips; product and hands exclude each other."""
    _, paths = scene
    for hands, product in zip(read_clip(paths["hand_mesh"]), read_clip(paths["object_depth"]), strict=True):
        hand_mask, product_mask = hands.max(2) > 110, product.max(2) > 110
        assert 0.005 < hand_mask.mean() < 0.1 and 0.01 < product_mask.mean() < 0.1
        # A sharp edge in subsampled chroma bleeds by a pixel.
        core = cv2.erode(hand_mask.astype(np.uint8), np.ones((3, 3))).astype(bool)
        assert not (core & product_mask).any()
        low, middle, high = np.percentile(hands[core], (5, 50, 95), axis=0)
        np.testing.assert_allclose(middle / middle[2], (0.88, 0.94, 1), atol=0.02)
        assert (low > (140, 150, 159)).all() and (high < (224, 239, 253)).all()
        assert (hands[:50] == 0).all() and (product[:50] == 0).all()


def test_object_depth_is_inferno_with_holes_for_fingers(scene):
    _, paths = scene
    lut = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1].astype(int)
    for picture in read_clip(paths["object_depth"]):
        mask = (picture.max(2) > 110).astype(np.uint8)
        core = cv2.erode(mask, np.ones((7, 7))).astype(bool)
        distance = np.linalg.norm(picture[core].astype(int)[:, None] - lut[190:226], axis=2).min(1)
        assert np.percentile(distance, 95) < 12
        hull = np.zeros_like(mask)
        cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(mask)), 1)
        assert 0.03 < 1 - mask.sum() / hull.sum() < 0.3


def test_product_photos_are_three_cut_out_views(scene):
    _, paths = scene
    photos = [cv2.imread(str(paths[f"product_{side}"]), cv2.IMREAD_UNCHANGED) for side in ("left", "front", "right")]
    for photo in photos:
        assert photo.shape[2] == 4 and min(photo.shape[:2]) > 200
        alpha = photo[..., 3]
        assert alpha[alpha.shape[0] // 2, alpha.shape[1] // 2] == 255
        assert alpha[0].any() and alpha[-1].any() and alpha[:, 0].any() and alpha[:, -1].any()  # cropped tightly
    left, front, right = photos
    assert (left[0, 0, 3], right[0, -1, 3]) == (0, 0)
    assert left.shape == right.shape and left.shape[1] > front.shape[1]
    assert np.abs(left.astype(int) - right).mean() > 10


def test_a_seed_always_draws_the_same(tmp_path):
    same, again, other = (make_scene(tmp_path / name, seed, 2) for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    for name in ("driving", "hand_mesh", "object_depth"):
        np.testing.assert_array_equal(read_clip(same[name]), read_clip(again[name]))
    for name in ("person", "product_front"):
        assert same[name].read_bytes() == again[name].read_bytes()
    assert same["person"].read_bytes() != other["person"].read_bytes()


@pytest.mark.parametrize("size", [{"width": 361}, {"height": 96}, {"width": 200}, {"frames": 0}, {"fps": 0}])
def test_impossible_scene_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match="demo scene"):
        make_scene(tmp_path, **size)


def test_missing_onnx_is_explained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(RuntimeError, match="pip install onnx"):
        write_doll_pose(tmp_path)
