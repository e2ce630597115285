"""The head encoder at small size, in float32 and in float64."""

import torch
from crafters.models.avatar.lhm.encoders import HeadEncoder, square
from crafters.models.avatar.lhm.precision import autocast, matrices_to
from crafters.models.checkpoint import assign
from crafters.models.vit import ViTSize


def check(case):
    config = case.config
    patch, dim = config["patch_size"], config["dim"]
    side = config["train_image_size"] // patch
    size = ViTSize(
        dim, config["depth"], config["heads"], patch, (side, side), config["mlp_ratio"] * dim,
        registers=config["register_tokens"], layer_scale=True,
    )
    with torch.device("meta"):
        encoder = HeadEncoder(size, config["out_dim"], config["resolution"], tuple(config["layer_indices"]))
    weights = {name.removeprefix("encoder."): tensor for name, tensor in case.weights().items()}
    assign(encoder, weights, case.name)
    # LHM's own stays in float32; in half precision this stands for its body encoder, which is the same transformer.
    encoder = matrices_to(encoder, case.dtype).to(case.device).eval()
    projection = encoder.model.patch_embed["proj"]
    with autocast(projection.weight, projection):
        check_numbers(case, encoder, torch.float32, case.expected, 2e-5)
    if case.half:
        return
    check_numbers(case, encoder.double(), torch.float64, case.tensors("expected_float64.safetensors"), 1e-9)


@torch.no_grad()
def check_numbers(case, encoder, dtype, expected, tolerance):
    def same(name, actual, tolerance=tolerance):
        if name not in expected:
            return
        case.compare(f"{name} ({dtype})", actual, expected[name], tolerance)

    model, image = encoder.model, case.inputs["image"].to(case.device, dtype)
    picture = square(image, encoder.side)
    same("preprocessed", picture)
    side = encoder.side // model.size.patch
    same("patch_tokens", model.patch_embed["proj"](picture).flatten(2).mT)
    same("interpolated_pos_embed", model.positions(side, side), min(tolerance, 2e-6))
    same("tokens_in", model.embed(picture))

    seen = {}
    hooks = [
        block.register_forward_hook(lambda _, __, out, i=i: seen.update({i: out}))
        for i, block in enumerate(model.blocks)
    ]
    tokens = encoder(image)
    for hook in hooks:
        hook.remove()
    for level, depth in enumerate(encoder.levels):
        same(f"level_{level}_block_out", seen[depth], 5e-5 if dtype == torch.float32 else tolerance)
        normed = model.norm(seen[depth])[:, model.prefix :]
        same(f"level_{level}_normed_patch_tokens", normed)
        projected = encoder.fusion_head.projects[level](normed.mT[..., None])
        same(f"level_{level}_projected", projected.reshape(1, -1, side, side))
    same("fused_tokens", tokens)
    same("fused_map", tokens.mT.unflatten(2, (side, side)))
