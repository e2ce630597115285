"""The AnchorCrafter trainer (paper, section 3.4): EDM loss, HOI-region reweighting, condition dropout."""

import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from ...models.anchorcrafter.conditions import MOTION_BUCKET
from ...models.anchorcrafter.encoders import SCALING_FACTOR, DINOv2
from ...models.anchorcrafter.loss import hoi_loss, hoi_region, hoi_weight, network_input
from ...models.anchorcrafter.sampling import mixed
from ...models.anchorcrafter.system import AnchorCrafter, save
from ...models.checkpoint import DTYPES
from ..datasets.anchorcrafter import Clip, find_clips
from .encode import AnchorEncoders
from .preview import preview
from .resident import ResidentClips
from .settings import AnchorSettings

EXPORT = "anchorcrafter.safetensors"
GROUPS = {  # what may be trained; regular expressions that parameter names begin with
    "all": "",
    "unet": r"unet\.",
    "pose_net": r"pose_net\.",
    "track_net": r"track_net\.",
    "object_nets": r"obj_(proj|attn)_net\.",
    "dual_adapter": r"unet\..*\.processor\.",
}


class AnchorTask:
    """What `loop.train` trains. frames: of the longest sample."""

    def __init__(self, settings: AnchorSettings, frames: int, seed: int = 0):
        """Raises ValueError, naming every clip that cannot be used, or CheckpointError."""
        self.settings = settings
        span = (frames - settings.reference_frame - 1) * settings.stride + 1
        self.clips, faults = find_clips(settings.data, max(1, span), settings.reference_frame)
        if faults:
            raise ValueError(f"{settings.data} has clips that cannot be used:\n" + "\n".join(faults))
        shown = self.clips
        if settings.held_out:
            shown, faults = find_clips(settings.held_out, max(1, span), settings.reference_frame)
            if faults:
                raise ValueError(f"{settings.held_out} has clips that cannot be used:\n" + "\n".join(faults))
        self.shown, self.frames = shown[0], frames
        self.trained = self._network(seed)
        self.encoders = AnchorEncoders(
            settings.svd,
            settings.dinov2,
            settings.cache,
            settings.size,
            self.trained.config.whole_view,
            DTYPES[settings.vae_dtype],
        )
        self._check_fit()

    def _network(self, seed: int) -> AnchorCrafter:
        settings = self.settings
        joined = "dual_adapter" in settings.ablate
        if settings.model is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                system = AnchorCrafter(replace(settings.model, adapter=not joined))
        else:
            system = AnchorCrafter.from_file(settings.weights, torch.float32)
            if not system.config.product:
                raise ValueError(f"{settings.weights.name} is MimicMotion's, which is not trained here.")
            if system.config.adapter == joined:
                raise ValueError("ablate: dual_adapter goes with a new model, or with weights that were trained so.")
        chosen = [GROUPS.get(entry, entry) for entry in settings.train]
        for entry, pattern in zip(settings.train, chosen, strict=True):
            if not any(re.match(pattern, name) for name, _ in system.named_parameters()):
                raise ValueError(f"train: {entry!r} is none of {', '.join(GROUPS)}, and no parameter begins like that.")
        for name, parameter in system.named_parameters():
            # Over the one CLIP token the softmax is 1 whatever its key: that weight never gets a gradient.
            idle = system.config.adapter and name.endswith("attn2.to_k.weight")
            parameter.requires_grad_(not idle and any(re.match(pattern, name) for pattern in chosen))
        if settings.gradient_checkpointing:
            system.unet.enable_gradient_checkpointing()
        return system

    def _check_fit(self) -> None:
        config, encoders = self.trained.config, self.encoders
        tokens, width = encoders.dinov2.loaded.module.config, encoders.clip.loaded.module.config.projection_dim
        views = (DINOv2.SIZE // tokens.patch_size) ** 2 + 1
        if (views, tokens.hidden_size) != (config.view_tokens, config.view_dim):
            raise ValueError(
                f"{self.settings.dinov2} gives {views} tokens of {tokens.hidden_size} per view, the model reads "
                f"{config.view_tokens} of {config.view_dim}: choose the DINOv2 that belongs to it."
            )
        if width != config.cross_attention_dim:
            raise ValueError(
                f"the image encoder of {self.settings.svd} gives {width} numbers, the model reads "
                f"{config.cross_attention_dim}: choose the one that belongs to it."
            )

    def prepare(self, device: torch.device, rank: int, ranks: int) -> None:
        from tqdm import tqdm

        self.encoders.to(device)
        for clip in tqdm(self.clips[rank::ranks], "encoding", unit="clip", disable=None, leave=False):
            self.encoders.product(clip)
            if clip.person_frames == 1:
                self.encoders.person(clip, 0)
            if self.settings.cache_films:
                self.encoders.clip_moments(clip, np.arange(1))
                self.encoders.conditions(clip, np.arange(1))
        if self.settings.resident:
            self.resident = self._resident(device)

    def _resident(self, device: torch.device) -> ResidentClips:
        kept, encoders = ResidentClips(device), self.encoders
        for _, clips in groupby(self.clips, lambda clip: clip.person):
            clips = list(clips)
            pose = {"pose": encoders.person_pose(clips[0])} if self.settings.reference_frame else {}
            kept.add_person([encoders.person(clips[0], frame) | pose for frame in range(clips[0].person_frames)])
            for clip in clips:
                every, product = np.arange(clip.frames), encoders.product(clip)
                kept.add_clip(
                    encoders.clip_moments(clip, every),
                    self._ablated(encoders.conditions(clip, every)),
                    product | {"tokens": self.shown_tokens(product["tokens"])},
                )
        kept.settle()
        return kept

    def __len__(self) -> int:
        return len(self.clips)

    def sample(self, index: int, draw: np.random.Generator, frames: int) -> dict[str, torch.Tensor]:
        """A window of the clip, N = `frames` frames of it.

        `film` [N, 3, H, W] uint8, or `film_moments` [N, 8, h, w] (mean, deviation); `photos` [2, 3, H, W] of person and
        product in −1…1 with noise, or `photos_moments`; `conditions` [N, 9, H, W] uint8; CLIP's `embedding` [C] and
        DINOv2's `tokens` [3·T, D]; what is drawn: normal `posterior` [N + 2, 4, h, w] and `noise` [N, 4, h, w];
        `sigma`, `augmentation` and the uniform `u` []. Of resident clips only that, and the numbers that tell which:
        `clip`, its person's `photo` [], `frames` [n].
        """
        settings, encoders, clip = self.settings, self.encoders, self.clips[index]
        taken = frames - settings.reference_frame
        if taken < 1:
            raise ValueError("A sample of 1 frame would be the photo alone: set frames of every stage above 1.")
        first = draw.integers(clip.frames - (taken - 1) * settings.stride)
        numbers = first + settings.stride * np.arange(taken)
        photo = int(draw.integers(clip.person_frames))
        if settings.resident:
            chosen = {"clip": index, "photo": photo, "frames": numbers}
            return {name: torch.as_tensor(value) for name, value in chosen.items()} | self._drawn(draw, frames, 0.0)
        person, product = encoders.person(clip, photo), encoders.product(clip)
        batch = {"embedding": person["embedding"], "tokens": self.shown_tokens(product["tokens"])}

        if settings.cache_films:
            film = encoders.clip_moments(clip, numbers)
            head, name = person["moments"], "film_moments"
            conditions = encoders.conditions(clip, numbers)
        else:
            film, conditions = encoders.film(clip, numbers), encoders.read_conditions(clip, numbers)
            head, name = person["pixels"], "film"
        if settings.reference_frame:
            film = torch.cat([head[None], film])
        batch |= {name: film, "conditions": self.shown_conditions(clip, conditions)}

        strength = 0.0
        if settings.augmentation is None:
            batch["photos_moments"] = torch.stack([person["moments"], product["moments"]])
        else:
            strength = float(np.exp(draw.normal(*settings.augmentation)))
            photos = torch.stack([person["pixels"], product["pixels"]]).float() / 127.5 - 1
            batch["photos"] = photos + strength * _normal(draw, photos.shape[1:])  # the same on both
        return batch | self._drawn(draw, frames, strength)

    def _drawn(self, draw: np.random.Generator, frames: int, strength: float) -> dict[str, torch.Tensor]:
        settings = self.settings
        latent = (4, settings.size[1] // 8, settings.size[0] // 8)
        drawn = {"posterior": _normal(draw, (frames + 2, *latent)), "noise": _normal(draw, (frames, *latent))}
        if settings.shared_noise:
            drawn["noise"] = mixed(drawn["noise"], _normal(draw, (1, *latent)), settings.shared_noise)
        numbers = {
            "sigma": np.exp(draw.normal(settings.noise_mean, settings.noise_std)),
            "augmentation": strength,
            "u": draw.random(),
        }
        return drawn | {name: torch.tensor(value, dtype=torch.float32) for name, value in numbers.items()}

    def shown_conditions(self, clip: Clip, conditions: torch.Tensor) -> torch.Tensor:
        """What the network is shown with `conditions` [F, 9, H, W] of the clip: the photo's first if it is frame 0."""
        if self.settings.reference_frame:
            conditions = torch.cat([self.encoders.person_pose(clip)[None], conditions])
        return self._ablated(conditions)

    def _ablated(self, conditions: torch.Tensor) -> torch.Tensor:
        if "hand_mesh" in self.settings.ablate:
            conditions[:, 3:6] = 0
        return conditions

    def shown_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the network is shown of the product's tokens [3·T, D]."""
        if "view_fusion" in self.settings.ablate:
            tokens = tokens.unflatten(0, (3, -1))[1].repeat(3, 1)
        return tokens

    def loss(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The HOI-region loss; logged beside it, as `plain`, the same without a region's weight."""
        settings, system = self.settings, self.trained
        if settings.resident:
            batch = batch | self.resident.show(batch["clip"], batch["photo"], batch["frames"])
        frames = batch["noise"].shape[1]
        drawn = batch["posterior"].split([frames, 2], 1)
        latents = self._latents(batch, "film", drawn[0]) * SCALING_FACTOR
        photos = self._latents(batch, "photos", drawn[1]).flatten(1, 2)[:, None].expand(-1, frames, -1, -1, -1)
        conditions = batch["conditions"] / 127.5 - 1
        hand, depth = conditions[:, :, 3:6], conditions[:, :, 6:]

        keeps_tokens, keeps_images = kept(batch["u"], settings.dropout)
        maps = system.pose_net(conditions[:, :, :6].flatten(0, 1)) + system.track_net(depth.flatten(0, 1))
        maps = maps.unflatten(0, (-1, frames)) * _wide(keeps_images)
        context = torch.cat([batch["embedding"][:, None], system.object_tokens(batch["tokens"])], 1)
        context = context * keeps_tokens[:, None, None]

        scaled, timestep = network_input(latents, batch["noise"], batch["sigma"])
        told = torch.ones_like(batch["sigma"])
        time_ids = torch.stack([told * settings.fps, told * MOTION_BUCKET, batch["augmentation"]], 1)
        inputs = torch.cat([scaled, photos * _wide(keeps_images)], 2)
        output = system.unet.predict(inputs, timestep, context, time_ids, maps).float()

        weight = torch.ones_like(latents[:, :, :1])
        plain = hoi_loss(output, scaled, latents, batch["sigma"], weight)
        if settings.region == "none" or "hoi_loss" in settings.ablate:
            return plain, {}
        weight = hoi_weight(hoi_region(depth, hand if settings.region == "pretrain" else None), settings.region_rate)
        return hoi_loss(output, scaled, latents, batch["sigma"], weight), {"plain": plain.detach()}

    def _latents(self, batch: dict[str, torch.Tensor], name: str, drawn: torch.Tensor) -> torch.Tensor:
        """Samples of the VAE's posterior [B, n, 4, h, w], unscaled, float32."""
        moments = batch.get(f"{name}_moments")
        if moments is None:
            pixels = batch[name]
            pixels = pixels if pixels.is_floating_point() else pixels / 127.5 - 1
            with torch.autocast(pixels.device.type, enabled=False):
                moments = self.encoders.moments(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        mean, deviation = moments.float().chunk(2, 2)
        return mean + deviation * drawn

    def save(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        """One file under the released names."""
        save(folder / EXPORT, weights, self.trained.config, DTYPES[self.settings.export_dtype])

    def preview(self) -> dict[str, np.ndarray]:
        """Some frames of a held-out clip; see `anchor_preview`."""
        return {"held_out": preview(self)}


def kept(u: torch.Tensor, p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Condition dropout by one uniform number [B]: what tokens, and what image latents and maps are multiplied with.

    Tokens are dropped below 2p, image latents and maps from p to 3p: both are, from p to 2p.
    """
    return (u >= 2 * p).float(), ((u < p) | (u >= 3 * p)).float()


def _wide(per_sample: torch.Tensor) -> torch.Tensor:
    return per_sample.view(-1, 1, 1, 1, 1)


def _normal(draw: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(draw.standard_normal(tuple(shape), np.float32))
