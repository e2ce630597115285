"""Training of a small DINOv2, which reads product photos."""

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...models.anchorcrafter.encoders import DINOv2
from ...models.normalise import IMAGENET
from ...training.settings import checked
from .image_encoder import EncoderSettings, EncoderTask, patches, psnr
from .pictures import find, read


@checked(kw_only=True)
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
        head = nn.Linear(settings.width, self.numbers + 3 * settings.whole**2)
        super().__init__(network, head, *IMAGENET)

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
        found = self.told(images)
        count = DINOv2.SIZE // self.settings.patch
        around = F.unfold(F.adaptive_avg_pool2d(images, count), 3, padding=1).transpose(1, 2)
        near = torch.cat([patches(images, count, self.settings.grid), around], -1)
        tokens = (found[:, 1:, : self.numbers] - near).square().mean()
        whole = F.adaptive_avg_pool2d(images, self.settings.whole).flatten(1)
        first = (found[:, 0, self.numbers :] - whole).square().mean()
        return tokens + first, {"patches": psnr(tokens), "whole": psnr(first)}

    def save(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        """dinov2/, half precision, as `load_dinov2` reads it."""
        from transformers import Dinov2Model

        network = Dinov2Model(self.config)
        network.load_state_dict(self.network_weights(weights))
        network.half().save_pretrained(folder / "dinov2")
