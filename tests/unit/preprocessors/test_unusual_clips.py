"""Every stage on clips that nobody plans for: one frame, 4K, things that are not there, a user who cancels."""

import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from crafters.preprocessors.background.remove import remove_person
from crafters.preprocessors.body_motion.estimate import estimate_motion
from crafters.preprocessors.hand_mesh.hands import fit_hands
from crafters.preprocessors.pose.keypoints import Pose
from crafters.preprocessors.product.from_clip import views_from_clip
from crafters.preprocessors.product.object_depth import object_depth
from crafters.preprocessors.product.stand_in import fit_stand_in
from crafters.preprocessors.segment.flow import FlowTracker
from crafters.preprocessors.segment.prompts import Prompt
from crafters.preprocessors.segment.video import segment_video
from helpers.poses import standing


def clip(frames=1, height=90, width=120):
    """A textured red box on a noisy grey wall, and where it is."""
    random = np.random.RandomState(0)
    images = np.repeat(0.5 + 0.05 * random.rand(1, height, width, 3), frames, 0)
    mask = np.zeros((frames, height, width), bool)
    mask[:, height // 3 : height * 2 // 3, width // 3 : width // 2] = True
    images[mask] = (0.8, 0.1, 0.1) + 0.1 * random.rand(int(mask.sum()), 3)
    return torch.from_numpy(images).float(), torch.from_numpy(mask).float()


def segment(images, mask, on_step=None):
    height, width = images.shape[1:3]
    box = (width / 3 - 3, height / 3 - 3, width / 2 + 3, height * 2 / 3 + 3)
    return segment_video(FlowTracker(), images, [Prompt(0, box=box)], on_step=on_step)[0][1]


STAGES = {
    "Segment Video": segment,
    "Object Depth": lambda images, mask, on_step=None: object_depth(images, mask, None, on_step),
    "Fit Stand-in": lambda images, mask, on_step=None: fit_stand_in(images, mask, 1.0, on_step=on_step)[0],
    "Product Views from Clip": lambda images, mask, on_step=None: views_from_clip(images, mask, on_step=on_step)[0],
    "Remove Person": lambda images, mask, on_step=None: remove_person(images, mask, dilation=2, on_step=on_step),
}


@pytest.mark.parametrize("stage", STAGES)
def test_one_frame(stage):
    images, mask = clip()
    result = STAGES[stage](images, mask)
    assert torch.isfinite(result.float()).all() and result.any()
    if stage == "Segment Video":
        assert (result & mask.bool()).sum() / (result | mask.bool()).sum() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["Segment Video", "Object Depth", "Remove Person"])
def test_4k(stage):
    images, mask = clip(1, 2160, 3840)
    result = STAGES[stage](images, mask)
    assert result.shape[1:3] == (2160, 3840)
    if stage == "Remove Person":
        assert torch.equal(result[0, :500], images[0, :500])
        assert (result[mask.bool()] - 0.525).abs().mean() < 0.05


@pytest.mark.parametrize("stage", STAGES)
def test_cancel_ends_the_stage(stage):
    images, mask = clip(6)
    seen = []

    def cancel(done, total):
        seen.append(done)
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        STAGES[stage](images, mask, cancel)
    assert seen == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["Hand Mesh", "Body Motion from Video"])
def test_cancel_ends_the_fits(stage):
    from crafters.models.body.anny import anny_body

    poses = [standing() for _ in range(4)]

    def cancel(done, total):
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        if stage == "Hand Mesh":
            fit_hands(poses, (120, 120), 15.0, on_step=cancel)
        else:
            estimate_motion(anny_body(), poses, (120, 120), 15.0, on_step=cancel)


@pytest.mark.slow
def test_a_person_who_leaves_ends_there():
    from crafters.models.body.anny import anny_body

    poses = [standing() for _ in range(6)] + [Pose.empty()] * 6
    hands = fit_hands(poses, (120, 120), 15.0)
    motion, report = estimate_motion(anny_body(), poses, (120, 120), 15.0)
    for there in hands.there.values():
        assert there.tolist() == [True] * 6 + [False] * 6
    assert motion.frames == tuple(range(6)) and report.missing == ()


def test_300_frames_are_looked_at_one_by_one():
    images, mask = clip(1, 40, 60)
    picture, box = (images[0].numpy() * 255).astype(np.uint8), (17.0, 10.0, 33.0, 29.0)
    alive, most = set(), []

    class Clip(Sequence):
        def __len__(self):
            return 300

        def __getitem__(self, frame):
            made = picture.copy()
            alive.add(id(made))
            weakref.finalize(made, alive.discard, id(made))
            most.append(len(alive))
            return made

    masks = FlowTracker().track(Clip(), [Prompt(0, box=box)])[1]
    assert masks[:, mask[0].bool().numpy()].mean() > 0.9
    assert len(most) >= 300 and max(most) <= 3


def test_a_click_on_the_background_is_told():
    images, _ = clip(3)
    with pytest.raises(ValueError, match="perhaps the background was pointed at"):
        segment_video(FlowTracker(), images, [Prompt(0, inside=((5.0, 5.0),))])
    wall = np.ones((90, 120), bool)
    wall[:20] = False
    reports = segment_video(FlowTracker(), images, [Prompt(0, mask=wall)])[1]
    assert "perhaps the background was pointed at, in 3 of 3 frames" in str(reports[1])
