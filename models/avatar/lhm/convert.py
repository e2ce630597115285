"""Sapiens-1B, which is published as a TorchScript program, made a plain file of tensors."""

import json
import logging
import re
from pathlib import Path

import torch

from ...checkpoint import CheckpointError, assign, first_sentence
from ...whole import whole
from .system import vit_size
from .vit import VisionTransformer

CLOSE = 2e-3  # largest difference between both networks' features, relative to the largest feature
PADDINGS = (0, 2)  # of the patch embedding; Sapiens' configurations have either, and tensors do not tell
# Below the program's own prefix. Of the training networks around the backbone nothing is wanted.
RENAMED = (
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"^layers\.(\d+)\.ln(\d)\.", r"blocks.\1.norm\2."),
    (r"^layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"^layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    (r"^layers\.", "blocks."),
    (r"^ln1\.", "norm."),
)
OTHERS = ("neck.", "head.", "data_preprocessor.")

logger = logging.getLogger(__name__)


@torch.no_grad()
def convert_sapiens(source: str | Path, out: str | Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write `sapiens_1b_epoch_173_torchscript.pt2` as safetensors for `load_sapiens`; dtype of its matrices.

    A TorchScript file is a program, which is run here, once: its features of a test picture must be those of the plain
    network. TorchScript's operations reach tensors only, unlike a pickle's; still, take the file from its publisher.

    Raises CheckpointError for a file that is no Sapiens in TorchScript, or that the plain network does not reproduce.
    """
    from safetensors.torch import save_file

    source = Path(source)
    if not source.is_file():
        raise CheckpointError(f"There is no file {source}.")
    try:
        program = torch.jit.load(str(source), map_location="cpu").float().eval()
    except RuntimeError as error:
        raise CheckpointError(
            f"{source.name} is not a whole TorchScript file ({first_sentence(error)}): fetch it again."
        ) from error
    state = _plain_names(program, source.name)
    network = _same_network(program, state, source.name)
    tensors = {
        name: tensor.to(dtype if tensor.ndim in (2, 4) else torch.float32).contiguous()  # linear and convolution
        for name, tensor in network.state_dict().items()
    }
    with whole(out) as part:
        save_file(tensors, part, {"config": json.dumps({"padding": network.size.padding})})


def _plain_names(program: torch.jit.ScriptModule, what: str) -> dict[str, torch.Tensor]:
    named = dict(program.named_parameters()) | dict(program.named_buffers())
    table = next((name for name in named if name == "pos_embed" or name.endswith(".pos_embed")), None)
    if table is None:
        raise CheckpointError(f"{what} holds no vision transformer: it is not Sapiens.")
    prefix, state = table.removesuffix("pos_embed"), {}
    for name, tensor in named.items():
        if not name.startswith(prefix) or name.startswith(OTHERS):
            continue
        name = name.removeprefix(prefix)
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor.detach()
    return state


def _same_network(program: torch.jit.ScriptModule, state: dict[str, torch.Tensor], what: str) -> VisionTransformer:
    """The plain network with the program's tensors, whose features agree with the program's."""
    try:
        plain = vit_size(state, "")
    except CheckpointError as error:
        raise CheckpointError(f"{what} is not Sapiens: {error}") from error
    side = plain.grid * plain.patch
    picture = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    logger.info("Comparing both networks on a picture of %d×%d; this takes minutes on a CPU.", side, side)
    try:
        answer = program(picture)
    except RuntimeError as error:
        raise CheckpointError(f"{what} does not run ({first_sentence(error)}).") from error
    expected = answer[0] if isinstance(answer, tuple | list) else answer
    errors = []
    for padding in PADDINGS:
        network = _built(vit_size(state, "", padding=padding), state, what)
        features = network(picture)[:, network.prefix :].mT.reshape(1, plain.dim, plain.grid, plain.grid)
        if features.shape != expected.shape:
            raise CheckpointError(f"{what} answers {[*expected.shape]} where Sapiens answers {[*features.shape]}.")
        errors.append(float((features - expected).abs().max() / expected.abs().max()))
        if errors[-1] <= CLOSE:
            return network
    raise CheckpointError(f"{what} computes something else than Sapiens: its features differ by {min(errors):.0%}.")


def _built(size, state: dict[str, torch.Tensor], what: str) -> VisionTransformer:
    with torch.device("meta"):
        network = VisionTransformer(size)
    assign(network, state, what)
    return network.eval()
