"""Avatar animation on a small body, in float32 and in float64."""

from types import SimpleNamespace

import torch
from crafters.models.avatar.animate import Animator
from crafters.models.avatar.rig import LOWER_BODY, UPPER_BODY, Rig, neutral_pose, template_vertices
from crafters.models.body.body import Skeleton
from crafters.models.body.skinning import blend, move

POSE = ("root_pose", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "lhand_pose", "rhand_pose")
PUBLISHED = {"points": "xyz", "neutral_transforms": "transform_mat_neutral_pose"}
QUATERNIONS = ("rotation", "rigid_quaternion")
FIELDS = ("offset", "points", "rgb", "opacity", "scale", "rotation", "neutral_transforms", "betas")
FP32_ONLY = "Gaussians are moved in float32 at least."


def check(case):
    check_numbers(case, torch.float32, case.expected, 3e-6)
    check_numbers(case, torch.float64, case.tensors("expected_float64.safetensors"), 1e-9)
    check_camera(case)


def check_numbers(case, dtype, expected, tolerance):
    def same(name, actual):
        assert actual.shape == expected[name].shape, f"{name}: shape {tuple(actual.shape)}"
        actual = actual.cpu()
        error = (actual.double() - expected[name].double()).abs()
        if name in QUATERNIONS:  # q and −q are one rotation
            error = torch.minimum(error.amax(-1), (actual.double() + expected[name].double()).abs().amax(-1))
        error = error.max().item()
        assert error <= tolerance, f"{name} ({dtype}): off by {error:.3g}, allowed {tolerance:.3g}"

    x = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in case.inputs.items()}
    layer = {name.removeprefix("smplx_layer."): x[name] for name in x}
    skeleton = Skeleton.regress(layer["J_regressor"], layer["v_template"], layer["shapedirs"], layer["parents"])
    rig = Rig(x["skinning_weight"], x["shape_dirs"], x["is_constrain_body"], skeleton)
    avatar = SimpleNamespace(**{name: x["avatar." + PUBLISHED.get(name, name)] for name in FIELDS})
    pose = torch.cat([x[name].reshape(len(x["trans"]), -1, 3) for name in POSE], dim=1)

    animator = Animator(avatar, rig, case.device)
    joints = skeleton.transforms(pose, animator.rest)
    same("rest_joints", animator.rest)
    same("joint_transforms", joints)
    same("posed_joints", move(joints[..., :3, :], animator.rest))
    affine = blend(animator.skinning, joints)
    same("blended_rotation", affine[..., :3] @ animator.neutral_rotation)
    same("rigid_quaternion", animator.turn(affine))
    posed = animator(pose, x["trans"])
    same("posed_xyz", posed.xyz)
    same("rotation", posed.rotation)
    same("scale", posed.scale.expand(len(pose), -1, -1))
    assert posed.rgb.cpu().equal(avatar.rgb) and posed.opacity.cpu().equal(avatar.opacity)

    there, back = neutral_pose(skeleton)
    same("transform_mat_neutral_pose", back)
    same("query_points", move(blend(rig.skinning, there), x["dense_points"]))
    body = SimpleNamespace(template=layer["v_template"], skinning=layer["lbs_weights"])
    vertex = template_vertices(body, x["dense_points"], torch.eye(4).expand(55, 4, 4))
    assert vertex.equal(x["nearest_vertex"].long())
    assert rig.driven_by(UPPER_BODY).equal(case.expected["is_upper_body"])
    assert rig.driven_by(LOWER_BODY).equal(case.expected["is_lower_body"])


def check_camera(case):
    """The published projection matrix sees what the motion's camera sees: pixel = f X / Z + c − 0.5."""
    x, expected = case.inputs, case.expected
    size, focal, principal = x["img_size_wh"], x["focal"], x["princpt"]
    case.check("tan_half_fov", size / (2 * focal))
    xyz = expected["posed_xyz"]
    seen = torch.cat([xyz, torch.ones(*xyz.shape[:2], 1)], dim=-1) @ expected["full_proj_transform"]
    pixel = ((seen[..., :2] / seen[..., 3:] + 1) * size[:, None] - 1) / 2
    ours = focal[:, None] * xyz[..., :2] / xyz[..., 2:] + principal[:, None] - 0.5
    torch.testing.assert_close(pixel, ours, rtol=1e-4, atol=1e-3)
