"""Small networks with random weights in the released layouts, so that every loader and graph can be tried anywhere."""

import json
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
MIMIC = AnchorConfig(**{**ANCHOR.__dict__, "product": False})
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


def write_small_models(models: str | Path, seed: int = 0) -> dict[str, str]:
    """Write all networks of both AnchorCrafter workflows into a ComfyUI `models` folder (about 12 MB).

    Returns the names to choose in the loaders: anchorcrafter, mimicmotion, dinov2, svd.
    """
    from diffusers import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

    models = Path(models)
    own, svd = models / "crafters", models / "diffusers" / "svd-small"
    own.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for config, name in ((ANCHOR, "anchorcrafter-small.pth"), (MIMIC, "mimicmotion-small.pth")):
            system = AnchorCrafter(config)
            for net in (system.pose_net, *([system.track_net] if config.product else [])):
                # Training starts from zero maps; here the conditions shall show in the result.
                torch.nn.init.normal_(net.final_proj.weight, std=0.1)
            torch.save(system.state_dict(), own / name)
        AutoencoderKLTemporalDecoder(**VAE).save_pretrained(svd / "vae")
        CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)).save_pretrained(svd / "image_encoder")
        (svd / "model_index.json").write_text(json.dumps({"_class_name": "StableVideoDiffusionPipeline"}))
        Dinov2Model(Dinov2Config(**DINOV2)).save_pretrained(own / "dinov2-small")
    return {
        "anchorcrafter": "anchorcrafter-small.pth",
        "mimicmotion": "mimicmotion-small.pth",
        "dinov2": "dinov2-small",
        "svd": "svd-small",
    }
