"""Numbers that are none: damaged weights and overflow look like success, and end in a black video."""

import torch

AT_ONCE = 8  # frames
SAMPLED = (
    "The sampler's latents are not finite numbers: a weight file is damaged, or the number type overflows. Choose bf16 "
    "or fp32 in place of fp16 (in ComfyUI also --bf16-unet), or fetch the weights again."
)
DECODED = (
    "The VAE's pictures are not finite numbers: its number type overflows, or its file is damaged. Choose bf16 or fp32 "
    "in place of fp16 (in ComfyUI --bf16-vae or --fp32-vae), or fetch the VAE again."
)
PICTURES = (
    "The pictures are not finite numbers: the sampler's or the VAE's number type overflows, or a weight file is "
    "damaged. Choose bf16 or fp32 in place of fp16 (in ComfyUI --bf16-unet, --bf16-vae), or fetch the weights again."
)


def check_finite(numbers: torch.Tensor, otherwise: str) -> None:
    """Raises ValueError with the sentence `otherwise` where `numbers` hold NaN or infinity."""
    if not all(torch.isfinite(some).all() for some in numbers.split(AT_ONCE)):
        raise ValueError(otherwise)
