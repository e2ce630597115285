"""AniCrafter's own weights: two small embedders and a LoRA on Wan 2.1 I2V, from the shards of a training dump."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..checkpoint import CheckpointError, assign, read, sizes_of
from .embedders import Embedders

EMBEDDER = re.compile(r"(?:^|\.)((?:blend|smplx)_embedding\..+)$")
LORA = re.compile(
    r"(?:^|\.)(blocks\.\d+\.(?:self_attn\.[qkvo]|cross_attn\.(?:[qkvo]|[kv]_img)|ffn\.[02]))"
    r"\.lora_(A|B)(?:\.default)?\.weight$"
)
HOST_PREFIX = "diffusion_model."  # what ComfyUI's LoRA loader expects before Wan's own names

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class AniCrafter:
    """embedders: both stacks. lora: by Wan's module name (`blocks.0.self_attn.q`), A [r, in] and B [out, r]; a weight
    becomes W + B·A (alpha equals the rank).
    """

    embedders: Embedders
    lora: dict[str, Pair]

    @property
    def blocks(self) -> int:
        return len({name.split(".")[1] for name in self.lora})

    def host_lora(self) -> dict[str, torch.Tensor]:
        """The LoRA under the names that ComfyUI's loader accepts."""
        return {
            f"{HOST_PREFIX}{name}.lora_{side}.weight": tensor
            for name, pair in self.lora.items()
            for side, tensor in zip("AB", pair, strict=True)
        }

    def check_fits(self, dim: int, blocks: int) -> None:
        """Raises CheckpointError when a transformer of this width and number of blocks is not the one trained on."""
        if (dim, blocks) != (self.embedders.dim, self.blocks):
            raise CheckpointError(
                f"This Wan model is {dim} wide and has {blocks} blocks, but the AniCrafter weights were made for "
                f"{self.embedders.dim} and {self.blocks}: load Wan 2.1 I2V 14B (720P)."
            )

    @classmethod
    def from_files(cls, files: Iterable[str | Path]):
        """From the two published shards, or one file made by `convert`; only the tensors wanted are read from disk.

        Raises CheckpointError: which file or tensor, and what to do.
        """
        files = [Path(file) for file in files]
        what = " + ".join(file.name for file in files)
        embedders, lora, strange, ignored = {}, {}, [], 0
        for file in files:
            for key, tensor in read(file)[0].items():
                if found := EMBEDDER.search(key):
                    embedders[found[1]] = tensor
                elif found := LORA.search(key):
                    lora.setdefault(found[1], {})[found[2]] = tensor
                elif "lora" in key:
                    strange.append(key)
                else:
                    ignored += 1
        if strange:
            raise CheckpointError(f"{what}: {len(strange)} LoRA tensors belong to no part of Wan ({strange[0]} …).")
        if not embedders and not lora:
            raise CheckpointError(
                f"{what} holds nothing of AniCrafter: give model-00010-of-00011 and model-00011-of-00011, or a file "
                "made of them by `crafters convert anicrafter`."
            )
        if ignored:
            logging.info("%s: %d tensors that are not AniCrafter's own are ignored.", what, ignored)
        return cls(_embedders(embedders, what), _pairs(lora, what))


def convert(shards: Iterable[str | Path], out: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write the tensors of AniCrafter alone into one safetensors file.

    dtype: of the LoRA, None keeps it; the embedders stay float32. Raises CheckpointError as `AniCrafter.from_files`.
    """
    from safetensors.torch import save_file

    weights = AniCrafter.from_files(shards)
    lora = {name: tensor.to(dtype or tensor.dtype).contiguous() for name, tensor in weights.host_lora().items()}
    save_file({**weights.embedders.state_dict(), **lora}, str(out), {"format": "pt"})


def _embedders(state: dict[str, torch.Tensor], what: str) -> Embedders:
    for name in ("blend_embedding", "smplx_embedding"):
        if f"{name}.12.weight" not in state:
            raise CheckpointError(f"{what} lacks {name}: both published shards are needed.")
    with sizes_of(what), torch.device("meta"):
        embedders = Embedders(len(state["blend_embedding.12.weight"]))
    assign(embedders, {name: tensor.float() for name, tensor in state.items()}, what)
    return embedders


def _pairs(lora: dict[str, dict[str, torch.Tensor]], what: str) -> dict[str, Pair]:
    """Complete pairs; every block from the first to the last must have the same ones."""
    if not lora:
        raise CheckpointError(f"{what} has no LoRA: both published shards are needed.")
    for name, pair in lora.items():
        if len(pair) < 2:
            raise CheckpointError(f"{what}: {name} has lora_{'/'.join(pair)} alone: both published shards are needed.")
        a, b = pair["A"], pair["B"]
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
            raise CheckpointError(f"{what}: {name} has a LoRA of sizes {tuple(b.shape)} · {tuple(a.shape)}.")
    blocks: dict[int, set[str]] = {}
    for name in lora:
        _, index, module = name.split(".", 2)
        blocks.setdefault(int(index), set()).add(module)
    wanted = set.union(*blocks.values())
    for index in range(max(blocks) + 1):
        missing = sorted(wanted - blocks.get(index, set()))
        if missing:
            raise CheckpointError(
                f"{what}: block {index} lacks the LoRA of {', '.join(missing)}: both published shards are needed."
            )
    return {name: (pair["A"], pair["B"]) for name, pair in lora.items()}
