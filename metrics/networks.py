"""The networks whose features are compared: which file each is, and how it is read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..files.pickles import Inert
from ..models.checkpoint import CheckpointError, assign, read
from ..models.loaded import Loaded
from ..models.pretrained import from_folder
from .face import AdaFace
from .inception import InceptionV3
from .inputs import from_clip_input
from .video_networks import I3D, ResNet3D, ScriptedI3D

BATCH = 8  # pictures, or clips, per call


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

    `find(name, kind)` answers a path or raises FileNotFoundError, as `host.folders.path`; `place` brings a network
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
        def embeds(_, pixels: torch.Tensor) -> torch.Tensor:
            found = clip_vision.encode_image(from_clip_input(pixels)).image_embeds
            if found is None:
                raise CheckpointError("The connected CLIP has no projection, as Wan's: connect another, or none.")
            return found

        super().__init__(_Output(nn.Identity(), embeds))

    def load(self, memory: int = 0) -> torch.device:
        return torch.device("cpu")


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


def _weights(network: type[nn.Module], only: str = "", without: tuple[str, ...] = ()) -> Callable[[Path], nn.Module]:
    """Opens a published file as `network`: its entries that start with `only`, less those that go on with `without`."""

    def open_file(path: Path) -> nn.Module:
        state, _ = read(path, _LIGHTNING)
        if any(name.startswith(only) for name in state):  # `read` takes off what all names share
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


# Checkpoints of old Lightning releases name the class of a callback, as a key.
_LIGHTNING = {("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"): Inert}

SOURCES = {
    "clip": Source("clip-vit-base-patch32", "clip_vision", _clip,
                   "https://huggingface.co/openai/clip-vit-base-patch32"),
    "dino": Source("dino-vitb16", "clip_vision", _dino, "https://huggingface.co/facebook/dino-vitb16"),
    "adaface": Source("adaface_ir50_ms1mv2.ckpt", "crafters", _weights(AdaFace, only="model."),
                      "https://github.com/mk-minchul/AdaFace"),
    "inception": Source("pt_inception-2015-12-05-6726825d.pth", "crafters", _weights(InceptionV3, without=("fc.",)),
                        "https://github.com/mseitzer/pytorch-fid/releases"),
    "resnet3d": Source("resnet-50-kinetics.pth", "crafters", _weights(ResNet3D, without=("fc.",)),
                       "https://github.com/kenshohara/video-classification-3d-cnn-pytorch"),
    "i3d": Source("i3d_pretrained_400.pt", "crafters", _weights(I3D), "https://github.com/wilson1yan/VideoGPT"),
    "i3d_torchscript": Source("i3d_torchscript.pt", "crafters", ScriptedI3D,
                              "https://github.com/universome/fvd-comparison"),
}
