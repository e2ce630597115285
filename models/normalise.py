"""The colours that image networks were trained on: mean and deviation of red, green and blue in 0…1."""

import torch

Colours = tuple[tuple[float, float, float], tuple[float, float, float]]

CLIP: Colours = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET: Colours = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(pixels: torch.Tensor, colours: Colours) -> torch.Tensor:
    """Floating-point RGB [...,3,H,W] in 0…1 with those means at 0 and those deviations 1."""
    mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in colours)
    return (pixels - mean) / std
