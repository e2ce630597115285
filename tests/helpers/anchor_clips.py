"""A tiny training set in AnchorCrafter's layout, and small networks for it."""

from pathlib import Path

import numpy as np
from crafters.media.clip import write_video
from crafters.training.anchorcrafter.settings import AnchorSettings
from crafters.training.settings import fill
from PIL import Image

from helpers.small_models import ANCHOR, CLIP, VAE

DINOV2 = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 518, "patch_size": 74}
MODEL = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(ANCHOR).items()}
MODEL["view_tokens"] = 50


def smooth(draw: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A soft random picture, uint8 [H, W, 3]."""
    image = Image.fromarray(draw.integers(30, 226, (4, 4, 3), dtype=np.uint8))
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC))


def write_clips(folder: Path, count: int = 3, frames: int = 6, size: tuple[int, int] = (64, 128)) -> Path:
    """A square product moves over a soft background, a hand beside it; conditions exact."""
    width, height = size
    for name in ("video_cut", "video_pose", "hand_cut", "depth_cut", "people_cut", "people_pose", "masked_object_cut"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        draw = np.random.default_rng(number)
        room, colour = smooth(draw, height, width), draw.integers(80, 255, 3, dtype=np.uint8)
        clips = {
            name: np.zeros((frames, height, width, 3), np.uint8) for name in ("video_pose", "hand_cut", "depth_cut")
        }
        film = np.repeat(room[None], frames, 0)
        for frame in range(frames):
            x, y = 8 + 4 * frame, 40 + 2 * frame
            film[frame, y : y + 24, x : x + 24] = colour
            clips["depth_cut"][frame, y : y + 24, x : x + 24] = (250, 140, 20)
            clips["hand_cut"][frame, y + 24 : y + 40, x : x + 16] = (190, 203, 215)
            clips["video_pose"][frame, 10:100, 20 + frame : 24 + frame] = (0, 120, 240)
        stem = f"anna{number}_box{number}"
        write_video(folder / "video_cut" / f"{stem}.mp4", film, 15, "exact")
        for name, clip in clips.items():
            write_video(folder / name / f"{stem}.mp4", clip, 15, "exact")
        Image.fromarray(room).save(folder / "people_cut" / f"anna{number}_0.png")
        Image.fromarray(clips["video_pose"][0]).save(folder / "people_pose" / f"anna{number}_0.png")
        for view in range(3):
            photo = np.zeros((60, 50, 3), np.uint8)
            photo[4:56, 4:46] = colour // (view + 1)
            Image.fromarray(photo).save(folder / "masked_object_cut" / f"box{number}_{view}.png")
    return folder


def write_networks(folder: Path) -> Path:
    """Random VAE, CLIP and DINOv2 of `MODEL`'s sizes: `svd/` and `dinov2/`."""
    import torch
    from diffusers import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKLTemporalDecoder(**VAE).save_pretrained(folder / "svd" / "vae")
        CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)).save_pretrained(folder / "svd" / "image_encoder")
        Dinov2Model(Dinov2Config(**DINOV2)).save_pretrained(folder / "dinov2")
    return folder


def anchor_settings(folder: Path, **changes) -> AnchorSettings:
    """Settings for `folder`, which `write_clips` and `write_networks` filled."""
    base = {
        "data": str(folder),
        "svd": str(folder / "svd"),
        "dinov2": str(folder / "dinov2"),
        "cache": str(folder / "cache"),
        "size": [64, 128],
        "stride": 1,
        "model": MODEL,
        "preview_steps": 2,
    }
    return fill(AnchorSettings, {**base, **changes})
