"""Multi-HMR (arXiv 2402.14654): SMPL-X's pose, shape and place of every person in a picture, from DINOv2's tokens."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ...files.pickles import Inert
from ..body.rotation import matrix_to_quaternion, quaternion_to_axis_angle, sixd_to_matrix
from ..checkpoint import CheckpointError, assign, read, size, sizes_of
from ..vit import VisionTransformer, ViTSize
from .decoder import TokenDecoder

PATCH = 14  # px
FIELD_OF_VIEW = 60.0  # degrees over the longer side; distances are learned for it
ROTATIONS = 53  # pelvis, 21 of the body, 15 of the left hand, 15 of the right, jaw
FARTHEST = 50.0  # m
_DECODER = {"dim": 1024, "head_dim": 32, "mlp_dim": 1024}
_BANDS, _HIGHEST = 16, 32  # of the camera's Fourier features
SETTINGS = {("argparse", "Namespace"): Inert}  # of its authors, beside the weights
_POSITIONS = "backbone.encoder.pos_embed"
# What only training needs, and SMPL-X itself, which some files carry: it stays with its licence.
_LEFT_OUT = ("backbone.encoder.mask_token", "smpl_layer.")


@dataclass(frozen=True)
class MultiHMRSize:
    """Sizes of the backbone and of the head; those of the released 896_L by default. `image`: px, squared."""

    image: int = 896
    dim: int = 1024
    depth: int = 24
    heads: int = 16
    head_depth: int = 2
    head_heads: int = 8


class Window(NamedTuple):
    """Where a person is looked for: tokens at most `radius` from (row, column)."""

    row: int
    column: int
    radius: int


class People(NamedTuple):
    """P people, by picture, row and column. cell [P,3]: those three; score [P]; place [P,2]: the head in px of the
    network's picture (x, y); distance [P,1]: the head's z in m; sixd [P,53,6] and the rotations [P,53,3,3] it means;
    betas, expression [P,10]; cam [P,3], of which the first is the logarithm of the distance at 60°."""

    cell: torch.Tensor
    score: torch.Tensor
    offset: torch.Tensor
    place: torch.Tensor
    distance: torch.Tensor
    sixd: torch.Tensor
    rotations: torch.Tensor
    betas: torch.Tensor
    expression: torch.Tensor
    cam: torch.Tensor

    @property
    def axis_angle(self) -> torch.Tensor:
        """[P,53,3], radians."""
        return quaternion_to_axis_angle(matrix_to_quaternion(self.rotations))


class _PoseHead(nn.Module):
    """Multi-HMR's human perception head: every person's token looks at all tokens of its picture."""

    def __init__(self, size: MultiHMRSize) -> None:
        super().__init__()
        side, width = size.image // PATCH, size.dim + 3 + 6 * _BANDS
        inits = {"body_pose": 6 * ROTATIONS, "betas": 10, "betas_kid": 11, "cam": 3, "expression": 10}
        for name, length in inits.items():
            self.register_buffer(f"init_{name}", torch.zeros(1, length))
        for name in ("queries", "values"):
            for axis in "xy":
                setattr(self, f"cross_{name}_{axis}", nn.Parameter(torch.zeros(side, width)))
        self.transformer = TokenDecoder(
            width + 6 * ROTATIONS + 10 + 3, width, depth=size.head_depth, heads=size.head_heads, **_DECODER
        )
        dim = _DECODER["dim"]
        self.decpose, self.decshape = nn.Linear(dim, 6 * ROTATIONS), nn.Linear(dim, 10)
        self.deccam, self.decexpression = nn.Linear(dim, 3), nn.Linear(dim, 10)

    def forward(self, context: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pose [P,318], betas, cam and expression of the people at `row` and `column` of `context` [n,n,width]."""
        # What is called x goes with the row: as trained.
        query = context[row, column] + (self.cross_queries_x[row] + self.cross_queries_y[column])
        value = self.cross_values_x[row] + self.cross_values_y[column]
        context = context.index_put((row, column), context[row, column] + value).flatten(0, 1)
        mean = [init.expand(len(row), -1) for init in (self.init_body_pose, self.init_betas, self.init_cam)]
        out = self.transformer(torch.cat([query, *mean], -1)[None], context[None])[0]
        return (
            self.decpose(out) + self.init_body_pose,
            self.decshape(out) + self.init_betas,
            self.deccam(out) + self.init_cam,
            self.decexpression(out) + self.init_expression,
        )


class MultiHMRHeads(nn.Module):
    """What finds and reads people in the backbone's tokens."""

    def __init__(self, size: MultiHMRSize) -> None:
        super().__init__()
        self.image, self.side = size.image, size.image // PATCH
        self.mlp_classif, self.mlp_offset = (_mlp(size.dim, out) for out in (1, 2))
        self.x_attention_head = _PoseHead(size)

    def scores(self, tokens: torch.Tensor) -> torch.Tensor:
        """How surely each of the tokens [B,n²,C] shows the middle of a person (the head): [B,n,n]."""
        return self.mlp_classif(tokens)[..., 0].sigmoid().clamp(1e-4, 1 - 1e-4).unflatten(1, (self.side, self.side))

    def forward(self, tokens: torch.Tensor, camera: torch.Tensor, scores: torch.Tensor, cell: torch.Tensor) -> People:
        """The people at `cell` [P,3] (picture, row, column); camera [B,3,3] of the network's pictures."""
        tokens = tokens.unflatten(1, (self.side, self.side))
        picture, row, column = cell.unbind(1)
        offset = self.mlp_offset(tokens[picture, row, column])
        place = (torch.stack([column, row], dim=-1) + 0.5 + offset) * PATCH
        # Angles of up to 100 radians, and a distance that is an exponential, lose too much in fewer digits; beside the
        # backbone the head costs nothing.
        exact = torch.float32 if tokens.device.type == "mps" else torch.float64
        camera = camera.to(exact)
        context = torch.cat([tokens.to(exact), self.camera_features(camera)], dim=-1)
        head = {name: tensor.to(exact) for name, tensor in self.x_attention_head.state_dict().items()}

        def read(i: int) -> tuple[torch.Tensor, ...]:
            # People of one picture see one another, those of different pictures do not.
            mine = picture == i
            return torch.func.functional_call(self.x_attention_head, head, (context[i], row[mine], column[mine]))

        pose, betas, cam, expression = (torch.cat(x) for x in zip(*map(read, range(len(tokens))), strict=True))
        usual = intrinsics(self.image, self.image)[0, 0].item()
        distance = ((cam[:, :1] * camera[picture, :1, 0] / usual).exp() - 1e-10).clamp(0, FARTHEST)
        pose, betas, cam, expression, distance = (x.to(tokens) for x in (pose, betas, cam, expression, distance))
        sixd = pose.unflatten(-1, (ROTATIONS, 6))
        found = scores[picture, row, column]
        return People(cell, found, offset, place, distance, sixd, sixd_to_matrix(sixd), betas, expression, cam)

    def camera_features(self, camera: torch.Tensor) -> torch.Tensor:
        """Each token's ray and its Fourier features: [B,n,n,99]."""
        centre = (torch.arange(self.side, device=camera.device) + 0.5) * PATCH
        row, column = torch.meshgrid(centre, centre, indexing="ij")
        # (row, column) stands where (x, y) should: as trained.
        ray = torch.stack([row, column, torch.ones_like(row)], -1).to(camera) @ camera.inverse().mT[:, None]
        bands = torch.linspace(1, _HIGHEST, _BANDS, dtype=camera.dtype, device=camera.device)
        angle = (ray[..., None] * bands * math.pi).flatten(-2)
        return torch.cat([ray, angle.sin(), angle.cos()], dim=-1)


class MultiHMR(MultiHMRHeads):
    """`MultiHMR(size)`: `tokens` of pictures, whose `scores` choose the cells where people are read."""

    def __init__(self, size: MultiHMRSize = MultiHMRSize()) -> None:
        super().__init__(size)
        vit = ViTSize(size.dim, size.depth, size.heads, PATCH, (self.side,) * 2, 4 * size.dim, layer_scale=True)
        self.backbone = nn.ModuleDict({"encoder": VisionTransformer(vit)})

    def tokens(self, pictures: torch.Tensor) -> torch.Tensor:
        """[B,n²,C] of float RGB [B,3,image,image], normalised by ImageNet's mean and deviation."""
        return self.backbone["encoder"](pictures)[:, 1:]


def find_cells(scores: torch.Tensor, threshold: float, suppress: bool = True) -> torch.Tensor:
    """Cells [P,3] (picture, row, column) of `scores` [B,n,n]; suppress: only those no neighbour of which is surer."""
    return torch.nonzero((suppressed(scores) if suppress else scores) >= threshold)


def suppressed(scores: torch.Tensor) -> torch.Tensor:
    """0 where one of the eight neighbours is surer."""
    return scores * (F.max_pool2d(scores[:, None], 3, stride=1, padding=1)[:, 0] == scores)


def find_in_window(scores: torch.Tensor, threshold: float, window: Window) -> torch.Tensor:
    """Cells [P,3] of one picture's `scores` [1,n,n] inside the window; the surest there if none reaches `threshold`."""
    row, column, radius = window
    side = scores.shape[-1]
    cell = torch.nonzero(scores >= threshold)
    inside = ((cell[:, 1:] - torch.tensor([row, column], device=cell.device)).abs() <= radius).all(1)
    if inside.any():
        return cell[inside]
    # The far ends do not belong to this window, unlike to the one above: as published.
    top, left = max(row - radius, 0), max(column - radius, 0)
    part = scores[0, top : min(row + radius, side), left : min(column + radius, side)]
    best = int(part.argmax())
    return torch.tensor([[0, top + best // part.shape[1], left + best % part.shape[1]]], device=cell.device)


def intrinsics(width: int, height: int, degrees: float = FIELD_OF_VIEW) -> torch.Tensor:
    """The camera [3,3] px, float64, that sees `degrees` over the longer side, its axis through the centre."""
    focal = max(width, height) / (2 * math.tan(math.radians(degrees) / 2))
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float64)


def unproject(place: torch.Tensor, distance: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Points [P,3] m that `camera` [3,3] or [P,3,3] sees at `place` [P,2] px, `distance` [P,1] m along its axis."""
    return (camera.inverse() @ F.pad(place, (0, 1), value=1)[..., None])[..., 0] * distance


def load_multihmr(path: str | Path, dtype: torch.dtype | None = None) -> MultiHMR:
    """The network from `multiHMR_896_L.pt`, or from a safetensors file of its tensors (header: other sizes).

    Raises CheckpointError for a file that is missing, damaged, or not Multi-HMR's.
    """
    path = Path(path)
    state, config = read(path, SETTINGS)
    try:
        size = MultiHMRSize(**config)
    except TypeError as error:
        raise CheckpointError(f"{path.name}: its header is not that of a Multi-HMR file ({error}).") from error
    with torch.device("meta"):
        network = MultiHMR(size)
    state = {name: tensor for name, tensor in state.items() if not name.startswith(_LEFT_OUT)}
    with sizes_of(f"{path.name} is not a Multi-HMR file"):
        state[_POSITIONS] = _stretched(state, network.side)
    assign(network, state, path.name)
    return network.eval().requires_grad_(False).to(dtype=dtype)


def _stretched(state: dict[str, torch.Tensor], side: int) -> torch.Tensor:
    """The position table [1,1+m²,C], the class token's first, for side² patches: by the rule of DINOv2 without
    registers (`interpolate_pos_encoding`)."""
    old = math.isqrt(size(state, _POSITIONS, 1) - 1)
    table = state[_POSITIONS]
    if table.shape[1] != 1 + old**2:
        raise CheckpointError(f"tensor {_POSITIONS} has the shape {tuple(table.shape)}: it is no square of places.")
    if old == side:
        return table
    grid = table[:, 1:].float().unflatten(1, (old, old)).permute(0, 3, 1, 2)
    factor = (side + 0.1) / old  # the published guard against losing a row to rounding; it shifts the grid a little
    grid = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([table[:, :1], grid.flatten(2).mT.to(table)], dim=1)


def _mlp(dim: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out))
