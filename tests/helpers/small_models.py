"""Sizes of small networks in the released layouts, and the demo's by the fields of `graphs.stages.Weights`."""

from dataclasses import replace
from pathlib import Path

import torch
from crafters.models.anchorcrafter.system import AnchorConfig, AnchorCrafter
from crafters.models.body.load import ANNY
from crafters.proof.demo import INSTEAD, SMALL

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
NETWORKS = {
    **SMALL["CraftersLoadDWPose"],
    "anchorcrafter": SMALL["CraftersLoadAnchorCrafter"]["checkpoint"],
    "svd": "svd-small",
    "dinov2": SMALL["CraftersLoadDINOv2"]["name"],
    "body": ANNY,
    "anicrafter": SMALL["CraftersLoadAniCrafter"]["weights"],
    "second_shard": "none",
    "prompt": SMALL["CraftersAniCrafterPrompt"]["file"],
    "text": "",
    "wan": SMALL["UNETLoader"]["unet_name"],
    "wan_vae": SMALL["VAELoader"]["vae_name"],
    "wan_clip": INSTEAD["CLIPVisionLoader"][1]["clip_vision"],
}
WIDGETS = {"LoadImage": "image", "LoadVideo": "file", "CraftersLoadAvatar": "avatar", "CraftersLoadMotion": "motion"}



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


def small_sam(side: int) -> torch.nn.Module:
    """SAM 2 for pictures of `side` pixels, with random weights."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [side, side],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [4, 2, 2, 2],
        "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4],
    }
    vision = {
        "model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 128,
    }
    # As in the released ones, memory has fewer channels than the rest: an object pointer fills several of its tokens.
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": side, "hidden_size": 128, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
        image_size=side, memory_attention_hidden_size=128, memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32, memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128, memory_encoder_output_channels=64, mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128, memory_fuser_intermediate_dim=32,
    )
    return Sam2VideoModel(config)
