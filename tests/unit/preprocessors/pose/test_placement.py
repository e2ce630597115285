import logging

import numpy as np
import pytest
import torch
from crafters.preprocessors.pose.keypoints import Pose
from crafters.preprocessors.pose.placement import FITS, PUBLISHED, Placement, fit_placement, place_pose, place_video
from helpers.poses import standing, together, with_joint
from helpers.real_data import real_file

PORTRAIT, LANDSCAPE = (576, 1024), (1024, 576)


def test_fit_recovers_a_known_placement():
    driving = [standing((0.4, 0.5), 0.5), standing((0.6, 0.5), 0.5)]  # mean centre (0.5, 0.5)
    reference = standing((0.3, 0.6), 1.0)
    placement = fit_placement(driving, reference, (100, 100), (100, 100))
    assert placement.scale == pytest.approx((2, 2))
    assert placement.bias == pytest.approx((0.3 - 1, 0.6 - 1))
    assert placement.source_size == placement.target_size == (100, 100)


def test_scale_is_the_same_in_pixels_both_ways():
    for fit in FITS:
        placement = fit_placement([standing()], standing(size=0.6), LANDSCAPE, PORTRAIT, fit)
        x, y = placement.scale
        assert x * PORTRAIT[0] / LANDSCAPE[0] == pytest.approx(y * PORTRAIT[1] / LANDSCAPE[1])
    assert y == pytest.approx(0.75), "by heights alone, whatever the widths are"


def test_placed_pose_lies_on_the_reference():
    driving, reference = standing((0.45, 0.4), 0.5, score=0.7), standing((0.55, 0.6), 0.9)
    placed = place_pose(driving, fit_placement([driving], reference, PORTRAIT, PORTRAIT))
    for part, wanted in zip(placed.parts, reference.parts, strict=True):
        np.testing.assert_allclose(part[..., :2], wanted[..., :2], atol=1e-9)
        assert (part[..., 2] == 0.7).all()


def test_frames_without_exactly_one_person_are_left_out():
    good, other = standing(size=0.5), standing((0.9, 0.1), 0.2)
    sizes = PORTRAIT, PORTRAIT
    alone = fit_placement([good], standing(), *sizes)
    assert fit_placement([Pose.empty(), good, together(good, other)], standing(), *sizes) == alone


def test_hidden_reference_joints_and_arms_do_not_count():
    reference, driving = standing(), standing(size=0.5)
    sizes = PORTRAIT, PORTRAIT
    plain = fit_placement([driving], reference, *sizes)
    hidden = with_joint(reference, 10, (0.9, 0.1, 0.3))
    raised_arm = with_joint(driving, 4, (0.9, 0.0, 0.9))
    missing = with_joint(driving, 9, (np.nan, np.nan, 0))
    for case in ([driving], hidden), ([raised_arm], reference), ([missing], reference):
        placement = fit_placement(*case, *sizes)
        assert placement.scale + placement.bias == pytest.approx(plain.scale + plain.bias)


def test_uncertain_driving_joints_count_in_the_published_fit_only():
    """There only the reference's scores choose the joints."""
    moved, plain = with_joint(standing(size=0.5), 8, (0.1, 0.1, 0.1)), standing(size=0.5)
    for fit in FITS:
        here, there = (fit_placement([pose], standing(), PORTRAIT, PORTRAIT, fit) for pose in (moved, plain))
        assert (here.scale == pytest.approx(there.scale)) == (fit != PUBLISHED)


def cut(pose, bottom):
    """As DWPose tells a body below the picture's edge: guessed at the edge, hardly scored."""
    body = pose.body.copy()
    body[body[..., 1] > bottom] = np.nan
    guessed = np.isnan(body[..., 0])
    body[guessed] = np.column_stack(
        [pose.body[guessed][:, 0], np.full(guessed.sum(), 0.985), np.full(guessed.sum(), 0.15)]
    )
    return Pose(body, *pose.parts[1:])


def seated(pose):
    """The thighs point at the camera."""
    height = pose.body[0, 9, 1] - pose.body[0, 8, 1]
    body = pose.body.copy()
    body[0, [9, 10, 12, 13], 1] -= 0.8 * height
    return Pose(body, *pose.parts[1:])


@pytest.mark.parametrize(
    "driving",
    [
        [cut(standing((0.5, 0.87), 1.9), 1.0)] * 8,  # to the hips
        [cut(standing((0.5, 1.7), 3.2), 1.0)] * 8,  # head and shoulders
        [seated(standing((0.5, 0.6), 1.1))] * 8,
        [standing((0.2 + 0.08 * i, 0.5), 0.6) for i in range(8)],  # walks across
    ],
    ids=["half body", "head and shoulders", "seated", "walking"],
)
def test_what_both_show_gives_the_scale(driving):
    photo = standing((0.5, 0.5), 0.9)
    placement = fit_placement(driving, photo, PORTRAIT, PORTRAIT)
    placed = [place_pose(pose, placement).body[0] for pose in driving]
    shoulders, wanted = ([body[5, 0] - body[2, 0] for body in bodies] for bodies in (placed, photo.body))
    assert np.mean(shoulders) == pytest.approx(wanted[0], rel=0.03)
    neck = np.mean([body[1, :2] for body in placed], axis=0)
    np.testing.assert_allclose(neck, photo.body[0, 1, :2], atol=0.01)


def only(pose, *joints):
    """`pose` with no other body joint visible."""
    body = pose.body.copy()
    body[0, [joint for joint in range(18) if joint not in joints], 2] = 0
    return Pose(body, *pose.parts[1:])


@pytest.mark.parametrize(
    "driving, reference, words, fits",
    [
        ([standing()], Pose.empty(), "No person was found in the reference photo", FITS),
        ([standing()], standing(score=0.2), "The reference photo shows no shoulder", FITS),
        ([standing()], only(standing(), 4, 7), "The reference photo shows no shoulder", FITS),
        ([], standing(), "None of the 0 driving frames", FITS),
        ([Pose.empty(), together(standing(), standing())], standing(), "None of the 2 driving frames", FITS),
        ([standing()], only(standing(), 0), "scale of 0", [PUBLISHED]),
        ([standing(), standing((0.5, 0.6))], only(standing(), 0), "scale of 0", [PUBLISHED]),
        ([standing(size=-0.8)], standing(), "scale of -1", FITS),
        ([standing(size=0.01)], standing(), "scale of 80", FITS),
        (
            [with_joint(standing(), 0, (np.nan, np.nan, 0))],
            only(standing(), 0),
            "found in any driving frame",
            [PUBLISHED],
        ),
        ([standing()], only(standing(), 0, 1), "too few of the same joints", ["visible joints"]),
        ([only(standing(), 0, 1, 4, 7)], standing(), "too few of the same joints", ["visible joints"]),
    ],
)
def test_what_cannot_be_placed_is_told(driving, reference, words, fits):
    for fit in fits:
        with pytest.raises(ValueError, match=words):
            fit_placement(driving, reference, PORTRAIT, PORTRAIT, fit)


def test_video_warp_is_the_truncating_nearest_one():
    frames = torch.randint(1, 256, (2, 40, 30, 3), dtype=torch.uint8)
    (ax, ay), (bx, by) = scale, bias = (0.8, 0.7), (0.05, 0.12)
    placed = place_video(frames, Placement(scale, bias, (30, 40), (30, 40)))
    expected = torch.zeros_like(frames)
    for row in range(40):
        for column in range(30):
            y, x = int((row - by * 40) / ay), int((column - bx * 30) / ax)
            if 0 <= y < 40 and 0 <= x < 30:
                expected[:, row, column] = frames[:, y, x]
    assert placed.dtype == torch.uint8 and torch.equal(placed, expected)


def test_video_takes_the_target_size_also_in_landscape():
    frames = torch.zeros(1, 90, 160, 3)
    frames[:, 30:60, 80:120] = 0.5
    placed = place_video(frames, Placement((1, 1), (0, 0), (1920, 1080), LANDSCAPE))
    assert placed.shape == (1, 576, 1024, 3) and placed.dtype == torch.float32
    inside = (placed[0, ..., 0] > 0.25).nonzero()
    np.testing.assert_allclose([*inside.min(0).values, *(inside.max(0).values + 1)], [192, 512, 384, 768], atol=2)


def test_pose_and_video_move_together():
    """A bright dot on the driving wrist lands on the placed wrist."""
    driving, reference = standing((0.45, 0.4), 0.5), standing((0.55, 0.6), 0.9)
    placement = fit_placement([driving], reference, (180, 320), PORTRAIT)
    x, y = driving.body[0, 4, :2] * (180, 320)
    frame = torch.zeros(1, 320, 180, 3)
    frame[0, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 1
    dot = (place_video(frame, placement)[0, ..., 0] > 0.5).nonzero().double().mean(0).numpy()[::-1]
    np.testing.assert_allclose(dot, place_pose(driving, placement).body[0, 4, :2] * PORTRAIT, atol=6)


def test_video_of_another_shape_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        place_video(torch.zeros(1, 32, 32, 3), Placement((1, 1), (0, 0), (18, 32), (18, 32)))
    assert "32x32 but the driving clip 18x32" in caplog.text


def test_progress_and_cancel():
    steps = []
    placement = Placement((1, 1), (0, 0), (8, 8), (8, 8))
    place_video(torch.zeros(3, 8, 8, 3), placement, on_step=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place_video(torch.zeros(3, 8, 8, 3), placement, on_step=cancel)


def test_real_hand_video_keeps_its_black():
    from crafters.media.clip import read_clip

    frames, _ = read_clip(real_file("anchorcrafter/hand_mesh.mp4"), frames=2)
    placed = place_video(frames, Placement((0.8, 0.8), (0.1, 0.15), (1080, 1920), PORTRAIT))
    assert placed.shape == (2, 1024, 576, 3)
    # The hands keep their share of the frame: 0.8 in either direction.
    share = [(video.float().mean(-1) > 90).double().mean().item() for video in (frames, placed)]
    assert share[1] / share[0] == pytest.approx(0.64, rel=0.03)
    assert not placed[:, :150].any() and not placed[:, :, :57].any()
