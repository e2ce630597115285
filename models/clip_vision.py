"""CLIP's image encoder: Stable Video Diffusion takes its projected embedding, Wan its tokens before the last layer.

`ClipVision` answers the call that ComfyUI's own CLIP_VISION objects answer, so that either kind can be handed on.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .loaded import Loaded
from .normalise import CLIP, normalise


@dataclass(frozen=True)
class ClipVisionOutput:
    """penultimate_hidden_states [B,1+n²,D]: after the last but one layer. image_embeds [B,P]: projected; None of an
    encoder without a projection. Both float32 on the CPU."""

    penultimate_hidden_states: torch.Tensor
    image_embeds: torch.Tensor | None = None

    def __getitem__(self, name: str) -> torch.Tensor:
        return getattr(self, name)


class ClipVision:
    """loaded: a transformers CLIPVisionModel, or CLIPVisionModelWithProjection."""

    def __init__(self, loaded: Loaded):
        self.loaded = loaded

    def encode_image(self, image: torch.Tensor, crop: bool = True) -> ClipVisionOutput:
        """IMAGE [B,H,W,3] in 0…1, brought to the encoder's size.

        crop: cut the middle square out first; else the aspect ratio is ignored.
        """
        device = self.loaded.load()
        size = self.loaded.module.config.image_size
        pixels = image[..., :3].movedim(-1, 1).to(device, torch.float32)
        if crop:
            side = min(pixels.shape[-2:])
            top, left = (pixels.shape[-2] - side) // 2, (pixels.shape[-1] - side) // 2
            pixels = pixels[..., top : top + side, left : left + side]
        if pixels.shape[-2:] != (size, size):
            pixels = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        output = self.loaded.module(normalise(pixels, CLIP).to(self.loaded.dtype), output_hidden_states=True)
        embeds = getattr(output, "image_embeds", None)
        return ClipVisionOutput(
            output.hidden_states[-2].float().cpu(), None if embeds is None else embeds.float().cpu()
        )
