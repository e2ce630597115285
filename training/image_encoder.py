"""Training of small image encoders: what they answer must tell what is in the picture.

Their answers are turned back into small pictures by one linear layer, which is dropped afterwards.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..models.anchorcrafter.conditions import clip_resize
from ..models.anchorcrafter.encoders import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, DINOv2
from .pictures import Pictures, find, read

WAN_CLIP = "wan_small_clip.pth"


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """pictures: films and photos to learn, paths with `*` and `**`. width, layers: of the transformer."""

    pictures: tuple[str, ...]
    width: int
    layers: int


class EncoderTask(ABC):
    """Pictures are [N, 3, S, S] in 0…1."""

    mean, deviation = CLIP_MEAN, CLIP_STD

    def __init__(self, network: nn.Module, head: nn.Linear):
        self.trained = nn.ModuleDict({"network": network, "head": head})
        self.shift, self.scale = (torch.tensor(x).view(-1, 1, 1) for x in (self.mean, self.deviation))

    @abstractmethod
    def answer(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised pictures to what the systems read of the network, [N, …, D]."""

    @abstractmethod
    def told(self, images: torch.Tensor) -> torch.Tensor:
        """What the answer is to tell of pictures: numbers in 0…1, [N, …, K]."""

    def prepare(self, device: torch.device, rank: int, ranks: int) -> None:
        self.shift, self.scale = self.shift.to(device), self.scale.to(device)

    def loss(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        images = batch["image"].float() / 255
        found = self.trained["head"](self.answer((images - self.shift) / self.scale)).float()
        error = (found - self.told(images)).square().mean()
        return error, {"psnr": -10 * torch.log10(error.detach())}

    def preview(self) -> dict[str, np.ndarray]:
        return {}

    def network_weights(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        prefix = "network."
        kept = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
        return {name: tensor.half() for name, tensor in kept.items()}


@dataclass(frozen=True, kw_only=True)
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
        super().__init__(network, nn.Linear(length, numbers))

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

    def told(self, images: torch.Tensor) -> torch.Tensor:
        if self.settings.system == "svd":
            return F.adaptive_avg_pool2d(images, self.settings.grid).flatten(1)
        return patches(images, self.SIZE // self.settings.patch, self.settings.grid)

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


@dataclass(frozen=True, kw_only=True)
class DinoSettings(EncoderSettings):
    """patch: pixels, a divisor of 518. grid: side of the small picture that each patch is told as, `whole` that of the
    whole view."""

    patch: int
    grid: int
    whole: int

    def __post_init__(self):
        if DINOv2.SIZE % self.patch:
            raise ValueError(f"patch is {self.patch}; a divisor of {DINOv2.SIZE} is wanted.")


class DinoTask(EncoderTask):
    """DINOv2: every token tells its patch and, more coarsely, the eight around it; the first one the whole view."""

    mean, deviation = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, settings: DinoSettings):
        from transformers import Dinov2Config, Dinov2Model

        self.settings = settings
        self.views = find(settings.pictures)
        self.config = Dinov2Config(
            hidden_size=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=max(1, settings.width // 64),  # in every published DINOv2
            image_size=DINOv2.SIZE,
            patch_size=settings.patch,
        )
        self.numbers = 3 * (settings.grid**2 + 9)
        network = Dinov2Model(self.config)
        network.embeddings.mask_token.requires_grad_(False)
        super().__init__(network, nn.Linear(settings.width, self.numbers + 3 * settings.whole**2))

    def __len__(self) -> int:
        return len(self.views)

    def sample(self, index: int, draw: np.random.Generator, frames: int) -> dict[str, torch.Tensor]:
        """image uint8 [3, 518, 518]: a view on black, turned, moved, scaled and recoloured."""
        view, side = read(self.views[index])[0], DINOv2.SIZE
        scale = side / max(view.shape[:2]) * draw.uniform(0.6, 1.1)
        matrix = cv2.getRotationMatrix2D((view.shape[1] / 2, view.shape[0] / 2), draw.normal(0, 8), scale)
        matrix[:, 2] += side / 2 - np.array(view.shape[1::-1]) / 2 + draw.uniform(-0.06, 0.06, 2) * side
        view = cv2.warpAffine(view, matrix, (side, side), flags=cv2.INTER_AREA)
        view = view[..., draw.permutation(3)].astype(np.float32) * draw.uniform(0.7, 1.1, 3).astype(np.float32)
        return {"image": torch.from_numpy(view.clip(0, 255).astype(np.uint8)).movedim(-1, 0)}

    def answer(self, images: torch.Tensor) -> torch.Tensor:
        return self.trained["network"](images).last_hidden_state

    def loss(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        images = batch["image"].float() / 255
        found = self.trained["head"](self.answer((images - self.shift) / self.scale)).float()
        tokens = (found[:, 1:, : self.numbers] - self.told(images)).square().mean()
        whole = F.adaptive_avg_pool2d(images, self.settings.whole).flatten(1)
        first = (found[:, 0, self.numbers :] - whole).square().mean()
        psnr = {"patches": -10 * torch.log10(tokens.detach()), "whole": -10 * torch.log10(first.detach())}
        return tokens + first, psnr

    def told(self, images: torch.Tensor) -> torch.Tensor:
        count = DINOv2.SIZE // self.settings.patch
        around = F.unfold(F.adaptive_avg_pool2d(images, count), 3, padding=1).transpose(1, 2)
        return torch.cat([patches(images, count, self.settings.grid), around], -1)

    def save(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        """dinov2/, half precision, as `load_dinov2` reads it."""
        from transformers import Dinov2Model

        network = Dinov2Model(self.config)
        network.load_state_dict(self.network_weights(weights))
        network.half().save_pretrained(folder / "dinov2")


def patches(images: torch.Tensor, count: int, grid: int) -> torch.Tensor:
    """Each of count × count patches as grid × grid colours, [N, count², 3·grid²]."""
    small = F.adaptive_avg_pool2d(images, count * grid)
    return F.unfold(small, grid, stride=grid).transpose(1, 2)
