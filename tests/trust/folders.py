"""The loaders of folders as they are on the hub, each with a small network of its own."""

from collections.abc import Callable
from pathlib import Path

from trust.whole import Loader


def _folder(make: Callable[[Path], None], load: Callable[[Path], object], part: str) -> Loader:
    """`part` of a model's folder is damaged: its configuration, or its weights."""

    def whole(folder: Path) -> Path:
        make(folder / "network")
        if part.endswith(".bin"):
            import torch
            from safetensors.torch import load_file

            (weights,) = (folder / "network").rglob("*.safetensors")
            torch.save(load_file(weights), weights.with_suffix(".bin"))
            if weights.stem == "model":
                weights.with_suffix(".bin").rename(weights.with_name("pytorch_model.bin"))
            weights.unlink()
        return next((folder / "network").rglob(part))

    return Loader(whole, lambda file: load(next(up for up in file.parents if up.name == "network")), slow=True)


def _sam(folder: Path) -> None:
    from transformers import Sam2VideoConfig, Sam2VideoModel

    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [4, 2, 2, 2],
        "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4],
    }
    vision = {
        "model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 128,
    }
    config = Sam2VideoConfig(
        vision_config=vision, image_size=64, memory_attention_hidden_size=128, memory_attention_num_layers=1,
        prompt_encoder_config={"image_size": 64, "hidden_size": 128, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
        memory_attention_feed_forward_hidden_size=32, memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128, memory_encoder_output_channels=64, mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128, memory_fuser_intermediate_dim=32,
    )
    Sam2VideoModel(config).save_pretrained(folder)


def _load_sam(folder: Path):
    from crafters.preprocessors.segment.sam import SAM, load_sam

    return SAM(_loaded(load_sam(folder)))


def _loaded(module):
    from crafters.models.loaded import Loaded

    return Loaded(module)


def _depth(folder: Path) -> None:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=8, num_hidden_layers=4, num_attention_heads=1, image_size=28, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=8, neck_hidden_sizes=[4, 4, 4, 4], fusion_hidden_size=4,
        head_hidden_size=4, patch_size=14,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)


def _load_depth(folder: Path):
    from crafters.preprocessors.product.object_depth import DepthNetwork, load_depth

    return DepthNetwork(_loaded(load_depth(folder)))


SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def _svd(folder: Path) -> None:
    from diffusers import AutoencoderKLTemporalDecoder

    AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32), layers_per_block=1, down_block_types=("DownEncoderBlock2D",) * 2
    ).save_pretrained(folder / "vae")


def _load_svd(folder: Path):
    from crafters.models.anchorcrafter.encoders import load_vae

    return load_vae(folder)


def _clip(folder: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(**SMALL, patch_size=32, projection_dim=8)
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")


def _load_clip(folder: Path):
    from crafters.models.anchorcrafter.encoders import load_image_encoder

    return load_image_encoder(folder)


def _dinov2(folder: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=1, image_size=56, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)


def _load_dinov2(path: Path):
    from crafters.models.anchorcrafter.encoders import load_dinov2

    return load_dinov2(path)


def _wan(folder: Path) -> None:
    from diffusers import WanTransformer3DModel

    WanTransformer3DModel(
        num_attention_heads=1, attention_head_dim=24, in_channels=36, out_channels=16, text_dim=16, freq_dim=16,
        ffn_dim=16, num_layers=2, image_dim=16, added_kv_proj_dim=24,
    ).save_pretrained(folder / "transformer")


def load_wan(folder: Path):
    from crafters.models.anicrafter.transformer import load_transformer

    return load_transformer(folder)


def _single(make: Callable[[Path], None], prefix: str = "") -> Callable[[Path], Path]:
    """The weights of the folder that `make` writes, as a file by itself, named as there, behind `prefix`."""

    def write(folder: Path) -> Path:
        from safetensors.torch import load_file, save_file

        make(folder / "network")
        weights = next((folder / "network").rglob("*.safetensors"))
        save_file({prefix + name: tensor for name, tensor in load_file(weights).items()}, folder / "one.safetensors")
        return folder / "one.safetensors"

    return write


def _load_wan_clip(path: Path):
    from crafters.models.anicrafter.encoders import load_clip_vision

    return load_clip_vision(path)


def _wan_clip(folder: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    CLIPVisionModel(CLIPVisionConfig(**SMALL | {"num_attention_heads": 1}, patch_size=32)).save_pretrained(folder)


FOLDERS = {
    "clip file": Loader(_single(_wan_clip, "vision_model."), _load_wan_clip, slow=True),
    "dinov2 file": Loader(_single(_dinov2), _load_dinov2, slow=True),
    **{
        f"{name}/{part}": _folder(make, load, part)
        for name, make, load, parts in (
            ("sam", _sam, _load_sam, ("config.json", "model.safetensors", "pytorch_model.bin")),
            ("depth", _depth, _load_depth, ("config.json", "model.safetensors")),
            ("svd", _svd, _load_svd, ("config.json", "*.safetensors", "diffusion_pytorch_model.bin")),
            ("clip", _clip, _load_clip, ("config.json", "model.safetensors", "pytorch_model.bin")),
            ("dinov2", _dinov2, _load_dinov2, ("config.json", "model.safetensors", "pytorch_model.bin")),
            ("wan", _wan, load_wan, ("config.json",)),
        )
        for part in parts
    },
}
