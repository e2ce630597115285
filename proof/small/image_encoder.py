"""Training of small image encoders: what they answer must tell what is in the picture.

Their answers are turned back into small pictures by one linear layer, which is dropped afterwards.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...models.anchorcrafter.conditions import clip_resize
from ...models.normalise import CLIP
from ...training.settings import checked
from .pictures import Pictures

WAN_CLIP = "wan_small_clip.pth"


@checked(kw_only=True)
class EncoderSettings:
    """pictures: films and photos to learn, paths with `*` and `**`. width, layers: of the transformer."""

    pictures: tuple[str, ...]
    width: int
    layers: int


class EncoderTask(ABC):
    """Pictures are [N, 3, S, S] in 0…1."""

    def __init__(self, network: nn.Module, head: nn.Linear, mean: tuple[float, ...], deviation: tuple[float, ...]):
        """mean, deviation: of the colours that the network expects."""
        self.trained = nn.ModuleDict({"network": network, "head": head})
        self.shift, self.scale = (torch.tensor(x).view(-1, 1, 1) for x in (mean, deviation))

    @abstractmethod
    def answer(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised pictures to what the systems read of the network, [N, …, D]."""

    def told(self, images: torch.Tensor) -> torch.Tensor:
        """What the head makes of that answer to pictures."""
        return self.trained["head"](self.answer((images - self.shift) / self.scale)).float()

    def prepare(self, device: torch.device, rank: int, ranks: int) -> None:
        self.shift, self.scale = self.shift.to(device), self.scale.to(device)

    @abstractmethod
    def loss(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]: ...

    def preview(self) -> dict[str, np.ndarray]:
        return {}

    def network_weights(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        prefix = "network."
        kept = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
        return {name: tensor.half() for name, tensor in kept.items()}


@checked(kw_only=True)
class ClipSettings(EncoderSettings):
    """system: svd, whose projected embedding of `projection` numbers tells the whole picture, or wan, whose tokens
    before the last layer tell their patches. patch: pixels. grid: side of the small picture that the whole picture, or
    each patch, is told as."""

    system: Literal["svd", "wan"]
    patch: int
    grid: int
    projection: int = 0
    heads: int = 4

    def __post_init__(self):
        if (self.system == "svd") != (self.projection > 0):
            raise ValueError("projection is the embedding's length for system svd, and nothing for wan.")
        if self.system == "wan" and self.layers != 1:
            raise ValueError("layers must be 1 for system wan: the last one is never asked.")


class ClipTask(EncoderTask):
    """CLIP's image encoder."""

    SIZE = 224

    def __init__(self, settings: ClipSettings):
        from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

        self.settings = settings
        self.pictures = Pictures(settings.pictures, self.SIZE)
        self.config = CLIPVisionConfig(
            hidden_size=settings.width,
            intermediate_size=4 * settings.width if settings.projection else 1,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            image_size=self.SIZE,
            patch_size=settings.patch,
            projection_dim=settings.projection or settings.width,
            hidden_act="gelu",
        )
        numbers = 3 * settings.grid**2
        if settings.system == "svd":
            network, length = CLIPVisionModelWithProjection(self.config), settings.projection
        else:
            network, length = CLIPVisionModel(self.config), settings.width
            network.requires_grad_(False)
            network.embeddings.requires_grad_(True)
            network.embeddings.class_embedding.requires_grad_(False)
            network.pre_layrnorm.requires_grad_(True)
        super().__init__(network, nn.Linear(length, numbers), *CLIP)

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, index: int, draw: np.random.Generator, frames: int) -> dict[str, torch.Tensor]:
        image = self.pictures.frame(index, draw)[None].float() / 255
        return {"image": (clip_resize(image, self.SIZE)[0] * 255).round().clamp(0, 255).byte().movedim(-1, 0)}

    def answer(self, images: torch.Tensor) -> torch.Tensor:
        network = self.trained["network"]
        if self.settings.system == "svd":
            return network(images).image_embeds
        return network.pre_layrnorm(network.embeddings(images))[:, 1:]

    def loss(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        images = batch["image"].float() / 255
        if self.settings.system == "svd":
            target = F.adaptive_avg_pool2d(images, self.settings.grid).flatten(1)
        else:
            target = patches(images, self.SIZE // self.settings.patch, self.settings.grid)
        error = (self.told(images) - target).square().mean()
        return error, {"psnr": psnr(error)}

    def save(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        """svd: image_encoder/, half precision, as `load_image_encoder` reads it. wan: one file of torch's, as
        `load_clip_vision` reads it; its last layer, which nobody asks, is zeros that take no space in such a file."""
        state = self.network_weights(weights)
        if self.settings.system == "svd":
            network = type(self.trained["network"])(self.config)
            network.load_state_dict(state)
            network.half().save_pretrained(folder / "image_encoder")
            return
        for name, tensor in state.items():
            if name.startswith(("encoder.", "post_layernorm.")):
                state[name] = tensor.new_zeros(1).expand(tensor.shape)
        torch.save({f"vision_model.{name}": tensor for name, tensor in state.items()}, folder / WAN_CLIP)


def psnr(error: torch.Tensor) -> torch.Tensor:
    """dB of a mean squared error between numbers in 0…1."""
    return -10 * torch.log10(error.detach())


def patches(images: torch.Tensor, count: int, grid: int) -> torch.Tensor:
    """Each of count × count patches as grid × grid colours, [N, count², 3·grid²]."""
    small = F.adaptive_avg_pool2d(images, count * grid)
    return F.unfold(small, grid, stride=grid).transpose(1, 2)
