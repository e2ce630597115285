"""Sapiens-1B, which is published as a TorchScript program, made a plain file of tensors."""

import json
import re
from pathlib import Path

import torch

from ....files.bounded import brief
from ....files.pickles import read_torchscript
from ....files.whole import whole
from ...checkpoint import CheckpointError, assign
from ...vit import EPS, VisionTransformer
from .system import vit_size

PADDINGS = (0, 2)  # of the patch embedding; Sapiens' configurations have either
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


@torch.no_grad()
def convert_sapiens(source: str | Path, out: str | Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write `sapiens_1b_epoch_173_torchscript.pt2` as safetensors for `load_sapiens`; dtype of its matrices.

    A TorchScript file is a program, which could do anything: it is not run, not even loaded. Its tensors are read, and
    what they do not tell is read off the program's text: how the patches are padded. That text must also have the
    plain network's layer norms.

    Raises CheckpointError for a file that is no Sapiens in TorchScript.
    """
    from safetensors.torch import save_file

    source = Path(source)
    if not source.is_file():
        raise CheckpointError(f"There is no file {source}.")
    try:
        named, program = read_torchscript(source)
    except Exception as error:  # whatever damaged bytes lead to
        raise CheckpointError(
            f"{source.name} is not a whole TorchScript file ({brief(error)}): fetch it again."
        ) from error
    state = _plain_names(named, source.name)
    try:
        size = vit_size(state, "")
        size = vit_size(state, "", padding=_padding(program, size.patch))
    except CheckpointError as error:
        raise CheckpointError(f"{source.name} is not Sapiens: {error}") from error
    with torch.device("meta"):
        network = VisionTransformer(size)
    assign(network, state, source.name)
    tensors = {
        name: tensor.to(dtype if tensor.ndim in (2, 4) else torch.float32).contiguous()  # linear and convolution
        for name, tensor in network.state_dict().items()
    }
    with whole(out) as part:
        save_file(tensors, part, {"config": json.dumps({"padding": size.padding})})


def _plain_names(named: dict[str, torch.Tensor], what: str) -> dict[str, torch.Tensor]:
    table = next((name for name in named if name == "pos_embed" or name.endswith(".pos_embed")), None)
    if table is None:
        raise CheckpointError(f"{what} holds no vision transformer: it is not Sapiens.")
    prefix, state = table.removesuffix("pos_embed"), {}
    for name, tensor in named.items():
        if not name.startswith(prefix) or name.removeprefix(prefix).startswith(OTHERS):
            continue
        name = name.removeprefix(prefix)
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor
    return state


def _padding(program: str, patch: int) -> int:
    """Of the convolution that cuts the patches, which the program's text writes out, as all that is no default."""
    cuts = re.findall(rf"\.(?:_convolution|conv2d)\([^()\[]*\[{patch}, {patch}\](?:, \[(\d+), (\d+)\])?", program)
    paddings = {int(side or 0) for sides in cuts for side in sides}
    if len(paddings) != 1 or not paddings <= {*PADDINGS}:
        raise CheckpointError("its program does not say how the patches are padded.")
    norms = re.findall(r"\.layer_norm\([^()]*?(?:, (\d[\d.]*e-\d+))?\)", program)
    for added in (float(number or 1e-5) for number in norms):
        if abs(added - EPS) > EPS / 10:
            raise CheckpointError(f"its layer norms add {added:g} and not {EPS:g}.")
    return paddings.pop()
