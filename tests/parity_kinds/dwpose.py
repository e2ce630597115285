"""DWPose on constant networks, its drawing, and the placement of five poses and of a condition video."""

import sys
from unittest import mock

import numpy as np
import torch
from crafters.preprocessors.pose.draw_pose import draw_pose
from crafters.preprocessors.pose.dwpose import DWPose, crop, crop_of_box, letterbox
from crafters.preprocessors.pose.keypoints import VISIBLE, Pose
from crafters.preprocessors.pose.placement import PUBLISHED, Placement, fit_placement, place_pose, place_video

CPU_ONLY = "DWPose's networks here are constants, and its drawings are NumPy's and OpenCV's."


def check(case):
    check_networks(case)
    with mock.patch.dict(sys.modules, {"onnxruntime": None}):  # none installed: by OpenCV
        check_networks(case)
    check_placement(case.tensors("alignment.safetensors"))


def check_networks(case):
    expected = case.expected
    dwpose = DWPose(case.folder / case.config["detector"], case.folder / case.config["pose"], provider="cpu")
    image = expected["image"].numpy()
    case.check("det_input", torch.from_numpy(letterbox(image)[0][..., ::16, ::16].copy()))
    boxes = dwpose.detect(image)
    case.check("boxes_xyxy", torch.from_numpy(boxes))
    crops = np.concatenate([crop(image, *crop_of_box(box)) for box in boxes])
    case.check("pose_inputs_sub", torch.from_numpy(crops[..., ::12, ::12].copy()))

    pose = dwpose(image)
    hands = np.concatenate([pose.left_hand, pose.right_hand])
    for name, points in (("faces", pose.face), ("hands", hands)):
        case.check(f"{name}_xy", torch.from_numpy(points[..., :2]))
        case.check(f"{name}_score", torch.from_numpy(points[..., 2]))
    case.check("body_xy", torch.from_numpy(pose.body[..., :2].reshape(-1, 2)))
    case.check("body_score", torch.from_numpy(pose.body[..., 2]))
    assert np.array_equal(expected["body_subset"].numpy() >= 0, pose.body[..., 2] > VISIBLE)
    compare_drawings(draw_pose(pose, *image.shape[1::-1]), expected["pose_image_chw"])


def check_placement(x):
    driving = [read_pose(x, f"drive_{i}") for i in range(sum(name.endswith("_faces") for name in x))]
    reference = Pose.empty()
    body = joined(x["ref_body_candidate"][None], x["ref_body_score"])
    reference = Pose(body, *(np.zeros((1, *part.shape[1:])) for part in reference.parts[1:]))
    source, target = ([int(side) for side in x[name].flip(0)] for name in ("frame_hw", "reference_hw"))

    placement = fit_placement(driving, reference, source, target, PUBLISHED)
    np.testing.assert_allclose(placement.scale, x["scale_xy"], rtol=1e-9)
    np.testing.assert_allclose(placement.bias, x["bias_xy"], rtol=1e-9, atol=1e-12)
    for pose, drawing in zip(driving, x["pose_video_nchw"], strict=True):
        compare_drawings(draw_pose(place_pose(pose, placement), *target), drawing)

    track = x["track_in"].permute(0, 2, 3, 1)
    size = track.shape[2], track.shape[1]
    placed = place_video(track, Placement(placement.scale, placement.bias, size, size))
    assert torch.equal(placed.permute(0, 3, 1, 2), x["track_aligned"])


def read_pose(x, name):
    hands = joined(x[f"{name}_hands"], x[f"{name}_hands_score"])
    body = joined(x[f"{name}_body_candidate"].reshape(-1, 18, 2), x[f"{name}_body_score"])
    return Pose(body, joined(x[f"{name}_faces"], x[f"{name}_faces_score"]), *np.split(hands, 2))


def joined(xy, score):
    return torch.cat([xy, score[..., None]], dim=-1).numpy()


def compare_drawings(actual, expected):
    """Other releases of OpenCV draw a few outlines differently: at most 0.5 % of the pixels may."""
    assert actual.shape == tuple(expected.permute(1, 2, 0).shape)
    differing = (actual != expected.permute(1, 2, 0).numpy()).any(axis=-1).mean()
    assert differing <= 0.005, f"{differing:.2%} of the pixels differ"
