"""HaMeR (arXiv 2312.05251): MANO's pose, shape and camera of one hand from a picture of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ...files.pickles import Inert
from ..body.rotation import sixd_to_matrix
from ..checkpoint import CheckpointError, assign, read
from ..vit import VisionTransformer, ViTSize
from .decoder import TokenDecoder

CROP = 256  # px; the network sees the middle 192 columns
FOCAL = 5000.0  # px, of the crop's camera
JOINTS = 16
_PATCH, _GRID = 16, (16, 12)  # of those columns
_SIDE = (CROP - _PATCH * _GRID[1]) // 2
SETTINGS = {("yacs.config", "CfgNode"): Inert}  # of its authors, beside the weights
# MANO's own tensors, which its licence keeps with its file, and what only training needs.
_LEFT_OUT = ("mano.", "discriminator.", "initialized")


@dataclass(frozen=True)
class HaMeRSize:
    """Sizes of the backbone and of the decoder; the released ones by default."""

    dim: int = 1280
    depth: int = 32
    heads: int = 16
    mlp_ratio: int = 4
    decoder_dim: int = 1024
    decoder_depth: int = 6
    decoder_heads: int = 8
    decoder_head_dim: int = 64
    decoder_mlp: int = 1024


class HandParameters(NamedTuple):
    """Of B right hands (left ones are mirrored before and after): rotations [B,16,3,3] of the wrist and 15 joints,
    betas [B,10], cam [B,3]: scale and shift (x, y) of the crop's weak-perspective camera."""

    rotations: torch.Tensor
    betas: torch.Tensor
    cam: torch.Tensor


class ManoHead(nn.Module):
    """HaMeR's head: one empty query looks at the backbone's features [B,C,16,12]."""

    def __init__(self, size: HaMeRSize) -> None:
        super().__init__()
        dim = size.decoder_dim
        self.transformer = TokenDecoder(
            1, size.dim, dim, size.decoder_depth, size.decoder_heads, size.decoder_head_dim, size.decoder_mlp
        )
        self.decpose, self.decshape, self.deccam = nn.Linear(dim, 6 * JOINTS), nn.Linear(dim, 10), nn.Linear(dim, 3)
        for name, width in (("hand_pose", 6 * JOINTS), ("betas", 10), ("cam", 3)):
            self.register_buffer(f"init_{name}", torch.zeros(1, width))

    def token(self, features: torch.Tensor) -> torch.Tensor:
        """What the query has gathered: [B,dim]."""
        return self.transformer(features.new_zeros(len(features), 1, 1), features.flatten(2).mT)[:, 0]

    def pose(self, token: torch.Tensor) -> torch.Tensor:
        """Six numbers for each of the 16 rotations: [B,96]."""
        return self.decpose(token) + self.init_hand_pose

    def forward(self, features: torch.Tensor) -> HandParameters:
        token = self.token(features)
        rotations = sixd_to_matrix(self.pose(token).unflatten(-1, (JOINTS, 6)))
        return HandParameters(rotations, self.decshape(token) + self.init_betas, self.deccam(token) + self.init_cam)


class _ViTPose(VisionTransformer):
    """Without a class token, but with its place in the position table, which is added to every patch."""

    def __init__(self, size: HaMeRSize) -> None:
        mlp = size.mlp_ratio * size.dim
        super().__init__(ViTSize(size.dim, size.depth, size.heads, _PATCH, _GRID, mlp, class_token=False, padding=2))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + _GRID[0] * _GRID[1], size.dim))

    def positions(self, rows: int, columns: int) -> torch.Tensor:
        return self.pos_embed[:, 1:] + self.pos_embed[:, :1]


class HaMeR(nn.Module):
    """`HaMeR(size)(crops)`; crops float [B,3,256,256], RGB, normalised by ImageNet's mean and deviation."""

    def __init__(self, size: HaMeRSize = HaMeRSize()) -> None:
        super().__init__()
        self.backbone = _ViTPose(size)
        self.mano_head = ManoHead(size)

    def features(self, crops: torch.Tensor) -> torch.Tensor:
        """[B,C,16,12] of the middle columns."""
        return self.backbone(crops[..., _SIDE:-_SIDE]).mT.unflatten(2, _GRID)

    def forward(self, crops: torch.Tensor) -> HandParameters:
        return self.mano_head(self.features(crops))


def load_hamer(path: str | Path, dtype: torch.dtype | None = None) -> HaMeR:
    """The network from `hamer.ckpt`, or from a safetensors file of its tensors (header: other sizes).

    Raises CheckpointError for a file that is missing, damaged, or not HaMeR's.
    """
    path = Path(path)
    state, config = read(path, SETTINGS)
    state = {
        name.replace("backbone.last_norm.", "backbone.norm."): tensor
        for name, tensor in state.items()
        if not name.startswith(_LEFT_OUT)
    }
    try:
        size = HaMeRSize(**config)
    except TypeError as error:
        raise CheckpointError(f"{path.name}: its header is not that of a HaMeR file ({error}).") from error
    with torch.device("meta"):
        network = HaMeR(size)
    assign(network, state, path.name)
    return network.eval().requires_grad_(False).to(dtype=dtype)


def crop_translation(cam: torch.Tensor) -> torch.Tensor:
    """The hand's place [B,3] m before the crop's camera (focal length 5000 px, centre of the crop)."""
    scale, x, y = cam.unbind(-1)
    return torch.stack([x, y, 2 * FOCAL / (CROP * scale + 1e-9)], dim=-1)


def scaled_focal(size: torch.Tensor) -> torch.Tensor:
    """The full picture's focal length in px; size [...,2]: (width, height) of the pictures of one clip."""
    return FOCAL / CROP * size.max()


def full_translation(
    cam: torch.Tensor, centre: torch.Tensor, box: torch.Tensor, size: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """Hands' places [B,3] m before the full picture's camera (`scaled_focal`, principal point in its centre).

    cam [B,3] of crops with `centre` [B,2] and side `box` [B] px in pictures of `size` [B,2] px; right [B]: 1, left: 0.
    """
    scale = box * cam[:, 0] + 1e-9
    mirrored = torch.stack([cam[:, 1] * (2 * right - 1), cam[:, 2]], dim=-1)
    xy = mirrored + 2 * (centre - size / 2) / scale[:, None]
    return torch.cat([xy, (2 * scaled_focal(size) / scale)[:, None]], dim=-1)


def project(points: torch.Tensor, translation: torch.Tensor, focal: float | torch.Tensor) -> torch.Tensor:
    """[B,N,2]: where a camera of that focal length sees points [B,N,3] moved by [B,3], from its principal point."""
    placed = points + translation[:, None]
    return focal * placed[..., :2] / placed[..., 2:]
