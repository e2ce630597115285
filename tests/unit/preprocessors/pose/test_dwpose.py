import logging
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from crafters.preprocessors.pose.dwpose import DWPose, crop, crop_of_box, decode_boxes, decode_simcc, letterbox, to_pose

GRIDS = [(8, 80), (16, 40), (32, 20)]  # stride, cells per side


def constant_network(path, size, outputs):
    """An ONNX file with DWPose's kind of input that answers `outputs` (name: array) whatever it sees."""
    helper = pytest.importorskip("onnx").helper
    from onnx import TensorProto, numpy_helper, save

    given = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size])]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in outputs.items()]
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(x.astype(np.float32)))
        for name, x in outputs.items()
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", given, results), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    save(model, path)
    return path


def raw_boxes(*boxes):
    """YOLOX output [8400,85] with (x1, y1, x2, y2, objectness, person, other) put into cells of changing stride."""
    output = np.zeros((8400, 85), np.float32)
    output[:, 2:4] = 1
    for i, (x1, y1, x2, y2, objectness, person, other) in enumerate(boxes):
        level = i % 3
        stride, cells = GRIDS[level]
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        # Any cell may speak for any box; the remainder goes into the offset.
        column, row = 3 + i, 5
        index = sum(n * n for _, n in GRIDS[:level]) + row * cells + column
        extent = np.log([(x2 - x1) / stride, (y2 - y1) / stride])
        output[index, :7] = [cx / stride - column, cy / stride - row, *extent, objectness, person, other]
    return output


def simcc(points):
    """Pose network outputs [1,K,576], [1,K,768] from (x bin, y bin, x score, y score)."""
    x, y = np.zeros((1, 133, 576)), np.zeros((1, 133, 768))
    for k, (at_x, at_y, score_x, score_y) in enumerate(points):
        x[0, k, at_x], y[0, k, at_y] = score_x, score_y
    return {"simcc_x": x, "simcc_y": y}


@pytest.fixture(params=["onnxruntime", "OpenCV"])
def networks(tmp_path, request, monkeypatch):
    if request.param == "OpenCV":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    detector = constant_network(tmp_path / "detector.onnx", (640, 640), {"output": np.zeros((1, 8400, 85))})
    points = simcc([(2 * k, 3 * k, 0.9, 0.8) for k in range(133)])
    return detector, constant_network(tmp_path / "pose.onnx", (384, 288), points)


def test_boxes_are_decoded_scored_and_suppressed():
    output = raw_boxes(
        (100, 100, 200, 300, 0.8, 0.9, 0.0),
        (104, 100, 204, 300, 0.9, 0.9, 0.0),  # nearly the same box, surer
        (300, 100, 400, 300, 0.6, 0.6, 0.0),
        (100, 400, 200, 600, 0.5, 0.5, 0.9),  # 0.25: not sure enough
        (-20, 320, 80, 660, 0.9, 0.5, 0.0),  # beyond the edges
    )
    boxes = decode_boxes(output)
    np.testing.assert_allclose(boxes, [[104, 100, 204, 300], [-20, 320, 80, 660], [300, 100, 400, 300]], atol=1e-3)


def test_overlap_counts_end_pixels():
    wide = raw_boxes((0, 0, 20, 20, 1, 0.9, 0), (11, 0, 31, 20, 1, 0.8, 0))
    assert len(decode_boxes(wide)) == 2  # 10 of 32 columns in common
    # Half of one column in common: 1.5 of 2.5 columns with end pixels, a third without.
    narrow = raw_boxes((0, 0, 1, 9, 1, 0.9, 0), (0.5, 0, 1.5, 9, 1, 0.8, 0))
    assert len(decode_boxes(narrow)) == 1


def test_letterbox():
    image = np.full((100, 300, 3), 7, np.uint8)
    network_input, ratio = letterbox(image)
    assert network_input.shape == (1, 3, 640, 640) and network_input.dtype == np.float32
    assert ratio == pytest.approx(640 / 300)
    assert (network_input[0, :, :213] == 7).all() and (network_input[0, :, 213:] == 114).all()


def test_crop_keeps_the_aspect_and_blackens_the_outside():
    center, extent = crop_of_box(np.array([10.0, 20.0, 50.0, 60.0]))
    assert center.tolist() == [30, 40] and extent.tolist() == [50, 50 / 0.75]
    assert crop_of_box(np.array([0.0, 0.0, 10.0, 400.0]))[1].tolist() == [375, 500]
    image = np.full((200, 100, 3), (255, 0, 128), np.uint8)
    patch = crop(image, np.array([0.0, 100.0]), np.array([144.0, 192.0]))  # twice as large, left half outside
    assert patch.shape == (1, 3, 384, 288)
    inside, outside = patch[0, :, 192, 216], patch[0, :, 192, 72]
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    np.testing.assert_allclose(inside, (np.array([255, 0, 128]) - mean) / std, rtol=1e-5)
    np.testing.assert_allclose(outside, -mean / std, rtol=1e-5)


def test_simcc_scores_and_missing_points():
    outputs = simcc([(7, 9, 0.4, 0.6), (100, 200, 1.5, 1.3)])
    points = decode_simcc(outputs["simcc_x"][0], outputs["simcc_y"][0])
    assert points[0].tolist() == [3.5, 4.5, 0.4] and points[1].tolist() == [50, 100, 1.3]
    assert points[2].tolist() == [-0.5, -0.5, 0]


def test_order_of_points():
    points = np.zeros((1, 133, 3))
    points[0, :, 0] = np.arange(133)
    points[0, :, 2] = 0.9
    pose = to_pose(points)
    assert pose.body[0, :, 0].tolist() == [0, 5.5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    assert pose.face[0, :, 0].tolist() == list(range(23, 91))
    assert pose.left_hand[0, :, 0].tolist() == list(range(91, 112))
    assert pose.right_hand[0, :, 0].tolist() == list(range(112, 133))
    assert pose.body[0, 1, 2] == 1
    points[0, 5, 2] = 0.3
    assert to_pose(points).body[0, 1, 2] == 0


def test_without_a_detection_the_whole_image_is_the_person(networks):
    pose = DWPose(*networks)(np.zeros((480, 640, 3), np.uint8))
    assert pose.people == 1
    # The box of the image, a quarter larger, grown to 3:4: 800 x 1066.7 around (320, 240).
    bins = np.array([2 * 60, 3 * 60])
    expected = (bins / 2 / (288, 384) * (800, 3200 / 3) + (320 - 400, 240 - 1600 / 3)) / (640, 480)
    np.testing.assert_allclose(pose.face[0, 60 - 23, :2], expected)
    assert pose.face[0, 60 - 23, 2] == pytest.approx(0.8)


def test_several_people(networks, tmp_path):
    boxes = raw_boxes((100, 100, 200, 300, 1, 0.7, 0), (300, 100, 400, 300, 1, 0.9, 0))
    detector = constant_network(tmp_path / "two.onnx", (640, 640), {"output": boxes[None]})
    dwpose = DWPose(detector, networks[1])
    image = np.zeros((640, 640, 3), np.uint8)
    np.testing.assert_allclose(dwpose.detect(image), [[300, 100, 400, 300], [100, 100, 200, 300]], atol=1e-3)
    pose = dwpose(image)
    shift = pose.parts[1][0, :, :2] - pose.parts[1][1, :, :2]
    np.testing.assert_allclose(shift * 640, np.broadcast_to([200, 0], shift.shape), atol=1e-3)


def test_bad_files(networks, tmp_path):
    detector, pose = networks
    with pytest.raises(FileNotFoundError, match=r"person detector .*gone\.onnx does not exist"):
        DWPose(tmp_path / "gone.onnx", pose)
    text = tmp_path / "text.onnx"
    text.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"text\.onnx cannot be read as an ONNX network"):
        DWPose(text, pose)
    text.write_bytes(b"")
    with pytest.raises(ValueError, match=r"text\.onnx"):
        DWPose(detector, text)
    with pytest.raises(ValueError, match=r"pose\.onnx is not a person detector"):
        DWPose(pose, detector)
    with pytest.raises(ValueError, match=r"detector\.onnx is not a pose network"):
        DWPose(detector, detector)
    with pytest.raises(ValueError, match="provider must be auto or cpu"):
        DWPose(detector, pose, provider="gpu")


def test_cpu_beside_a_gpu_is_told(networks, monkeypatch, caplog):
    runs_on = "CPUExecutionProvider" if sys.modules["onnxruntime"] else "OpenCV"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with caplog.at_level(logging.WARNING):
        assert DWPose(*networks, provider="cpu").provider == runs_on
        assert not caplog.records
        assert DWPose(*networks).provider == runs_on
    assert "onnxruntime-gpu" in caplog.text


class Painted:
    """In the place of both networks: a person is a coloured box on grey; counts what it is asked."""

    colours = (255, 0, 0), (0, 255, 0)

    def __init__(self, networks, batches=False):
        self.dwpose, self.asked, self.batches = DWPose(*networks), 0, []
        self.dwpose._detector, self.dwpose._pose, self.dwpose._batches = self.detector, self.pose, batches

    def detector(self, batch):
        self.asked += 1
        shown = [seen_box(batch[0], colour) for colour in self.colours]
        return [raw_boxes(*((*box, 1, 0.9, 0) for box in shown if box is not None))[None]]

    def pose(self, batch):
        """Points spread over the box that is nearest to the crop's middle."""
        self.batches.append(len(batch))
        mean, std = (np.array(of)[:, None, None] for of in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
        answers = []
        for patch in batch:
            boxes = [np.array(box) for colour in self.colours if (box := seen_box(patch * std + mean, colour))]
            if not boxes:
                answers.append(simcc([]))
                continue
            box = min(boxes, key=lambda box: np.abs(box[:2] + box[2:] - (288, 384)).sum())
            at = (box[:2] + (box[2:] - box[:2]) * (k * 7 % 13 / 12, k * 5 % 11 / 10) for k in range(133))
            answers.append(simcc([(min(int(2 * x), 575), min(int(2 * y), 767), 0.9, 0.9) for x, y in at]))
        return [np.concatenate([answer[name] for answer in answers]) for name in ("simcc_x", "simcc_y")]


def seen_box(planes, colour):
    """Of a box of that colour in planes [3,H,W]."""
    there = (np.abs(planes - np.array(colour)[:, None, None]) < 60).all(0)
    if not there.any():
        return None
    (y1, y2), (x1, x2) = ((at.nonzero()[0].min(), at.nonzero()[0].max() + 1) for at in (there.any(1), there.any(0)))
    return x1, y1, x2, y2


def picture(*people, grey=90):
    image = np.full((240, 320, 3), grey, np.uint8)
    for (x, y), colour in zip(people, Painted.colours, strict=False):
        image[y : y + 100, x : x + 40] = colour
    return image


def alike(found, wanted, pixels):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.people == other.people
        np.testing.assert_allclose(one.body[..., :2] * (320, 240), other.body[..., :2] * (320, 240), atol=pixels)


@pytest.mark.parametrize("batches", [False, True])
def test_the_detector_looks_at_every_fifth_frame(networks, batches):
    seen = Painted(networks, batches)
    clip = [picture((100 + t // 2, 80), (230, 80 + t)) for t in range(12)]
    each = [seen.dwpose(image) for image in clip]
    assert seen.asked == 12
    seen.asked, seen.batches = 0, []
    alike([*seen.dwpose.follow(clip)], each, 0)
    assert seen.asked == 12 and set(seen.batches) == {1}
    seen.asked, seen.batches = 0, []
    alike([*seen.dwpose.follow(iter(clip), 5)], each, 1.5)
    assert seen.asked == 3 and seen.batches == ([5, 5, 5, 5, 2, 2] if batches else [1] * 24)


@pytest.mark.parametrize(
    ("clip", "asked"),
    [
        # The picture is cut before frame 2, and somebody stands where the first one was.
        ([picture((100, 80))] * 2 + [picture((110, 90), grey=170)] * 3, 2),
        # Somebody is gone from their place without a cut; then comes frame 3 with the three behind.
        ([picture((60, 80))] * 3 + [picture((200, 80))] * 5, 2),
        ([picture((100, 80), (120, 100))] * 5, 5),  # one before the other
        ([picture()] * 5, 5),  # nobody: the whole picture is taken for one
        ([picture((100 + 3 * t, 80)) for t in range(5)], 3),  # walks on, out of the box
    ],
)
def test_the_detector_looks_again_where_boxes_do_not_hold(networks, clip, asked):
    seen = Painted(networks)
    each = [seen.dwpose(image) for image in clip]
    seen.asked = 0
    alike([*seen.dwpose.follow(clip, 5)], each, 1.5)
    assert seen.asked == asked
