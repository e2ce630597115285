"""LHM's two image encoders: Sapiens reads the body, DINOv2 with registers the head."""

import torch
import torch.nn.functional as F
from torch import nn

from ...normalise import Colours, normalise
from ...vit import VisionTransformer, ViTSize
from .precision import autocast

HEAD_SIDE = 448
HEAD_SIZE = ViTSize(1024, 24, 16, patch=14, grid=(37, 37), mlp=4096, registers=4, layer_scale=True)  # ViT-L/14
LEVELS = (4, 11, 17, 23)
BODY_SIDE = 1024
BODY_SIZE = ViTSize(1536, 40, 24, patch=16, grid=(64, 64), mlp=6144)  # Sapiens-1B
SAPIENS: Colours = (0.4844, 0.4570, 0.4062), (0.2295, 0.2236, 0.2256)


def square(image: torch.Tensor, side: int) -> torch.Tensor:
    """[B,3,H,W] in 0…1 → [B,3,side,side]: padded with white to a centred square, then resized.

    As in training: kornia's bicubic resizing, corner pixels aligned, with a Gaussian blur before it where it shrinks.
    What overshoots 0…1 stays.
    """
    height, width = image.shape[-2:]
    across, down = max(height - width, 0), max(width - height, 0)
    image = F.pad(image, (across // 2, across - across // 2, down // 2, down - down // 2), value=1.0)
    factor = image.shape[-1] / side
    if factor == 1:
        return image
    if factor > 1:
        image = _blur(image, max((factor - 1) / 2, 0.001))
    return F.interpolate(image, size=(side, side), mode="bicubic", align_corners=True)


def _blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    reach = int(max(4 * sigma, 3)) // 2
    offsets = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, 1, -1)
    image = F.pad(image, (reach,) * 4, mode="reflect")
    image = F.conv2d(image, kernel, groups=image.shape[1])
    return F.conv2d(image, kernel.mT, groups=image.shape[1])


class BodyEncoder(nn.Module):
    """Sapiens: photo [1,3,H,W] in 0…1 on white → [1,4096,1536], a token per patch."""

    def __init__(self, size: ViTSize = BODY_SIZE, side: int = BODY_SIDE):
        super().__init__()
        self.side = side
        self.model = VisionTransformer(size)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        picture = square(image, self.side)
        with autocast(picture, self.model.patch_embed["proj"]):
            return self.model(normalise(picture, SAPIENS))[:, self.model.prefix :]


class HeadEncoder(nn.Module):
    """DINOv2 of four depths, fused: head crop [1,3,H,W] in 0…1 → [1,1024,1024], a feature per patch.

    The picture is not normalised by ImageNet's mean and deviation: the weights were trained so.
    """

    def __init__(
        self,
        size: ViTSize = HEAD_SIZE,
        out: int = 1024,
        side: int = HEAD_SIDE,
        levels: tuple[int, ...] = LEVELS,
    ):
        super().__init__()
        self.side, self.levels = side, levels
        self.model = VisionTransformer(size)
        self.fusion_head = _FusionHead(size.dim, out, len(levels))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = self.model.embed(square(image, self.side))
        found = []
        for depth, block in enumerate(self.model.blocks):
            tokens = block(tokens)
            if depth in self.levels:
                found.append(self.model.norm(tokens)[:, self.model.prefix :])
        return self.fusion_head(found)


class _FusionHead(nn.Module):
    def __init__(self, dim: int, out: int, levels: int):
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(dim, dim, 1) for _ in range(levels))
        self.output_conv = nn.Conv2d(levels * dim, out, 1)

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        # A 1×1 convolution over patches, which stay in a row.
        maps = [project(tokens.mT[..., None]) for project, tokens in zip(self.projects, levels, strict=True)]
        return self.output_conv(torch.cat(maps, dim=1)).squeeze(-1).mT
