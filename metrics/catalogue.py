"""Every metric of the report: what it needs of a pair of clips, how one is measured, and how the clips add up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from . import CLEAN, inputs
from . import measures as m
from .landmarks import body, body_distance, hand_distance, hands
from .masks import PUBLISHED
from .pixels import psnr, ssim
from .similarity import frechet_distance


@dataclass(frozen=True)
class Score:
    """value: of all clips together. clips: of each. frames: of each frame of each clip, NaN where it does not count."""

    value: float
    clips: dict[str, float] = field(default_factory=dict)
    frames: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """better: "higher" or "lower". about: the variant and the unit. needs: fields of the pair it cannot do without.

    `measure(pair, networks, tick)` each clip, then `combine` what came out, by the clips' names.
    """

    title: str
    better: str
    about: str
    measure: Callable[..., m.ByFrame | m.Features]
    combine: Callable[[dict], Score]
    needs: tuple[str, ...] = ()


def by_clip(measured: dict[str, m.ByFrame]) -> Score:
    """The mean over the clips of each clip's (weighted) mean over its frames."""
    clips = {name: _mean(*frames) for name, frames in measured.items()}
    return Score(float(np.mean(list(clips.values()))), clips, {name: values for name, (values, _) in measured.items()})


def by_frame(measured: dict[str, m.ByFrame]) -> Score:
    """As `by_clip`, but a long clip counts for more: the mean over all frames (VBench)."""
    score = by_clip(measured)
    values, weights = (np.concatenate(part) for part in zip(*measured.values(), strict=True))
    return Score(_mean(values, weights), score.clips, score.frames)


def as_sets(measured: dict[str, m.Features]) -> Score:
    """The Fréchet distance between the features of all true and of all generated clips."""
    truth, result = (torch.cat(side) for side in zip(*measured.values(), strict=True))
    if len(truth) < 2:
        raise m.UnmeasurableError("A Fréchet distance needs more than one feature: give longer clips, or more of them.")
    return Score(frechet_distance(truth, result))


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    counts = weights > 0
    return float(np.average(values[counts], weights=weights[counts]))


def catalogue(threshold: int = CLEAN, clip: str = "CLIP") -> dict[str, Metric]:
    """All METRICS by name, in the order of the table.

    threshold: grey level above which a mask shows the product. clip: which CLIP it is, for the table.
    """
    masks, people = ("truth_mask", "result_mask"), ("truth_people", "result_people")
    hand, joints = partial(m.landmarks, hands, hand_distance), partial(m.landmarks, body, body_distance)
    higher, lower, run = "higher", "lower", "every run of 16 frames"

    def pixels(measure: Callable[..., float], inside: bool | None = None) -> Callable[..., m.ByFrame]:
        return partial(m.likeness, measure, inside, threshold)

    return {
        "obj-iou": Metric("Obj-IoU", higher, "published rule: where the mask is not black",
                          partial(m.object_iou, PUBLISHED), by_clip, masks),
        "obj-iou-clean": Metric("Obj-IoU, clean", higher, f"where the mask is above {threshold}",
                                partial(m.object_iou, threshold), by_clip, masks),
        "obj-clip": Metric("Obj-CLIP", higher, f"{clip}; the product cut out", m.object_clip, by_clip, masks),
        "hand-lmd": Metric("Hand LMD", lower, "pixels; DWPose's points", hand, by_clip, people),
        "body-lmd": Metric("Body LMD", lower, "pixels; DWPose's points", joints, by_clip, people),
        "face-cos": Metric("Face-Cos", higher, "AdaFace IR-50, aligned by DWPose's points", m.face, by_clip,
                           ("person", "person_people", "result_people")),
        "fid": Metric("FID", lower, "pytorch-fid's Inception-v3, all frames", m.pictures, as_sets),
        "fid-vid": Metric("FID-VID", lower, f"3-D ResNet-50 as in DisCo, {run}",
                          partial(m.runs, "resnet3d", inputs.resnet3d_frame), as_sets),
        "fvd": Metric("FVD", lower, f"VideoGPT's I3D as in DisCo, {run}",
                      partial(m.runs, "i3d", inputs.i3d_frame), as_sets),
        "fvd-styleganv": Metric("FVD, StyleGAN-V", lower, f"StyleGAN-V's I3D, {run}",
                                partial(m.runs, "i3d_torchscript", inputs.i3d_torchscript_frame), as_sets),
        "subject": Metric("Subject consistency", higher, "DINO ViT-B/16 as in VBench",
                          partial(m.consistent, "dino", inputs.dino_frame), by_frame),
        "background": Metric("Background consistency", higher, f"{clip}; as in VBench",
                             partial(m.consistent, "clip", inputs.clip_frame), by_frame),
        "psnr": Metric("PSNR", higher, "dB", pixels(psnr), by_clip),
        "psnr-inside": Metric("PSNR, product", higher, "dB", pixels(psnr, True), by_clip, masks[:1]),
        "psnr-outside": Metric("PSNR, elsewhere", higher, "dB", pixels(psnr, False), by_clip, masks[:1]),
        "ssim": Metric("SSIM", higher, "", pixels(ssim), by_clip),
        "ssim-inside": Metric("SSIM, product", higher, "", pixels(ssim, True), by_clip, masks[:1]),
        "ssim-outside": Metric("SSIM, elsewhere", higher, "", pixels(ssim, False), by_clip, masks[:1]),
    }
