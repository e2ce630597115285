"""Synthetic people and their motions."""

import numpy as np
import pytest
import torch
from crafters.models.body.anny import anny_body
from crafters.models.body.layout import JOINTS
from crafters.models.drawing.mesh import render_mesh
from crafters.models.staging.gestures import GESTURES
from crafters.models.staging.grip import product_distance
from crafters.models.staging.limbs import WRIST, globals_of
from crafters.scenes.exercise import EXERCISES
from crafters.scenes.motion import make_motion, photo_pose
from crafters.scenes.person import make_person
from crafters.scenes.surface import border_edges

BOX, BOTTLE = (0.13, 0.20, 0.07), (0.075, 0.22, 0.075)
PORTRAIT, LANDSCAPE = (96, 128), (128, 96)


@pytest.fixture(scope="module")
def person():
    return make_person(3, "train")


def some_pose(frames: int = 2) -> torch.Tensor:
    pose = 0.2 * torch.randn(frames, JOINTS, 3, generator=torch.Generator().manual_seed(0))
    pose[:, 0] = torch.tensor([torch.pi, 0, 0])
    return pose


def test_a_person_is_well_formed_and_always_the_same(person):
    again, other = make_person(3, "train"), make_person(4, "train")
    assert torch.equal(person.template, again.template) and torch.equal(person.colours, again.colours)
    assert person.look == again.look and person.look != other.look
    count = len(person.template)
    assert person.skinning.shape == (count, JOINTS) and person.colours.shape == (count, 3)
    assert 0 <= person.colours.min() and person.colours.max() <= 1
    assert person.faces.min() >= 0 and person.faces.max() < count
    torch.testing.assert_close(person.skinning.sum(1), torch.ones(count), atol=1e-4, rtol=0)
    assert person.template.isfinite().all()
    with pytest.raises(ValueError, match="split"):
        make_person(0, "validation")


@pytest.mark.slow
def test_splits_share_no_person():
    looks = {split: [make_person(seed, split).look for seed in range(12)] for split in ("train", "test")}
    colours = {split: {(look.hair_style, look.top, look.colour) for look in of} for split, of in looks.items()}
    assert not colours["train"] & colours["test"]
    from crafters.scenes.look import CLOTHES, HAIR_STYLES, TOPS, draw_look

    def combinations(split: str) -> set[tuple[int, int, int]]:
        drawn = [draw_look(np.random.default_rng([seed, 5]), split) for seed in range(400)]
        nearest = [int(np.abs(np.array(CLOTHES) - look.colour).sum(1).argmin()) for look in drawn]
        return {
            (HAIR_STYLES.index(look.hair_style), TOPS.index(look.top), colour)
            for look, colour in zip(drawn, nearest, strict=True)
        }

    train, test = combinations("train"), combinations("test")
    assert len(train) > 150 and not train & test


@pytest.mark.parametrize("seed", range(4))
def test_two_people_look_different_small(seed):
    pictures = []
    for of in (seed, seed + 20):
        person = make_person(of, "test")
        motion = photo_pose(0, "test", person)
        vertices = person.vertices(motion.pose, motion.trans)[0]
        render = render_mesh(vertices, person.faces, motion.camera((75, 100)), person.colours)
        pictures.append(render.image)
    assert (pictures[0] - pictures[1]).abs().mean() > 0.05


def test_vertices_are_posed_as_the_body_is(person):
    """Bare hands are the body's: the same as `smplx` makes of the Anny body with these betas."""
    body = anny_body()
    pose, trans = some_pose(), torch.tensor([[0.0, 0.1, 3.0], [0.2, 0.0, 2.0]])
    used = torch.cat([anny_body().hands["left"], anny_body().hands["right"]]).unique()
    wanted = body.vertices(pose, person.betas.expand(2, -1), trans)[:, used]
    vertices, faces = person.hand_mesh(pose, trans)
    torch.testing.assert_close(vertices, wanted, atol=2e-4, rtol=0)
    assert len(border_edges(faces)) == 0


def test_keypoints_lie_on_the_picture_of_the_person(person):
    motion = make_motion(1, "train", person, BOX, 2, kind="point")
    camera = motion.camera(PORTRAIT)
    points = person.keypoints(motion.pose, motion.trans)
    assert points.shape == (2, 133, 3)
    vertices = person.vertices(motion.pose, motion.trans)
    for frame in range(2):
        mask = render_mesh(vertices[frame], person.faces, camera).mask[0]
        wide = torch.nn.functional.max_pool2d(mask[None].float(), 3, 1, 1)[0] > 0
        xy = points[frame, :, :2] / points[frame, :, 2:] * camera.focal[0] + torch.tensor(camera.principal)
        column, row = xy.floor().long().unbind(1)
        seen = (column >= 0) & (column < PORTRAIT[0]) & (row >= 0) & (row < PORTRAIT[1])
        assert seen[23:].all(), "face and hands are in the picture"
        assert wide[row[seen], column[seen]].all()


def test_keypoints_are_in_cocos_order(person):
    """Facing the camera, in the picture's axes."""
    pose = torch.zeros(1, JOINTS, 3)
    pose[0, 0, 0] = torch.pi
    points = person.keypoints(pose, torch.zeros(1, 3))[0]
    for left, right in [(i, i + 1) for i in range(1, 17, 2)] + [(17, 20), (18, 21), (19, 22)]:
        assert points[left, 0] > points[right, 0]
    down = points[:, 1]
    assert down[0] < down[5] < down[11] < down[13] < down[15] < down[17]
    face = points[23:91]
    assert (face[:17, 0].diff() > 0).all() and face[:17, 1].argmax() == 8
    assert face[17:27, 1].max() < face[36:48, 1].min() < face[36:48, 1].max() < face[33, 1] < face[48:, 1].min()
    assert face[36:40, 0].diff().gt(0).all() and face[42:46, 0].diff().gt(0).all()
    assert face[48:55, 0].diff().gt(0).all() and face[54:60, 0].diff().lt(0).all()
    for hand, sign in ((points[91:112], 1), (points[112:], -1)):
        tips = hand[[4, 8, 12, 16, 20]]
        assert (sign * (tips[:, 0] - hand[0, 0]) > 0.05).all()
        assert tips[:, 2].diff().gt(0).all(), "thumb in front, little finger behind"
        chains = hand[1:].view(5, 4, 3)
        assert (sign * chains[1:, :, 0].diff(dim=1) > 0.005).all()


def test_vertices_are_quick(person):
    import time

    pose, trans = some_pose(16), torch.zeros(16, 3)
    person.vertices(pose, trans)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        person.vertices(pose, trans)
        times.append(time.perf_counter() - start)
    assert min(times) / 16 < 0.015


@pytest.mark.parametrize("kind", GESTURES)
@pytest.mark.parametrize("size", [BOX, BOTTLE])
def test_hands_hold_the_product(kind, size, person):
    motion = make_motion(5, "train", person, size, 24, 15.0, kind)
    again = make_motion(5, "train", person, size, 24, 15.0, kind)
    assert torch.equal(motion.pose, again.pose) and torch.equal(motion.product, again.product)
    assert motion.pose.shape == (24, JOINTS, 3) and motion.product.shape == (24, 4, 4) and motion.holding
    turn, place = motion.product[:, :3, :3], motion.product[:, :3, 3]

    _, joints = globals_of(person.figure, motion.pose, motion.trans)
    distance = product_distance(size)
    vertices, _ = person.hand_mesh(motion.pose, motion.trans)
    local = ((vertices.double() - place[:, None]) @ turn).float()
    gap = distance(local)
    left = person.hands.points[:, 0] > 0
    for side in motion.holding:
        wrist = (turn.mT @ (joints[:, WRIST[side]] - place)[..., None])[..., 0]
        if kind != "turn":  # then the product slides on the hand
            assert (wrist - wrist.mean(0)).norm(dim=1).max() < 0.02, "the hand keeps its place at the product"
        touching = gap[:, left if side == "left" else ~left]
        assert touching.min(1).values.max() < 0.004, "it touches"
    assert gap.min() > -0.018, "and hardly goes into it"

    camera = motion.camera(PORTRAIT)
    corners = torch.tensor([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]) * torch.tensor(size[:2])
    xy = (place[:, None, :2] + corners) / (place[:, None, 2:] - size[2] / 2) * camera.focal[0]
    assert (xy.abs() < torch.tensor(PORTRAIT) / 2).all(), "the product stays in the picture"


@pytest.mark.parametrize("kind", [*GESTURES, *EXERCISES])
def test_motions_are_smooth(kind, person):
    size = BOX if kind in GESTURES else None
    motion = make_motion(2, "test", person, size, 45, 30.0, kind)
    _, joints = globals_of(person.figure, motion.pose, motion.trans)
    speed = joints.diff(dim=0).norm(dim=-1) * 30
    acceleration = joints.diff(dim=0, n=2).norm(dim=-1) * 30**2
    assert speed.max() > 0.01, "it moves"
    assert speed.max() < 5 and acceleration.max() < (12 if size else 60)  # m/s, m/s²


@pytest.mark.parametrize("kind", EXERCISES)
def test_the_whole_body_is_in_a_landscape_picture(kind, person):
    motion = make_motion(3, "train", person, None, 12, 8.0, kind)
    assert motion.product is None and motion.holding == ()
    body = motion.body_motion(person, LANDSCAPE)
    assert len(body) == 12 and body.size == LANDSCAPE
    vertices = person.vertices(body.pose, body.trans)
    xy = vertices[..., :2] / vertices[..., 2:] * body.focal[0].float() + body.principal[0].float()
    assert (xy >= 0).all() and (xy <= torch.tensor(LANDSCAPE)).all()
    height = (xy[..., 1].amax(1) - xy[..., 1].amin(1)) / LANDSCAPE[1]
    assert 0.68 < height.max() < 0.97


def test_the_photo_shows_head_to_hip_and_no_product(person):
    heights = set()
    for seed in range(6):
        photo = photo_pose(seed, "train", person)
        assert len(photo) == 1 and photo.product is None
        camera = photo.camera(PORTRAIT)
        points = person.keypoints(photo.pose, photo.trans)[0]
        xy = points[:, :2] / points[:, 2:] * camera.focal[0] + torch.tensor(camera.principal)
        assert ((xy[:13] >= 0) & (xy[:13] <= torch.tensor(PORTRAIT))).all()
        heights.add(round(float(xy[9, 1]), 1))
    assert len(heights) > 1, "poses differ"


def test_wrong_kinds_are_told(person):
    with pytest.raises(ValueError, match="without a product: choose wave"):
        make_motion(0, "train", person, None, 4, kind="raise")
    with pytest.raises(ValueError, match="with a product: choose raise"):
        make_motion(0, "train", person, BOX, 4, kind="walk")
    with pytest.raises(ValueError, match="at least one frame"):
        make_motion(0, "train", person, BOX, 0)
