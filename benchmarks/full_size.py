"""Do real sizes fit? The shipped AnchorCrafter workflow in a real ComfyUI with full-size networks of random weights.

    python benchmarks/full_size.py [--short-side 128] [--frames 4] [--steps 1] [--dtype bf16] [--write]

The files have their released sizes, names and layouts (about 7 GB on the disk while it runs); the pictures are small
unless asked for. Prints seconds and the server's peak memory.
"""

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path

import torch
from crafters.cli.client import ComfyClient
from crafters.cli.server import ComfyServer
from crafters.host.comfyui import find_comfyui, pack_base
from crafters.host.prompt import read_prompt
from crafters.models.anchorcrafter.system import AnchorConfig, AnchorCrafter
from crafters.proof.demo import SMALL, WEIGHTS, presenting
from results import RESULTS, note

CLIP_VIT_H = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 1024,
}
SVD_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
}
DINOV2_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 518}


def random_half(module: torch.nn.Module) -> torch.nn.Module:
    """A module built on the meta device, in float16 with small random weights; norms and scales near 1."""
    module = module.half().to_empty(device="cpu")
    for name, tensor in module.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
        elif tensor.is_floating_point():
            tensor.fill_(1.0 if name.endswith(("weight", "scale")) else 0.0)
    return module


def write_full_size(models: Path) -> dict[str, dict]:
    """All but the pose networks; what chooses them, by node type."""
    from diffusers import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

    own, svd = models / "crafters", models / "diffusers" / "svd"
    own.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        system = AnchorCrafter(AnchorConfig())
        vae = AutoencoderKLTemporalDecoder(**SVD_VAE)
    torch.save(random_half(system).state_dict(), own / "AnchorCrafter.pth")
    random_half(vae).save_pretrained(svd / "vae")
    del system, vae
    with torch.device("meta"):
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP_VIT_H))
    clip.vision_model.embeddings.register_buffer("position_ids", None, persistent=False)
    random_half(clip).save_pretrained(svd / "image_encoder")
    with torch.device("meta"):
        dinov2 = Dinov2Model(Dinov2Config(**DINOV2_LARGE))
    random_half(dinov2).save_pretrained(own / "dinov2-large")
    (svd / "model_index.json").write_text(json.dumps({"_class_name": "StableVideoDiffusionPipeline"}))
    return {
        "CraftersLoadAnchorCrafter": {"checkpoint": "AnchorCrafter.pth"},
        "CraftersLoadDINOv2": {"name": "dinov2-large"},
        "CraftersLoadSVDFolder": {"folder": "svd"},
    }


async def queue(url: str, prompt: dict, files: list[tuple[str, str]]) -> None:
    async with ComfyClient(url) as client:
        for node, key in files:
            prompt[node]["inputs"][key] = await client.upload(Path(prompt[node]["inputs"][key]))
        await client.queue(prompt)


def peak_gib(pid: int) -> float:
    """Peak resident memory of a process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short-side", type=int, default=128)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--dtype", choices=["fp16", "bf16", "fp32"], default="bf16")
    parser.add_argument("--write", action="store_true", help=f"append the row to {RESULTS.name}")
    args = parser.parse_args()
    comfy_dir = find_comfyui() or parser.error("no ComfyUI found: run `make setup`, or set COMFYUI_DIR.")

    with tempfile.TemporaryDirectory(prefix="crafters-full-") as folder:
        models = Path(folder) / "models"
        chosen = write_full_size(models)
        for name in SMALL["CraftersLoadDWPose"].values():
            shutil.copy(WEIGHTS / "crafters" / name, models / "crafters")
        demo = presenting(Path(folder) / "scene", read_prompt(Path("workflows/api/AnchorCrafter.json")), 1)
        for node in demo.prompt.values():
            node["inputs"].update(chosen.get(node["class_type"], {}))
            if node["class_type"] == "CraftersFitPerson":
                node["inputs"]["short_side"] = args.short_side
            elif node["class_type"] == "CraftersClipFrames":
                node["inputs"]["frames"] = args.frames
            elif node["class_type"] == "CraftersAnchorSampler":
                node["inputs"].update(steps=args.steps, window=11, guidance_min=3.0, guidance_max=3.0)
            elif node["class_type"].startswith("CraftersLoad") and "dtype" in node["inputs"]:
                node["inputs"]["dtype"] = args.dtype
        with ComfyServer(comfy_dir, pack_base(comfy_dir), models=models) as server:
            start = time.monotonic()
            asyncio.run(queue(server.url, demo.prompt, demo.files))
            seconds, peak = time.monotonic() - start, peak_gib(server.pid)
    size = f"{args.short_side}×{args.short_side * 16 // 9 // 64 * 64}"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} cores"
    row = f"| {args.dtype} | {size} | {args.frames} | {args.steps} | {seconds:.0f} | {peak:.1f} | {device} |"
    print(row)
    if args.write:
        heading = (
            "\n## Full-size networks in ComfyUI (AnchorCrafter, random weights; load, condition, sample, decode)\n\n"
            "| dtype | size | frames | steps | seconds | peak GiB (host) | device |\n|---|---|---|---|---|---|---|\n"
        )
        note(heading, row)


if __name__ == "__main__":
    main()
