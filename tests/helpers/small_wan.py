"""A small Wan 2.1 I2V and AniCrafter weights for it, and small Wan-Animate, SCAIL-2 and VACE, in the released layouts,
random from a seed."""

import torch
from safetensors.torch import save_file

TARGETS = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "cross_attn.q", "cross_attn.k", "cross_attn.v",
           "cross_attn.o", "ffn.0", "ffn.2")


def wan_shapes(dim=256, layers=2, ffn=256, text=4096, image=1280, freq=256, channels=36):
    """Sizes that ComfyUI's own detection accepts by default: two heads of 128, real text and CLIP widths.

    image: CLIP's width; 0 for a model that sees no image.
    """
    shapes = {"patch_embedding.weight": (dim, channels, 1, 2, 2), "patch_embedding.bias": (dim,)}

    def linear(name, out, inner):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, inner), (out,)

    for name, out, inner in (
        ("text_embedding.0", dim, text),
        ("text_embedding.2", dim, dim),
        ("time_embedding.0", dim, freq),
        ("time_embedding.2", dim, dim),
        ("time_projection.1", dim * 6, dim),
        *([("img_emb.proj.1", image, image), ("img_emb.proj.3", dim, image)] if image else ()),
        ("head.head", 64, dim),
    ):
        linear(name, out, inner)
    if image:
        for name, width in (("img_emb.proj.0", image), ("img_emb.proj.4", dim)):
            shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)
    shapes["head.modulation"] = (1, 2, dim)
    for i in range(layers):
        shapes |= block_shapes(f"blocks.{i}", dim, ffn, bool(image))
    return shapes


def block_shapes(block, dim, ffn, image):
    shapes = {f"{block}.modulation": (1, 6, dim), f"{block}.norm3.bias": (dim,)}
    pairs = {f"self_attn.{part}": (dim, dim) for part in "qkvo"} | {f"cross_attn.{part}": (dim, dim) for part in "qkvo"}
    norms = ["self_attn.norm_q", "self_attn.norm_k", "cross_attn.norm_q", "cross_attn.norm_k", "norm3"]
    if image:
        pairs |= {"cross_attn.k_img": (dim, dim), "cross_attn.v_img": (dim, dim)}
        norms.append("cross_attn.norm_k_img")
    for name, (out, inner) in (pairs | {"ffn.0": (ffn, dim), "ffn.2": (dim, ffn)}).items():
        shapes[f"{block}.{name}.weight"], shapes[f"{block}.{name}.bias"] = (out, inner), (out,)
    return shapes | {f"{block}.{norm}.weight": (dim,) for norm in norms}


def patches(name, channels, dim=256):
    """An embedding of patches 1×2×2."""
    return {f"{name}.weight": (dim, channels, 1, 2, 2), f"{name}.bias": (dim,)}


def vace_shapes(dim=256, ffn=256):
    """One VACE block beside a text-to-video model of two: its context has 2·16 latent channels and 64 of the mask."""
    block = "vace_blocks.0"
    ends = {f"{block}.{end}_proj.{kind}": (dim, dim) if kind == "weight" else (dim,)
            for end in ("before", "after") for kind in ("weight", "bias")}
    return (wan_shapes(dim, ffn=ffn, image=0, channels=16) | block_shapes(block, dim, ffn, False) | ends
            | patches("vace_patch_embedding", 96, dim))


def scail_shapes(dim=256):
    """SCAIL-2: latents with a history mask, a pose stream of the same channels, and 28 of coloured masks."""
    return (wan_shapes(dim, channels=20) | patches("patch_embedding_pose", 20, dim)
            | patches("patch_embedding_mask", 28, dim))


def animate_shapes(dim=256):
    """Wan-Animate: a pose stream, and a face's motion encoder (of fixed size) for every fifth block."""
    shapes = wan_shapes(dim, layers=5) | patches("pose_patch_embedding", 16, dim)
    fuser, seen, face = "face_adapter.fuser_blocks.0", "motion_encoder.enc.net_app.convs", "face_encoder"
    wide = (32, 64, 128, 256, 512, 512, 512, 512)
    for i, (a, b) in enumerate(zip(wide, wide[1:], strict=False), 1):
        shapes |= {f"{seen}.{i}.conv1.0.weight": (a, a, 3, 3), f"{seen}.{i}.conv1.1.bias": (1, a, 1, 1),
                   f"{seen}.{i}.conv2.0.kernel": (4, 4), f"{seen}.{i}.conv2.1.weight": (b, a, 3, 3),
                   f"{seen}.{i}.conv2.2.bias": (1, b, 1, 1), f"{seen}.{i}.skip.0.kernel": (4, 4),
                   f"{seen}.{i}.skip.1.weight": (b, a, 1, 1)}
    shapes |= {f"{seen}.0.0.weight": (32, 3, 1, 1), f"{seen}.0.1.bias": (1, 32, 1, 1),
               f"{seen}.8.weight": (512, 512, 4, 4), "motion_encoder.dec.direction.weight": (512, 20)}
    for i in range(5):
        out = 20 if i == 4 else 512
        shapes |= {f"motion_encoder.enc.fc.{i}.weight": (out, 512), f"motion_encoder.enc.fc.{i}.bias": (out,)}
    for name, shape in {"conv1_local.conv": (4096, 512, 3), "conv2.conv": (1024, 1024, 3),
                        "conv3.conv": (1024, 1024, 3), "out_proj": (dim, 1024)}.items():
        shapes |= {f"{face}.{name}.weight": shape, f"{face}.{name}.bias": shape[:1]}
    shapes[f"{face}.padding_tokens"] = (1, 1, 1, dim)
    for name, out in (("linear1_kv", 2 * dim), ("linear1_q", dim), ("linear2", dim)):
        shapes |= {f"{fuser}.{name}.weight": (out, dim), f"{fuser}.{name}.bias": (out,)}
    return shapes | {f"{fuser}.{norm}.weight": (128,) for norm in ("q_norm", "k_norm")}


def write_placed(folder):
    """Small Wan-Animate, SCAIL-2 and VACE in a folder of diffusion models; their names by `Weights`' fields."""
    names = {}
    for name, shapes in (("animate", animate_shapes()), ("scail", scail_shapes()), ("vace", vace_shapes())):
        state = random_state(shapes)
        for key, value in state.items():
            if key.endswith(".kernel"):
                state[key] = torch.outer(*2 * [torch.tensor([1.0, 3.0, 3.0, 1.0])]) / 64
            elif key.startswith("motion_encoder."):  # whose layers divide by their own width
                state[key] = value * value[0].numel() ** 0.5
        names[name] = f"{name}_small.safetensors"
        save_file({key: value.half().contiguous() for key, value in state.items()}, folder / names[name])
    return names


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
