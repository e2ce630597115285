"""The body–head transformer and the gaussian heads at small size, in float32 and in float64."""

import torch
import torch.nn.functional as F
from crafters.models.avatar.lhm.network import FREQUENCIES, LARGEST, Network
from crafters.models.avatar.lhm.precision import autocast, matrices_to
from crafters.models.checkpoint import assign

# Largest error in float32; the noise of sines and cosines of large arguments.
ATOL = {
    "motion_embedding": 5e-6, "point_embedding": 5e-5, "projected_tokens": 2e-5, "latent_points": 5e-5,
    "gs_mlp_out": 3e-5, "offset": 1e-5, "rgb": 1e-5, "opacity": 1e-5, "scaling_before_upper_body_clamp": 1e-6,
    "scaling": 1e-6, "rotation": 1e-4,
}
RAW = {
    "raw_offset": "xyz",
    "raw_rgb": "shs",
    "raw_opacity": "opacity",
    "raw_scaling": "scaling",
    "raw_rotation": "rotation",
}


def check(case):
    config = case.config
    widths = (config["gs_mlp_neurons"],) * config["gs_mlp_hidden_layers"]
    with torch.device("meta"):
        network = Network(config["layers"], config["dim"], config["heads"], config["cond_dim"], widths)
    assign(network, case.weights(), case.name)
    matrices_to(network.transformer, case.dtype)
    network.to(case.device).eval()
    basis = torch.zeros(3, 3, FREQUENCIES)
    basis[range(3), range(3)] = 2 ** torch.arange(FREQUENCIES) * torch.pi
    assert basis.flatten(1).equal(case.expected["point_embed_basis"])
    check_numbers(case, network, torch.float32, case.expected)
    if case.half:
        return
    check_numbers(case, network.double(), torch.float64, case.tensors("expected_float64.safetensors"))


@torch.no_grad()
def check_numbers(case, network, dtype, expected):
    def same(name, actual):
        if name not in expected:
            return
        kind = name.split("_")[-1] if name.startswith("layer_") else name
        atol = {"points": 5e-5, "tokens": 3e-5}.get(kind) or ATOL.get(name, 3e-5)
        atol = 1e-9 if dtype == torch.float64 else atol
        case.compare(f"{name} ({dtype})", actual.reshape(expected[name].shape), expected[name], atol)

    seen = {}

    def watch(name, module, pick=lambda out: out):
        return module.register_forward_hook(lambda _, __, out: seen.update({name: pick(out)}))

    transformer, renderer = network.transformer, network.renderer
    hooks = [
        watch("motion_embedding", network.motion_embed_mlp),
        watch("point_embedding", network.pcl_embed),
        watch("latent_points", transformer.norm),
        watch("gs_mlp_out", renderer.mlp_net["layers"]),
    ]
    hooks += [watch(raw, renderer.gs_net["out_layers"][name]) for raw, name in RAW.items()]
    for i, layer in enumerate(transformer.layers):
        hooks += [
            watch(f"layer_{i}_head_points", layer.head_dit, lambda out: out[1]),
            watch(f"layer_{i}_points", layer, lambda out: out[0]),
        ]
    for i, layer in enumerate(transformer.layers[:-1]):
        hooks.append(watch(f"layer_{i}_tokens", layer, lambda out: torch.cat(out[1:], dim=1)))
    x = case.on_device(case.inputs, dtype)
    found = network(x["body_tokens"], x["head_features"], x["query_points"][0], x["is_upper_body"])
    for hook in hooks:
        hook.remove()

    padded = F.pad(x["head_features"], (0, x["body_tokens"].shape[-1] - x["head_features"].shape[-1]))
    tokens = torch.cat([x["body_tokens"], padded], dim=1)
    same("conditioning_tokens", tokens)
    with autocast(tokens, transformer.linear_cond_proj):
        same("projected_tokens", transformer.linear_cond_proj(tokens))
    seen["scaling_before_upper_body_clamp"] = seen["raw_scaling"].exp().clamp(0, LARGEST)
    seen |= {name: getattr(found, name) for name in ("offset", "rgb", "opacity", "rotation")} | {"scaling": found.scale}
    for name, actual in seen.items():
        same(name, actual)
    unchecked = set(expected) - set(seen) - {"point_embed_basis", "conditioning_tokens", "projected_tokens"}
    assert not unchecked, f"nothing computed {sorted(unchecked)}"
