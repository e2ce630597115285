"""Small networks with the signatures of DWPose's two, a YOLOX person detector and an RTMPose whole-body network.

They hold under a million weights together, learn on one processor core from the synthetic scenes, and answer
`preprocessors.dwpose` exactly as the published files do.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...preprocessors.pose.dwpose import DETECTOR_SIDE, POSE_SIZE, SIMCC_SPLIT, STRIDES

KEYPOINTS = 133  # COCO-WholeBody
POSE_WIDTH, POSE_HEIGHT = POSE_SIZE.tolist()
DETECTOR_CELL = STRIDES[-1]  # pixels: of YOLOX's three grids the coarsest alone answers
HALVED = 256  # numbers; smaller weights are not worth a cast
FINER_CELLS = sum((DETECTOR_SIDE // stride) ** 2 for stride in STRIDES[:-1])  # their rows come first


class Pyramid(nn.Module):
    """Stages that each halve the picture, then back up to an eighth of it, with the finer stages' detail added."""

    def __init__(self, widths: Sequence[int], blocks: int):
        super().__init__()
        stages = [_convolution(3, widths[0], stride=2)]
        for index, (before, width) in enumerate(zip(widths, widths[1:], strict=False)):
            repeats = 1 if index == 0 else blocks  # where the picture is still large, blocks are dear
            stages.append(nn.Sequential(_convolution(before, width, stride=2), *(Block(width) for _ in range(repeats))))
        self.stages = nn.ModuleList(stages)
        finer, coarser = widths[2:-1], widths[3:]
        self.laterals = nn.ModuleList(nn.Conv2d(c, f, 1) for c, f in zip(coarser, finer, strict=True))
        self.merges = nn.ModuleList(Block(width) for width in finer)

    def forward(self, images: Tensor) -> Tensor:
        """[N,3,H,W] -> [N,widths[2],H/8,W/8]."""
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        merged = maps[-1]
        for level in reversed(range(len(self.laterals))):
            finer = maps[level + 2]
            merged = F.interpolate(self.laterals[level](merged), size=finer.shape[-2:], mode="nearest")
            merged = self.merges[level](finer + merged)
        return merged


class Block(nn.Module):
    """A residual bottleneck."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(_convolution(width, width // 2, size=1), _convolution(width // 2, width))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


def _convolution(before: int, after: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.SiLU(inplace=True))


class PersonDetector(nn.Module):
    """YOLOX's signature: images [1,3,640,640], RGB 0..255 -> output [1,8400,85].

    A row is a cell's centre offset (in cells), log size (in cells), objectness, then COCO's 80 classes. People are the
    only class it knows: its probability is 1, all others' 0. A quarter of the picture's resolution is looked at.
    """

    reduction = 4

    def __init__(self, widths: Sequence[int] = (12, 24, 48, 64, 64), blocks: int = 1):
        super().__init__()
        self.pyramid = Pyramid(widths, blocks)
        self.head = nn.Conv2d(widths[2], 5, 1)
        nn.init.constant_(self.head.bias, -3)  # few cells are near anybody

    def cells(self, reduced: Tensor) -> Tensor:
        """Raw answers [N,400,5] of the 20 x 20 cells (objectness as a logit) to pictures [N,3,160,160] in 0..255."""
        return self.head(self.pyramid(reduced / 127.5 - 1)).flatten(2).transpose(1, 2)

    def forward(self, images: Tensor) -> Tensor:
        cells = self.cells(F.avg_pool2d(images, self.reduction))
        objectness = cells[..., 4:].sigmoid()
        rows = torch.cat([cells[..., :4], objectness, torch.ones_like(objectness)], dim=-1)
        return F.pad(rows, (0, 79, FINER_CELLS, 0))


class WholeBodyPose(nn.Module):
    """RTMPose's signature: input [1,3,384,288], normalised -> simcc_x [1,133,576], simcc_y [1,133,768].

    A map per keypoint says where it is. The logarithmic shares of its columns and rows become, by one linear layer per
    axis, a class per half pixel (SimCC). The maximum of a keypoint's answer is its score, 0..1. Half of the picture's
    resolution is looked at.
    """

    reduction = 2
    cells = POSE_WIDTH // 16, POSE_HEIGHT // 16  # of a map
    faintest = -12.0  # logarithm of a share

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96, 96), blocks: int = 2, hidden: int = 64):
        super().__init__()
        self.pyramid = Pyramid(widths, blocks)
        self.maps = nn.Conv2d(widths[2], KEYPOINTS, 1)
        self.x = _finer(self.cells[0], POSE_WIDTH * SIMCC_SPLIT)
        self.y = _finer(self.cells[1], POSE_HEIGHT * SIMCC_SPLIT)
        self.score = nn.Sequential(nn.Linear(sum(self.cells) + 1, hidden), nn.SiLU(inplace=True), nn.Linear(hidden, 1))

    def logits(self, reduced: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of x [N,133,576], of y [N,133,768] and of the score [N,133,1], for pictures [N,3,192,144]."""
        maps = self.maps(self.pyramid(reduced)).float()
        with torch.autocast(maps.device.type, enabled=False):  # bins differ by less than half precision resolves
            whole = maps.flatten(2).logsumexp(dim=2, keepdim=True)
            columns, rows = ((maps.logsumexp(dim=axis) - whole).clamp(min=self.faintest) for axis in (2, 3))
            score = self.score(torch.cat([columns, rows, whole], dim=2) / -self.faintest)
            return self.x(columns), self.y(rows), score

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x, y, score = self.logits(F.avg_pool2d(images, self.reduction))
        score = score.sigmoid()
        return tuple(score * (axis - axis.amax(dim=2, keepdim=True)).exp() for axis in (x, y))


def _finer(cells: int, bins: int) -> nn.Linear:
    """A linear layer that begins as smooth interpolation from cells to bins, and learns the rest."""
    layer = nn.Linear(cells, bins)
    middles = (torch.arange(cells) + 0.5) * bins / cells
    distance = (torch.arange(bins)[:, None] - middles) * cells / bins
    with torch.no_grad():
        layer.weight.copy_((-distance.square() / 0.72).softmax(dim=1))
        layer.bias.zero_()
    return layer


def write_onnx(network: PersonDetector | WholeBodyPose, path: str | Path) -> None:
    """Write the network, in evaluation mode, as the ONNX file that `preprocessors.dwpose.DWPose` opens.

    Its weights are kept in half precision, what it computes is float32. Raises RuntimeError if the onnx package is
    missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise RuntimeError("Writing pose networks needs the onnx package: pip install onnx.") from error
    detector = isinstance(network, PersonDetector)
    size = (DETECTOR_SIDE, DETECTOR_SIDE) if detector else (POSE_HEIGHT, POSE_WIDTH)
    names = (["images"], ["output"]) if detector else (["input"], ["simcc_x", "simcc_y"])
    with warnings.catch_warnings():
        # torch's newer exporter needs a further package, and would fix newer ONNX versions than these.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Constant folding")
        torch.onnx.export(
            network.eval(), (torch.zeros(1, 3, *size),), str(path), dynamo=False, opset_version=13,
            input_names=names[0], output_names=names[1],
        )
    model = onnx.load(path)
    halve_weights(model)
    onnx.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)


def halve_weights(model) -> None:
    """Keep an ONNX model's large float32 weights in float16, each with a cast that runtimes do once, at loading."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT and math.prod(weight.dims) >= HALVED:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{name}.half"))
            graph.node.insert(0, helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
