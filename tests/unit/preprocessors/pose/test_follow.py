"""One person of a clip is the same in every frame, whoever else comes by."""

import numpy as np
import pytest
import torch
from crafters.preprocessors.pose.extract import extract_poses
from crafters.preprocessors.pose.follow import follow_person
from crafters.preprocessors.pose.keypoints import Pose
from helpers.poses import standing, together, with_joint

FRAMES = 24


def clip(*people, seed=0):
    """Frames of `people`, each a list of poses or None; in every frame in another order."""
    draw = np.random.default_rng(seed)
    frames = []
    for here in zip(*people, strict=True):
        here = [person for person in here if person is not None]
        frames.append(together(*(here[i] for i in draw.permutation(len(here)))) if here else Pose.empty())
    return frames


def presenter(size=0.8, x=0.35, score=0.9):
    """Stands still and moves the arms, by which the box grows and shrinks."""
    reach = 0.08 * np.sin(np.arange(FRAMES) / FRAMES * 4 * np.pi)
    return [
        with_joint(with_joint(standing((x, 0.5), size, score), 4, (x - 0.2 - r, 0.5, 0.9)), 7, (x + 0.2 + r, 0.5, 0.9))
        for r in reach
    ]


def walker(size=0.8, start=1.0, stop=0.0):
    return [standing((start + (stop - start) * i / FRAMES, 0.5), size) for i in range(FRAMES)]


def assert_is(found, person, but=()):
    for frame, (pose, wanted) in enumerate(zip(found, person, strict=True)):
        if frame in but:
            continue
        assert pose.people == (wanted is not None), frame
        if wanted is not None:
            np.testing.assert_array_equal(pose.body, wanted.body, str(frame))


@pytest.mark.parametrize("seed", range(3))
def test_a_passer_by_of_equal_size_is_not_taken_for_the_presenter(seed, caplog):
    still, passing = presenter(), walker()
    assert_is(follow_person(clip(still, passing, seed=seed)), still)
    assert "in doubt in" in caplog.text and "of 24 frames (1" in caplog.text  # where they are one behind the other
    assert_is(follow_person(clip(still, passing, seed=seed), 1), passing)


def test_people_who_cross_keep_who_they_are():
    one, other = walker(0.82, 0.1, 0.9), walker(0.8, 0.9, 0.1)
    assert_is(follow_person(clip(one, other)), one)


def test_a_passer_by_nearer_the_camera_hides_the_presenter_and_goes():
    still, passing = presenter(), [None] * 10 + walker(1.3)[10:20] + [None] * 4
    hidden = range(14, 18)
    for frame in hidden:
        still[frame] = None
    assert_is(follow_person(clip(still, passing)), still)


def test_who_leaves_is_found_again_and_nobody_else_meanwhile():
    still, passing = presenter(), [None] * 4 + walker(0.6, 0.0, 1.0)[4:20] + [None] * 4
    still[6:18] = [None] * 12
    assert_is(follow_person(clip(still, passing)), still)


def test_the_largest_over_the_clip_counts_not_in_its_first_frame():
    still, near = presenter(), [standing((0.8, 0.5), 1.2)] * 3 + [None] * (FRAMES - 3)
    assert_is(follow_person(clip(still, near)), still)


def test_alone_somebody_may_jump_and_be_away(caplog):
    alone = [*presenter()[:6], None, *presenter(1.5, 0.8)[7:12], *[None] * 6, *presenter(0.3, 0.2)[18:]]
    assert_is(follow_person(clip(alone)), alone)
    assert "in doubt in 11 of 24 frames (7-11, 18-23)" in caplog.text


def test_a_picture_of_nobody_is_nobody():
    """DWPose, which finds no box, takes the whole picture for one and guesses."""
    still = [*presenter()[:10], *[None] * 4, *presenter()[14:]]
    guess = [None] * 10 + [standing((0.5, 0.5), 0.9, 0.35)] * 4 + [None] * 10
    assert_is(follow_person(clip(still, guess)), still)


def test_a_single_frame_gives_the_people_by_their_visible_size():
    small, large = standing((0.2, 0.5), 0.3), standing((0.7, 0.5), 0.6)
    pose = together(small, standing(size=0.9, score=0.1), large)
    assert_is(follow_person([pose]), [large])
    assert_is(follow_person([pose], 1), [small])
    assert_is(follow_person([pose], 2), [None])


def test_who_is_clicked_on_is_followed():
    still, passing = presenter(), [None] * 3 + walker(0.5)[3:]
    at = passing[3].body[0, 1, :2]
    frames = iter(clip(still, passing))
    found = extract_poses(lambda image: next(frames), torch.zeros(FRAMES, 100, 50, 3), click=(at[0] * 50, at[1] * 100))
    assert_is(found, passing)
    with pytest.raises(ValueError, match="Nobody is at the click"):
        follow_person(clip(still, passing), click=(0.99, 0.01))
