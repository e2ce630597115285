"""The denoising loop: Euler steps over windows of frames (AnchorCrafter on a ring, MimicMotion in a line)."""

import logging
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from math import inf

import torch

from ..chunks import Chunker
from ..finite import SAMPLED, check_finite
from ..loaded import Loaded
from ..windows import linear_windows, ring_windows, triangle
from .conditions import AnchorCondition
from .schedule import PUBLISHED, align_your_steps, guided_steps
from .system import AnchorCrafter

SCHEDULER = {  # SVD's own scheduler configuration
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
    "sigma_max": 700.0,
    "sigma_min": 0.002,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
}

# CUDA's attention kernels refuse larger batches; the temporal blocks have one entry per pixel of every row.
ATTENTION_BATCH = 65535


def initial_noise(condition: AnchorCondition, window: int, seed: int, shared: float = 0.0) -> torch.Tensor:
    """[1, min(window, N), 4, h, w] float32 from the CPU generator, the same on every device.

    shared: 0…1, the part of its variance that is the same in all frames (PYoCo's mixed noise, arXiv 2305.10474).
    Raises ValueError.
    """
    if not 0 <= shared <= 1:
        raise ValueError(f"shared_noise is {shared:g}; 0, a noise of its own for every frame, to 1 is possible.")
    shape = (1, min(window, condition.frames), *condition.image_latent.shape[1:])
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(shape, generator=generator)
    if not shared:
        return own
    return mixed(own, torch.randn(own[:, :1].shape, generator=generator), shared)


def mixed(own: torch.Tensor, common: torch.Tensor, shared: float) -> torch.Tensor:
    """Noise of every frame and noise of all frames, as noise of the same variance."""
    return (1 - shared) ** 0.5 * own + shared**0.5 * common


def sample(
    model: Loaded,
    condition: AnchorCondition,
    noise: torch.Tensor,
    steps: int = 30,
    guidance: tuple[float, float] = (3.0, 3.0),
    window: int = 11,
    overlap: int = 6,
    rows: int = 0,
    on_call: Callable[[int, int], None] | None = None,
    on_step: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
    schedule: str = PUBLISHED,
    sigmas: Sequence[float] | None = None,
    guidance_from: float = 0.0,
    guidance_until: float = 1.0,
    cache_interval: int = 1,
) -> torch.Tensor:
    """Denoise all N frames; returns scaled latents [1, N, 4, h, w], float32 on the compute device.

    noise: [1, t, 4, h, w], t ≤ N, repeated along time (`initial_noise`). guidance: first and last of the scales spread
    evenly over the N frames; 1 everywhere saves the unconditional passes. window: frames the network sees together,
    frame 0 included; overlap: of consecutive windows, MimicMotion only (AnchorCrafter's ring does not use one).
    rows: at most how many (window, conditional or not) passes go through the network in one call, 0 = as memory allows;
    the result does not depend on it beyond rounding. on_call(done, total) comes after every network call and may raise
    to cancel; on_step(step, latents, clean) after every step, `clean` being the present estimate of the result.
    schedule: of `schedule.SCHEDULES`, the noise levels of the steps; sigmas: falling levels in its place, which decide
    the steps too. guidance_from, guidance_until: shares of the steps, 0…1, between which there is guidance; in the
    others it is 1, and their unconditional passes are saved too. cache_interval: the network's deep part is
    computed in every so many steps and held for those between (DeepCache, arXiv 2312.00858); 1 is exact.

    Raises ValueError for settings that make no sense.
    """
    from diffusers import EulerDiscreteScheduler

    system: AnchorCrafter = model.module
    frames = condition.frames
    if sigmas is not None:
        sigmas = _falling(sigmas)
        steps = len(sigmas) - 1
    _check(frames, steps, window, overlap, linear=not system.config.product)
    if cache_interval < 1:
        raise ValueError(f"cache_interval is {cache_interval}; at least 1, the whole network in every step, is needed.")
    if sigmas is None and schedule != PUBLISHED:
        sigmas = align_your_steps(steps)
    guided = [within and set(guidance) != {1} for within in guided_steps(steps, guidance_from, guidance_until)]
    scheduler = EulerDiscreteScheduler(**SCHEDULER)
    latent_shape = condition.image_latent.shape[1:]
    per_row = _row_bytes(min(window, frames), latent_shape, model.dtype)
    most = max(1, ATTENTION_BATCH // (latent_shape[-1] * latent_shape[-2]))
    # What is held is as large as the condition maps, once with conditions and, where there is guidance, once without.
    held = condition.maps.numel() * model.dtype.itemsize * (1 + any(guided)) if cache_interval > 1 else 0
    device = model.load(per_row * min(rows or 1, most) + held)
    if sigmas is None:
        scheduler.set_timesteps(steps, device=device)
    else:
        scheduler.set_timesteps(sigmas=sigmas, device=device)

    latents = noise.to(device, torch.float32)
    latents = latents.repeat(1, -(-frames // latents.shape[1]), 1, 1, 1)[:, :frames] * scheduler.init_noise_sigma
    scale = torch.linspace(*guidance, frames, device=device).view(1, -1, 1, 1, 1)
    call = _Call(model, condition, device, holds=cache_interval > 1)

    if system.config.product:
        plan = [ring_windows(frames, window, step) for step in range(steps)]
        weight = torch.ones(min(window, frames), device=device)
    else:
        plan = [linear_windows(frames, window, overlap)] * steps
        weight = torch.tensor(triangle(min(window, frames)), device=device)
    passes = [
        [(indices, conditional) for indices in windows for conditional in (True, False)[: 1 + both]]
        for windows, both in zip(plan, guided, strict=True)
    ]
    chunks = Chunker(min(rows or _rows_that_fit(model.free_memory(), per_row, held), most), "passes")
    done, total = 0, sum(len(p) for p in passes)

    for step, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(latents, timestep)
        velocity = {conditional: torch.zeros_like(latents) for conditional in (True, False)}
        visits = torch.zeros(1, frames, 1, 1, 1, device=device)
        if step % cache_interval == 0:
            call.held.clear()
        known = set(call.held)
        for reuse in (True, False):
            group = [one for one in passes[step] if (one[1] in known) == reuse]

            def run(chunk: slice, group=group, reuse=reuse, scaled=scaled, timestep=timestep):
                nonlocal done
                answers = call(scaled, timestep, group[chunk], reuse)
                done += len(answers)
                if on_call:
                    on_call(done, total)
                return answers

            for (indices, conditional), answer in zip(group, chain(*chunks(len(group), run)), strict=True):
                velocity[conditional][0, indices] += answer * weight.view(-1, 1, 1, 1)
                if conditional:
                    visits[0, indices] += weight.view(-1, 1, 1, 1)
        combined = velocity[True]
        if guided[step]:
            combined = velocity[False] + scale * (velocity[True] - velocity[False])
        moved = scheduler.step(combined / visits, timestep, latents)
        latents = moved.prev_sample
        check_finite(latents, SAMPLED)
        if on_step:
            on_step(step, latents, moved.pred_original_sample)
    return latents


class _Call:
    """One network call: passes of several windows, conditional or not, as the rows of a batch.

    held [N, C, h, w], if it `holds` them: what the network's deep part made of each frame, by `conditional`.
    """

    def __init__(self, model: Loaded, condition: AnchorCondition, device: torch.device, holds: bool):
        self.holds, self.held = holds, {}
        self.system, self.dtype, self.device = model.module, model.dtype, device
        self.maps = condition.maps
        self.context = condition.context.to(device, self.dtype)
        images = [condition.image_latent] + [condition.object_latent] * (condition.object_latent is not None)
        self.images = torch.cat(images, 1).to(device, self.dtype)  # [1, 4 or 8, h, w]
        self.time_ids = torch.tensor([condition.time_ids], device=device, dtype=self.dtype)

    def __call__(self, scaled: torch.Tensor, timestep: torch.Tensor, passes: list, reuse: bool) -> torch.Tensor:
        """v-predictions [rows, F, 4, h, w] in float32.

        An unconditional row has zero tokens, zero image latents and no maps. reuse: take what is held.
        """
        rows, frames = len(passes), len(passes[0][0])
        conditional = torch.tensor([c for _, c in passes], device=self.device, dtype=self.dtype)
        latents = torch.stack([scaled[0, indices] for indices, _ in passes]).to(self.dtype)
        images = self.images[:, None] * conditional.view(-1, 1, 1, 1, 1)
        images = images.expand(-1, frames, -1, -1, -1)
        maps = None
        if any(c for _, c in passes):
            # The maps of a long clip stay where the condition keeps them; a window's share is small.
            maps = latents.new_zeros(rows, frames, *self.maps.shape[1:])
            for row, (indices, c) in enumerate(passes):
                if c:
                    maps[row] = self.maps[indices].to(self.device, self.dtype)
        deep = [torch.cat([self.held[c][indices] for indices, c in passes])] if reuse else []
        answers = self.system.unet.predict(
            torch.cat([latents, images], 2),
            timestep,
            self.context * conditional.view(-1, 1, 1),
            self.time_ids.expand(rows, -1),
            maps,
            deep if self.holds else None,
        )
        if self.holds and not reuse:
            for (indices, c), features in zip(passes, deep[0].unflatten(0, (rows, frames)), strict=True):
                if c not in self.held:
                    self.held[c] = features.new_empty(len(self.maps), *features.shape[1:])
                self.held[c][indices] = features
        return answers.float()


def _row_bytes(frames: int, latent_shape: torch.Size, dtype: torch.dtype) -> int:
    """Activations of one row at their peak: 13 of the first level's maps (benchmarks/peak.py), and a margin."""
    return frames * latent_shape[-1] * latent_shape[-2] * 320 * 16 * dtype.itemsize


def _rows_that_fit(free: int | None, per_row: int, held: int) -> int:
    """held: bytes that the network's deep part will take beside the rows."""
    if free is None:
        return 1  # a CPU gains nothing from larger batches
    rows = max(1, int((free - held) * 0.8) // per_row)
    logging.debug("AnchorCrafter: up to %d passes in one call.", rows)
    return rows


def _falling(sigmas: Sequence[float]) -> list[float]:
    levels = [float(sigma) for sigma in sigmas]
    if len(levels) < 2 or levels[-1] < 0 or not all(high > low for high, low in pairwise(levels)) or levels[0] == inf:
        raise ValueError(f"sigmas are {levels[:20]}: at least two falling numbers are needed, the last 0 or above.")
    return levels


def _check(frames: int, steps: int, window: int, overlap: int, linear: bool) -> None:
    if frames < 2:
        raise ValueError("At least one driving frame is needed besides the reference person.")
    if steps < 1:
        raise ValueError(f"steps is {steps}; at least 1 is needed.")
    if window < 2:
        raise ValueError(f"window is {window}; it holds the reference frame and at least one other, so 2 or more.")
    if linear and not 1 <= overlap < window:
        raise ValueError(f"overlap is {overlap}; it must be at least 1 and less than the window ({window}).")
