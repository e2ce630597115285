"""The networks whose features are compared: which file each is, how it is read, and how frames become its input."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ..models.anchorcrafter.encoders import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
from ..models.checkpoint import assign, read
from ..models.loaded import Loaded
from ..models.pretrained import from_folder
from .face import AdaFace
from .inception import InceptionV3
from .video_networks import I3D, ResNet3D, ScriptedI3D

WINDOW = 16  # frames of a clip that a video network sees at once
BATCH = 8  # pictures, or clips, per call
KINETICS_MEAN = (114.7748, 107.7354, 99.4750)


@dataclass(frozen=True)
class Source:
    """`name`: the file or folder below ComfyUI's model folder `kind`; `open` makes a network of its path.

    page: where it is published.
    """

    name: str
    kind: str
    open: Callable[[Path], nn.Module]
    page: str


class Networks:
    """The networks, each opened when it is first needed.

    `find(name, kind)` answers a path or raises FileNotFoundError, as `runtime.files.path`; `place` brings a network
    to where it computes. clip_vision: an object with ComfyUI's `encode_image`, to be used as `clip`; the paper's is
    ViT-B/32, which ComfyUI's own loader does not know.
    """

    def __init__(
        self, find: Callable[[str, str], Path], place: Callable[[nn.Module], Loaded] = Loaded, clip_vision=None
    ):
        self._find, self._place = find, place
        self._open: dict[str, Loaded] = {} if clip_vision is None else {"clip": _ConnectedClip(clip_vision)}
        self.clip_name = "CLIP ViT-B/32" if clip_vision is None else "the connected CLIP, not the paper's ViT-B/32"

    def embed(self, name: str, inputs: Iterable[torch.Tensor], tick: Callable[[], None]) -> torch.Tensor:
        """Features [N,D] of N inputs (without batch dimension) by the network `name` of SOURCES.

        `tick` is called after every batch and may raise to cancel. Raises CheckpointError, or FileNotFoundError
        saying which file goes where.
        """
        if name not in self._open:
            self._open[name] = self._place(self._read(SOURCES[name]))
        network, features = self._open[name], []
        for batch in _batches(inputs):
            device = network.load()
            with torch.inference_mode():
                features.append(network.module(batch.to(device)).float().cpu())
            tick()
        return torch.cat(features)

    def _read(self, source: Source) -> nn.Module:
        try:
            path = self._find(source.name, source.kind)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"That needs {source.name} in ComfyUI's models/{source.kind}; it is published at {source.page}."
            ) from error
        return source.open(path)


def _batches(inputs: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Stacks of up to BATCH inputs; one of another size starts a new stack."""
    held: list[torch.Tensor] = []
    for item in inputs:
        if held and (len(held) == BATCH or held[0].shape != item.shape):
            yield torch.stack(held)
            held = []
        held.append(item)
    if held:
        yield torch.stack(held)


class _Output(nn.Module):
    """A transformers model that answers one tensor."""

    def __init__(self, model: nn.Module, answer: Callable[[nn.Module, torch.Tensor], torch.Tensor]):
        super().__init__()
        self.model, self.answer = model, answer

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.answer(self.model, pixels)


class _ConnectedClip(Loaded):
    """Takes what `clip_input` made, and leaves the device to its host."""

    def __init__(self, clip_vision):
        super().__init__(
            _Output(nn.Identity(), lambda _, pixels: clip_vision.encode_image(_unclip(pixels)).image_embeds)
        )

    def load(self, memory: int = 0) -> torch.device:
        return torch.device("cpu")


def _unclip(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(channels)[:, None, None] for channels in (CLIP_MEAN, CLIP_STD))
    return (pixels * std + mean).movedim(1, -1)


def _clip(folder: Path) -> nn.Module:
    from transformers import CLIPModel

    # The folder on the hub holds the text encoder too; what is not needed is let go of.
    whole = from_folder(CLIPModel, folder, torch.float32)
    vision = nn.ModuleList([whole.vision_model, whole.visual_projection])
    return _Output(vision, lambda parts, pixels: parts[1](parts[0](pixels).pooler_output))


def _dino(folder: Path) -> nn.Module:
    from transformers import ViTModel

    model = from_folder(ViTModel, folder, torch.float32, add_pooling_layer=False)
    return _Output(model, lambda vit, pixels: vit(pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0])


def _weights(network: type[nn.Module], only: str = "", without: str = "\0") -> Callable[[Path], nn.Module]:
    """Opens a published file as `network`: its entries that start with `only`, less those that go on with `without`."""

    def open_file(path: Path) -> nn.Module:
        with torch.serialization.safe_globals(_LIGHTNING):
            state, _ = read(path)
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        state = {name.removeprefix(only): tensor for name, tensor in state.items() if name.startswith(only)}
        state = {name: tensor.float() for name, tensor in state.items() if not name.startswith(without)}
        with torch.device("meta"):
            module = network()
        # Counters of training steps; files from before torch 0.4.1 have none.
        counters = [name for name in module.state_dict() if name.endswith(".num_batches_tracked")]
        state.update((name, torch.zeros((), dtype=torch.long)) for name in counters)
        assign(module, state, path.name)
        return module

    return open_file


# Checkpoints of old Lightning releases name the class of a callback, as a key; this empty one stands in for it.
_LIGHTNING = [type("ModelCheckpoint", (), {"__module__": "pytorch_lightning.callbacks.model_checkpoint"})]

# fmt: off
SOURCES = {
    "clip": Source("clip-vit-base-patch32", "clip_vision", _clip,
                   "https://huggingface.co/openai/clip-vit-base-patch32"),
    "dino": Source("dino-vitb16", "clip_vision", _dino, "https://huggingface.co/facebook/dino-vitb16"),
    "adaface": Source("adaface_ir50_ms1mv2.ckpt", "crafters", _weights(AdaFace, only="model."),
                      "https://github.com/mk-minchul/AdaFace"),
    "inception": Source("pt_inception-2015-12-05-6726825d.pth", "crafters", _weights(InceptionV3, without="fc."),
                        "https://github.com/mseitzer/pytorch-fid/releases"),
    "resnet3d": Source("resnet-50-kinetics.pth", "crafters", _weights(ResNet3D, without="fc."),
                       "https://github.com/kenshohara/video-classification-3d-cnn-pytorch"),
    "i3d": Source("i3d_pretrained_400.pt", "crafters", _weights(I3D), "https://github.com/wilson1yan/VideoGPT"),
    "i3d_torchscript": Source("i3d_torchscript.pt", "crafters", ScriptedI3D,
                              "https://github.com/universome/fvd-comparison"),
}
# fmt: on


def _tensor(frame: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(frame, order="C")).permute(2, 0, 1).float()


def _normalised(pixels: torch.Tensor, mean: tuple, std: tuple) -> torch.Tensor:
    return (pixels / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


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
    return _normalised(_middle(_tensor(np.asarray(resized)), 224), CLIP_MEAN, CLIP_STD)


def clip_frame(frame: np.ndarray) -> torch.Tensor:
    """A frame for CLIP as VBench prepares it: as above, not antialiased."""
    pixels = _interpolated(_tensor(frame), _scaled(224, *frame.shape[:2]), "bicubic").round().clamp(0, 255)
    return _normalised(_middle(pixels, 224), CLIP_MEAN, CLIP_STD)


def dino_frame(frame: np.ndarray) -> torch.Tensor:
    """A frame for DINO as VBench prepares it: the shorter side to 224, bilinear, not antialiased, not cropped."""
    pixels = _interpolated(_tensor(frame), _scaled(224, *frame.shape[:2]), "bilinear").round()
    return _normalised(pixels, IMAGENET_MEAN, IMAGENET_STD)


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
