import dataclasses

import cv2
import numpy as np
import pytest
import torch
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.mesh import render_mesh
from crafters.models.drawing.solids import loft, tube
from crafters.preprocessors.pose.from_body import HIDDEN, OUTSIDE, SEEN
from crafters.preprocessors.pose.keypoints import from_openpose, to_openpose
from crafters.scenes.exercise import EXERCISES
from crafters.scenes.label import draw_print
from crafters.scenes.product import make_product, views
from crafters.scenes.render import BACKGROUND, Mesh, render
from crafters.scenes.room import make_room
from crafters.scenes.scene import PERSON, make_scene
from crafters.scenes.shapes import SHAPES

CAMERA = Camera((100, 100), (50, 40), (100, 80))
SIZE = (96, 128)


def square(z, colour, x=0.0, half=0.2, texture=()):
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    vertices = torch.cat([corners * half + torch.tensor([x, 0]), torch.full((4, 1), float(z))], 1)
    faces = torch.tensor([[0, 3, 2], [0, 2, 1]])  # towards the camera
    return Mesh(vertices, faces, torch.tensor(colour).expand(4, 3), uv=(corners + 1) / 2, texture=texture)


def volume(solid):
    return float(np.linalg.det(solid.vertices[solid.faces].astype(np.float64)).sum() / 6)


def test_a_loft_is_closed_and_looks_outward():
    cylinder = loft(np.array([(-1, 0, 0, 2), (-1, 1, 1, 2), (-1, 1, 1, 2), (1, 1, 1, 2), (1, 1, 1, 2), (1, 0, 0, 2.0)]))
    side = np.abs(cylinder.normals[:, 1]) < 0.5
    assert volume(cylinder) == pytest.approx(2 * np.pi, rel=0.01)
    assert (cylinder.normals[side] * cylinder.vertices[side] * (1, 0, 1)).sum(1).min() > 0.98
    front = np.argmin(cylinder.vertices[:, 2])
    assert cylinder.uv[front, 0] == pytest.approx(0.5)
    right = np.argmax(cylinder.vertices[:, 0])
    assert cylinder.uv[right, 0] == pytest.approx(0.75)


def test_a_tube_looks_outward():
    t = np.linspace(0, np.pi, 30)
    ring = tube(np.stack([np.cos(t), np.sin(t), 0 * t], 1), 0.1)
    assert volume(ring) == pytest.approx(np.pi * np.pi * 0.01, rel=0.06)  # its open ends are planes through the origin
    assert np.allclose(np.linalg.norm(ring.normals, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("kind", SHAPES)
def test_every_shape_is_a_product_with_room_for_its_label(kind):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shape = SHAPES[kind](rng, draw_print(rng, "train"))
        rings = np.array(shape.rings)
        width, first, last = shape.label
        assert rings[last, 0] - rings[first, 0] > 0.05 and width > 0.05
        assert 0.06 < 2 * rings[:, 1].max() < 0.2 and 0.1 <= np.ptp(rings[:, 0]) <= 0.26
        assert volume(loft(rings)) > 1e-4  # a tenth of a litre
        assert all(0 <= a < b < len(rings) for a, b, _ in shape.bands)


def test_products_of_the_splits_share_nothing():
    prints = {
        split: [draw_print(np.random.default_rng(seed), split) for seed in range(500)] for split in ("train", "test")
    }
    for what in (lambda p: p.word, lambda p: (p.base, p.accent)):
        train, test = ({what(p) for p in prints[split]} for split in ("train", "test"))
        assert len(train) > len(test) > 5 and not train & test
    with pytest.raises(ValueError, match='"train" or "test"'):
        make_product(0, "validation")


def test_a_product_and_its_views():
    product, again = make_product(3, "train"), make_product(3, "train")
    assert product.size == again.size and np.array_equal(product.texture[0], again.texture[0])
    every = np.concatenate([product.body.vertices, *(solid.vertices for solid, _ in product.trim)])
    assert np.allclose(every.min(0), -every.max(0), atol=1e-6)
    assert np.allclose(np.ptp(every, axis=0), product.size, atol=1e-6)

    shown = views(product)
    assert shown.shape == (3, 518, 518, 3) and shown.dtype == np.uint8
    assert np.array_equal(shown, views(again))
    for view in shown:
        lit = view.any(-1)
        assert not view[[0, 0, -1, -1], [0, -1, 0, -1]].any()  # pure black corners
        assert max(np.ptp(np.flatnonzero(lit.any(axis))) for axis in (0, 1)) > 510
    front = shown[1].reshape(-1, 3).astype(float)
    front /= np.maximum(np.linalg.norm(front, axis=1, keepdims=True), 1)
    for colour in (product.print.base, product.print.accent):
        alike = front @ (np.array(colour) / np.linalg.norm(colour)) > 0.995
        assert alike.mean() > 0.03
    assert np.abs(shown[0].astype(int) - shown[2]).mean() > 5


def test_objects_depth_and_smooth_edges():
    red, green = (1.0, 0, 0), (0, 1.0, 0)
    picture = render([[square(2.0, green)], [square(1.0, red, x=0.1, half=0.1)]], CAMERA)
    assert picture.object[40, 60] == 2 and picture.depth[40, 60] == pytest.approx(1.0)
    assert picture.object[40, 45] == 1 and picture.depth[40, 45] == pytest.approx(2.0)
    assert picture.object[2, 2] == BACKGROUND and not picture.depth[2, 2] and not picture.coverage[2, 2]
    shown = picture.over(np.full((80, 100, 3), 200))
    assert (shown[2, 2] == 200).all() and shown[40, 60, 0] > 100 and not shown[40, 60, 1:].any()
    # The right edge of the near square crosses the middle of a pixel.
    half = render([[square(1.0, red, x=0.1, half=0.105)]], CAMERA)
    assert half.coverage[40, 70] == pytest.approx(0.5) and half.object[40, 70] == 1
    assert half.depth[40, 70] == pytest.approx(1.0)


def test_faces_are_seen_from_one_side_only():
    mesh = square(1.0, (1.0, 1, 1))
    assert not render([[dataclasses.replace(mesh, faces=mesh.faces.flip(1))]], CAMERA).object.any()


def test_a_texture_lies_where_its_coordinates_say():
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32, :32], texture[:32, 32:], texture[32:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    picture = render([[square(1.0, (1.0, 1, 1), texture=(texture,))]], CAMERA)
    for row, column, channel in ((30, 40, 0), (30, 60, 1), (50, 40, 2), (50, 60, 2)):
        assert picture.colour[row, column].argmax() == channel and np.sort(picture.colour[row, column])[1] < 1


def test_rooms():
    room, again = make_room(5, "train", (128, 96), 8, True), make_room(5, "train", (128, 96), 8, True)
    frames = room.frames()
    assert frames.shape == (8, 96, 128, 3) and np.array_equal(frames, again.frames())
    assert not np.array_equal(frames[0], frames[-1])
    still = make_room(5, "train", (128, 96), 3, False).frames()
    assert (still == still[0]).all()
    for seed in range(30):  # nothing beyond the painting is ever seen
        room = make_room(seed, "test", (128, 96), 12, True)
        reach = np.abs(room.track[:, :2]) + (np.array(room.size) - 1) / 2 / room.track[:, 2:]
        assert (reach <= (np.array(room.picture.shape[1::-1]) - 1) / 2 + 1e-6).all()


@pytest.fixture(scope="module")
def scene():
    return make_scene(2, "train", SIZE, frames=4)


def test_what_a_scene_holds(scene):
    pictures = (scene.frames, scene.background, scene.pose_frames, scene.hand_mesh, scene.object_depth)
    assert all(picture.shape == (4, 128, 96, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert scene.person_photo.shape == (128, 96, 3) and scene.product_views.shape == (3, 518, 518, 3)
    assert scene.size == SIZE == scene.motion.size and len(scene.motion) == len(scene.poses) == 4
    poses, size = from_openpose(to_openpose(scene.poses, *SIZE))
    assert size == SIZE and all(pose.people == 1 for pose in poses)
    assert (scene.background == scene.background[0]).all()  # a presenter's camera stands still


def test_the_same_seed_gives_the_same_scene(scene):
    again = make_scene(2, "train", SIZE, frames=4, person=scene.person)
    other = make_scene(3, "train", SIZE, frames=4, person=scene.person)
    for name in ("frames", "hand_mesh", "object_depth", "pose_frames", "person_photo"):
        assert np.array_equal(getattr(scene, name), getattr(again, name)), name
    assert not np.array_equal(scene.frames, other.frames)
    assert np.array_equal(scene.person_photo, other.person_photo)  # the room is the person's


def test_outside_of_person_and_product_there_is_the_background(scene):
    shown = (scene.objects > 0).astype(np.uint8)
    for frame, background, mask in zip(scene.frames, scene.background, shown, strict=True):
        outside = cv2.dilate(mask, np.ones((3, 3), np.uint8)) == 0
        inside = cv2.erode(mask, np.ones((3, 3), np.uint8)) == 1
        assert np.array_equal(frame[outside], background[outside])
        assert 0.2 < inside.mean() < 0.8
        assert (frame[inside] != background[inside]).any(-1).mean() > 0.98


def test_depth_is_on_the_visible_product_and_nowhere_else(scene):
    product = scene.product_mask
    assert product.any((1, 2)).all()
    assert np.array_equal(scene.object_depth.any(-1), product)
    assert np.array_equal(scene.object_depth[..., 1] > 16, product)  # what training takes for the product
    assert (scene.depth[product] < scene.depth[scene.person_mask].max()).all()
    near, far = (np.percentile(scene.depth[product], share) for share in (5, 95))
    bright = scene.object_depth.astype(int).sum(-1)
    assert bright[product & (scene.depth <= near)].mean() > bright[product & (scene.depth >= far)].mean()


def test_hands_are_where_the_product_is_not(scene):
    hands = scene.hand_mesh.any(-1)
    assert hands.any((1, 2)).all() and not (hands & scene.product_mask).any()
    assert not (hands & (scene.objects == BACKGROUND)).sum() > 0.05 * hands.sum()
    for hand, product, pose in zip(hands, scene.product_mask, scene.poses, strict=True):
        near = cv2.dilate((hand | product).astype(np.uint8), np.ones((5, 5), np.uint8))
        for wrist in (4, 7):
            x, y, score = pose.body[0, wrist]
            if score > HIDDEN:
                assert near[int(y * SIZE[1]), int(x * SIZE[0])]


def test_the_person_is_where_the_vertices_are(scene):
    vertices = scene.person.vertices(scene.motion.pose, scene.motion.trans)
    camera = Camera(tuple(scene.motion.focal[0].tolist()), tuple(scene.motion.principal[0].tolist()), SIZE)
    for frame in range(4):
        mask = render_mesh(vertices[frame], scene.person.faces, camera).mask[0].numpy() & ~scene.product_mask[frame]
        person = scene.objects[frame] == PERSON
        assert (mask & person).sum() / (mask | person).sum() > 0.97


def test_scores_say_what_can_be_seen(scene):
    body = np.stack([pose.body[0] for pose in scene.poses])
    inside = ((body[..., :2] >= 0) & (body[..., :2] < 1)).all(-1)
    assert (body[~inside][:, 2] == OUTSIDE).all()
    assert (body[:, [0, 14, 15], 2] == SEEN).all()  # nose and eyes
    assert not inside[:, [9, 12]].any()  # knees


def test_whole_bodies_move_in_front_of_a_moving_camera(scene):
    moving = make_scene(1, "train", (128, 96), frames=3, kind=EXERCISES[0], person=scene.person)
    assert moving.kind == EXERCISES[0] and moving.product is None and moving.product_views is None
    assert not moving.product_mask.any() and not moving.object_depth.any() and moving.hand_mesh.any()
    assert not np.array_equal(moving.background[0], moving.background[2])
    rows = np.flatnonzero(moving.person_mask[0].any(1))
    assert 0.6 < np.ptp(rows) / 96 < 0.97 and moving.poses[0].body[0, [10, 13], 2].min() > OUTSIDE


def test_mistakes_and_cancelling(scene):
    with pytest.raises(ValueError, match="juggle"):
        make_scene(0, "train", SIZE, kind="juggle", person=scene.person)
    with pytest.raises(ValueError, match="train"):
        make_scene(0, "holdout", SIZE)

    def cancel(done, total):
        assert (done, total) == (1, 5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_scene(0, "train", SIZE, frames=5, person=scene.person, on_step=cancel)
