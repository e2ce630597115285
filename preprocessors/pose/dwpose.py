"""DWPose: whole-body keypoints of every person in an image (a YOLOX person detector, then a SimCC pose network)."""

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, combinations, islice, pairwise
from pathlib import Path

import numpy as np
import torch

from ...files.bounded import RefusedError, brief
from .keypoints import VISIBLE, Pose

DETECTOR_SIDE = 640
PERSON_SCORE = 0.3
NMS_IOU = 0.45
STRIDES = (8, 16, 32)
POSE_SIZE = np.array([288, 384])  # width, height
BOX_MARGIN = 1.25
# When the boxes of the frame before no longer hold: of a box's size, how far a joint may leave it; of the score at the
# detection, what less of is somebody lost; levels by which a small grey picture changes at a cut.
LEFT, LOST, CUT, THUMBNAIL = 0.1, 0.7, 20, (32, 32)
SIMCC_SPLIT = 2  # SimCC bins per pixel of the pose network's input
MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])
# OpenPose's 18 joints among the 133 points of COCO-WholeBody; the neck (1) is made from the shoulders.
NECK, SHOULDERS = 1, [5, 6]
BODY = [0, 0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
FACE, LEFT_HAND, RIGHT_HAND = slice(23, 91), slice(91, 112), slice(112, 133)
# Best first; what the installed onnxruntime lacks is passed over.
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
PROVIDERS = (CUDA, "ROCMExecutionProvider", "DmlExecutionProvider", CPU)
OPENCV = "OpenCV"  # on the CPU; where there is no onnxruntime

Network = Callable[[np.ndarray], list[np.ndarray]]  # a batch of pictures to its outputs


class DWPose:
    """`DWPose(detector, pose)(image)` finds all people in one image.

    The files are the published `yolox_l.onnx` and `dw-ll_ucoco_384.onnx`, or networks with their signatures.
    `provider` "auto" takes the best execution provider that the installed onnxruntime has, "cpu" the processor; without
    any onnxruntime OpenCV runs them. The attribute `provider` tells what does: a provider's name, or `OPENCV`.
    Raises FileNotFoundError, or ValueError naming a file that is not such a network.
    """

    def __init__(self, detector_path: str | Path, pose_path: str | Path, provider: str = "auto"):
        if provider not in ("auto", "cpu"):
            raise ValueError(f"DWPose: provider must be auto or cpu, not {provider!r}.")
        side, (width, height) = DETECTOR_SIDE, POSE_SIZE.tolist()
        simcc = [(133, SIMCC_SPLIT * width), (133, SIMCC_SPLIT * height)]
        self._detector, *_ = _open(detector_path, provider, "person detector", (3, side, side), [(8400, 85)])
        self._pose, self.provider, self._batches = _open(pose_path, provider, "pose network", (3, height, width), simcc)
        if provider == "auto" and self.provider in (CPU, OPENCV) and torch.cuda.is_available():
            logging.getLogger(__name__).warning(
                "DWPose runs on the CPU although there is a GPU, which takes seconds per frame: install "
                "onnxruntime-gpu for your CUDA version, in place of onnxruntime where that is installed."
            )

    def __call__(self, image: np.ndarray) -> Pose:
        """All people in `image`, uint8 RGB [H,W,3]; where no person is detected the whole image is taken for one."""
        return next(self.follow([image]))

    def follow(self, images: Iterable[np.ndarray], every: int = 1) -> Iterator[Pose]:
        """As `__call__` of successive images of a clip, of which the detector sees every `every`-th.

        Between, each person is looked for in the box that they had there; the detector is asked anew as soon as the
        picture is cut, somebody leaves the box or is lost, and in every frame while boxes overlap or nobody is found.
        The images that share boxes go through the pose network together, where its file allows that.
        """
        images = iter(images)
        waiting = list(islice(images, every))
        while waiting:
            height, width = waiting[0].shape[:2]
            boxes = self.detect(waiting[0])
            alike = _until_a_cut(waiting) if len(boxes) and not _overlap(boxes) else 1
            if not len(boxes):
                boxes = np.array([[0.0, 0.0, width, height]])
            points = self._find_points(waiting[:alike], boxes)
            held = 1 + next((i for i, now in enumerate(points[1:]) if not _hold(boxes, points[0], now)), alike - 1)
            yield from (to_pose(one / (width, height, 1)) for one in points[:held])
            waiting = waiting[held:] + list(islice(images, held))

    def detect(self, image: np.ndarray) -> np.ndarray:
        """The people's boxes, float [P,4] x1 y1 x2 y2 in pixels, surest first; they may reach beyond the image."""
        network_input, ratio = letterbox(image)
        return decode_boxes(self._detector(network_input)[0][0]) / ratio

    def _find_points(self, images: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """[F,P,133,3]: x, y in pixels and score, in each of the images in each of the boxes."""
        found, crops = np.empty((len(boxes), len(images), 133, 3)), [crop_of_box(box) for box in boxes]
        at_once = len(images) if self._batches else 1
        for person, (center, extent) in enumerate(crops):
            for first in range(0, len(images), at_once):
                some = images[first : first + at_once]
                simcc = self._pose(np.concatenate([crop(image, center, extent) for image in some]))
                found[person, first : first + at_once] = [decode_simcc(*each) for each in zip(*simcc, strict=True)]
            found[person, ..., :2] = found[person, ..., :2] / POSE_SIZE * extent + center - extent / 2
        return found.swapaxes(0, 1)


def letterbox(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The detector's input, float32 [1,3,640,640] in 0..255, and the factor by which the image was resized.

    The image lies in the upper left corner on grey. RGB is kept, as published.
    """
    import cv2

    height, width = image.shape[:2]
    ratio = DETECTOR_SIDE / max(height, width)
    resized = cv2.resize(image, (int(width * ratio), int(height * ratio)), interpolation=cv2.INTER_LINEAR)
    padded = np.full((DETECTOR_SIDE, DETECTOR_SIDE, 3), 114, dtype=np.uint8)
    padded[: resized.shape[0], : resized.shape[1]] = resized
    return _to_batch(padded), ratio


def decode_boxes(output: np.ndarray) -> np.ndarray:
    """People's boxes [P,4] x1 y1 x2 y2 in pixels of the detector's input, from its raw output [8400,85]."""
    # Objectness x class 0 of COCO, a person. Weaker boxes cannot suppress stronger ones, so they leave first.
    score = output[:, 4] * output[:, 5]
    keep = score > PERSON_SCORE
    rows = []
    for stride in STRIDES:
        y, x = np.indices((DETECTOR_SIDE // stride,) * 2)
        rows.append(np.stack([x, y, np.full_like(x, stride)], axis=-1).reshape(-1, 3))
    cell, stride = np.split(np.concatenate(rows)[keep], [2], axis=1)
    center = (output[keep, :2] + cell) * stride
    half = np.exp(output[keep, 2:4]) * stride / 2
    boxes = np.concatenate([center - half, center + half], axis=1)
    return boxes[_suppress_overlaps(boxes, score[keep])]


def _suppress_overlaps(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Greedy non-maximum suppression, surest first; a side counts both of its end pixels (+1), as published."""
    x1, y1, x2, y2 = boxes.T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    order, kept = scores.argsort()[::-1], []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + 1
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + 1
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        order = rest[overlap / (area[best] + area[rest] - overlap) <= NMS_IOU]
    return kept


def _until_a_cut(images: list[np.ndarray]) -> int:
    """How many of the images come before a cut."""
    import cv2

    small = [cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA).mean(-1) for image in images]
    changes = (np.abs(after - before).mean() for before, after in pairwise(small))
    return 1 + next((i for i, change in enumerate(changes) if change > CUT), len(images) - 1)


def _overlap(boxes: np.ndarray) -> bool:
    return any((np.maximum(a[:2], b[:2]) < np.minimum(a[2:], b[2:])).all() for a, b in combinations(boxes, 2))


def _hold(boxes: np.ndarray, before: np.ndarray, now: np.ndarray) -> bool:
    """Whether people's points [P,133,3] in boxes [P,4] are still those of whom the boxes were found around."""
    for (low, high), old, new in zip(boxes.reshape(-1, 2, 2), before[:, BODY], now[:, BODY], strict=True):
        if new[:, 2].mean() < LOST * old[:, 2].mean():
            return False
        # Of what was seen, as far as it was seen: feet may lie beyond the box from the beginning.
        extents = [of[of[:, 2] > VISIBLE, :2] for of in (old, new)]
        if not len(extents[1]):
            return False
        reach = LEFT * (high - low)
        low, high = (edge(np.concatenate([extents[0], [low, high]]), 0) for edge in (np.min, np.max))
        if (extents[1] < low - reach).any() or (extents[1] > high + reach).any():
            return False
    return True


def crop_of_box(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and (width, height) of the crop for a box: a quarter larger, then grown to the network's 3:4."""
    width, height = (box[2:] - box[:2]) * BOX_MARGIN
    aspect = POSE_SIZE[0] / POSE_SIZE[1]
    return (box[:2] + box[2:]) / 2, np.array([max(width, height * aspect), max(height, width / aspect)])


def crop(image: np.ndarray, center: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """The pose network's input, float32 [1,3,384,288], normalised; outside the image it is black before that."""
    import cv2

    zoom = POSE_SIZE[0] / extent[0]
    matrix = np.column_stack([zoom * np.eye(2), POSE_SIZE / 2 - zoom * center])
    patch = cv2.warpAffine(image, matrix, POSE_SIZE.tolist(), flags=cv2.INTER_LINEAR)
    return _to_batch((patch - MEAN) / STD)


def decode_simcc(simcc_x: np.ndarray, simcc_y: np.ndarray) -> np.ndarray:
    """[K,3] x, y in pixels of the network's input and score, from [K,576] and [K,768]."""
    score = np.minimum(simcc_x.max(axis=1), simcc_y.max(axis=1))
    location = np.stack([simcc_x.argmax(axis=1), simcc_y.argmax(axis=1)], axis=1)
    location[score <= 0] = -1
    return np.column_stack([location / SIMCC_SPLIT, score])


def to_pose(points: np.ndarray) -> Pose:
    """[P,133,3] of COCO-WholeBody in OpenPose's order. The neck lies between the shoulders; the feet are dropped."""
    body = points[:, BODY]
    shoulders = points[:, SHOULDERS]
    body[:, NECK, :2] = shoulders[:, :, :2].mean(axis=1)
    body[:, NECK, 2] = (shoulders[:, :, 2] > VISIBLE).all(axis=1)
    return Pose(body, points[:, FACE], points[:, LEFT_HAND], points[:, RIGHT_HAND])


def _to_batch(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)


def _open(
    path: str | Path, provider: str, role: str, input_shape: tuple, output_shapes: list[tuple]
) -> tuple[Network, str, bool]:
    """The network whose input and outputs have these shapes behind the batch dimension, what it runs on, and whether it
    takes batches."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"DWPose: the {role} {path} does not exist.")
    try:
        try:
            network, shapes, runs_on = _by_onnxruntime(path, provider)
        except ImportError:
            network, shapes, runs_on = _by_opencv(path, input_shape)
    except Exception as error:  # both have many kinds of their own
        raise RefusedError(
            f"DWPose: {path.name} cannot be read as an ONNX network ({brief(error)}): download it again."
        ) from error

    if not (_agree(shapes[0], [input_shape]) and _agree(shapes[1], output_shapes)):
        raise RefusedError(
            f"DWPose: {path.name} is not a {role}, which takes N x {input_shape} and gives N x {output_shapes}: it has "
            f"{shapes[0]} and {shapes[1]}, so choose another."
        )
    return network, runs_on, not any(isinstance(shape[0], int) for shape in chain(*shapes))


def _by_onnxruntime(path: Path, provider: str) -> tuple[Network, list, str]:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    providers = [p for p in PROVIDERS if p in available] if provider == "auto" else [CPU]
    if CUDA in providers and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA's libraries where torch brought them
    session = onnxruntime.InferenceSession(str(path), providers=providers)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shapes = [[node.shape for node in nodes] for nodes in (inputs, outputs)]
    return lambda batch: session.run(None, {inputs[0].name: batch}), shapes, session.get_providers()[0]


def _by_opencv(path: Path, input_shape: tuple) -> tuple[Network, list, str]:
    """Of a network that OpenCV reads, only a run tells the shapes: that it takes the input's is shown by that."""
    import cv2

    content = path.read_bytes()
    if b"location" in content:  # the key of weights in another file, to which OpenCV would go wherever it lies
        raise RefusedError("its weights lie in other files")
    network = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
    names = network.getUnconnectedOutLayersNames()

    def run(batch: np.ndarray) -> list[np.ndarray]:
        network.setInput(batch)
        return list(network.forward(names))

    answers = run(np.zeros((1, *input_shape), np.float32))
    return run, [[[1, *input_shape]], [list(answer.shape) for answer in answers]], OPENCV


def _agree(found: list[list[int | str | None]], expected: list[tuple]) -> bool:
    """Whether the shapes match behind the batch dimension; a size that the file leaves open matches any."""
    return len(found) == len(expected) and all(
        len(f) == len(e) + 1 and all(not isinstance(a, int) or a == b for a, b in zip(f[1:], e, strict=True))
        for f, e in zip(found, expected, strict=True)
    )
