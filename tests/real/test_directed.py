"""Photos as people bring them, told what to do with a real product: it lies on the person, and in the picture."""

import numpy as np
import pytest
import torch
from crafters.media.photo import read_photo
from crafters.models.body.anny import anny_body
from crafters.preprocessors.directed.present import direct, overview
from crafters.preprocessors.product.views import product_views
from helpers.real_data import keep, real_file, real_poses

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "gestures", "hand"),
    [("person_pink_wall", "hold, aside, offer", "both"), ("character_half", "raise, turn, shake", "right")],
)
def test_a_photo_is_directed(name, gestures, hand):
    poses, _ = real_poses(f"real/{name}_keypoints.npz")
    photo = read_photo(real_file(f"real/{name}.jpg"))[0][..., :3]
    height, width = photo.shape[1:3]
    left, front, right = (read_photo(real_file(f"anchorcrafter/product_{i}.jpg"))[0][0, ..., :3] for i in range(3))
    toy = product_views(front, left, right)
    done = direct(anny_body(), poses[0], (width, height), toy, gestures, hand, height=20, seconds=4.0, fps=4.0)
    shown = overview(done, photo, 6)
    mask = done.conditions.product_mask
    share = mask.flatten(1).float().mean(1)
    keep(f"directed_{name}", torch.cat([photo, shown[:5]]), torch.cat([photo, shown[1:]]), product_share=share.mean())
    assert share.min() > 0.01 and share.max() < 0.4
    edge = torch.cat([mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]], 1)
    assert not edge.any(), "the product stays in the picture"
    size = np.array([width, height])
    body = [0, 2, 5]  # nose and shoulders
    off = np.linalg.norm((done.conditions.poses[0].body[0, body, :2] - poses[0].body[0, body, :2]) * size, axis=1)
    assert off.max() < 0.04 * height
