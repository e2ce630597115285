"""AniCrafter's denoising loop on diffusers' Wan transformer, for use without a host, for clips of any length."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from ..finite import SAMPLED, check_finite
from ..loaded import Loaded
from ..windows import linear_windows, triangle
from .conditions import STRIDE, Scene
from .encoders import normalise
from .schedule import GUIDANCE, SHIFT, STEPS, sigmas, timesteps

WINDOW, OVERLAP = 81, 16  # frames seen at once, as in training, and those that two neighbouring windows share


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
    window: int = WINDOW,
    overlap: int = OVERLAP,
    on_call: Callable[[int, int], None] | None = None,
    on_step: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Euler steps along the flow; returns latents [1, 16, f, h, w] as the transformer knows them, float32, on the
    compute device.

    model: a loaded WanTransformer3DModel (`transformer.load_transformer`). guidance: 1 saves the negative pass, which
    has the negative text, the same latents and CLIP tokens, and no added tokens. strength: factor of the added tokens.
    published_rounding: keep latents and what the transformer is told of the time in bf16, as published; the weights
    were trained with it. window, overlap: frames of the video; a longer one is seen in windows of so many frames that
    overlap by so many, each with the reference still in front, and their answers are blended at every step.
    on_call(done, total) comes after every network call and may raise to cancel; on_step(step, latents, clean) after
    every step, `clean` being the present estimate of the result.

    Raises ValueError for sizes or settings that make no sense.
    """
    _check(model, condition, noise, steps)
    windows = latent_windows(noise.shape[2], window, overlap)
    device = model.load(_activations(model, condition, len(windows[0][0])))
    dtype, work = model.dtype, torch.bfloat16 if published_rounding else torch.float32
    levels = sigmas(steps, shift)
    times = timesteps(levels, published_rounding)
    concat, clip = condition.concat.to(device, dtype), condition.clip.to(device, dtype)
    texts = {True: condition.positive.to(device, dtype), False: condition.negative.to(device, dtype)}
    latents = noise.to(device, work)
    passes = [True, False] if guidance != 1 else [True]
    calls = 0

    def velocity(step: int, positive: bool, frames: list[int]) -> torch.Tensor:
        # The tokens wait in main memory: they are as large as the clip.
        tokens = condition.tokens[:, :, frames].to(device, dtype) * strength if positive and strength else None
        with nullcontext() if tokens is None else added_tokens(model.module, tokens):
            answer = model.module(
                torch.cat([latents[:, :, frames].to(dtype), concat[:, :, frames]], 1),
                times[step : step + 1].to(device),
                texts[positive],
                clip,
                return_dict=False,
            )
        return answer[0].float()

    for step in range(steps):
        answers = {}
        for positive in passes:
            blended = torch.zeros_like(latents, dtype=torch.float32)
            for frames, share in windows:
                blended[:, :, frames] += velocity(step, positive, frames) * share.to(device)
                calls += 1
                if on_call:
                    on_call(calls, steps * len(passes) * len(windows))
            answers[positive] = blended.to(work)
        direction = answers[True]
        if len(passes) > 1:
            direction = answers[False] + guidance * (answers[True] - answers[False])
        clean = latents.float() - float(levels[step]) * direction.float()
        latents = latents + direction * float(levels[step + 1] - levels[step])
        check_finite(latents, SAMPLED)
        if on_step:
            on_step(step, latents.float(), clean)
    return latents.float()


def latent_windows(frames: int, window: int, overlap: int) -> list[tuple[list[int], torch.Tensor]]:
    """Which of `frames` latent frames are seen together, and the share [w, 1, 1] that each has in its frame's answer.

    window, overlap: frames of the video. Every window begins with latent frame 0, the reference still. The shares of a
    frame add up to 1 and change linearly from window to window. Raises ValueError for a window that cannot move on.
    """
    length, shared = (window - 1) // STRIDE + 1, overlap // STRIDE
    if frames <= length:
        return [(list(range(frames)), torch.ones(frames, 1, 1))]
    if not 0 <= shared < length - 1:
        raise ValueError(
            f"Windows of {window} frames cannot overlap by {overlap}: the overlap must be at least {STRIDE} smaller."
        )
    windows = linear_windows(frames, length, shared + 1)  # they count frame 0, which all share
    weight, total = torch.tensor(triangle(length)), torch.zeros(frames)
    for index in windows:
        total[index] += weight
    return [(index, (weight / total[index]).view(-1, 1, 1)) for index in windows]


@contextmanager
def added_tokens(transformer, tokens: torch.Tensor) -> Iterator[None]:
    """While this lasts, `tokens` [1, C, f, h, w] are added to every row's embedded patches."""
    hook = transformer.patch_embedding.register_forward_hook(lambda module, inputs, output: output + tokens)
    try:
        yield
    finally:
        hook.remove()


def _activations(model: Loaded, condition: WanCondition, frames: int) -> int:
    """Bytes at the peak: the feed-forward's two inner activations, and about 14 of the model's width."""
    config, tokens = model.module.config, frames * condition.tokens[0, 0, 0].numel()
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
