"""Training of small autoencoders of pictures, SVD's and Wan's, to be good on a CPU after minutes."""

from abc import ABC, abstractmethod
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from ...models.checkpoint import assign
from ...training.settings import checked
from .pictures import Pictures
from .principal import Anchor

START_CLIPS = 96  # that principal components are taken of
LOG_VARIANCE = -10.0  # of the posterior: it hardly spreads
DETAIL_SIDE = 9  # pixels, of the neighbourhood that detail is measured in
FLAT = 0.02  # detail of a picture, in −1…1, below which it counts as flat
Share = Annotated[float, Field(ge=0, le=1)]


@checked(kw_only=True)
class AutoencoderSettings:
    """pictures: films and photos to learn, paths with `*` and `**`; held_out: others, for previews. long_side: pixels,
    larger ones are shrunk to it. side: of the squares that are learned, a multiple of 8. noise: added to the latents
    that the decoder learns from, in their deviations, so that it forgives errors. flat: how much a pixel without any
    detail counts; others count more. anchor: weight of the latents' distance to principal components of the pixels,
    which keeps them smooth and of unit variance, or to what `weights` answer, so that networks trained on those stay
    of use. train: all, or the decoder alone, while latents stay what they are.
    cuts: share of clips whose first frame is of another picture, as AniCrafter's still is of another than what follows.
    weights: what another run exported, to start from; else latents start as those principal components."""

    pictures: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    long_side: int = 256
    side: Annotated[int, Field(ge=8, multiple_of=8)] = 128
    noise: float = 0.1
    flat: Share = 0.5
    anchor: float = 0.05
    train: Literal["all", "decoder"] = "all"
    cuts: Share = 0.0
    weights: Path | None = None


class AutoencoderTask(ABC):
    """Pixels to latents and back. Clips are [N, 3, F, H, W] in −1…1, latents of unit variance [N, C, f, H/8, W/8]."""

    frames: int  # of pixels behind one latent
    channels: int

    def __init__(self, settings: AutoencoderSettings, longest: int):
        """longest: the most frames that a sample has. Raises ValueError for pictures that cannot be read."""
        self.settings, self.longest = settings, longest
        self.pictures = Pictures(settings.pictures, settings.long_side, settings.side)
        self.held_out = Pictures(settings.held_out, settings.long_side) if settings.held_out else self.pictures
        # Everything of a start is drawn from here, so that the same pictures give the same start.
        draw = np.random.default_rng(0)
        chosen = draw.permutation(len(self.pictures))[:START_CLIPS]
        windows = [self.pictures.window(index, draw, longest, settings.side) for index in chosen]
        clips = pixels(torch.stack(windows))
        self.anchor = Anchor(clips, self.channels, self.frames)
        self.trained, self.known = self.network(), None
        with torch.no_grad():
            self.start(clips)
        if settings.weights:
            # A plain dict: torch notes in a state's metadata to assign parameters, and these must keep their hooks.
            state = dict(self.load(settings.weights).state_dict())
            with torch.device("meta"):
                assign(self.network(), state, f"{settings.weights}")
            self.trained.load_state_dict(state)
        if settings.train == "decoder":
            for name, parameter in self.trained.named_parameters():
                if not name.startswith(("decoder.", "post_quant_conv.")):
                    parameter.requires_grad_(False)
        elif settings.weights:
            self.known = deepcopy(self.trained).requires_grad_(False)

    @abstractmethod
    def network(self) -> nn.Module:
        """A new autoencoder, random."""

    @abstractmethod
    def start(self, clips: torch.Tensor) -> None:
        """Make the autoencoder answer like principal components of clips."""

    @abstractmethod
    def encode(self, network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
        """Clips to the mean of that network's posterior, as latents of unit variance."""

    @abstractmethod
    def decode(self, latents: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def load(self, path: Path) -> nn.Module:
        """What `save` wrote. Raises CheckpointError."""

    @abstractmethod
    def save(self, folder: Path, weights: dict[str, torch.Tensor]) -> None: ...

    def prepare(self, device: torch.device, rank: int, ranks: int) -> None:
        self.anchor.to(device)
        if self.known is not None:
            self.known.to(device)

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, index: int, draw: np.random.Generator, frames: int) -> dict[str, torch.Tensor]:
        """clip uint8 [3, F, side, side], noise [C, f, side/8, side/8] on its latents."""
        side = self.settings.side
        shape = (self.channels, 1 + (frames - 1) // self.frames, side // 8, side // 8)
        noise = torch.from_numpy(draw.standard_normal(shape, np.float32)) * self.settings.noise
        clip = self.pictures.window(index, draw, frames, side)
        if draw.random() < self.settings.cuts:
            clip[:, :1] = self.pictures.window(int(draw.integers(len(self))), draw, 1, side)
        return {"clip": clip, "noise": noise}

    def loss(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        clips = pixels(batch["clip"])
        latents = self.encode(self.trained, clips).float()
        error = self.decode(latents + batch["noise"]).float() - clips
        weighted = (self._weight(clips) * (error.abs() + 2 * error.square())).mean()
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        with torch.no_grad():
            near = self.anchor(clips) if self.known is None else self.encode(self.known, clips).float()
        drift = (latents - near).square().mean()
        loss = weighted + edges / 2 + self.settings.anchor * drift
        psnr = -10 * torch.log10(error.detach().square().mean() / 4)
        return loss, {"psnr": psnr, "drift": drift.detach()}

    def _weight(self, clips: torch.Tensor) -> torch.Tensor:
        """How much each pixel of clips counts, [N, 1, F, H, W]: faces and labels more than walls."""
        found = detail(clips)
        return self.settings.flat + (1 - self.settings.flat) * found / found.mean().clamp(min=FLAT)

    def preview(self) -> dict[str, np.ndarray]:
        """Held-out pictures over what comes back of them; of a film the last frame."""
        columns = []
        device = next(self.trained.parameters()).device
        for index in range(min(6, len(self.held_out))):
            clip = pixels(self.held_out.whole(index, self.longest)[None].to(device))
            both = torch.cat([clip, self.decode(self.encode(self.trained, clip))], 3)[0, :, -1]
            columns.append(((both.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(0, -1).cpu().numpy())
        height = max(len(column) for column in columns)
        columns = [np.pad(column, ((0, height - len(column)), (0, 0), (0, 0))) for column in columns]
        return {"pictures": np.concatenate(columns, 1)}


def hardly_spread(conv: nn.Module, channels: int) -> None:
    """Let an encoder's last convolution, of which the first `channels` answer the mean, answer LOG_VARIANCE always."""
    conv.bias[channels:] = LOG_VARIANCE
    for parameter in (conv.weight, conv.bias):
        freeze(parameter, slice(channels, None))


def freeze(parameter: nn.Parameter, rows: slice) -> None:
    """Keep some rows of a parameter, from gradients that go through them to others."""

    def without(gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        gradient[rows] = 0
        return gradient

    parameter.register_hook(without)


def pixels(clips: torch.Tensor) -> torch.Tensor:
    """uint8 → −1…1."""
    return clips.float() / 127.5 - 1


def detail(clips: torch.Tensor) -> torch.Tensor:
    """How much pixels of clips [N, 3, F, H, W] differ from those around them, [N, 1, F, H, W]."""
    frames = clips.transpose(1, 2).flatten(0, 1)

    def blur(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, DETAIL_SIDE, 1, DETAIL_SIDE // 2, count_include_pad=False)

    found = blur((frames - blur(frames)).abs().mean(1, keepdim=True))
    return found.unflatten(0, (len(clips), -1)).transpose(1, 2)
