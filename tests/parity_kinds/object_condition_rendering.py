"""Depth colouring, hand shading and their masking, against ViTA's writer and the published sample's colours."""

import json

import torch
from crafters.models.anchorcrafter.loss import hoi_region
from crafters.preprocessors.condition_colours import (
    depth_condition,
    depth_levels,
    hand_colour,
    hand_condition,
    hand_light,
    inferno,
)

FP32_ONLY = "Colours are levels of 0…255, made in float32 at least."


def check(case):
    x, expected = case.on_device(case.inputs), case.on_device(case.expected)
    levels = depth_levels(x["inverse_depth"])
    small = inferno(levels)
    depth = depth_condition(x["inverse_depth"], x["object_mask"])
    exact = {
        "depth_levels": levels,
        "depth_colour_small_rgb": small,
        "inferno_lut_rgb": inferno(torch.arange(256, dtype=torch.uint8, device=case.device)),
        "hand_rgb_from_light": hand_colour(x["hand_light_values"]),
        "hand_rgb_from_normals": hand_colour(hand_light(x["hand_normals"], x["view_direction"])),
        "hand_condition_rgb": hand_condition(x["hand_render"], x["object_mask"]),
        "hoi_region_from_depth": hoi_region(depth.permute(0, 3, 1, 2)[None] / 127.5 - 1)[0, :, 0].byte(),
    }
    for name, actual in exact.items():
        assert torch.equal(actual, expected[name]), name

    light = hand_light(x["hand_normals"], x["view_direction"])
    torch.testing.assert_close(light, expected["hand_light_from_normals"], rtol=0, atol=1e-9)
    resized = depth_condition(x["inverse_depth"], torch.ones_like(x["object_mask"]))
    for name, actual in (("depth_colour_resized_rgb", resized), ("depth_condition_rgb", depth)):
        assert (actual.int() - expected[name].int()).abs().max() <= 1, name
    first = depth[:1].float() / 127.5 - 1
    torch.testing.assert_close(first, expected["depth_condition_network_first_frame"], rtol=0, atol=8e-3)
    check_literal(json.loads((case.folder / "literal.json").read_text()))


def check_literal(literal):
    for level, rgb in literal["inferno_rows"].items():
        assert inferno(torch.tensor(int(level))).tolist() == rgb
    for light, rgb in literal["hand_light_to_rgb"].items():
        assert hand_colour(torch.tensor(float(light), dtype=torch.float64)).tolist() == rgb
    tiny = literal["tiny_depth"]
    depth, mask = torch.tensor([tiny["inverse_depth"]]), torch.tensor([tiny["mask"]])
    assert depth_levels(depth)[0].tolist() == tiny["levels"]
    assert inferno(depth_levels(depth))[0].tolist() == tiny["rgb"]
    assert depth_condition(depth, mask)[0].tolist() == tiny["condition_rgb"]
