"""Photos as people bring them: a wall of the skin's colour, half a body; and the avatars made of them by projection."""

import cv2
import numpy as np
import pytest
import torch
from crafters.media.photo import read_photo
from crafters.models.avatar.from_photo import project_photo
from crafters.models.avatar.render import render_turntable
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from crafters.preprocessors.body_motion.estimate import estimate_motion
from crafters.preprocessors.person.character import prepare_character
from helpers.real_data import keep, real_file, real_poses, tinted

pytestmark = pytest.mark.slow


def prepared(name):
    poses, _ = real_poses(f"real/{name}_keypoints.npz")
    return prepare_character(read_photo(real_file(f"real/{name}.jpg"))[0], poses), poses[0]


def test_a_photo_on_a_wall_of_the_skins_colour_keeps_its_face():
    made, pose = prepared("person_pink_wall")
    face = np.zeros(made.mask.shape, np.uint8)
    points = pose.face[0, :, :2] * made.mask.shape[::-1]
    cv2.fillConvexPoly(face, cv2.convexHull(points.round().astype(np.int32)), 1)
    kept = made.mask.numpy()[face > 0].mean()
    photo = (made.photo.numpy() * 255).astype(np.uint8)
    keep("photo_pink_wall", tinted(photo, ~made.mask.numpy())[None], face_kept=kept)
    assert kept == 1 and not made.mask[:200, :60].any()
    assert "has the colour of the background" in made.notes[0]


@pytest.mark.parametrize("name", ["character_half", "person_pink_wall"])
def test_half_a_person_becomes_a_whole_avatar(name, caplog):
    made, _ = prepared(name)
    size = made.photo.shape[1], made.photo.shape[0]
    motion, _ = estimate_motion(anny_body(), [made.pose], size, 30.0)
    avatar = project_photo(made.photo, made.mask, anny_body(), motion, 20_000, made.visible_ratio)
    turned = render_turntable(avatar, 6, 288, 384).numpy()
    rig = rig_from_body(anny_body(), avatar.points, avatar.neutral_transforms)
    shares = torch.bincount(rig.skinning.argmax(1), minlength=22)[:22] / len(avatar)
    keep(f"photo_avatar_{name}", turned, smallest_share_of_a_joint=float(shares[:20].min()))
    assert (shares[:20] > 0.001).all()  # every limb is there
    assert any("of the body; the rest has the colours" in record.getMessage() for record in caplog.records)
