"""Product views from a clip: which frames are chosen."""

import numpy as np
import pytest
import torch
from crafters.preprocessors.product.from_clip import views_from_clip


def turning(frames=9, blurred=(), cut_off=()):
    """A box whose stripe wanders over its front as it turns: images float [T, H, W, 3], masks [T, H, W]."""
    import cv2

    images, masks = np.full((frames, 64, 64, 3), 0.5, np.float32), np.zeros((frames, 64, 64), np.float32)
    texture = np.random.default_rng(0).random((40, 3 * 24, 3), dtype=np.float32)
    for frame in range(frames):
        start = round(48 * frame / max(frames - 1, 1))
        face = texture[:, start : start + 24]
        if frame in blurred:
            face = cv2.GaussianBlur(face, (0, 0), 4)
        left = 0 if frame in cut_off else 20
        images[frame, 12:52, left : left + 24] = face
        masks[frame, 12:52, left : left + 24] = 1
    return torch.from_numpy(images), torch.from_numpy(masks)


def test_views_are_around_the_front():
    images, masks = turning()
    views, shapes, frames = views_from_clip(images, masks, front=4)
    assert views.shape == (3, 518, 518, 3) and shapes.shape == (3, 518, 518)
    assert frames[0] < 4 == frames[1] < frames[2]
    assert not views[shapes == 0].any()


def test_blurred_and_cut_off_frames_are_not_taken():
    bad = {0, 1, 2, 5, 8}
    images, masks = turning(blurred=(0, 2, 8), cut_off=(1, 5))
    _, _, frames = views_from_clip(images, masks)
    assert not bad & set(frames) and len(set(frames)) == 3


def test_front_at_the_beginning_takes_both_sides_from_later():
    images, masks = turning()
    _, _, frames = views_from_clip(images, masks, front=0)
    assert frames[1] == 0 and len(set(frames)) == 3


def test_one_frame_stands_for_all():
    images, masks = turning(frames=1)
    views, _, frames = views_from_clip(images, masks)
    assert frames == (0, 0, 0) and torch.equal(views[0], views[1])


def test_what_is_wrong_is_said():
    images, masks = turning()
    with pytest.raises(ValueError, match="in no frame"):
        views_from_clip(images, torch.zeros_like(masks))
    with pytest.raises(ValueError, match="no frame 9"):
        views_from_clip(images, masks, front=9)
    with pytest.raises(ValueError, match="both must be of one"):
        views_from_clip(images, masks[:3])
    masks[2] = 0
    with pytest.raises(ValueError, match="not show the product in frame 2"):
        views_from_clip(images, masks, front=2)
