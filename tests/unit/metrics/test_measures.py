"""The metrics' formulas, and the report over pairs of clips."""

import csv
import io
import json
import re

import cv2
import numpy as np
import pytest
import torch
from crafters.metrics import METRICS
from crafters.metrics.catalogue import as_sets, by_clip, by_frame, catalogue
from crafters.metrics.evaluate import evaluate
from crafters.metrics.face import TEMPLATE, align_face, similarity
from crafters.metrics.landmarks import body, body_distance, hand_distance, hands
from crafters.metrics.masks import iou, overlap
from crafters.metrics.measures import UnmeasurableError
from crafters.metrics.networks import Networks
from crafters.metrics.pair import Pair
from crafters.metrics.pixels import ALIKE, psnr, ssim
from crafters.metrics.plot import plot
from crafters.metrics.similarity import frechet_distance
from crafters.preprocessors.pose.keypoints import Pose
from helpers.real_data import real_file

FRAMES, HEIGHT, WIDTH = 5, 40, 60
RNG = np.random.default_rng(0)


def absent(name, kind):
    raise FileNotFoundError(name)


def noise(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def square(left, frames=FRAMES):
    """Masks of a 10x10 product whose left edge is at `left`."""
    masks = np.zeros((frames, HEIGHT, WIDTH), dtype=np.uint8)
    masks[:, 10:20, left : left + 10] = 255
    return masks


def a_pose(shift=0.0):
    """One person whose every point is seen, `shift` pixels to the right of where it would be."""
    parts = [np.zeros((1, points, 3)) + [0.5 + shift / WIDTH, 0.5, 1] for points in (18, 68, 21, 21)]
    return Pose(*parts)


def measured(metrics, pair, **options):
    report = evaluate({"a": lambda: pair}, Networks(absent), metrics, **options)
    return {row.name: row.score for row in report.rows}


def test_the_table_has_what_the_command_line_names():
    assert tuple(catalogue()) == METRICS


def test_a_clip_against_itself():
    frames = noise(FRAMES, HEIGHT, WIDTH, 3)
    poses = [a_pose()] * FRAMES
    pair = Pair(frames, frames, square(5), square(5), poses, poses)
    scores = measured([name for name in METRICS if name.startswith(("obj-iou", "psnr", "ssim"))], pair)
    assert {score.value for name, score in scores.items() if "psnr" in name} == {ALIKE}
    assert all(score.value == pytest.approx(1) for name, score in scores.items() if "psnr" not in name)
    assert all(score.value == 0 for score in measured(["hand-lmd", "body-lmd"], pair).values())


def test_obj_iou_counts_codec_noise_only_by_the_published_rule():
    noisy = np.where(square(5) > 0, 255, 3).astype(np.uint8)
    clip = Pair(*[noise(FRAMES, HEIGHT, WIDTH, 3)] * 2, square(5), noisy)
    scores = measured(["obj-iou", "obj-iou-clean"], clip)
    assert scores["obj-iou"].value == pytest.approx(100 / (HEIGHT * WIDTH))
    assert scores["obj-iou-clean"].value == 1
    assert measured(["obj-iou-clean"], clip, threshold=2)["obj-iou-clean"].value == scores["obj-iou"].value


def test_obj_iou_of_a_clip_is_of_sums_not_a_mean_of_frames():
    truth, result = square(5, 2), square(5, 2)
    result[1] = 0
    result[1, :20, :20] = 255  # holds the product's 100 pixels, and 300 others
    pair = Pair(*[noise(2, HEIGHT, WIDTH, 3)] * 2, truth, result)
    score = measured(["obj-iou"], pair)["obj-iou"]
    assert score.value == pytest.approx(200 / 500)
    assert score.frames["a"] == pytest.approx([1, 0.25])


def test_masks_of_another_size_are_resized_to_the_truth():
    half = square(10)[:, ::2, ::2]
    assert iou(*overlap(square(10), half, 127)) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("pixels", [30, 99, 101])
def test_body_and_hands_by_how_far_they_are(pixels):
    frames = noise(FRAMES, HEIGHT, WIDTH, 3)
    pair = Pair(frames, frames, None, None, [a_pose()] * FRAMES, [a_pose(pixels)] * FRAMES)
    for score in measured(["body-lmd", "hand-lmd"], pair).values():
        assert score is None if pixels > 100 else score.value == pytest.approx(pixels)


def test_joints_that_one_side_lacks_are_left_out_of_the_body_only():
    pose, lacking = a_pose(), a_pose(10)
    for part in lacking.parts:
        part[:, 3:, 2] = 0.2
    assert np.isnan(body(lacking, WIDTH, HEIGHT)).all(axis=-1).sum() == 15
    assert body_distance(*(body(p, WIDTH, HEIGHT) for p in (pose, lacking))) == pytest.approx(10)
    # The hands' missing joints are (0, 0), here some 36 pixels from the others.
    expected = (3 * 10 + 18 * np.hypot(WIDTH / 2, HEIGHT / 2)) / 21
    assert hand_distance(*(hands(p, WIDTH, HEIGHT) for p in (pose, lacking))) == pytest.approx(expected)


def test_a_frame_without_people_has_no_hands_and_no_body():
    nobody = Pose.empty()
    assert hands(nobody, WIDTH, HEIGHT).shape == (0, 21, 2)
    assert np.isnan(body(nobody, WIDTH, HEIGHT)).all()


def test_psnr_by_hand():
    frame = np.zeros((8, 8, 3), dtype=np.uint8)
    other = frame.copy()
    other[:4] = 255
    region = np.zeros((8, 8), dtype=bool)
    region[:4] = True
    assert psnr(frame, other) == pytest.approx(10 * np.log10(2))
    assert psnr(frame, other, region) == pytest.approx(0)
    assert psnr(frame, other, ~region) == ALIKE
    assert np.isnan(psnr(frame, other, region & False))


def test_ssim_against_its_definition():
    x, y = noise(20, 24, 3), noise(20, 24, 3)
    y = (0.7 * x + 0.3 * y).astype(np.uint8)
    ramp = np.arange(11) - 5
    window = np.exp(-(ramp**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def at(row, column, channel):
        a, b = (p[row : row + 11, column : column + 11, channel].astype(float) for p in (x, y))
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
        cov = (window * (a - mean_a) * (b - mean_b)).sum()
        c1, c2 = 2.55**2, 7.65**2
        return (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))

    values = np.array([[[at(i, j, k) for k in range(3)] for j in range(14)] for i in range(10)])
    assert ssim(x, y) == pytest.approx(values.mean(), abs=1e-9)
    region = np.zeros((20, 24), dtype=bool)
    region[7, 9] = region[0, 0] = True  # the corner has no whole window
    assert ssim(x, y, region) == pytest.approx(values[2, 4].mean(), abs=1e-9)
    region[0, 0] = False  # and now the window lies within a part of the frame
    assert ssim(x, y, region) == pytest.approx(values[2, 4].mean(), abs=1e-9)


def test_frechet_distance_of_gaussians_that_share_their_axes():
    directions = torch.linalg.qr(torch.from_numpy(RNG.standard_normal((60, 4))), mode="reduced").Q
    directions = torch.linalg.qr(directions - directions.mean(0)).Q * 59**0.5  # covariance one, mean zero
    spread, other = torch.tensor([1.0, 2, 3, 4]).double(), torch.tensor([2.0, 2, 1, 0]).double()
    shift = torch.tensor([1.0, 0, 0, 2]).double()
    found = frechet_distance(directions * spread, directions * other + shift)
    assert found == pytest.approx(float(((spread - other) ** 2).sum() + (shift**2).sum()), rel=1e-9)
    with pytest.raises(ValueError, match="at least two features"):
        frechet_distance(directions[:1], directions)


def test_clips_count_alike_or_by_their_frames():
    clips = {"a": (np.array([1.0, 1, 1]), np.ones(3)), "b": (np.array([0.0, np.nan]), np.array([1.0, 0]))}
    assert by_clip(clips).value == pytest.approx(0.5)
    assert by_frame(clips).value == pytest.approx(0.75)
    with pytest.raises(UnmeasurableError, match="longer clips"):
        as_sets({"a": (torch.zeros(1, 3), torch.zeros(1, 3))})


def test_a_face_is_turned_upright():
    turn = np.array([[0.3, -0.4, 70.0], [0.4, 0.3, 20.0]])
    points = TEMPLATE @ turn[:, :2].T + turn[:, 2]
    np.testing.assert_allclose(similarity(points, TEMPLATE) @ np.r_[points[1], 1], TEMPLATE[1], atol=1e-9)

    frame = np.zeros((200, 160, 3), dtype=np.uint8)
    cv2.circle(frame, points[0].round().astype(int).tolist(), 3, (255, 0, 0), -1)
    face = np.zeros((1, 68, 3))
    for group, point in zip(([*range(36, 42)], [*range(42, 48)], [30], [48], [54]), points, strict=True):
        face[0, group, :2] = point / (160, 200)
    face[..., 2] = 1
    aligned = align_face(frame, Pose(*(np.zeros((1, n, 3)) if n != 68 else face for n in (18, 68, 21, 21))))
    rows, columns = np.nonzero(aligned[..., 0] > 128)
    assert (columns.mean(), rows.mean()) == pytest.approx(TEMPLATE[0], abs=1.5)
    assert not align_face(frame, Pose.empty()).any()


def two_clips():
    frames = noise(FRAMES, HEIGHT, WIDTH, 3)
    lost = [a_pose(10), Pose.empty(), *[a_pose(10)] * (FRAMES - 2)]
    return {
        "a": lambda: Pair(frames, noise(*frames.shape), square(5), square(7), [a_pose()] * FRAMES, lost),
        "b": lambda: Pair(frames, frames, square(5), square(5)),
        "c": lambda: Pair(frames, frames[1:]),
    }


def test_the_report_says_what_was_measured_and_what_was_not():
    report = evaluate(two_clips(), Networks(absent), ["obj-iou", "body-lmd", "fid", "face-cos"])
    table = report.markdown()
    assert re.search(r"^\| Obj-IoU \| 0\.833\d* \| higher \|", table, re.M)
    assert "| a | 0.6667 | 10 |" in table and "| b | 1 |  |" in table
    assert "- Not measured: Body LMD (b). That needs poses of the true clip." in table
    assert "- Not measured: FID. That needs pt_inception-2015-12-05-6726825d.pth in ComfyUI's models/crafters" in table
    assert "- Not measured: Face-Cos. That needs a reference photo of the person." in table
    assert "c was not compared. The true clip has 5 frames, but there are 4 generated frames" in table

    numbers = json.loads(report.json())
    first, lost, *rest = numbers["metrics"]["body-lmd"]["frames"]["a"]
    assert lost is None and [first, *rest] == pytest.approx([10] * 4)
    assert numbers["metrics"]["fid"]["value"] is None and list(numbers["not_compared"]) == ["c"]
    lines = list(csv.reader(io.StringIO(report.csv())))
    assert [line[0] for line in lines] == ["clip", "a", "b", "all"] and lines[0][1:] == ["obj-iou", "body-lmd"]
    assert lines[2][2] == "" and float(lines[3][1]) == pytest.approx((2 / 3 + 1) / 2)


def test_the_plot_has_a_panel_for_each_metric_and_a_line_for_each_clip():
    report = evaluate(two_clips(), Networks(absent), ["obj-iou", "body-lmd", "psnr"])
    picture = plot(report)
    assert picture.dtype == np.uint8 and picture.shape[1] == 1120
    panels = picture[:150, :560], picture[:150, 560:], picture[150:300, :560], picture[150:300, 560:]
    assert [bool((panel < 128).any()) for panel in panels] == [True, True, True, False]
    blue, orange = ((panels[0] == colour).all(-1).any() for colour in ((31, 119, 180), (214, 96, 20)))
    assert blue and orange
    assert plot(evaluate({}, Networks(absent))).size


def test_other_reasons_for_what_is_missing():
    report = evaluate(two_clips(), Networks(absent), ["face-cos"], reasons={"person": "Give --people."})
    assert "- Not measured: Face-Cos. Give --people." in report.faults()


def test_an_unknown_metric_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="no metric 'obj_iou'; there are obj-iou, "):
        evaluate({}, Networks(absent), ["obj_iou"])


def test_progress_ends_at_its_total_and_a_cancel_gets_through():
    steps = []
    evaluate(two_clips(), Networks(absent), ["psnr", "obj-iou"], on_step=lambda *step: steps.append(step))
    assert steps[-1] == (6, 6)
    assert steps == sorted(steps)

    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        evaluate(two_clips(), Networks(absent), ["psnr"], on_step=cancel)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"result": noise(FRAMES, WIDTH, HEIGHT, 3)}, "60x40 but the generated one 40x60"),
        ({"result_mask": square(5, 3)}, "5 frames, but there are 3 masks of the generated clip"),
        ({"truth_people": [a_pose()]}, "5 frames, but there are 1 poses of the true clip"),
    ],
)
def test_clips_that_cannot_be_compared(parts, told):
    frames = noise(FRAMES, HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match=told):
        Pair(**{"truth": frames, "result": frames, **parts})


def test_a_result_of_another_size_and_coloured_masks():
    frames = noise(FRAMES, HEIGHT, WIDTH, 3)
    pink = np.where(square(5)[..., None] > 0, (255, 0, 255), 0).astype(np.uint8)
    pair = Pair(frames, frames[:, ::2, ::2], pink)
    assert pair.result.shape == frames.shape and pair.truth_mask.shape == frames.shape[:3]


def test_the_published_sample():
    from crafters.media.clip import read_clip

    files = ("gt/1.mp4", "results/1.mp4", "gt/mask/1.mp4", "results/mask/1.mp4")
    pair = Pair(*(read_clip(real_file(f"anchorcrafter/evaluation/{file}"))[0].numpy() for file in files))
    assert measured(["obj-iou"], pair)["obj-iou"].value == pytest.approx(0.895, abs=5e-4)
    clean = {level: measured(["obj-iou-clean"], pair, threshold=level)["obj-iou-clean"].value for level in (30, 127)}
    assert clean == pytest.approx({30: 0.962, 127: 0.962}, abs=5e-4)
