"""The small DWPose: its networks, targets, data and training; and the files that the demo comes with."""

import csv
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from crafters.cli.train import RECIPES
from crafters.preprocessors.pose.dwpose import DWPose, decode_boxes, decode_simcc, to_pose
from crafters.preprocessors.pose.keypoints import VISIBLE
from crafters.proof.small import pose_networks
from crafters.proof.small.pose import DetectorTask, PoseSettings, WholeBodyTask, cell_targets, simcc_error
from crafters.proof.small.pose_data import FACE, MIRRORED, Frame, PoseScenes, keypoints_of, mirror, vary
from crafters.proof.small.pose_networks import FINER_CELLS, PersonDetector, WholeBodyPose, write_onnx
from crafters.proof.small.pose_score import score_pose
from crafters.training.loop import train
from crafters.training.settings import Settings, Stage, read_settings

ROOT = Path(__file__).parents[3]
SMALL = ROOT / "proof" / "weights" / "crafters"
WIDTHS = (8, 8, 16, 16)
BOX = (20.0, 30.0, 100.0, 190.0)


def dotted_frame(seed: int = 0) -> Frame:
    """A bright rectangle for a person, each keypoint in it a dot of its own colour, and no two near each other."""
    draw = np.random.default_rng(seed)
    image = np.full((256, 192, 3), 128, np.uint8)
    image[30:190, 20:100] = (250, 240, 230)
    grid = np.stack(np.meshgrid(np.arange(23, 97, 8), np.arange(33, 187, 8)), -1).reshape(-1, 2)
    places = draw.permutation(grid)[:133]
    colours = np.column_stack([np.arange(133), 255 - np.arange(133), np.full(133, 40)])
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            image[places[:, 1] + dy, places[:, 0] + dx] = colours
    points = np.column_stack([places + 0.5, np.arange(133) % 3 > 0]).astype(np.float32)
    points[17:23] = (np.nan, np.nan, 0)
    return Frame(image, points, np.array(BOX))


@pytest.fixture
def scenes(tmp_path):
    """What `PoseScenes.render` would have left: one scene of two frames, a photo and an empty room, per split."""
    frames = [dotted_frame()] * 3
    nowhere = np.full((133, 3), (np.nan, np.nan, 0), np.float32)
    empty = Frame(np.full((256, 192, 3), 90, np.uint8), nowhere, np.full(4, np.nan))
    names = [f"train-{0:05d}-2.npz"] + [f"test-{seed:05d}-2.npz" for seed in range(6)]
    for name in names:
        images, points, boxes = (np.stack(x) for x in zip(*map(tuple_of, [*frames, empty]), strict=True))
        np.savez(tmp_path / name, images=images, points=points, boxes=boxes)
    return PoseSettings(tmp_path, WIDTHS, scenes=1, frames=2)


def tuple_of(frame: Frame) -> tuple[np.ndarray, ...]:
    return frame.image, frame.points, frame.box


@pytest.mark.parametrize(("halved", "precision"), [(math.inf, 2e-5), (pose_networks.HALVED, 2e-3)])
@pytest.mark.parametrize("network", [PersonDetector(), WholeBodyPose()], ids=["detector", "pose"])
def test_the_file_answers_as_the_network(network, halved, precision, tmp_path, monkeypatch):
    monkeypatch.setattr(pose_networks, "HALVED", halved)
    detector = isinstance(network, PersonDetector)
    size = (640, 640) if detector else (384, 288)
    pictures = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * (255 if detector else 3)
    network.train()
    with torch.no_grad():
        network.logits(pictures[..., ::2, ::2]) if not detector else network.cells(pictures[..., ::4, ::4])
    write_onnx(network, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    found = session.run(None, {session.get_inputs()[0].name: pictures.numpy()})
    with torch.no_grad():
        expected = network.eval()(pictures)
    for a, b in zip(found, (expected,) if detector else expected, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=precision * max(1, b.abs().max()))
    weights = sum(parameter.numel() for parameter in network.parameters())
    assert (tmp_path / "network.onnx").stat().st_size == pytest.approx(
        weights * (4 if halved == math.inf else 2), rel=0.2
    )


def test_dwpose_opens_both_files(tmp_path):
    write_onnx(PersonDetector(WIDTHS), tmp_path / "detector.onnx")
    write_onnx(WholeBodyPose(WIDTHS, blocks=1), tmp_path / "pose.onnx")
    pose = DWPose(tmp_path / "detector.onnx", tmp_path / "pose.onnx", "cpu")(dotted_frame().image)
    assert pose.people == 1  # untrained: the whole image is taken for one


def test_detector_targets_are_the_boxes_that_dwpose_decodes():
    boxes = torch.tensor([[100.0, 60.0, 420.0, 630.0], [0.0, 0.0, 90.0, 200.0], [float("nan")] * 4])
    target, objectness = cell_targets(boxes)
    assert objectness[2].max() == 0
    for box, cells, sure in zip(boxes[:2], target[:2], objectness[:2], strict=True):
        answer = np.zeros((8400, 85), np.float32)
        answer[FINER_CELLS:, :4], answer[FINER_CELLS:, 4], answer[FINER_CELLS:, 5] = cells, sure, 1
        np.testing.assert_allclose(decode_boxes(answer), box[None], atol=1e-3)
        best = sure.argmax().item()  # the cell in which the centre lies
        assert [best % 20, best // 20] == ((box[:2] + box[2:]) / 64).floor().int().tolist()


def test_simcc_target_is_the_place_that_dwpose_decodes():
    place = torch.tensor([[[10.3, 200.0], [287.0, 0.2]]])
    logits = [torch.zeros(1, 2, bins, requires_grad=True) for bins in (576, 768)]
    error = sum(simcc_error(guess, place[..., axis]).sum() for axis, guess in enumerate(logits))
    wanted = (1 - gradient[0].numpy() for gradient in torch.autograd.grad(error, logits))
    points = decode_simcc(*wanted)
    np.testing.assert_allclose(points[:, :2], place[0].numpy(), atol=0.26)


def test_keypoints_survive_openpose_order():
    points = np.random.default_rng(0).random((133, 3)) * (192, 256, 1)
    back = keypoints_of(to_pose(points[None] / (192, 256, 1)), 192, 256)
    known = np.r_[0:17, 23:133]
    np.testing.assert_allclose(back[known, :2], points[known, :2])
    np.testing.assert_allclose(back[known, 2], points[known, 2])
    assert np.isnan(back[17:23, :2]).all() and not back[17:23, 2].any()


def test_a_mirror_swaps_left_and_right():
    frame = dotted_frame()
    twice = mirror(mirror(frame))
    for before, after in zip(tuple_of(frame), tuple_of(twice), strict=True):
        np.testing.assert_array_equal(before, after)
    assert MIRRORED[9] == 10 and MIRRORED[91 + 4] == 112 + 4 and MIRRORED[FACE.start + 36] == FACE.start + 45
    moved = mirror(frame)
    np.testing.assert_allclose(moved.points[9, 0], 192 - frame.points[10, 0])
    np.testing.assert_allclose(moved.box, [92, 30, 172, 190])


def test_varied_frames_keep_keypoints_on_their_pixels(monkeypatch):
    from crafters.proof.small import pose_data

    monkeypatch.setattr(pose_data, "_recolour", lambda image, draw: image)
    frame = dotted_frame()
    sizes, mirrored = set(), 0
    for seed in range(20):
        varied = vary(frame, np.random.default_rng(seed))
        height, width = varied.image.shape[:2]
        sizes.add((height, width))
        shown = np.flatnonzero(varied.points[:, 2])
        column, row = varied.points[shown, :2].astype(int).T
        assert (column < width).all() and (row < height).all()
        colour = varied.image[row, column, 0]
        assert (colour == shown).all() or (colour == MIRRORED[shown]).all()
        mirrored += not (colour == shown).all()
        assert (varied.box >= 0).all() and (varied.box <= [width, height] * 2).all()
    assert len(sizes) > 5 and 4 < mirrored < 16


def test_samples_show_keypoints_where_they_say(scenes):
    sample = WholeBodyTask(scenes).sample(0, np.random.default_rng(1), 1)
    assert sample["image"].shape == (3, 192, 144) and not sample["weight"][17:23].any()
    assert 0 < sample["score"].mean() < 1 and (sample["weight"][sample["score"] == 0] <= 0.6).all()
    detector = DetectorTask(scenes)
    for index in range(len(detector)):
        sample = detector.sample(index, np.random.default_rng(index), 1)
        assert sample["image"].shape == (3, 160, 160)
        assert sample["box"].isnan().any() == (index == 3)  # the empty room


@pytest.mark.slow
@pytest.mark.parametrize("task", [DetectorTask, WholeBodyTask])
def test_training_learns_and_writes_the_file(task, scenes, tmp_path):
    settings = Settings((Stage(steps=60, batch=4),), learning_rate=1e-2, clip_norm=5, log_every=15, preview_every=60)
    assert train(task(scenes), settings, tmp_path / "out") == 60
    with (tmp_path / "out" / "log.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.9 * losses[0]
    assert (tmp_path / "out" / "export" / task.file_name).is_file()
    assert list((tmp_path / "out" / "previews").glob("*found.png"))


@pytest.mark.parametrize("name", ["yolox-small", "dwpose-small"])
def test_recipes_are_valid(name):
    settings, task = read_settings(RECIPES[f"{name}.yaml"], ["task.data=clips"], PoseSettings)
    assert settings.steps and task.data == Path("clips")


@pytest.mark.slow
def test_shipped_networks_find_held_out_people(tmp_path):
    """The demo's files, through the pack's own DWPose, on scenes that they were not trained on."""
    scenes = PoseScenes(tmp_path, "test", 6, 2)
    scenes.render()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    scenes.render()
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}  # nothing is rendered twice
    frames = [scenes[index] for index in range(len(scenes))]
    for frame in frames:
        seen = frame.points[frame.points[:, 2] > VISIBLE, :2]
        assert not len(seen) or ((seen > frame.box[:2] - 3) & (seen < frame.box[2:] + 3)).all()

    score = score_pose(DWPose(SMALL / "yolox_small.onnx", SMALL / "dwpose_small.onnx", "cpu"), frames)
    assert score["detected"] > 0.95
    assert score["body"] < 1.6 and score["face"] < 0.9
    assert score["missed"] < 0.1
