"""Training of the small DWPose: its person detector and its whole-body network, on the synthetic scenes."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...preprocessors.pose.draw_pose import draw_pose
from ...preprocessors.pose.dwpose import (
    DETECTOR_SIDE,
    POSE_SIZE,
    SIMCC_SPLIT,
    crop,
    crop_of_box,
    decode_boxes,
    decode_simcc,
    letterbox,
    to_pose,
)
from ...preprocessors.pose.keypoints import VISIBLE
from ...training.settings import checked
from .pose_data import Frame, PoseScenes, vary
from .pose_networks import DETECTOR_CELL, PersonDetector, WholeBodyPose, write_onnx

OBJECTNESS_SPREAD = 1.0  # cells around a box's centre that speak for it
CELLS_PER_PERSON = 2 * np.pi * OBJECTNESS_SPREAD**2  # sum of their objectness
SIMCC_SPREAD = 6.0  # bins, of the target around a keypoint (RTMPose at 384 x 288)
HIDDEN_WEIGHT = 0.3  # of the place of a keypoint that is not seen: hands are drawn whatever they score
FACE_WEIGHT, HAND_WEIGHT, BODY_WEIGHT = 0.5, 1.0, 2.0  # of a keypoint's place: the face has half of all keypoints


@checked
class PoseSettings:
    """data: folder that keeps the rendered scenes, the same for both networks. scenes, frames: how many scenes, of how
    many frames each. widths: channels at a half, a quarter, … of the size looked at. blocks: per stage."""

    data: Path
    widths: tuple[int, ...]
    scenes: int = 1500
    frames: int = 4
    blocks: int = 1


class _PoseTask:
    """What both networks share: the scenes, and a preview of some that are not trained on."""

    kind: type[PersonDetector | WholeBodyPose]
    file_name: str

    def __init__(self, settings: PoseSettings):
        self.settings = settings
        self.trained = self._network()
        self.scenes = PoseScenes(settings.data, "train", settings.scenes, settings.frames)
        self.held_out = PoseScenes(settings.data, "test", 6, settings.frames)

    def _network(self) -> PersonDetector | WholeBodyPose:
        return self.kind(self.settings.widths, self.settings.blocks)

    def prepare(self, device: torch.device, rank: int, ranks: int) -> None:
        self.scenes.render(rank, ranks)
        self.held_out.render(rank, ranks)

    def __len__(self) -> int:
        return len(self.scenes)

    def save(self, folder: Path, weights: dict[str, Tensor]) -> None:
        network = self._network()
        network.load_state_dict(weights)
        write_onnx(network, folder / self.file_name)

    def preview(self) -> dict[str, np.ndarray]:
        """The first frame of each held-out scene, with what is found in it."""
        step = len(self.held_out) // self.held_out.scenes
        pictures = [self._marked(self.held_out[index]) for index in range(0, len(self.held_out), step)]
        height = max(len(picture) for picture in pictures)
        pictures = [np.pad(p, ((0, height - len(p)), (0, 0), (0, 0))) for p in pictures]
        return {"found": np.concatenate(pictures, axis=1)}

    def _answer(self, network_input: np.ndarray) -> list[np.ndarray]:
        device = next(self.trained.parameters()).device
        found = self.trained(torch.from_numpy(network_input).to(device))
        return [output[0].float().cpu().numpy() for output in (found if isinstance(found, tuple) else (found,))]


class DetectorTask(_PoseTask):
    """YOLOX's answer: cells near a person's centre say where the box is and how large.

    Objectness falls off around the centre as a Gaussian, which also weighs a cell's part in the error of the box.
    """

    kind, file_name = PersonDetector, "yolox_small.onnx"

    def sample(self, index: int, draw: np.random.Generator, frames: int) -> dict[str, Tensor]:
        """image [3,160,160] in 0..255, box [4] in pixels of the detector's input (NaN: nobody)."""
        frame = vary(self.scenes[index], draw)
        image, ratio = letterbox(frame.image)
        image = F.avg_pool2d(torch.from_numpy(image), PersonDetector.reduction)[0]
        return {"image": image, "box": torch.from_numpy(frame.box * ratio).float()}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        found = self.trained.cells(batch["image"]).float()
        target, objectness = cell_targets(batch["box"])
        seen = F.binary_cross_entropy_with_logits(found[..., 4], objectness, reduction="none").sum(1).mean()
        error = F.smooth_l1_loss(found[..., :4], target, reduction="none", beta=0.2).sum(2)
        place = (error * objectness).sum(1).mean()
        return (seen + place) / CELLS_PER_PERSON, {"objectness": seen.detach(), "box": place.detach()}

    def _marked(self, frame: Frame) -> np.ndarray:
        import cv2

        picture = frame.image.copy()
        network_input, ratio = letterbox(picture)
        for box in decode_boxes(self._answer(network_input)[0]) / ratio:
            x1, y1, x2, y2 = box.round().astype(int).tolist()
            cv2.rectangle(picture, (x1, y1), (x2, y2), (255, 0, 0))
        return picture


def cell_targets(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """YOLOX's raw units for every cell [N,400,4] and its objectness [N,400], from boxes [N,4] (NaN: nobody)."""
    nobody = boxes.isnan().any(dim=1)
    boxes = torch.where(nobody[:, None], boxes.new_tensor([0.0, 0, DETECTOR_SIDE, DETECTOR_SIDE]), boxes)
    corners = boxes.unflatten(1, (2, 2)) / DETECTOR_CELL
    index = torch.arange(DETECTOR_SIDE // DETECTOR_CELL, device=boxes.device, dtype=boxes.dtype)
    cells = torch.cartesian_prod(index, index).flip(1)  # x runs fastest
    offset = corners.mean(dim=1)[:, None] - cells
    size = (corners[:, 1] - corners[:, 0]).clamp(min=0.1).log()[:, None].expand_as(offset)
    # The cell's middle counts: a box belongs most to the cell that its centre lies in.
    objectness = (-(offset - 0.5).square().sum(2) / (2 * OBJECTNESS_SPREAD**2)).exp()
    return torch.cat([offset, size], dim=2), objectness * ~nobody[:, None]


class WholeBodyTask(_PoseTask):
    """SimCC: each axis is a classification among half pixels, with a Gaussian as target; and what a keypoint scores."""

    kind, file_name = WholeBodyPose, "dwpose_small.onnx"

    def sample(self, index: int, draw: np.random.Generator, frames: int) -> dict[str, Tensor]:
        """image [3,192,144] normalised, points [133,2] in pixels of the network's input, score [133], and weight [133]
        of the place."""
        frame = vary(self.scenes[index], draw)
        center, extent = crop_of_box(_inexact(frame, draw))
        image = F.avg_pool2d(torch.from_numpy(crop(frame.image, center, extent)), WholeBodyPose.reduction)[0]
        points = (frame.points[:, :2] - center + extent / 2) / extent * POSE_SIZE
        inside = ((points >= 0) & (points <= POSE_SIZE - 1)).all(axis=1)  # NaN is not
        score = frame.points[:, 2] * inside
        weight = np.where(score > VISIBLE, 1, HIDDEN_WEIGHT) * inside * PART_WEIGHT
        arrays = {"points": np.where(inside[:, None], points, 0), "score": score, "weight": weight}
        return {"image": image, **{name: torch.from_numpy(array).float() for name, array in arrays.items()}}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        x, y, score = self.trained.logits(batch["image"])
        error = sum(simcc_error(axis.float(), batch["points"][..., i]) for i, axis in enumerate((x, y)))
        place = (error * batch["weight"]).sum(1).mean() / PART_WEIGHT.sum()
        sure = F.binary_cross_entropy_with_logits(score.float()[..., 0], batch["score"])
        return place + sure, {"place": place.detach(), "score": sure.detach()}

    def _marked(self, frame: Frame) -> np.ndarray:
        height, width = frame.image.shape[:2]
        center, extent = crop_of_box(frame.box)
        points = decode_simcc(*self._answer(crop(frame.image, center, extent)))
        points[:, :2] = points[:, :2] / POSE_SIZE * extent + center - extent / 2
        drawn = draw_pose(to_pose(points[None] / (width, height, 1)), width, height)
        return np.maximum(frame.image // 2, drawn)


def simcc_error(logits: Tensor, place: Tensor) -> Tensor:
    """Cross entropy [N,K] of SimCC logits [N,K,bins] with a Gaussian around `place` [N,K], pixels."""
    bins = torch.arange(logits.shape[-1], device=logits.device)
    distance = bins - place[..., None] * SIMCC_SPLIT
    target = (-distance.square() / (2 * SIMCC_SPREAD**2)).softmax(dim=-1)
    return -(target * logits.log_softmax(dim=-1)).sum(dim=-1)


def _inexact(frame: Frame, draw: np.random.Generator) -> np.ndarray:
    """The person's box as a detector might find it, and sometimes the whole image, which stands for none found."""
    height, width = frame.image.shape[:2]
    if draw.random() < 0.1 or np.isnan(frame.box).any():
        return np.array([0.0, 0, width, height])
    size = np.tile(frame.box[2:] - frame.box[:2], 2)
    return frame.box + size * draw.normal(0, 0.06, 4)


PART_WEIGHT = np.repeat([BODY_WEIGHT, FACE_WEIGHT, HAND_WEIGHT], [23, 68, 42])
