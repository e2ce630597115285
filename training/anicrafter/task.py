"""The AniCrafter trainer: flow matching of a LoRA and two embedders on Wan 2.1 I2V, conditioned as at inference.

Nobody has published how AniCrafter was trained; its inference (AniCrafter, conditioning and schedule) says what the
network is shown, Wan's flow matching what it is asked: the noise minus the film, at noise shares shifted as the sampler
shifts them.
"""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential

from ...models.anicrafter.checkpoint import AniCrafter
from ...models.anicrafter.conditions import STRIDE
from ...models.anicrafter.embedders import Embedders
from ...models.anicrafter.names import native_name
from ...models.anicrafter.prompt import load_prompts, pad_text, save_prompts
from ...models.anicrafter.schedule import SHIFT, timesteps
from ...models.anicrafter.transformer import load_transformer
from ...models.anicrafter.wan import added_tokens
from ...models.checkpoint import DTYPES
from ..datasets.anicrafter import Clip, find_clips, windows
from ..settings import BelowOne, checked
from .encode import WanEncoders
from .preview import preview
from .wan import Lora, WanSizes, new_transformer, released_lora

PROMPT_FILE, BASE_FILE, ADAPTER_FILE = "anicrafter_prompt.safetensors", "wan.safetensors", "anicrafter.safetensors"


@checked
class AniCrafterSettings:
    """What to train on, and how the loss is drawn.

    data: folder of clips (`training.datasets.anicrafter`); held_out: another one, for previews (else `data`). cache:
    folder that keeps latents, shared by runs. vae, clip_vision, prompt: files or folders as the nodes take them;
    without a prompt two made-up ones are used and kept with the weights, for a transformer from scratch.

    transformer: a file or folder of Wan 2.1 I2V to start from, or none for a new one of the sizes `model`. dtype: of
    transformer and VAE while they are frozen, whatever the files have. anicrafter: files to go on from. train:
    `adapters` (a LoRA of `rank`, and the embedders), `base` (the whole transformer), or both.

    dropout: share of samples that see what guidance's negative pass sees: the negative text, no added tokens.
    timesteps: how noise shares are drawn before the `shift`: evenly, or as the sigmoid of N(mean, std).
    person_weight: how much more the loss counts where the person is. export_dtype: of LoRA and base in the files; fp8
    is for the base's matrices alone, as in ComfyUI's files, and fp16 the rest.
    """

    data: Path
    vae: Path
    clip_vision: Path
    cache: Path
    held_out: Path | None = None
    prompt: Path | None = None
    transformer: Path | None = None
    model: WanSizes = WanSizes()
    dtype: Literal["fp32", "bf16"] = "bf16"
    anicrafter: tuple[Path, ...] = ()
    train: Annotated[tuple[Literal["adapters", "base"], ...], Field(min_length=1)] = ("adapters",)
    rank: PositiveInt = 128
    dropout: BelowOne = 0.1
    timesteps: Literal["logit_normal", "uniform"] = "logit_normal"
    mean: float = 0.0
    std: float = 1.0
    shift: PositiveFloat = SHIFT
    person_weight: PositiveFloat = 1.0
    gradient_checkpointing: bool = False
    export_dtype: Literal["fp32", "fp16", "bf16", "fp8"] = "bf16"
    preview_steps: PositiveInt = 8

    def __post_init__(self):
        if self.transformer and not self.prompt:
            raise ValueError("prompt is missing: the transformer knows the text encoder's (crafters cache-prompt).")
        if self.anicrafter and "adapters" not in self.train:
            raise ValueError("anicrafter weights are given, but adapters are not trained.")


class AniCrafterTask:
    """What `loop.train` trains: `trained` holds the parts that learn, `base`, `lora` and `embedders`."""

    def __init__(self, settings: AniCrafterSettings, frames: int, seed: int = 0):
        """frames: of the longest sample, T = 4n+1. Raises ValueError or CheckpointError: what is wrong with the input,
        all bad clips included."""
        self.settings = settings
        self.clips = _clips(settings.data, frames)
        shown = _clips(settings.held_out, frames) if settings.held_out else self.clips
        self.held_out = [next(windows([clip], frames)) for clip in shown[:2]]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._build()
        self.encoders = WanEncoders(settings.vae, settings.clip_vision, settings.cache, DTYPES[settings.dtype])

    def _build(self) -> None:
        settings = self.settings
        train_base = "base" in settings.train
        if settings.transformer is None:
            self.base = new_transformer(settings.model)
        else:
            self.base = load_transformer(settings.transformer, DTYPES["fp32" if train_base else settings.dtype])
        self.base.requires_grad_(train_base)
        if settings.gradient_checkpointing:
            self.base.enable_gradient_checkpointing()
        width = self.base.config.text_dim
        self.texts = load_prompts(settings.prompt) if settings.prompt else tuple(
            pad_text(torch.randn(1, 8, width).bfloat16().float()) for _ in range(2)
        )
        parts = {"base": self.base} if train_base else {}
        if "adapters" in settings.train:
            parts |= self._adapters()
        self.trained = nn.ModuleDict(parts)

    def _adapters(self) -> dict[str, nn.Module]:
        if not self.settings.anicrafter:
            embedders = Embedders(self.dim)
            for stack in (embedders.blend_embedding, embedders.smplx_embedding):
                nn.init.zeros_(stack[-1].weight)
                nn.init.zeros_(stack[-1].bias)
            return {"embedders": embedders, "lora": Lora(self.base, self.settings.rank)}
        weights = AniCrafter.from_files(self.settings.anicrafter)
        weights.check_fits(self.dim, len(self.base.blocks))
        lora = Lora(self.base, len(next(iter(weights.lora.values()))[0]))
        lora.load(weights.lora)
        return {"embedders": weights.embedders.requires_grad_(True), "lora": lora}

    @property
    def dim(self) -> int:
        return self.base.patch_embedding.out_channels

    def prepare(self, device: torch.device, rank: int, ranks: int) -> None:
        self.base.to(device)
        self.texts = tuple(text.to(device) for text in self.texts)
        self.encoders.to(device)

    def __len__(self) -> int:
        return len(self.clips)

    def sample(self, index: int, draw: np.random.Generator, frames: int) -> dict[str, torch.Tensor]:
        """A window of the clip: `latents` [16, f, h, w] of the film, `concat` [20, f, h, w], `clip` [257, D],
        `person` [1, f, h, w] shares of the person, `noise`, its share `sigma` [], `kept` [] 0 or 1; and for the
        embedders `free` [T, H, W], `blend` and `mesh` [T, H, W, 3], uint8."""
        choice = list(windows([self.clips[index]], frames))
        window = choice[draw.integers(len(choice))]
        sample = self.encoders(window)
        sample["noise"] = torch.from_numpy(draw.standard_normal(sample["latents"].shape, np.float32))
        sample["sigma"] = torch.tensor(self._sigma(draw), dtype=torch.float32)
        sample["kept"] = torch.tensor(float(draw.random() >= self.settings.dropout))
        if "embedders" in self.trained:
            scene = window.scene()
            shown = {"free": scene.free, "blend": scene.blend, "mesh": scene.mesh}
            sample |= {name: (images * 255).round().byte() for name, images in shown.items()}
        return sample

    def _sigma(self, draw: np.random.Generator) -> float:
        settings = self.settings
        if settings.timesteps == "uniform":
            share = draw.random()
        else:
            share = 1 / (1 + np.exp(-draw.normal(settings.mean, settings.std)))
        return settings.shift * share / (1 + (settings.shift - 1) * share)

    def loss(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Mean square of the velocity's error; `person`, `rest`: the same by region, unweighted."""
        latents, noise = batch["latents"], batch["noise"]
        error = (self.velocity(batch) - (noise - latents)).square().mean(1, keepdim=True)  # [B, 1, f, h, w]
        person = batch["person"]
        weight = 1 + (self.settings.person_weight - 1) * person
        weight = weight / weight.mean((1, 2, 3, 4), keepdim=True)
        error, regions = (weight * error).mean(), error.detach()
        shares = {"person": person, "rest": 1 - person}
        return error, {name: (regions * share).sum() / share.sum().clamp(min=1) for name, share in shares.items()}

    def velocity(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The transformer's answer to a batch of samples, [B, 16, f, h, w] float32."""
        sigma = batch["sigma"][:, None, None, None, None]
        noisy = torch.lerp(batch["latents"], batch["noise"], sigma)
        kept = batch["kept"][:, None, None]
        positive, negative = self.texts
        tokens = self._tokens(batch) if "embedders" in self.trained else None
        dtype = self.base.patch_embedding.weight.dtype
        inputs = (
            torch.cat([noisy, batch["concat"]], 1).to(dtype),
            timesteps(batch["sigma"]),
            torch.where(kept > 0, positive, negative).to(dtype),
            batch["clip"].to(dtype),
        )
        if tokens is None:
            return self.base(*inputs, return_dict=False)[0].float()
        with added_tokens(self.base, (tokens * kept[..., None, None]).to(dtype)):
            return self.base(*inputs, return_dict=False)[0].float()

    def _tokens(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """`embedders.embed`, differentiable and of a batch: [B, C, f, h/2, w/2]."""
        embedders = self.trained["embedders"]
        answers = []
        for name in ("blend", "mesh"):
            colour = batch[name].float() / 255 * 2 - 1
            frames = torch.cat([batch["free"].float()[..., None] / 255, colour], -1).movedim(-1, 1)  # [B, 4, T, H, W]
            frames = torch.cat([frames[:, :, :1].expand(-1, -1, STRIDE - 1, -1, -1), frames], 2)
            stack = embedders.blend_embedding if name == "blend" else embedders.smplx_embedding
            if self.settings.gradient_checkpointing:
                answers.append(checkpoint_sequential(stack, len(stack) // 2, frames, use_reentrant=False))
            else:
                answers.append(stack(frames))
        return answers[0] + answers[1]

    def save(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        from safetensors.torch import save_file

        fp8 = self.settings.export_dtype == "fp8"
        dtype = torch.float16 if fp8 else DTYPES[self.settings.export_dtype]

        def of(part: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(f"{part}."): t.contiguous() for k, t in weights.items() if k.startswith(f"{part}.")}

        if "base" in self.trained:
            base = {native_name(name): tensor.to(dtype) for name, tensor in of("base").items()}
            for name, tensor in base.items():
                if fp8 and tensor.ndim == 2 and not name.startswith("head."):
                    base[name] = tensor.to(torch.float8_e4m3fn)
            save_file(base, folder / BASE_FILE)
        if "lora" in self.trained:
            lora = {name: tensor.to(dtype) for name, tensor in released_lora(of("lora")).items()}
            save_file({**of("embedders"), **lora}, folder / ADAPTER_FILE)
        if self.settings.prompt is None:
            save_prompts(folder / PROMPT_FILE, *(text.cpu() for text in self.texts))

    def preview(self) -> dict[str, np.ndarray]:
        return {window.clip.folder.name: preview(self, window) for window in self.held_out}


def _clips(folder: Path, frames: int) -> list[Clip]:
    clips, faults = find_clips(folder, frames)
    if faults:
        raise ValueError(f"{folder} has clips that cannot be used:\n" + "\n".join(faults))
    return clips
