"""AniCrafter's own weights: two small embedders and a LoRA on Wan 2.1 I2V, from the shards of a training dump."""

import json
import logging
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ...files.whole import whole
from ..checkpoint import CheckpointError, assign, notes, read, sizes_of
from .embedders import Embedders
from .names import native_name, without_strokes

EMBEDDER = re.compile(r"(?:^|\.)((?:blend|smplx)_embedding\..+)$")
LORA = re.compile(
    r"(?:^|\.)(blocks\.\d+\.(?:self_attn\.[qkvo]|cross_attn\.(?:[qkvo]|[kv]_img)|ffn\.[02]))"
    r"\.(?:lora_(A|B|down|up)(?:\.default)?\.weight|(alpha))$"
)
SIDES = {"A": "A", "B": "B", "down": "A", "up": "B"}  # the latter are kohya's words
# What other adapters than LoRA are known by: DoRA, LoKr, LoHa, OFT, IA3, and differences of whole tensors.
OTHERS = re.compile(r"(dora_scale|lora_magnitude|lokr|hada|\bb?oft|\bia3|\bdiff_b$|\bdiff$)")
AVERAGED = re.compile(r"(?:^|[._])ema(?:[._]|$)", re.IGNORECASE)
ALPHAS = ("lora_alpha", "ss_network_alpha")  # in a header
HOST_PREFIX = "diffusion_model."  # what ComfyUI's LoRA loader expects before Wan's own names

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class AniCrafter:
    """embedders: both stacks. lora: by Wan's module name (`blocks.0.self_attn.q`), A [r, in] and B [out, r]; a weight
    becomes W + B·A; what alpha, where a file has one, says of the rank is in B. identity: of this very object.
    """

    embedders: Embedders
    lora: dict[str, Pair]
    identity: uuid.UUID = field(default_factory=uuid.uuid4)

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

        Names may be those of PEFT, diffusers, kohya or ComfyUI. A weight's alpha scales it, from its own tensor or else
        the file's header. Averaged (EMA) copies are left aside.

        Raises CheckpointError: which file or tensor, and what to do.
        """
        files = list(dict.fromkeys(Path(file) for file in files))
        what = " + ".join(file.name for file in files)
        embedders, lora, left = {}, {}, []
        for file in files:
            known = set(lora)
            for key, tensor in read(file)[0].items():
                if AVERAGED.search(key):
                    left.append(key)
                elif found := EMBEDDER.search(key):
                    _put(embedders, found[1], tensor, what)
                elif found := LORA.search(native_name(without_strokes(key))):
                    _put(lora, (found[1], found[3] or SIDES[found[2]]), tensor, what)
                elif found := OTHERS.search(key):
                    raise CheckpointError(
                        f"{what} holds more than plain LoRA ({found[1]}, in {key}), which would be lost: save it as "
                        "plain LoRA."
                    )
                elif "lora" in key:
                    raise CheckpointError(f"{what} has a LoRA on what is no part of Wan ({key}).")
                else:
                    left.append(key)
            if (alpha := _alpha(file)) is not None:
                layers = {layer for layer, side in lora.keys() - known if side == "B"}
                lora = {**{(layer, "alpha"): alpha for layer in layers}, **lora}
        if not embedders and not lora:
            raise CheckpointError(
                f"{what} holds nothing of AniCrafter: give model-00010-of-00011 and model-00011-of-00011, or a file "
                "made of them by `crafters convert anicrafter`."
            )
        if left:
            logging.info("%s: %d tensors that are not AniCrafter's own are ignored (%s …).", what, len(left), left[0])
        return cls(_embedders(embedders, what), _pairs(lora, what))


def convert(shards: Iterable[str | Path], out: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write the tensors of AniCrafter alone into one safetensors file.

    dtype: of the LoRA, None keeps it; the embedders stay float32. Raises CheckpointError as `AniCrafter.from_files`.
    """
    from safetensors.torch import save_file

    weights = AniCrafter.from_files(shards)
    lora = {name: tensor.to(dtype or tensor.dtype).contiguous() for name, tensor in weights.host_lora().items()}
    with whole(out) as part:
        save_file({**weights.embedders.state_dict(), **lora}, part, {"format": "pt"})


def _put(kept: dict, name: str | tuple[str, str], tensor: torch.Tensor, what: str) -> None:
    if name in kept:
        told = name if isinstance(name, str) else " ".join(name)
        raise CheckpointError(f"{what} has {told} twice: give each file once, with one set of weights in it.")
    kept[name] = tensor


def _alpha(file: Path) -> torch.Tensor | None:
    """Of all the LoRA in a file, as its header says it; None where it says nothing, or "None" as kohya's trainers."""
    told = notes(file)
    adapter = told.get("lora_adapter_metadata")  # diffusers'
    try:
        if adapter:
            told = {**told, **{name.rpartition(".")[2]: value for name, value in json.loads(adapter).items()}}
        if str(told.get("use_rslora")).lower() == "true":
            raise CheckpointError(f"{file.name} has a rank-stabilised LoRA (use_rslora): save it as plain LoRA.")
        found = next((told[name] for name in ALPHAS if told.get(name) not in (None, "None")), None)
        return None if found is None else torch.tensor(float(found))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file.name}: the alpha of its LoRA in its header is no number ({error}).") from error


def _embedders(state: dict[str, torch.Tensor], what: str) -> Embedders:
    for name in ("blend_embedding", "smplx_embedding"):
        if f"{name}.12.weight" not in state:
            raise CheckpointError(f"{what} lacks {name}: both published shards are needed.")
    with sizes_of(what), torch.device("meta"):
        embedders = Embedders(len(state["blend_embedding.12.weight"]))
    assign(embedders, {name: tensor.float() for name, tensor in state.items()}, what)
    return embedders


def _pairs(found: dict[tuple[str, str], torch.Tensor], what: str) -> dict[str, Pair]:
    """Complete pairs, alpha in them; every block from the first to the last must have the same ones."""
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for (layer, side), tensor in found.items():
        layers.setdefault(layer, {})[side] = tensor
    if not layers:
        raise CheckpointError(f"{what} has no LoRA: both published shards are needed.")
    lora = {}
    for name, parts in layers.items():
        if not {"A", "B"} <= parts.keys():
            only = ", ".join(part if part == "alpha" else f"lora_{part}" for part in parts)
            raise CheckpointError(f"{what}: {name} has {only} alone: both published shards are needed.")
        a, b, alpha = parts["A"], parts["B"], parts.get("alpha")
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or (alpha is not None and alpha.numel() != 1):
            raise CheckpointError(f"{what}: {name} has a LoRA of sizes {tuple(b.shape)} · {tuple(a.shape)}.")
        if alpha is not None:
            b = (b.float() * (alpha.float().item() / len(a))).to(b.dtype)
        lora[name] = a, b
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
    return lora
