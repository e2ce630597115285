"""AniCrafter on ComfyUI's own Wan model: the tokens are added before block 0, on the positive rows only.

The host's objects are handed in; this file imports nothing of it. Facts of the host relied on: a "dit"/"double_block"
replacement gets the block's arguments and the block; `cond_or_uncond` names the equal parts of a batch, 0 the
positive; `sigmas` and, inside context windows, `context_window` lie in `transformer_options`.
"""

import logging
import uuid
from collections.abc import Callable
from typing import Any

import torch

from ..checkpoint import CheckpointError
from .checkpoint import AniCrafter

KEY = "crafters_anicrafter"
SLOT = ("double_block", 0)


class AddTokens:
    """A replacement of block 0 that adds `tokens` [1, C, f, h, w] to its input, then goes on to `then` or the block.

    Within a context window the tokens of its frames are taken. While there is `room(image)` for them beside the pass,
    they stay on the device, as they are added, until `forget` is called after the sampling; else they stay in main
    memory and what is needed is sent at every call, which takes no memory that grows with the clip. Copies of the model
    share it and its tensor.
    """

    def __init__(
        self,
        tokens: torch.Tensor,
        strength: float,
        sigmas: tuple[float, float],
        then: Callable | None,
        room: Callable[[torch.Tensor], int] = lambda image: 0,
    ):
        self.tokens, self.strength, self.sigmas, self.then, self.room = tokens, strength, sigmas, then, room
        self._kept: dict[tuple[torch.device, torch.dtype], torch.Tensor | None] = {}  # None: no room

    def __call__(self, args: dict, extra: dict) -> dict:
        image, options = args["img"], args["transformer_options"]
        last, first = self.sigmas
        if self.strength and last <= float(options["sigmas"].max()) <= first:
            tokens, parts = self._sent(image, options), options["cond_or_uncond"]
            if image.shape[1] != tokens.shape[1]:
                raise ValueError(
                    f"The latent has {image.shape[1]} tokens but the AniCrafter condition {tokens.shape[1]}: both must "
                    "be made for the same size and number of frames."
                )
            for rows, part in zip(image.chunk(len(parts)), parts, strict=True):
                if part == 0:
                    rows.add_(tokens)  # in place: the input is this call's own, and as large as the clip
        return self.then(args, extra) if self.then else extra["original_block"](args)

    @torch.compiler.disable  # what is kept changes with every sampling, and would be compiled anew
    def _sent(self, image: torch.Tensor, options: dict) -> torch.Tensor:
        """What is added to the image, [1, L, C], on its device and in its dtype."""
        where = image.device, image.dtype
        if where not in self._kept:
            fits = self.room(image) >= self.tokens.numel() * image.dtype.itemsize
            self._kept[where] = self.tokens.to(image) * self.strength if fits else None
        if (kept := self._kept[where]) is None:
            tokens = _window(self.tokens, 2, options).to(image) * self.strength
        else:
            tokens = _window(kept, 2, options)
        return tokens.flatten(2).transpose(1, 2)

    def forget(self) -> None:
        """Leave the device's memory to others."""
        self._kept = {}

    def __deepcopy__(self, memo: dict) -> "AddTokens":
        return self  # older hosts copy all patches whenever a model is cloned


def apply(
    model: Any,
    tokens: torch.Tensor,
    strength: float = 1.0,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    rounded_timesteps: bool = True,
    free_memory: Callable[[torch.device], int] = lambda device: 0,
) -> Any:
    """A clone of ComfyUI's MODEL that adds `tokens` (`embedders.embed`, [1, C, f, h, w]) on the positive pass.

    start_percent, end_percent: the part of sampling in which they are added; a shift node belongs before this one.
    rounded_timesteps: round what the model is told of the noise level to bf16, as the published system does.
    free_memory: bytes free on a device; where the tokens fit beside what the host reckons for a pass, they stay there.
    Another patch on the same slot goes on working. Lets context windows cut the image latents on hosts that do not.

    Raises ValueError when the model is not Wan 2.1 I2V of the tokens' width.
    """
    network = model.get_model_object("diffusion_model")
    _check_variant(network)
    if network.dim != tokens.shape[1]:
        raise ValueError(f"This Wan model is {network.dim} wide, the AniCrafter condition {tokens.shape[1]}.")
    model = model.clone()
    sampling = model.get_model_object("model_sampling")
    active = float(sampling.percent_to_sigma(end_percent)), float(sampling.percent_to_sigma(start_percent))
    replaced = model.model_options["transformer_options"].get("patches_replace", {}).get("dit", {})
    base = model.model

    def room(image: torch.Tensor) -> int:
        latent = [len(image), 16, image.shape[1], 2, 2]  # of as many values as the call's
        return free_memory(image.device) - int(base.memory_required(latent))

    add = AddTokens(tokens, strength, active, replaced.get(SLOT), room)

    def forget_after(executor: Callable, *args, **options) -> torch.Tensor:
        try:
            return executor(*args, **options)
        finally:
            add.forget()

    model.set_model_patch_replace(add, "dit", *SLOT)
    model.add_wrapper_with_key("outer_sample", KEY, forget_after)
    model.add_wrapper_with_key("outer_sample", KEY, _look_at_windows)
    model.add_wrapper_with_key("calc_cond_batch", KEY, _cut_to_window)
    if rounded_timesteps:
        model.add_wrapper_with_key("diffusion_model", KEY, _round_timesteps)
    return model


def apply_lora(model: Any, weights: AniCrafter, strength: float, load_lora_for_models: Callable) -> Any:
    """A clone of ComfyUI's MODEL with the LoRA on it, by the host's own loader (`comfy.sd.load_lora_for_models`).

    Called again with the same model, weights and strength, it answers a clone that the host takes for the same weights,
    so that those it has patched already are sampled with as they are.

    Raises CheckpointError when the model is another Wan, or the host does not take every pair.
    """
    network = model.get_model_object("diffusion_model")
    _check_variant(network)
    weights.check_fits(network.dim, len(network.blocks))
    before = {key: len(patches) for key, patches in model.patches.items()}
    patched, _ = load_lora_for_models(model, None, weights.host_lora(), strength, 0)
    taken = sum(len(patches) > before.get(key, 0) for key, patches in patched.patches.items())
    if taken != len(weights.lora):
        raise CheckpointError(f"ComfyUI took {taken} of the {len(weights.lora)} LoRA pairs of AniCrafter.")
    # The host patches all weights anew where this differs from that of the weights it has loaded.
    patched.patches_uuid = uuid.uuid5(model.patches_uuid, f"{weights.identity} {strength}")
    return patched


def _check_variant(network: Any) -> None:
    if getattr(network, "img_emb", None) is None or getattr(network, "in_dim", 0) != 36:
        raise ValueError("AniCrafter works on Wan 2.1 I2V 14B (not T2V, not 1.3B, not Wan 2.2): load that one.")


def _round_timesteps(executor: Callable, x: torch.Tensor, timestep: torch.Tensor, *args, **options) -> torch.Tensor:
    return executor(x, _to_bf16(timestep.float()).to(timestep), *args, **options)


def _to_bf16(values: torch.Tensor) -> torch.Tensor:
    """float32 rounded to what bf16 can say, to even, by its bits: a compiler leaves out a conversion there and back."""
    bits = values.view(torch.int32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & -0x10000).view(torch.float32)


def _look_at_windows(executor: Callable, *args, **options):
    """Says before sampling when the host's context windows cannot follow each other."""
    handler = executor.class_obj.model_options.get("context_handler")
    length, overlap = (getattr(handler, f"context_{name}", 0) for name in ("length", "overlap"))
    batched = getattr(getattr(handler, "context_schedule", None), "name", "") == "batched"  # which knows no overlap
    if handler is not None and overlap >= length and not batched:
        logging.getLogger(__name__).warning(
            "The context windows are %d latent frames long and overlap by %d, so that frames get no window: choose an "
            "overlap smaller than the length.", length, overlap,
        )
    return executor(*args, **options)


def _cut_to_window(executor: Callable, model: Any, conds: list, x: torch.Tensor, timestep, model_options: dict):
    """Within a context window: cut image latents that the host left whole, and say which frames it retains."""
    options = model_options["transformer_options"]
    handler = model_options.get("context_handler")
    if handler is not None and "context_window" in options:
        options[KEY] = list(getattr(handler, "cond_retain_index_list", ()))
        for cond in (cond for group in conds for cond in group or ()):
            concat = cond.get("model_conds", {}).get("c_concat")
            if concat is not None and concat.cond.shape[2] != x.shape[2]:
                cut = concat._copy_with(_window(concat.cond, 2, options))
                cond["model_conds"] = {**cond["model_conds"], "c_concat": cut}
    return executor(model, conds, x, timestep, model_options)


def _window(full: torch.Tensor, dim: int, options: dict) -> torch.Tensor:
    """The frames of the present context window, if there is one: in its order, an anchor frame in front included.

    Frames that the windows retain keep their own place in every window.
    """
    window = options.get("context_window")
    if window is None:
        return full
    indices = list(window.index_list)
    anchor = getattr(window, "causal_anchor_index", None)
    if anchor is not None and anchor >= 0:
        indices.insert(0, anchor)
    for retained in options.get(KEY, ()):
        if retained < len(indices):
            indices[retained] = retained
    return full.index_select(dim, torch.tensor(indices, device=full.device))
