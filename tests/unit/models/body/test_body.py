import numpy as np
import pytest
import torch
from crafters.models.body.layout import BodyModelError
from crafters.models.body.load import load_body_model
from crafters.models.body.skinning import move
from helpers.smplx_file import PUBLISHED, smplx_arrays, write_smplx


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_smplx(tmp_path_factory.mktemp("models") / "smplx")


@pytest.fixture(scope="module")
def body(path):
    return load_body_model(path)


def random_motion(frames=3):
    generator = torch.Generator().manual_seed(0)
    return (
        0.4 * torch.randn(frames, 55, 3, generator=generator),
        torch.randn(frames, 10, generator=generator),
        torch.randn(frames, 3, generator=generator),
    )


@pytest.fixture(scope="module")
def published(path):
    """The model as the smplx package makes it from the same file."""
    import smplx

    return smplx.create(
        str(path.parent.parent), model_type="smplx", use_pca=False, flat_hand_mean=True, num_betas=10,
        num_expression_coeffs=10, ext="npz", use_face_contour=True,
    )


@torch.no_grad()
def test_vertices_and_joints_are_those_of_the_smplx_package(published, body):
    pose, betas, trans = random_motion()
    pelvis, spine, jaw, left_eye, right_eye, left, right = pose.split((1, 21, 1, 1, 1, 15, 15), dim=1)
    answer = published(
        betas=betas, global_orient=pelvis, body_pose=spine.flatten(1), jaw_pose=jaw, leye_pose=left_eye,
        reye_pose=right_eye, left_hand_pose=left.flatten(1), right_hand_pose=right.flatten(1), transl=trans,
        expression=torch.zeros(3, 10),
    )
    torch.testing.assert_close(body.vertices(pose, betas, trans), answer.vertices, rtol=0, atol=1e-5)
    for i in range(3):
        rest = body.skeleton.rest(betas[i])
        joints = move(body.skeleton.transforms(pose[i : i + 1], rest)[0, :, :3], rest) + trans[i]
        torch.testing.assert_close(joints, answer.joints[i, :55], rtol=0, atol=1e-5)


def test_chunks_of_frames_change_nothing(body, monkeypatch):
    motion = random_motion(5)
    whole = body.vertices(*motion)
    monkeypatch.setattr("crafters.models.body.body.VERTEX_CHUNK", 2)
    torch.testing.assert_close(body.vertices(*motion), whole, rtol=0, atol=1e-6)


def test_a_missing_model_says_where_it_is_and_where_it_goes(tmp_path):
    with pytest.raises(BodyModelError, match=r"register at https://smpl-x.is.tue.mpg.de.*models/crafters/smplx"):
        load_body_model(tmp_path / "SMPLX_NEUTRAL.npz")


def spoiled(name, value):
    def spoil(arrays):
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value(arrays[name])

    return spoil


def with_nan(array):
    array = array.copy()
    array.flat[5] = np.nan
    return array


@pytest.mark.parametrize(
    "spoil, message",
    [
        (spoiled("weights", None), "has no `weights`"),
        (spoiled("J_regressor", lambda a: a[:24]), "has 24 joints: it is not SMPL-X"),
        (spoiled("shapedirs", lambda a: a[..., :4]), r"`shapedirs` has the shape"),
        (spoiled("posedirs", lambda a: a[:, :, :207]), r"`posedirs` has the shape"),
        (spoiled("v_template", with_nan), "`v_template` holds values that are no numbers"),
        (spoiled("f", lambda a: a + 9), "refer to what is not there"),
        (spoiled("weights", lambda a: np.array([{"a": 1}], dtype=object)), "download it again"),
    ],
)
def test_a_wrong_model_is_refused(tmp_path, spoil, message):
    arrays = smplx_arrays(300)
    spoil(arrays)
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **arrays)
    with pytest.raises(BodyModelError, match=message):
        load_body_model(tmp_path / "SMPLX_NEUTRAL.npz")


def test_a_damaged_file_is_refused(path, tmp_path):
    for name, content in (("cut.npz", path.read_bytes()[:100_000]), ("text.npz", b"<html>"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BodyModelError, match=f"{name} is not a whole .npz file"):
            load_body_model(tmp_path / name)


def test_only_the_published_vertices_have_keypoints(body, tmp_path):
    assert body.keypoints is None
    keypoints = load_body_model(write_smplx(tmp_path, PUBLISHED)).keypoints
    assert keypoints.shape == (65, PUBLISHED + 55)
    assert (keypoints.sum(1) == 1).all() and (keypoints.amax(1) == 1).all()
    joint = keypoints.argmax(1) - PUBLISHED
    assert joint[[5, 16]].tolist() == [16, 8] and joint[0] < 0  # left shoulder, right ankle; the nose is a vertex
    assert joint[[23, 24, 28, 44, 64]].tolist()[:4] == [20, 37, 25, 21] and joint[64] < 0  # hands' wrists first


def test_pickled_extras_are_never_opened(tmp_path):
    """The released file carries dictionaries as pickles, which may run code; none is touched."""
    extra = np.array({"pelvis": 0}, dtype=object)
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **smplx_arrays(300), joint2num=extra)
    assert len(load_body_model(tmp_path / "SMPLX_NEUTRAL.npz").template) == 300
