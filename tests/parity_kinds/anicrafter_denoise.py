"""AniCrafter's conditions and denoising at small size; weights take the road of real files."""

import tempfile
from pathlib import Path

import torch
from crafters.models.anicrafter.checkpoint import AniCrafter
from crafters.models.anicrafter.conditions import Scene, body_free
from crafters.models.anicrafter.embedders import embed
from crafters.models.anicrafter.schedule import sigmas, timesteps
from crafters.models.anicrafter.transformer import load_transformer, merge_lora
from crafters.models.anicrafter.wan import WanCondition, denoise
from crafters.models.loaded import Loaded
from safetensors.torch import save_file


def make_scene(case):
    """The clip of the case; its two videos differ in the reference frame too, which `conditions.assemble` forbids."""
    blend, mesh = ((case.inputs[f"reference_then_{name}"].movedim(0, -1) + 1) / 2 for name in ("blend", "smplx"))
    free = body_free(mesh[1:])
    return Scene(blend, mesh, torch.cat([torch.ones_like(free[:1]), free]))


@torch.no_grad()
def check(case):
    config, x = case.config, case.inputs
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save_file(case.weights(part="wan"), folder / "wan.safetensors")
        own = list(case.weights(part="anicrafter").items())
        for shard in (0, 1):  # two files, as published, with what is cut in the middle in both
            save_file({**dict(own[shard::2]), "pipe.dit.frozen": torch.zeros(2)}, folder / f"{shard}.safetensors")
        weights = AniCrafter.from_files([folder / "0.safetensors", folder / "1.safetensors"])
        transformer = load_transformer(folder / "wan.safetensors", case.dtype, heads=config["num_heads"])
    merge_lora(transformer, weights)
    model = Loaded(transformer.to(case.device))

    scene = make_scene(case)
    case.check("body_free_mask", scene.free[None, 1:], 0)
    case.check("concat_mask", scene.concat_mask())
    tokens = embed(Loaded(weights.embedders.to(case.device, case.dtype)), scene, dtype=case.dtype)
    case.check("tokens", tokens, expected=case.expected["blend_tokens"] + case.expected["smplx_tokens"])
    for name in (name for name in case.expected if name.startswith("sigmas_")):
        steps, shift = name.removeprefix("sigmas_").split("_shift")
        levels = sigmas(int(steps), float(shift))
        case.check(name, levels[:-1], 1e-6)
        case.check(name.replace("sigmas", "timesteps"), timesteps(levels[:-1], rounded=False), 1e-6)

    concat = torch.cat([scene.concat_mask(), x["blend_latents"][None]], 1)
    condition = WanCondition(tokens, concat, x["clip_feature"], x["text_positive"], x["text_negative"])

    def run(steps, guidance, on_step):
        denoise(model, condition, x["noise"], steps, guidance, published_rounding=False, on_step=on_step)

    for name, guidance in (("cond", 1), ("uncond", 0)):
        # At first everything is noise, so that noise − velocity is the estimate of the result.
        run(1, guidance, lambda i, latents, clean, n=name: case.check(f"velocity_{n}", x["noise"] - clean.cpu()))
    run(config["steps"], config["guidance"], lambda i, x, clean: case.check(f"latents_after_step_{i}", x))
