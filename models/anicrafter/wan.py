"""AniCrafter on diffusers' Wan transformer: everything the sampler needs, without a host."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ..checkpoint import CheckpointError, assign, read
from ..loaded import Loaded
from .checkpoint import AniCrafter
from .fp8 import dequantise
from .schedule import GUIDANCE, SHIFT, STEPS, sigmas, timesteps

HEAD_DIM = 128  # in every published Wan


@dataclass(frozen=True)
class WanCondition:
    """What does not change over the steps.

    tokens: [1, C, f, h/2, w/2] (`embedders.embed`); concat: [1, 20, f, h, w], mask and normalised latents of the blend
    frames; clip: [1, 257, D] of the reference; positive, negative: [1, 512, D] texts.
    """

    tokens: torch.Tensor
    concat: torch.Tensor
    clip: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor


def initial_noise(condition: WanCondition, seed: int) -> torch.Tensor:
    """[1, 16, f, h, w] float32 from the CPU generator, the same on every device."""
    shape = (1, 16, *condition.concat.shape[2:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def denoise(
    model: Loaded,
    condition: WanCondition,
    noise: torch.Tensor,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    shift: float = SHIFT,
    strength: float = 1.0,
    published_rounding: bool = True,
    on_call: Callable[[int, int], None] | None = None,
    on_step: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Euler steps along the flow; returns latents [1, 16, f, h, w] as the transformer knows them, float32, on the
    compute device.

    model: diffusers' WanTransformer3DModel (`load_transformer`). guidance: 1 saves the negative pass, which has the
    negative text, the same latents and CLIP tokens, and no added tokens. strength: factor of the added tokens.
    published_rounding: keep latents and what the transformer is told of the time in bf16, as published; the weights
    were trained with it. on_call(done, total) comes after every network call and may raise to cancel;
    on_step(step, latents, clean) after every step, `clean` being the present estimate of the result.

    Raises ValueError for sizes or settings that make no sense.
    """
    _check(model, condition, noise, steps)
    device = model.load(_activations(model, condition))
    dtype, work = model.dtype, torch.bfloat16 if published_rounding else torch.float32
    levels = sigmas(steps, shift)
    times = timesteps(levels, published_rounding)
    concat, clip = condition.concat.to(device, dtype), condition.clip.to(device, dtype)
    tokens = condition.tokens.to(device, dtype) * strength
    texts = {True: condition.positive.to(device, dtype), False: condition.negative.to(device, dtype)}
    latents = noise.to(device, work)
    passes = [True, False] if guidance != 1 else [True]

    def velocity(step: int, positive: bool) -> torch.Tensor:
        arguments = {
            "hidden_states": torch.cat([latents.to(dtype), concat], 1),
            "timestep": times[step : step + 1].to(device),
            "encoder_hidden_states": texts[positive],
            "encoder_hidden_states_image": clip,
            "return_dict": False,
        }
        if positive and strength:
            with added_tokens(model.module, tokens):
                return model.module(**arguments)[0].to(work)
        return model.module(**arguments)[0].to(work)

    for step in range(steps):
        answers = {}
        for i, positive in enumerate(passes):
            answers[positive] = velocity(step, positive)
            if on_call:
                on_call(step * len(passes) + i + 1, steps * len(passes))
        direction = answers[True]
        if len(passes) > 1:
            direction = answers[False] + guidance * (answers[True] - answers[False])
        clean = latents.float() - float(levels[step]) * direction.float()
        latents = latents + direction * float(levels[step + 1] - levels[step])
        if on_step:
            on_step(step, latents.float(), clean)
    return latents.float()


@contextmanager
def added_tokens(transformer, tokens: torch.Tensor) -> Iterator[None]:
    """While this lasts, `tokens` [1, C, f, h, w] are added to every row's embedded patches."""
    hook = transformer.patch_embedding.register_forward_hook(lambda module, inputs, output: output + tokens)
    try:
        yield
    finally:
        hook.remove()


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
        state = {name.removeprefix("model.diffusion_model."): tensor for name, tensor in read(path)[0].items()}
        config = _infer(state, heads, path.name)
        state = convert_wan_transformer_to_diffusers(dequantise(state, dtype, path.name))
    if config.get("in_channels") != 36 or not config.get("image_dim"):
        raise CheckpointError(f"{path.name} is another Wan model; AniCrafter needs Wan 2.1 I2V 14B (720P).")
    with torch.device("meta"):
        transformer = WanTransformer3DModel.from_config(config)
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
    if not files or not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} needs config.json and *.safetensors; give the whole folder as on the hub.")
    state = {}
    for file in files:
        state.update(read(file)[0])
    return json.loads((folder / "config.json").read_text(encoding="utf-8")), state


def _infer(state: dict[str, torch.Tensor], heads: int | None, what: str) -> dict:
    """The configuration that a single file's tensors show."""
    try:
        dim, channels, *patch = state["patch_embedding.weight"].shape
        image = state.get("img_emb.proj.1.weight")
        return {
            "patch_size": tuple(patch),
            "num_attention_heads": heads or dim // HEAD_DIM,
            "attention_head_dim": dim // (heads or dim // HEAD_DIM),
            "in_channels": channels,
            "out_channels": len(state["head.head.weight"]) // (patch[0] * patch[1] * patch[2]),
            "text_dim": state["text_embedding.0.weight"].shape[1],
            "freq_dim": state["time_embedding.0.weight"].shape[1],
            "ffn_dim": len(state["blocks.0.ffn.0.weight"]),
            "num_layers": len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
            "image_dim": None if image is None else len(image),
            "added_kv_proj_dim": None if image is None else dim,
        }
    except KeyError as error:
        raise CheckpointError(f"{what} is not a Wan video model: tensor {error.args[0]} is missing.") from error


def _activations(model: Loaded, condition: WanCondition) -> int:
    """Bytes at the peak: the feed-forward's two inner activations, and about 14 of the model's width."""
    config, tokens = model.module.config, condition.tokens[0, 0].numel()
    width = config.num_attention_heads * config.attention_head_dim
    return tokens * (2 * config.ffn_dim + 14 * width) * model.dtype.itemsize


def _check(model: Loaded, condition: WanCondition, noise: torch.Tensor, steps: int) -> None:
    config = model.module.config
    frames, height, width = condition.concat.shape[2:]
    wanted = {
        "noise": (1, 16, frames, height, width),
        "concat": (1, 20, frames, height, width),
        "tokens": (1, config.num_attention_heads * config.attention_head_dim, frames, height // 2, width // 2),
        "clip": (1, condition.clip.shape[1], config.image_dim),
        "positive": (1, 512, config.text_dim),
        "negative": (1, 512, config.text_dim),
    }
    for name, shape in wanted.items():
        given = tuple((noise if name == "noise" else getattr(condition, name)).shape)
        if given != shape:
            raise ValueError(f"{name} has shape {given}; {shape} wanted for this scene and this transformer.")
    if steps < 1:
        raise ValueError(f"steps is {steps}; at least 1 is needed.")
