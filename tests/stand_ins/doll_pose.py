"""Networks with DWPose's signatures that see the doll of `figure`: they find its coloured pins instead of a person.

They let the demo run the pack's own pose stage, unchanged, where the DWPose weights are absent.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .figure import PIN_COLOURS

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

MEAN = np.array([123.675, 116.28, 103.53])  # of the pose network's input, RGB
STD = np.array([58.395, 57.12, 57.375])
TOLERANCE = 36.0  # standard deviation of a pin's colour, in RGB levels: compression and resizing blur it
KEYPOINTS = 133  # COCO-WholeBody; the body's 17 come first
WIDTH, HEIGHT = 288, 384
DETECTOR_SIZE = 640
Shapes = dict[str, list[int]]


def write_doll_pose(folder: str | Path) -> dict[str, Path]:
    """Write doll_detector.onnx and doll_pose.onnx into `folder`; returns {"detector": path, "pose": path}.

    - doll_detector.onnx: images [1, 3, 640, 640], RGB 0..255 -> output [1, 8400, 85] in YOLOX's raw units. The first
      cell holds the box around all pins; without any its score, like every other cell's, is 0.
    - doll_pose.onnx: input [1, 3, 384, 288], RGB normalised by ImageNet's mean and deviation -> simcc_x [1, 133, 576],
      simcc_y [1, 133, 768]. A row's maximum, 0..1, is the keypoint's score, and its index twice the pixel. Seen are
      the 17 body keypoints only; those of feet, face and hands score 0.

    Raises RuntimeError if the onnx package is missing.
    """
    try:
        import onnx
        from onnx import helper
    except ImportError as error:
        raise RuntimeError("Writing the doll's pose networks needs the onnx package: pip install onnx.") from error

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, graph in (("detector", _detector()), ("pose", _pose())):
        # Old versions of both, so that any ONNX Runtime in use reads the files.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        paths[name] = folder / f"doll_{name}.onnx"
        onnx.save(model, str(paths[name]))
    return paths


def _graph(
    name: str, nodes: list["NodeProto"], inputs: Shapes, outputs: Shapes, constants: dict[str, np.ndarray]
) -> "GraphProto":
    from onnx import TensorProto, helper, numpy_helper

    def values(shapes: Shapes) -> list:
        return [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in shapes.items()]

    tensors = [numpy_helper.from_array(array, key) for key, array in constants.items()]
    return helper.make_graph(nodes, name, values(inputs), values(outputs), tensors)


def _pin_map(
    image: str, mean: np.ndarray, std: np.ndarray, pooling: tuple[int, ...]
) -> tuple[list["NodeProto"], dict[str, np.ndarray]]:
    """Nodes and constants from `image` (RGB, normalised) to "map" [1, 17, H, W], about 1 at the middle of each pin."""
    from onnx import helper

    # -|rgb - pin|^2 / (2 tolerance^2), with rgb = std x + mean, is linear in [x, x^2].
    pins = (np.array(list(PIN_COLOURS.values())) - mean) / std  # [17, 3]
    weight = std**2 / (2 * TOLERANCE**2)
    factors = np.concatenate([2 * weight * pins, np.broadcast_to(-weight, pins.shape)], 1)
    constants = {
        "colour_weight": factors[..., None, None].astype(np.float32),
        "colour_bias": -(weight * pins**2).sum(1).astype(np.float32),
    }
    nodes = [
        helper.make_node("Mul", [image, image], ["squared"]),
        helper.make_node("Concat", [image, "squared"], ["features"], axis=1),
        helper.make_node("Conv", ["features", "colour_weight", "colour_bias"], ["exponent"]),
        helper.make_node("Exp", ["exponent"], ["likelihood"]),
    ]
    for index, size in enumerate(pooling):
        nodes.append(
            helper.make_node("AveragePool", [nodes[-1].output[0]], [f"pooled_{index}"], kernel_shape=[size, size],
                             pads=[size // 2] * 4, count_include_pad=1)
        )
    nodes[-1].output[0] = "map"
    return nodes, constants


def _detector() -> "GraphProto":
    from onnx import TensorProto, helper

    make = helper.make_node
    nodes, constants = _pin_map("images", np.zeros(3), np.ones(3), pooling=(3,))
    constants |= {
        "threshold": np.array(0.5, np.float32),
        "index": np.arange(DETECTOR_SIZE, dtype=np.float32)[None],
        "reverse_index": np.arange(DETECTOR_SIZE - 1, -1, -1, dtype=np.float32)[None],
        "last": np.array(DETECTOR_SIZE - 1, np.float32),
        "stride": np.array(8, np.float32),
        "twice_stride": np.array(16, np.float32),
        "padding": np.array([0, 0, 0, 0, 8400 - 1, 85 - 6], np.int64),
    }
    for axis, reduced in (("x", [1, 2]), ("y", [1, 3])):
        nodes += [
            make("ReduceMax", ["map"], [f"profile_{axis}"], axes=reduced, keepdims=0),  # [1, 640]
            make("Greater", [f"profile_{axis}", "threshold"], [f"is_pin_{axis}"]),
            make("Cast", [f"is_pin_{axis}"], [f"pin_{axis}"], to=TensorProto.FLOAT),
            make("Mul", [f"pin_{axis}", "index"], [f"indices_{axis}"]),
            make("ReduceMax", [f"indices_{axis}"], [f"high_{axis}"], axes=[1]),  # [1, 1]
            make("Mul", [f"pin_{axis}", "reverse_index"], [f"reverse_indices_{axis}"]),
            make("ReduceMax", [f"reverse_indices_{axis}"], [f"reverse_low_{axis}"], axes=[1]),
            make("Sub", ["last", f"reverse_low_{axis}"], [f"low_{axis}"]),
            # YOLOX's first cell: centre = 8 output, size = 8 exp(output).
            make("Add", [f"low_{axis}", f"high_{axis}"], [f"sum_{axis}"]),
            make("Div", [f"sum_{axis}", "twice_stride"], [f"cell_{axis}"]),
            make("Sub", [f"high_{axis}", f"low_{axis}"], [f"difference_{axis}"]),
            make("Max", [f"difference_{axis}", "stride"], [f"extent_{axis}"]),
            make("Div", [f"extent_{axis}", "stride"], [f"cells_{axis}"]),
            make("Log", [f"cells_{axis}"], [f"log_{axis}"]),
        ]
    constants["axis"] = np.array([1], np.int64)
    nodes += [
        make("ReduceMax", ["pin_x"], ["score"], axes=[1]),
        make("Concat", ["cell_x", "cell_y", "log_x", "log_y", "score", "score"], ["row"], axis=1),  # [1, 6]
        make("Unsqueeze", ["row", "axis"], ["box"]),
        make("Pad", ["box", "padding"], ["output"]),
    ]
    shape = [1, 3, DETECTOR_SIZE, DETECTOR_SIZE]
    return _graph("doll_detector", nodes, {"images": shape}, {"output": [1, 8400, 85]}, constants)


def _pose() -> "GraphProto":
    from onnx import helper

    make = helper.make_node
    # Averaged twice: a single mean has a flat top, whose first maximum would be off the centre.
    nodes, constants = _pin_map("input", MEAN, STD, pooling=(7, 3))
    pins = len(PIN_COLOURS)
    constants["padding"] = np.array([0, 0, 0, 0, KEYPOINTS - pins, 0], np.int64)
    for axis, reduced, size in (("x", 2, WIDTH), ("y", 3, HEIGHT)):
        constants[f"size_{axis}"] = np.array([1, pins, 2 * size], np.int64)
        nodes += [
            make("ReduceMax", ["map"], [f"profile_{axis}"], axes=[reduced], keepdims=0),
            # "asymmetric" puts pixel i at 2i, where SimCC decoding expects it.
            make("Resize", [f"profile_{axis}", "", "", f"size_{axis}"], [f"fine_{axis}"], mode="linear",
                 coordinate_transformation_mode="asymmetric"),
            make("Pad", [f"fine_{axis}", "padding"], [f"simcc_{axis}"]),
        ]
    outputs = {"simcc_x": [1, KEYPOINTS, 2 * WIDTH], "simcc_y": [1, KEYPOINTS, 2 * HEIGHT]}
    return _graph("doll_pose", nodes, {"input": [1, 3, HEIGHT, WIDTH]}, outputs, constants)
