"""The catalogue: which published weights the graphs use, where they come from and where they go.

Everything that speaks of weights (`crafters download`, `crafters doctor`, error messages, the README's table) reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WeightFile:
    """`file` of the hub repository `repo`, stored as `name` in the model folder `kind`; size in bytes, about."""

    repo: str
    file: str
    kind: str
    name: str
    size: float


@dataclass(frozen=True)
class WeightSet:
    """What `crafters download NAME` fetches. A gated set needs its licence accepted on the hub, and a token."""

    name: str
    purpose: str
    licence: str
    files: tuple[WeightFile, ...]
    gated: bool = False

    @property
    def size(self) -> float:
        """Bytes, about."""
        return sum(file.size for file in self.files)

    @property
    def page(self) -> str:
        """The web page of its repository."""
        return f"https://huggingface.co/{self.files[0].repo}"


def _dinov2(file: str, size: float) -> WeightFile:
    return WeightFile("facebook/dinov2-large", file, "clip_vision", f"dinov2-large/{file}", size)


CATALOGUE = (
    WeightSet(
        "anchorcrafter",
        "AnchorCrafter, for any product",
        "not stated",
        # The repository is named by the authors' page, the file by their training script; its size is not published:
        # 1.617 G parameters at four bytes.
        (
            WeightFile(
                "cangcz/AnchorCrafter-notune",
                "AnchorCrafter-notune.pth",
                "diffusion_models",
                "AnchorCrafter-notune.pth",
                6.47e9,
            ),
        ),
    ),
    WeightSet(
        "anchorcrafter-finetuned",
        "AnchorCrafter, tuned on the five products of its test set",
        "not stated",
        # Size: as above.
        (
            WeightFile(
                "cangcz/AnchorCrafter_1", "AnchorCrafter_1.pth", "diffusion_models", "AnchorCrafter_1.pth", 6.47e9
            ),
        ),
    ),
    WeightSet(
        "mimicmotion",
        "MimicMotion 1.1, the baseline without a product",
        "Tencent MimicMotion licence",
        (WeightFile("tencent/MimicMotion", "MimicMotion_1-1.pth", "diffusion_models", "MimicMotion_1-1.pth", 3.05e9),),
    ),
    WeightSet(
        "svd",
        "Stable Video Diffusion 1.1: VAE and CLIP image encoder",
        "Stability AI Community",
        (
            WeightFile(
                "stabilityai/stable-video-diffusion-img2vid-xt-1-1",
                "svd_xt_1_1.safetensors",
                "checkpoints",
                "svd_xt_1_1.safetensors",
                4.78e9,
            ),
        ),
        gated=True,
    ),
    WeightSet(
        "dinov2-large",
        "DINOv2, which looks at the product photos",
        "Apache-2.0",
        (_dinov2("config.json", 549), _dinov2("preprocessor_config.json", 436), _dinov2("model.safetensors", 1.22e9)),
    ),
    WeightSet(
        "dwpose",
        "DWPose, which finds people and their joints",
        "Apache-2.0",
        (
            WeightFile("yzd-v/DWPose", "yolox_l.onnx", "crafters", "yolox_l.onnx", 217e6),
            WeightFile("yzd-v/DWPose", "dw-ll_ucoco_384.onnx", "crafters", "dw-ll_ucoco_384.onnx", 134e6),
        ),
    ),
)


def named(name: str) -> WeightSet | None:
    """The set called `name`."""
    return next((weights for weights in CATALOGUE if weights.name == name), None)


def providing(name: str) -> WeightSet | None:
    """The set that holds the model file or model folder `name` (relative to its model folder)."""
    for weights in CATALOGUE:
        if any(name in (file.name, file.name.rpartition("/")[0]) for file in weights.files if name):
            return weights
    return None


def needed_by(prompt: dict[str, dict[str, Any]]) -> list[WeightSet]:
    """The sets whose files an API-format prompt names, in the catalogue's order."""
    values = (value for node in prompt.values() for value in node["inputs"].values())
    wanted = [providing(value) for value in values if isinstance(value, str)]
    return [weights for weights in CATALOGUE if weights in wanted]


def describe_size(size: float) -> str:
    """'6.5 GB', '134 MB', '549 bytes'."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            number = size / unit
            return f"{number:.1f} {name}" if number < 10 else f"{number:.0f} {name}"
    return f"{size:.0f} bytes"
