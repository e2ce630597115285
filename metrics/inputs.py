"""What a frame becomes before each network: sizes, crops and ranges as in the published evaluations."""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..models.normalise import CLIP, IMAGENET, normalise

WINDOW = 16  # frames of a clip that a video network sees at once
KINETICS_MEAN = (114.7748, 107.7354, 99.4750)


def _tensor(frame: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(frame, order="C")).permute(2, 0, 1).float()


def _scaled(short: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) with the shorter side `short`."""
    return (short * height // width, short) if width <= height else (short, short * width // height)


def _middle(pixels: torch.Tensor, side: int) -> torch.Tensor:
    top, left = ((size - side) // 2 for size in pixels.shape[-2:])
    return pixels[..., top : top + side, left : left + side]


def _interpolated(pixels: torch.Tensor, size: tuple[int, int], mode: str) -> torch.Tensor:
    """[C,H,W] to `size` without antialiasing."""
    return F.interpolate(pixels[None], size, mode=mode, align_corners=False)[0]


def clip_input(crop: np.ndarray) -> torch.Tensor:
    """CLIP's own preparation of a picture, uint8 RGB [H,W,3]: bicubic to 224, middle square."""
    height, width = _scaled(224, *crop.shape[:2])
    resized = Image.fromarray(crop).resize((width, height), Image.Resampling.BICUBIC)
    return normalise(_middle(_tensor(np.asarray(resized)), 224) / 255, CLIP)


def from_clip_input(pixels: torch.Tensor) -> torch.Tensor:
    """The picture in 0…1 that `clip_input` or `clip_frame` was made of, [N,224,224,3] of [N,3,224,224]."""
    mean, std = (torch.tensor(channels)[:, None, None] for channels in CLIP)
    return (pixels * std + mean).movedim(1, -1)


def clip_frame(frame: np.ndarray) -> torch.Tensor:
    """A frame for CLIP as VBench prepares it: as above, not antialiased."""
    pixels = _interpolated(_tensor(frame), _scaled(224, *frame.shape[:2]), "bicubic").round().clamp(0, 255)
    return normalise(_middle(pixels, 224) / 255, CLIP)


def dino_frame(frame: np.ndarray) -> torch.Tensor:
    """A frame for DINO as VBench prepares it: the shorter side to 224, bilinear, not antialiased, not cropped."""
    pixels = _interpolated(_tensor(frame), _scaled(224, *frame.shape[:2]), "bilinear").round()
    return normalise(pixels / 255, IMAGENET)


def adaface_input(face: np.ndarray) -> torch.Tensor:
    """An aligned face, uint8 RGB [112,112,3], as BGR in −1…1."""
    return (_tensor(face[..., ::-1]) / 255 - 0.5) / 0.5


def inception_input(frame: np.ndarray) -> torch.Tensor:
    """A frame as pytorch-fid prepares it: to 299x299, bilinear, not antialiased, −1…1."""
    return _interpolated(_tensor(frame) / 255, (299, 299), "bilinear") * 2 - 1


def windows(frames: Iterable[np.ndarray], prepare: Callable[[np.ndarray], torch.Tensor]) -> Iterator[torch.Tensor]:
    """Every run of 16 prepared frames, [3,16,h,w]; none if there are fewer frames."""
    held: list[torch.Tensor] = []
    for frame in frames:
        held = [*held[-(WINDOW - 1) :], prepare(frame)]
        if len(held) == WINDOW:
            yield torch.stack(held, dim=1)


def resnet3d_frame(frame: np.ndarray) -> torch.Tensor:
    """A frame as DisCo prepares it for FID-VID: to 112x112, bicubic, less the mean, not scaled."""
    resized = Image.fromarray(frame).resize((112, 112), Image.Resampling.BICUBIC)
    return _tensor(np.asarray(resized)) - torch.tensor(KINETICS_MEAN)[:, None, None]


def i3d_frame(frame: np.ndarray) -> torch.Tensor:
    """A frame as DisCo prepares it for FVD: to 224x224, bilinear, −1…1."""
    return _interpolated(_tensor(frame), (224, 224), "bilinear") / 127.5 - 1


def i3d_torchscript_frame(frame: np.ndarray) -> torch.Tensor:
    """A frame as prepared for StyleGAN-V's I3D: the shorter side to 224, bilinear, middle square, −1…1."""
    height, width = (math.ceil(224 * side / min(frame.shape[:2])) for side in frame.shape[:2])
    return _middle(_interpolated(_tensor(frame), (height, width), "bilinear"), 224) / 127.5 - 1
