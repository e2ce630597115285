"""HaMeR's backbone, head and cameras; in float32 within the measured noise, in float64 to 1e-9."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from crafters.models.body.rotation import axis_angle_to_matrix, sixd_to_matrix
from crafters.models.hmr.hamer import (
    CROP,
    FOCAL,
    HandParameters,
    crop_translation,
    full_translation,
    load_hamer,
    project,
    scaled_focal,
)
from crafters.models.normalise import IMAGENET, normalise
from helpers.parity_case import HALF
from safetensors.torch import save_file

PLACED = {"full.pred_cam_t", "full.pred_keypoints_2d"}  # by one over the scale in `pred_cam`


@torch.no_grad()
def check(case):
    with TemporaryDirectory() as folder:
        network = load_hamer(write_hamer(case, Path(folder) / "hamer.safetensors"), case.dtype).to(case.device)
    for name, actual in results(case, network, torch.float32).items():
        case.expect(name, actual, half=2 * HALF if name in PLACED else HALF)
    if case.half:
        return
    exact = case.tensors("expected_float64.safetensors")
    for name, actual in results(case, network.double(), torch.float64).items():
        # HaMeR's own conversion adds 1e-8 to a rotation vector before it takes its length.
        limit = 2e-8 if name == "rotation.from_axis_angle" else 1e-9
        case.compare(f"{name}, float64", actual, exact[name], limit)


def write_hamer(case, path):
    """The case's weights as a file, sizes in its header."""
    vit, decoder = case.config["vit"], case.config["decoder"]
    sizes = {
        "dim": vit["embed_dim"], "depth": vit["depth"], "heads": vit["num_heads"], "mlp_ratio": vit["mlp_ratio"],
        "decoder_dim": decoder["dim"], "decoder_depth": decoder["depth"], "decoder_heads": decoder["heads"],
        "decoder_head_dim": decoder["dim_head"], "decoder_mlp": decoder["mlp_dim"],
    }
    state = case.weights()
    for name in case.config["buffers_from_inputs"]:
        state[name] = case.inputs[name.removeprefix("mano_head.")]
    left_out = {"mano.faces": torch.zeros(1), "initialized": torch.tensor(True)}
    save_file(state | left_out, path, {"config": json.dumps(sizes)})
    return path


def results(case, network, dtype):
    """dtype: of everything around the network."""
    x = {name: tensor.to(case.device, dtype) for name, tensor in case.inputs.items()}
    head, own = network.mano_head, next(network.parameters()).dtype
    token = head.token(x["head_features"].to(own))
    alone = head(x["head_features"].to(own))
    crops = normalise(x["crop_rgb"] / 255, IMAGENET).to(own)
    features = network.features(crops)
    full = HandParameters(*(part.to(dtype) for part in network(crops)))
    placed = crop_translation(full.cam)
    size, right = x["camera.image_size"], x["camera.right"]
    focal = scaled_focal(size)
    place = full_translation(x["camera.weak_perspective"], x["camera.box_center"], x["camera.box_size"], size, right)
    mirror = torch.stack([2 * right - 1, torch.ones_like(right), torch.ones_like(right)], -1)
    joints = x["joints"][:1] * mirror[:, None]
    return {
        "head.token_out_every4": token[:, ::4],
        "head.pose6d": head.pose(token),
        "head.global_orient": alone.rotations[:, :1],
        "head.hand_pose": alone.rotations[:, 1:],
        "head.betas": alone.betas,
        "head.cam": alone.cam,
        "backbone_features": features[:, :: case.config["feature_channel_stride"]],
        "full.global_orient": full.rotations[:, :1],
        "full.hand_pose": full.rotations[:, 1:],
        "full.betas": full.betas,
        "full.pred_cam": full.cam,
        "full.pred_cam_t": placed,
        "full.pred_keypoints_2d": project(x["joints"], placed, FOCAL / CROP),
        "camera.scaled_focal_length": focal[None],
        "camera.full_translation": place,
        "camera.full_projection": project(joints, place, focal) + size[:, None] / 2,
        "rotation.from_6d": sixd_to_matrix(x["rotation.sixd"]),
        "rotation.from_axis_angle": axis_angle_to_matrix(x["rotation.axis_angle"]),
    }
