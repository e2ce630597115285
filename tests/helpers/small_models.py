"""Sizes of small networks in the released layouts."""

from dataclasses import replace
from pathlib import Path

import torch
from crafters.models.anchorcrafter.system import AnchorConfig, AnchorCrafter

ANCHOR = AnchorConfig(
    block_out_channels=(32, 32, 64, 64),
    num_attention_heads=(1, 1, 1, 1),
    layers_per_block=1,
    cross_attention_dim=32,
    addition_time_embed_dim=32,
    view_dim=32,
    view_heads=1,
    class_inner=32,
)
MIMIC = replace(ANCHOR, product=False)
VAE = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
}
CLIP = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 32,
    "projection_dim": 32,
}
DINOV2 = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 1, "image_size": 518, "patch_size": 14}


def write_mimicmotion(folder: Path) -> Path:
    """A MimicMotion for the image encoder of the demo, whose own networks are AnchorCrafter's."""
    path = folder / "mimicmotion-small.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        system = AnchorCrafter(replace(MIMIC, cross_attention_dim=96))
        # Training starts from zero maps; here the conditions shall show in the result.
        torch.nn.init.normal_(system.pose_net.final_proj.weight, std=0.1)
    torch.save(system.state_dict(), path)
    return path
