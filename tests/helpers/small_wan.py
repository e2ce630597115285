"""A small Wan 2.1 I2V and AniCrafter weights for it, in the released layouts, random from a seed."""

import torch
from safetensors.torch import save_file

TARGETS = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "cross_attn.q", "cross_attn.k", "cross_attn.v",
           "cross_attn.o", "ffn.0", "ffn.2")


def wan_shapes(dim=256, layers=2, ffn=256, text=4096, image=1280, freq=256, channels=36):
    """Sizes that ComfyUI's own detection accepts by default: two heads of 128, real text and CLIP widths."""
    shapes = {"patch_embedding.weight": (dim, channels, 1, 2, 2), "patch_embedding.bias": (dim,)}

    def linear(name, out, inner):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, inner), (out,)

    for name, out, inner in (
        ("text_embedding.0", dim, text),
        ("text_embedding.2", dim, dim),
        ("time_embedding.0", dim, freq),
        ("time_embedding.2", dim, dim),
        ("time_projection.1", dim * 6, dim),
        ("img_emb.proj.1", image, image),
        ("img_emb.proj.3", dim, image),
        ("head.head", 64, dim),
    ):
        linear(name, out, inner)
    for name, width in (("img_emb.proj.0", image), ("img_emb.proj.4", dim)):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)
    shapes["head.modulation"] = (1, 2, dim)
    for block in (f"blocks.{i}" for i in range(layers)):
        shapes[f"{block}.modulation"] = (1, 6, dim)
        for attention, parts in (("self_attn", "q k v o"), ("cross_attn", "q k v o k_img v_img")):
            for part in parts.split():
                linear(f"{block}.{attention}.{part}", dim, dim)
        for norm in ("self_attn.norm_q", "self_attn.norm_k", "cross_attn.norm_q", "cross_attn.norm_k",
                     "cross_attn.norm_k_img", "norm3"):
            shapes[f"{block}.{norm}.weight"] = (dim,)
        shapes[f"{block}.norm3.bias"] = (dim,)
        linear(f"{block}.ffn.0", ffn, dim)
        linear(f"{block}.ffn.2", dim, ffn)
    return shapes


def anicrafter_shapes(dim=256, layers=2, ffn=256, rank=4, targets=TARGETS):
    """As in the published shards: LoRA pairs, then both embedders."""
    shapes = {}
    for i in range(layers):
        for target in targets:
            name = f"pipe.dit.blocks.{i}.{target}"
            shapes[f"{name}.lora_A.default.weight"] = (rank, ffn if target == "ffn.2" else dim)
            shapes[f"{name}.lora_B.default.weight"] = (ffn if target == "ffn.0" else dim, rank)
    for stack in ("blend_embedding", "smplx_embedding"):
        for layer in range(0, 14, 2):
            out, inner, kernel = (16, 4 if layer == 0 else 16, (3, 3, 3)) if layer < 12 else (dim, 16, (1, 2, 2))
            shapes[f"{stack}.{layer}.weight"], shapes[f"{stack}.{layer}.bias"] = (out, inner, *kernel), (out,)
    return shapes


def random_state(shapes, seed=0):
    """Weights of unit gain, small biases, norms near 1."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        x = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            x = x / x[0].numel() ** 0.5
        else:
            x = 0.1 * x + name.endswith(("weight",))
        state[name] = x
    return state


def write_steps_lora(folder):
    """A LoRA for the demo's Wan, in the place of one that is distilled for few steps."""
    path = folder / "steps_lora.safetensors"
    shapes = {"lora_down": (4, 256), "lora_up": (512, 4)}
    state = {f"diffusion_model.blocks.0.ffn.0.{side}.weight": shape for side, shape in shapes.items()}
    save_file({name: 0.1 * tensor for name, tensor in random_state(state).items()}, path)
    return path
