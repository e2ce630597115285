"""Pictures under the nodes that make clips, whatever they are connected to."""

import torch
from comfy_api.latest import ui

STILLS = 4  # enough to see that it is right, and no burden for a long clip


def stills(images: torch.Tensor) -> ui.PreviewImage:
    """A few frames of IMAGE, from the first to the last, as a node's `ui`."""
    chosen = torch.linspace(0, len(images) - 1, min(STILLS, len(images))).round().long()
    return ui.PreviewImage(images[chosen].cpu())
