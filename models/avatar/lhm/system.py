"""LHM from its files, and a prepared photo made into an avatar by it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ....files.digest import digest
from ...checkpoint import CheckpointError, assign, read, size
from ...loaded import Loaded
from ...vit import ViTSize
from ..files import load_avatar
from ..gaussians import Avatar
from ..rig import UPPER_BODY, Rig, neutral_pose, rig_from_lhm
from .encoders import HEAD_SIDE, BodyEncoder, HeadEncoder
from .network import Network
from .points import spread_points
from .precision import matrices_to

BODY_MODEL = "renderer.smplx_model."  # SMPL-X as LHM uses it; the rig is made of it
CONSTANTS = ("pcl_embed.basis",)
HEAD_DIM = 64  # of every attention of the released networks
GIB = 2**30


@dataclass(frozen=True, eq=False)
class LHM:
    """The three networks, brought to the compute device one after the other; the rig of the points; the points [N,3] m
    in the neutral pose. content: tells these weights, points and precision from any others."""

    body: Loaded
    head: Loaded
    network: Loaded
    rig: Rig
    points: torch.Tensor
    content: str

    def key(
        self, body: torch.Tensor, head: torch.Tensor | None, betas: torch.Tensor | None, visible_ratio: float
    ) -> str:
        """What tells `reconstruct`'s answer to these from any other: weights and photo, whatever their files' names."""
        given = [tensor for tensor in (body, head, betas) if tensor is not None]
        return digest(*given, self.content, f"{head is None} {betas is None} {visible_ratio}")

    @torch.no_grad()
    def reconstruct(
        self,
        body: torch.Tensor,
        head: torch.Tensor | None = None,
        betas: torch.Tensor | None = None,
        visible_ratio: float = 1.0,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Avatar:
        """body [1,H,W,3], the person on white, and head [1,h,w,3], a square crop, in 0…1 → the avatar.

        Without a head, black goes in, as in training; without betas [10] the mean shape. on_step(done, total) comes
        after each encoder and each layer and may raise to cancel.
        """
        total = 2 + len(self.network.module.transformer.layers)

        def step(done: int) -> None:
            if on_step:
                on_step(done, total)

        device = self.body.load(2 * GIB)
        body_tokens = self.body.module(_planes(body, device)).float()
        step(1)
        crop = torch.zeros(1, HEAD_SIDE, HEAD_SIDE, 3) if head is None else head
        device = self.head.load(GIB)
        head_features = self.head.module(_planes(crop, device)).float()
        step(2)
        device = self.network.load(4 * GIB)
        upper = self.rig.driven_by(UPPER_BODY).to(device)
        found = self.network.module(
            body_tokens.to(device), head_features.to(device), self.points.to(device), upper,
            lambda done, _: step(2 + done),
        )
        _, back = neutral_pose(self.rig.skeleton)
        shape = torch.zeros(10) if betas is None else betas
        return Avatar(
            found.offset, self.points, found.rgb, found.opacity, found.scale, found.rotation, back, shape,
            visible_ratio, int(head is not None),
        )


def load_lhm(
    path: str | Path,
    sapiens: str | Path,
    dtype: torch.dtype = torch.float32,
    points: str | Path | None = None,
    wrap: Callable[[torch.nn.Module], Loaded] = Loaded,
) -> LHM:
    """LHM from its released `model.safetensors` (1B or 500M; the sizes follow from the tensors) and Sapiens-1B made
    plain by `convert_sapiens`.

    dtype: of the transformer's matrices, fp32 (as published) or bf16; Sapiens' are in bf16, as published. points: an
    avatar file that LHM made, whose points are taken; None spreads them anew (`spread_points`). wrap: who brings each
    network to its device.

    Raises CheckpointError naming the file and what is missing, unknown or of another size.
    """
    path = Path(path)
    state, _ = read(path)
    head, network = load_networks(state, path.name, dtype)
    rig = rig_from_lhm(path)
    where = spread_points(state, rig) if points is None else load_avatar(points).points
    if len(where) != len(rig.skinning):
        raise CheckpointError(
            f"{Path(points or path).name} has {len(where)} points but {path.name} was made for {len(rig.skinning)}: "
            "choose an avatar that this LHM made, or none."
        )
    body = load_sapiens(sapiens)
    content = digest(*_small(state), *_small(body.state_dict()), where, f"{dtype}")
    return LHM(wrap(body), wrap(head), wrap(network), rig, where, content)


def _small(state: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Biases, norms and other small tensors: any training changes them, and gigabytes need not be read again."""
    return [state[name] for name in sorted(state) if state[name].numel() <= 1 << 16]


def load_networks(
    state: dict[str, torch.Tensor], what: str, dtype: torch.dtype = torch.float32
) -> tuple[HeadEncoder, Network]:
    """The head encoder and the network behind both encoders, from the tensors of LHM's file.

    Raises CheckpointError naming `what` and the tensors that do not fit.
    """
    encoder = {name.removeprefix("encoder."): x for name, x in state.items() if name.startswith("encoder.")}
    rest = {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(("encoder.", BODY_MODEL)) and name not in CONSTANTS
    }
    try:
        head, network = build_networks(state)
    except CheckpointError as error:
        raise CheckpointError(f"{what} is not an LHM model: {error}") from error
    assign(head, encoder, what)
    assign(network, rest, what)
    matrices_to(network.float().transformer, dtype)
    return head.float(), network


def build_networks(state: dict[str, torch.Tensor]) -> tuple[HeadEncoder, Network]:
    """Both networks on the meta device, of the sizes that the tensors of LHM's file have. Raises CheckpointError."""
    vit = vit_size(state, "encoder.model.", registers=size(state, "encoder.model.register_tokens", 1))
    dim, token_dim = (size(state, "transformer.linear_cond_proj.weight", axis) for axis in (0, 1))
    widths = []
    while f"renderer.mlp_net.layers.{2 * len(widths)}.weight" in state:
        widths.append(size(state, f"renderer.mlp_net.layers.{2 * len(widths)}.weight", 0))
    with torch.device("meta"):
        head = HeadEncoder(vit, size(state, "encoder.fusion_head.output_conv.weight", 0))
        layers = _count(state, "transformer.layers.")
        return head, Network(layers, dim, dim // HEAD_DIM, token_dim, tuple(widths[:-1]))


def load_sapiens(path: str | Path, dtype: torch.dtype = torch.bfloat16) -> BodyEncoder:
    """The body encoder from a file of `convert_sapiens`; dtype of its matrices. Raises CheckpointError."""
    path = Path(path)
    state, config = read(path)
    padding = config.get("padding", 0)
    try:
        if type(padding) is not int or not 0 <= padding < 8:
            raise CheckpointError(f"the padding in its header is {str(padding)[:20]}.")
        vit = vit_size(state, "", padding=padding)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path.name} is not Sapiens made plain by `crafters convert sapiens`: {error}"
        ) from error
    with torch.device("meta"):
        encoder = BodyEncoder(vit, vit.grid[0] * vit.patch)
    assign(encoder.model, state, path.name)
    return matrices_to(encoder, dtype)


def vit_size(state: dict[str, torch.Tensor], prefix: str, registers: int = 0, padding: int = 0) -> ViTSize:
    """Sizes of the vision transformer whose tensors are called `prefix`…; raises CheckpointError."""
    dim, patch = (size(state, f"{prefix}patch_embed.proj.weight", axis) for axis in (0, 2))
    class_token = f"{prefix}cls_token" in state
    side = math.isqrt(size(state, f"{prefix}pos_embed", 1) - class_token)
    return ViTSize(
        dim,
        _count(state, f"{prefix}blocks."),
        max(1, dim // HEAD_DIM),
        patch,
        (side, side),
        size(state, f"{prefix}blocks.0.mlp.fc1.weight", 0),
        class_token,
        registers,
        layer_scale=f"{prefix}blocks.0.ls1.gamma" in state,
        padding=padding,
    )


def _count(state: dict[str, torch.Tensor], prefix: str) -> int:
    indices = {name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)}
    if not indices:
        raise CheckpointError(f"it has no tensors {prefix}….")
    return len(indices)


def _planes(image: torch.Tensor, device: torch.device) -> torch.Tensor:
    return image[..., :3].movedim(-1, 1).to(device, torch.float32)
