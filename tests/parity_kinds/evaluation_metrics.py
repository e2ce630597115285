"""The formulas of the published evaluation scripts, fed with arrays."""

import numpy as np
import torch
from crafters.metrics.landmarks import hand_distance
from crafters.metrics.masks import extract_object, grey, iou, overlap
from crafters.metrics.similarity import consistency, cosine, frechet_distance

FP32_ONLY = "Metrics add up in float64, whatever features are in."


def check(case):
    x = case.inputs
    check_obj_iou(case, cases_of(x, "obj_iou"))
    check_obj_clip(case, cases_of(x, "obj_clip"))
    check_hand_lmd(case, cases_of(x, "hand_lmd"))
    check_consistency(case, cases_of(x, "consistency"))
    check_frechet(case, cases_of(x, "frechet"))
    check_extract_object(case, x["extract_object.frames_bgr"].numpy(), x["extract_object.masks_bgr"].numpy())
    faces = case.on_device({side: x[f"face_cos.{side}"] for side in ("frames", "reference")})
    expect(case, "face_cos.mean", cosine(faces["frames"], faces["reference"]).mean().item())


def cases_of(x, metric):
    """The inputs "METRIC.CASE.WHAT" as {case: {what: tensor}}."""
    cases = {}
    for name in x:
        if name.startswith(metric + "."):
            _, label, what = name.split(".")
            cases.setdefault(label, {})[what] = x[name]
    return cases


def expect(case, name, actual, expected=None):
    """Within the tolerance that the case gives for `name`."""
    expected = case.expected[name].numpy() if expected is None else expected
    allowed = case.config["tolerance"][name]
    limit = allowed.get("atol", 0) + allowed.get("rtol", 0) * np.abs(expected).max()
    error = np.abs(np.atleast_1d(np.asarray(actual, dtype=np.float64)) - expected).max()
    assert error <= limit, f"{name}: off by {error:.3g}, allowed {limit:.3g}"


def check_obj_iou(case, clips):
    found = {}
    for name, clip in clips.items():
        sides = [clip[side].numpy()[..., ::-1].copy() for side in ("reference_bgr", "generated_bgr")]
        found[name] = iou(*overlap(*map(grey, sides)))
    for name, value in found.items():
        expect(case, f"obj_iou.{name}", np.nan_to_num(value))  # alone, a clip without a product counts as 0
    expect(case, "obj_iou.mean_over_videos", np.nanmean(list(found.values())))


def check_obj_clip(case, clips):
    clips = {name: case.on_device(clip) for name, clip in clips.items()}
    means = {name: cosine(clip["reference"], clip["generated"]).mean().item() for name, clip in clips.items()}
    for name, mean in means.items():
        expect(case, f"obj_clip.{name}", mean)
    expect(case, "obj_clip.mean_over_videos", np.mean(list(means.values())))


def check_hand_lmd(case, frames):
    values = []
    for name, frame in frames.items():
        truth, result = (frame[side].numpy().reshape(-1, 21, 2) for side in ("gt", "result"))
        values.append(hand_distance(truth, result))
        assert np.isnan(values[-1]) == (name in case.config["hand_lmd_skipped_frames"]), name
        expect(case, f"hand_lmd.{name}", np.nan_to_num(values[-1], nan=-1))
    expect(case, "hand_lmd.mean", np.nanmean(values))


def check_consistency(case, clips):
    per_frame = [consistency(case.on_device(clips[name])["features"]).cpu() for name in sorted(clips)]
    for subject in ("subject", "background"):
        expect(case, f"consistency.{subject}.per_video", [frames.mean() for frames in per_frame])
        expect(case, f"consistency.{subject}.mean_over_frames", torch.cat(per_frame).mean())


def check_frechet(case, sets):
    # The case has no input for `identical`: a set against itself.
    sets = {**sets, "identical": dict.fromkeys("ab", sets["full_rank"]["a"])}
    for name, features in sets.items():
        features = case.on_device(features)
        for formula in ("clean_fid", "eigenvalue_form", "styleganv", "videogpt"):
            expect(case, f"frechet.{name}.{formula}", frechet_distance(features["a"], features["b"]))


def check_extract_object(case, frames, masks):
    for i, (frame, mask) in enumerate(zip(frames, grey(masks[..., ::-1].copy()), strict=True)):
        assert np.array_equal(extract_object(frame, mask), case.expected[f"extract_object.crop{i}_bgr"].numpy()), i
