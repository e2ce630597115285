"""AnchorCrafter's training objective: EDM with the HOI-region reweighting loss (paper, section 3.4)."""

import torch
import torch.nn.functional as F


def network_input(latents: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Noised and scaled latents [B, F, 4, h, w], and the network's timestep 0.25·ln σ [B]; sigma: [B]."""
    wide = sigma.view(-1, 1, 1, 1, 1)
    return (latents + wide * noise) / (wide**2 + 1).sqrt(), 0.25 * sigma.log()


def hoi_region(object_depth: torch.Tensor, hand: torch.Tensor | None = None) -> torch.Tensor:
    """Where the hand meets the object: [B, F, 1, H, W], 1 inside.

    object_depth: [B, F, 3, H, W] coloured depth in [−1, 1]; its object is where green is not black. hand: the
    hand-mesh frames, united with the object when pre-training; None when fine-tuning.
    """
    region = object_depth[:, :, 1:2] != -1
    if hand is not None:
        region = region | (hand.sum(2, keepdim=True) != -3)
    return region.float()


def hoi_weight(region: torch.Tensor, rate: float = 1.0) -> torch.Tensor:
    """Loss weight on the latent grid [B, F, 1, H/8, W/8].

    Inside the region, rate · (latent cells of the frame) / (latent cells of the region): a small object counts as
    much as the whole frame. 1 outside, and everywhere in frames without a region.
    """
    height, width = region.shape[-2] // 8, region.shape[-1] // 8
    small = F.interpolate(region.flatten(0, 1), (height, width), mode="nearest").unflatten(0, region.shape[:2])
    area = small.sum((-1, -2), keepdim=True)
    return torch.where((small > 0) & (area > 0), rate * height * width / area.clamp(min=1), torch.ones_like(small))


def hoi_loss(
    output: torch.Tensor, network_in: torch.Tensor, latents: torch.Tensor, sigma: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """The scalar loss of a v-predicting network.

    output: what the network answered to `network_in` (see `network_input`), latents: the clean target, both
    [B, F, 4, h, w]; sigma: [B]; weight: see `hoi_weight`.
    """
    sigma = sigma.view(-1, 1, 1, 1, 1)
    noised = network_in * (sigma**2 + 1).sqrt()
    denoised = output * (-sigma / (sigma**2 + 1).sqrt()) + noised / (sigma**2 + 1)
    edm = (1 + sigma**2) / sigma**2
    return (edm * weight * (denoised.float() - latents.float()) ** 2).flatten(1).mean(1).mean()
