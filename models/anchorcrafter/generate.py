"""From a condition (`conditions.anchor_condition`) to the video: noise and denoising, then the VAE."""

from collections.abc import Callable

import torch

from ..chunks import Chunker
from ..finite import DECODED, SAMPLED, check_finite
from ..loaded import Loaded
from .conditions import AnchorCondition
from .encoders import SCALING_FACTOR
from .sampling import initial_noise, sample


def generate_latents(
    model: Loaded, condition: AnchorCondition, seed: int = 0, window: int = 11, shared_noise: float = 0.0, **settings
) -> torch.Tensor:
    """Latents as VAEs take them (unscaled) [N, 4, h, w], float32 on the compute device.

    seed: of the initial noise, the same on every device; shared_noise: what of it all frames share, see
    `initial_noise`. window and the other settings as `sampling.sample`. Both raise ValueError for those that make no
    sense.
    """
    noise = initial_noise(condition, window, seed, shared_noise)
    return sample(model, condition, noise, window=window, **settings)[0] / SCALING_FACTOR


def decode(
    latents: torch.Tensor, vae, chunk: int = 8, on_step: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """Latents of `generate_latents` → frames 1…N−1 [N−1, H, W, 3] in 0…1, frame 0, the reference, dropped.

    vae: ComfyUI's or `encoders.FrameVAE`. `chunk` frames are decoded together (8 in the published system); an
    out-of-memory halves it and goes on. on_step(done, total) is called per chunk and may raise to cancel. Raises
    ValueError for latents or pictures that are not finite.
    """
    check_finite(latents, SAMPLED)
    chunks = Chunker(chunk, "frames")

    def run(part: slice) -> torch.Tensor:
        images = vae.decode(latents[part])
        check_finite(images, DECODED)
        if on_step:
            on_step(part.stop, len(latents))
        return images

    return chunks.joined(len(latents), run)[1:]
