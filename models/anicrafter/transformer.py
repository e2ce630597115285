"""diffusers' Wan transformer: read from what ComfyUI and diffusers users have, with AniCrafter's LoRA, on any GPU."""

from pathlib import Path

import torch

from ...files.bounded import brief
from ..checkpoint import CheckpointError, assign, read, sizes_of
from ..loaded import Loaded
from ..pretrained import CONFIG, read_config
from .checkpoint import AniCrafter
from .fp8 import dequantise

HEAD_DIM = 128  # in every published Wan


class GroupOffloaded(Loaded):
    """A diffusers transformer whose blocks wait in main memory and come to the device one after another.

    For a GPU that the whole does not fit in. On CUDA the next block is fetched while the present one computes.
    """

    def __init__(self, module: torch.nn.Module, device: torch.device, blocks: int = 1):
        super().__init__(module)
        self.device = device
        module.enable_group_offload(
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=blocks,
            use_stream=device.type == "cuda",
        )

    def load(self, memory: int = 0) -> torch.device:
        return self.device


def share_among_processes(transformer) -> None:
    """Let every process of a `torch.distributed` group, one to a GPU, compute its part of the tokens (Ulysses).

    Called in each of them on the same transformer, already on its device; all then call `denoise` alike, and all get
    the whole result. Tokens that cannot be shared out evenly need NCCL. Raises ValueError when the attention heads
    cannot be shared out evenly.
    """
    from diffusers import ContextParallelConfig

    processes, heads = torch.distributed.get_world_size(), transformer.config.num_attention_heads
    if heads % processes:
        raise ValueError(f"{heads} attention heads cannot be shared among {processes} processes: take another number.")
    if processes > 1:
        config = ContextParallelConfig(ulysses_degree=processes, ulysses_anything=True)
        transformer.enable_parallelism(config=config)


def load_transformer(path: str | Path, dtype: torch.dtype = torch.bfloat16, heads: int | None = None):
    """diffusers' WanTransformer3DModel from its folder, or from a single file under Wan's own names (fp32 … fp8).

    heads: of the attention, which tensors do not show; None means 128 numbers a head, as in every published Wan.
    Everything is converted to `dtype`, as published. Raises CheckpointError, also when it is not Wan 2.1 I2V.
    """
    from diffusers import WanTransformer3DModel
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    path = Path(path)
    if path.is_dir():
        config, state = _read_folder(path)
    elif path.suffix == ".gguf":
        raise CheckpointError(f"{path.name}: GGUF files are for ComfyUI's own graph, with a GGUF loader.")
    else:
        state, _ = read(path)
        with sizes_of(f"{path.name} is not a Wan video model"):
            config = _infer(state, heads)
            state = convert_wan_transformer_to_diffusers(dequantise(state, dtype, path.name))
    if config.get("in_channels") != 36 or not config.get("image_dim"):
        raise CheckpointError(f"{path.name} is another Wan model; AniCrafter needs Wan 2.1 I2V 14B (720P).")
    try:
        with torch.device("meta"):
            transformer = WanTransformer3DModel.from_config(config)
    except Exception as error:  # diffusers checks little: anything may be raised
        raise CheckpointError(
            f"{path.name}/{CONFIG} describes no Wan model ({brief(error)}): fetch it again."
        ) from error
    assign(transformer, {name: tensor.to(dtype) for name, tensor in state.items()}, path.name)
    # Its tables are no weights, so that nothing has filled them in.
    settings = transformer.config
    transformer.rope = type(transformer.rope)(
        settings.attention_head_dim, settings.patch_size, settings.rope_max_seq_len
    )
    return transformer.eval().requires_grad_(False)


@torch.no_grad()
def merge_lora(transformer, weights: AniCrafter, strength: float = 1.0) -> None:
    """W ← W + strength · B·A, summed in float32 and rounded once, in place.

    Raises CheckpointError when the LoRA does not fit, before anything is changed.
    """
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    weights.check_fits(transformer.patch_embedding.out_channels, len(transformer.blocks))
    names = convert_wan_transformer_to_diffusers({f"{name}.weight": name for name in weights.lora})
    targets = {transformer.get_parameter(name): weights.lora[native] for name, native in names.items()}
    for target, (a, b) in targets.items():
        if target.shape != (len(b), a.shape[1]):
            raise CheckpointError(f"A LoRA of {len(b)}×{a.shape[1]} does not fit a weight of {tuple(target.shape)}.")
    for target, (a, b) in targets.items():
        update = b.to(target.device).float() @ a.to(target.device).float()
        target.data = target.data.float().add_(update, alpha=strength).to(target.dtype)


def _read_folder(folder: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    folder = folder / "transformer" if (folder / "transformer").is_dir() else folder
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} needs {CONFIG} and *.safetensors; give the whole folder as on the hub.")
    state = {}
    for file in files:
        state.update(read(file)[0])
    return read_config(folder), state


def _infer(state: dict[str, torch.Tensor], heads: int | None) -> dict:
    """The configuration that a single file's tensors show."""
    dim, channels, *patch = state["patch_embedding.weight"].shape
    heads = heads or max(1, dim // HEAD_DIM)
    image = state.get("img_emb.proj.1.weight")
    return {
        "patch_size": tuple(patch),
        "num_attention_heads": heads,
        "attention_head_dim": dim // heads,
        "in_channels": channels,
        "out_channels": len(state["head.head.weight"]) // (patch[0] * patch[1] * patch[2]),
        "text_dim": state["text_embedding.0.weight"].shape[1],
        "freq_dim": state["time_embedding.0.weight"].shape[1],
        "ffn_dim": len(state["blocks.0.ffn.0.weight"]),
        "num_layers": len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        "image_dim": None if image is None else len(image),
        "added_kv_proj_dim": None if image is None else dim,
    }
