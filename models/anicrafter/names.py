"""Names of Wan's tensors: its own, and those of diffusers and of kohya's trainers."""

import re

# diffusers' names → Wan's, the more special first.
_NAMES = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
    "attn1": "self_attn",
    "attn2": "cross_attn",
    "to_out.0": "o",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "add_k_proj": "k_img",
    "add_v_proj": "v_img",
    "norm_added_k": "norm_k_img",
    "norm2": "norm3",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "proj_out": "head.head",
}
# As in lora_unet_blocks_0_cross_attn_k_img: which of the strokes are dots.
_KOHYA = re.compile(r"^lora_unet_+blocks[_.](\d+)[_.](self_attn|cross_attn|ffn)[_.](\w+)")


def native_name(name: str) -> str:
    """Wan's own name of a parameter or module of diffusers' WanTransformer3DModel."""
    if name.endswith("scale_shift_table"):
        return name.replace("scale_shift_table", "modulation" if name.startswith("blocks.") else "head.modulation")
    for theirs, native in _NAMES.items():
        if f".{theirs}." in f".{name}.":
            name = f".{name}.".replace(f".{theirs}.", f".{native}.")[1:-1]
    return name


def without_strokes(name: str) -> str:
    """A name of kohya's (lora_unet_blocks_0_ffn_2.alpha) with dots as Wan has them; other names as they are."""
    return _KOHYA.sub(r"blocks.\1.\2.\3", name)
