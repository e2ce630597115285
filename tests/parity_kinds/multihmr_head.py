"""Multi-HMR's heads, cameras and search window; in float32 within the measured noise, in float64 to 1e-9."""

import torch
from crafters.models.body.rotation import (
    axis_angle_to_matrix,
    matrix_to_quaternion,
    quaternion_to_axis_angle,
    sixd_to_matrix,
)
from crafters.models.checkpoint import assign
from crafters.models.hmr.multihmr import (
    MultiHMRHeads,
    MultiHMRSize,
    Window,
    find_cells,
    find_in_window,
    intrinsics,
    suppressed,
    unproject,
)
from crafters.preprocessors.body_motion.person_crop import RADIUS, PersonCrop, search_window


@torch.no_grad()
def check(case):
    config = case.config
    size = MultiHMRSize(
        image=config["img_size"],
        dim=config["embed_dim"],
        head_depth=config["xat_depth"],
        head_heads=config["xat_num_heads"],
    )
    with torch.device("meta"):
        network = MultiHMRHeads(size)
    state, head = case.weights(), "x_attention_head.init_"
    for name in config["buffers_from_inputs"]:
        state[name] = case.inputs[name.removeprefix("x_attention_head.")]
    state[head + "expression"] = torch.zeros(1, 10)
    assign(network, state, "the case")
    network.to(case.device, case.dtype)
    windows = "prior.row_col_radius"
    case.expected[windows] = with_radius(case.expected[windows])
    for name, actual in results(case, network, torch.float32).items():
        case.expect(name, actual)
    if case.half:
        return
    exact = case.tensors("expected_float64.safetensors") | {
        name: tensor for name, tensor in case.expected.items() if tensor.dtype == torch.int32
    }
    for name, actual in results(case, network.double(), torch.float64).items():
        case.compare(f"{name}, float64", actual, exact[name], 1e-9)


def results(case, network, dtype):
    """dtype: of everything around the network."""
    x = {name: tensor.to(case.device, dtype) for name, tensor in case.inputs.items()}
    config, own = case.config, next(network.parameters()).dtype
    found = {"batch.camera_embedding": network.camera_features(x["K"])}
    for kind in ("batch", "window", "fallback"):
        pictures = {"batch": slice(2), "window": slice(1), "fallback": slice(1, 2)}[kind]
        tokens, camera = x["features"][pictures].to(own), x["K"][pictures]
        scores = network.scores(tokens)
        if case.half:  # in which other cells than the reference's may come out as the surest
            cell = case.expected[f"{kind}.detected_image_row_col"].to(case.device).long()
            scores = scores * (case.expected[f"{kind}.scores_map"] > 0).to(case.device)
        elif kind == "batch":
            cell, scores = find_cells(scores, config["det_thresh_batch"]), suppressed(scores)
        else:
            how = config[kind]
            cell = find_in_window(scores, how["det_thresh"], Window(*how["centre_row_col"], how["radius"]))
        people = network(tokens, camera, scores, cell)
        found |= {
            f"{kind}.detected_image_row_col": people.cell.int(),
            f"{kind}.scores_map": scores,
            f"{kind}.scores_detected": people.score,
            f"{kind}.offset": people.offset,
            f"{kind}.loc": people.place,
            f"{kind}.pose6d": people.sixd.flatten(1),
            f"{kind}.rotmat": people.rotations,
            f"{kind}.rotvec": people.axis_angle,
            f"{kind}.shape": people.betas,
            f"{kind}.expression": people.expression,
            f"{kind}.cam": people.cam,
            f"{kind}.log_distance_before_focal": people.cam[:, :1],
            f"{kind}.dist": people.distance,
            f"{kind}.translation_head": unproject(people.place, people.distance, camera[people.cell[:, 0]]),
        }
    full = intrinsics(1360, 768).to(case.device, dtype)
    placed, windows = [], []
    for i in range(len(x["crop.loc"])):
        crops = [
            PersonCrop(*row[:5], row[5] / row[6])
            for row in (x[f"{k}.annotation"][i].tolist() for k in ("crop", "prior"))
        ]
        placed.append(crops[0].to_picture(x["crop.loc"][i : i + 1], x["crop.dist"][i : i + 1]))
        windows.append(window(case.inputs["prior.keypoints"][i].double().numpy(), crops[1]))
    place, distance = (torch.cat(rows) for rows in zip(*placed, strict=True))
    rotation = axis_angle_to_matrix(x["rotation.rotvec"])
    return found | {
        "camera.K_896": intrinsics(896, 896).to(dtype),
        "camera.K_1360_like_full_frame": full,
        "crop.loc_full": place,
        "crop.dist_full": distance,
        "crop.translation_full": unproject(place, distance, full),
        "prior.row_col_radius": torch.tensor(windows, dtype=torch.int32),
        "rotation.from_6d": sixd_to_matrix(x["rotation.sixd"]),
        "rotation.from_rotvec": rotation,
        "rotation.rotvec_again": quaternion_to_axis_angle(matrix_to_quaternion(rotation)),
    }


def window(keypoints, crop):
    """-1 where there is nothing."""
    return search_window(keypoints, crop) or (-1, -1, -1)


def with_radius(windows):
    """The reference writes -1 for a radius that is not given, which means RADIUS."""
    left_out = (windows[:, :1] >= 0) & (windows == -1)
    return torch.where(left_out, RADIUS, windows)
