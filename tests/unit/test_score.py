"""What the stages without weights find in synthetic scenes, beside the exact truth; margins under what was measured."""

import pytest
from crafters.demo.scenes.scene import make_scene
from crafters.demo.score import depth_correlation, find_conditions, joint_errors, score, sheet

pytestmark = pytest.mark.slow
PRESENTING = {
    "person IoU": 0.9, "product IoU": 0.93, "held IoU": 0.5, "hand IoU": 0.45, "depth correlation": 0.35,
}  # fmt: skip


def test_somebody_presenting():
    scene = make_scene(2, "test", (216, 384), 8)
    found = find_conditions(scene)
    scores = score(scene, found)
    for name, least in PRESENTING.items():
        assert scores[name] > least, f"{name}: {scores[name]:.3f}"
    assert scores["joints, px"] < 9 and scores["bones, °"] < 12
    assert scores["hand on product"] < 1e-3 and scores["depth level"] < 10
    assert sheet(scene, found, 3).shape == (2 * 384, 7 * 216, 3)
    assert joint_errors(scene, scene.motion) == (0.0, pytest.approx(0.0, abs=0.1))
    assert depth_correlation(scene, scene.object_depth) > 0.95


def test_somebody_moving():
    scene = make_scene(1, "test", (384, 216), 8, kind="wave")
    scores = score(scene, find_conditions(scene))
    assert scores["person IoU"] > 0.82
    assert scores["joints, px"] < 3 and scores["bones, °"] < 16
    assert scores["jitter after"] < scores["jitter before"]
    assert scores["hole PSNR"] > 27  # hardly more than filled smoothly: little of what he hides comes into sight here
