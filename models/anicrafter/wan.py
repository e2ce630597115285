"""AniCrafter's denoising loop on diffusers' Wan transformer, for use without a host."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from ..loaded import Loaded
from .conditions import Scene
from .encoders import normalise
from .schedule import GUIDANCE, SHIFT, STEPS, sigmas, timesteps


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


def wan_condition(
    scene: Scene, tokens: torch.Tensor, vae, clip_output, positive: torch.Tensor, negative: torch.Tensor
) -> WanCondition:
    """Encode what the scene shows. vae: ComfyUI's or `encoders.WanVAE`; clip_output: of `conditions.clip_image`.

    tokens, positive and negative as in WanCondition. Everything on the CPU in float32, the tokens as they are.
    """
    latents = normalise(vae.encode(scene.blend).float().cpu())
    return WanCondition(
        tokens=tokens,
        concat=torch.cat([scene.concat_mask().float().cpu(), latents], 1),
        clip=clip_output["penultimate_hidden_states"].float().cpu(),
        positive=positive.float().cpu(),
        negative=negative.float().cpu(),
    )


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

    model: a loaded WanTransformer3DModel (`transformer.load_transformer`). guidance: 1 saves the negative pass, which
    has the negative text, the same latents and CLIP tokens, and no added tokens. strength: factor of the added tokens.
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
        with added_tokens(model.module, tokens) if positive and strength else nullcontext():
            answer = model.module(
                torch.cat([latents.to(dtype), concat], 1),
                times[step : step + 1].to(device),
                texts[positive],
                clip,
                return_dict=False,
            )
        return answer[0].to(work)

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
