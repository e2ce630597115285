"""The catalogue: which published weights the graphs use, where they come from and where they go.

Everything that speaks of weights (`crafters download`, `crafters doctor`, error messages, the README's table) reads it.
"""

from __future__ import annotations

from collections.abc import Collection
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

    @property
    def url(self) -> str:
        """Where a browser downloads it."""
        return f"https://huggingface.co/{self.repo}/resolve/main/{self.file}"


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


@dataclass(frozen=True)
class ByHand:
    """A file that only its user may fetch, for its licence: `file`, from `page`, into the model folder `kind`."""

    name: str
    purpose: str
    page: str
    kind: str
    file: str


WAN_REPO = "Comfy-Org/Wan_2.1_ComfyUI_repackaged"


def _plain(repo: str, file: str, kind: str, size: float) -> WeightFile:
    return WeightFile(repo, file, kind, file, size)


def _wan(kind: str, name: str, size: float) -> WeightFile:
    return WeightFile(WAN_REPO, f"split_files/{kind}/{name}", kind, name, size)


WAN_VAE = _wan("vae", "wan_2.1_vae.safetensors", 254e6)
WAN_CLIP = _wan("clip_vision", "clip_vision_h.safetensors", 1.26e9)


def _dinov2(file: str, size: float) -> WeightFile:
    return WeightFile("facebook/dinov2-large", file, "clip_vision", f"dinov2-large/{file}", size)


def _lhm(name: str, model: str, size: float) -> WeightSet:
    """Size: reckoned, of its learned parameters and of what it holds of SMPL-X."""
    file = WeightFile(f"3DAIGC/{model}-HF", "model.safetensors", "crafters", f"{model}.safetensors", size)
    return WeightSet(name, f"{model}, which makes an avatar of one photo", "CC BY-NC 4.0", (file,))


CATALOGUE = (
    WeightSet(
        "anchorcrafter",
        "AnchorCrafter, for any product",
        "not stated",
        # The repository is named by the authors' page, the file by their training script; its size is not published:
        # 1.617 G parameters at four bytes.
        (_plain("cangcz/AnchorCrafter-notune", "AnchorCrafter-notune.pth", "diffusion_models", 6.47e9),),
    ),
    WeightSet(
        "anchorcrafter-finetuned",
        "AnchorCrafter, tuned on the five products of its test set",
        "not stated",
        (_plain("cangcz/AnchorCrafter_1", "AnchorCrafter_1.pth", "diffusion_models", 6.47e9),),  # size: as above
    ),
    WeightSet(
        "mimicmotion",
        "MimicMotion 1.1, the baseline without a product",
        "Tencent MimicMotion licence",
        (_plain("tencent/MimicMotion", "MimicMotion_1-1.pth", "diffusion_models", 3.05e9),),
    ),
    WeightSet(
        "svd",
        "Stable Video Diffusion 1.1: VAE and CLIP image encoder",
        "Stability AI Community",
        (_plain("stabilityai/stable-video-diffusion-img2vid-xt-1-1", "svd_xt_1_1.safetensors", "checkpoints", 4.78e9),),
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
            _plain("yzd-v/DWPose", "yolox_l.onnx", "crafters", 217e6),
            _plain("yzd-v/DWPose", "dw-ll_ucoco_384.onnx", "crafters", 134e6),
        ),
    ),
    WeightSet(
        "anicrafter",
        "AniCrafter: embedders and LoRA inside two shards; `crafters convert anicrafter` makes one file of them",
        "not stated",
        # The last two of eleven shards of about 5 GB.
        tuple(
            _plain("MyNiuuu/Anicrafter_release", f"model-000{number}-of-00011.safetensors", "crafters", 5e9)
            for number in (10, 11)
        ),
    ),
    WeightSet(
        "wan-i2v",
        "Wan 2.1 I2V 14B 720P with its VAE and CLIP; any fp16, fp8 or GGUF file of it will do",
        "Apache-2.0",
        (_wan("diffusion_models", "wan2.1_i2v_720p_14B_fp16.safetensors", 32.8e9), WAN_VAE, WAN_CLIP),
    ),
    WeightSet(
        "wan-animate",
        "Wan 2.2 Animate 14B with Wan's VAE and CLIP",
        "Apache-2.0",
        (
            WeightFile(
                "Comfy-Org/Wan_2.2_ComfyUI_Repackaged",
                "split_files/diffusion_models/wan2.2_animate_14B_bf16.safetensors",
                "diffusion_models",
                "wan2.2_animate_14B_bf16.safetensors",
                34.5e9,
            ),
            WAN_VAE,
            WAN_CLIP,
        ),
    ),
    WeightSet(
        "scail-2",
        "SCAIL-2 14B with Wan's VAE and CLIP",
        "Apache-2.0",
        (
            WeightFile(
                "Comfy-Org/SCAIL-2",
                "diffusion_models/wan2.1_14B_SCAIL_2_fp16.safetensors",
                "diffusion_models",
                "wan2.1_14B_SCAIL_2_fp16.safetensors",
                32.8e9,  # that of Wan 2.1 I2V, which it is but for two embeddings
            ),
            WAN_VAE,
            WAN_CLIP,
        ),
    ),
    WeightSet(
        "vace",
        "Wan 2.1 VACE 14B with Wan's VAE",
        "Apache-2.0",
        (_wan("diffusion_models", "wan2.1_vace_14B_fp16.safetensors", 34.7e9), WAN_VAE),
    ),
    WeightSet(
        "lightx2v",
        "LoRA on Wan for 4 steps without guidance, distilled by LightX2V",
        "Apache-2.0",
        (
            WeightFile(
                "lightx2v/Wan2.1-I2V-14B-480P-StepDistill-CfgDistill-Lightx2v",
                "loras/Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors",
                "loras",
                "Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors",
                739e6,
            ),
        ),
    ),
    WeightSet(
        "umt5",
        "Wan's text encoder; AniCrafter needs it once: `crafters cache-prompt` keeps the prompt in a small file",
        "Apache-2.0",
        (_wan("text_encoders", "umt5_xxl_fp16.safetensors", 11.4e9),),
    ),
    _lhm("lhm", "LHM-1B", 6.85e9),
    _lhm("lhm-500m", "LHM-500M", 3.83e9),
    WeightSet(
        "sapiens",
        "Sapiens-1B, which looks at the body for LHM: `crafters convert sapiens` makes it a plain file",
        "Sapiens, non-commercial",
        (
            _plain("facebook/sapiens-pretrain-1b-torchscript", "sapiens_1b_epoch_173_torchscript.pt2", "crafters",
                   4.68e9),
        ),
    ),
)

BY_HAND = (
    ByHand(
        "smplx", "SMPL-X, the body that moves avatars", "https://smpl-x.is.tue.mpg.de", "crafters",
        "smplx/SMPLX_NEUTRAL.npz",
    ),
)


@dataclass(frozen=True)
class Restriction:
    """A part whose licence forbids commercial use, ties it to conditions, or does not say that it allows it.

    It is in a graph by a node of one of the classes `nodes`; if `file` is not empty, only where that node's choice
    begins so. `instead`: what serves without it.
    """

    part: str
    licence: str
    nodes: tuple[str, ...]
    instead: str
    file: str = ""


OWN_TRAINING = "ask its authors, or train your own weights (docs/training.md)"
RESTRICTIONS = (
    Restriction("AnchorCrafter", "not stated", ("CraftersLoadAnchorCrafter",), OWN_TRAINING, "AnchorCrafter"),
    Restriction("MimicMotion", "Tencent's own: read it", ("CraftersLoadAnchorCrafter",), OWN_TRAINING, "MimicMotion"),
    Restriction(
        "Stable Video Diffusion, and what is trained from it", "Stability AI Community: free up to a yearly revenue of "
        "a million US dollars", ("CraftersLoadAnchorCrafter", "CraftersLoadSVDFolder", "ImageOnlyCheckpointLoader"),
        "above that a licence of Stability AI",
    ),
    Restriction("AniCrafter", "not stated", ("CraftersLoadAniCrafter",), OWN_TRAINING),
    Restriction("LHM", "CC BY-NC 4.0", ("CraftersLoadLHM",), "Avatar from Photo"),
    Restriction("LHM", "CC BY-NC 4.0", ("CraftersRigAvatar",), "no LHM in Rig Avatar, with Avatar from Photo", "LHM"),
    Restriction("Sapiens", "non-commercial", ("CraftersLoadLHM",), "Avatar from Photo"),
    Restriction("SMPL-X", "non-commercial research", ("CraftersLoadBodyModel",), "Anny, in the same node", "smplx"),
    Restriction("HaMeR with MANO", "non-commercial research", ("CraftersLoadHaMeR",), "Hand Mesh without it"),
    Restriction("Multi-HMR", "non-commercial", ("CraftersLoadMultiHMR",), "Body Motion from Video without it"),
    Restriction(
        "ProPainter", "S-Lab 1.0, non-commercial", ("CraftersLoadProPainter",), "Remove Person without it, or Wan VACE"
    ),
)


def restricted(prompt: dict[str, dict[str, Any]]) -> list[Restriction]:
    """What of an API-format prompt may not simply be used commercially, in the order of RESTRICTIONS."""

    def brings(node: dict[str, Any], restriction: Restriction) -> bool:
        chosen = [value for value in node["inputs"].values() if isinstance(value, str)]
        return node["class_type"] in restriction.nodes and any(value.startswith(restriction.file) for value in chosen)

    return [one for one in RESTRICTIONS if any(brings(node, one) for node in prompt.values())]


def named(name: str) -> WeightSet | None:
    """The set called `name`."""
    return next((weights for weights in CATALOGUE if weights.name == name), None)


def providing(name: str, beside: Collection[str] = ()) -> WeightSet | None:
    """The set that holds the model file or model folder `name` (relative to its model folder).

    beside: other such names; of sets that share a file, one is preferred all of whose files are among these.
    """
    holding = [weights for weights in CATALOGUE if any(_is(file, name) for file in weights.files if name)]
    whole = [weights for weights in holding if all(_is(file, *beside) for file in weights.files)]
    return next(iter(whole + holding), None)


def _is(file: WeightFile, *names: str) -> bool:
    """Whether a loader that is set to one of these names loads the file: by it, or by its folder."""
    return file.name in names or "/" in file.name and file.name.rpartition("/")[0] in names


def needed_by(prompt: dict[str, dict[str, Any]]) -> list[WeightSet]:
    """The sets whose files an API-format prompt names, in the catalogue's order."""
    texts = _texts(prompt)
    wanted = [providing(value, texts) for value in texts]
    return [weights for weights in CATALOGUE if weights in wanted]


def needed_by_hand(prompt: dict[str, dict[str, Any]]) -> list[ByHand]:
    """The files that only their user may fetch and that an API-format prompt names."""
    texts = _texts(prompt)
    return [weights for weights in BY_HAND if weights.file in texts]


def _texts(prompt: dict[str, dict[str, Any]]) -> set[str]:
    return {value for node in prompt.values() for value in node["inputs"].values() if isinstance(value, str)}


def describe_size(size: float) -> str:
    """'6.5 GB', '134 MB', '549 bytes'."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            number = size / unit
            return f"{number:.1f} {name}" if number < 10 else f"{number:.0f} {name}"
    return f"{size:.0f} bytes"
