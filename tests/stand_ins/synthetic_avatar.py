"""An avatar of the made-up body: gaussians all over its skin, dressed in plain colours."""

import torch
from crafters.models.avatar.gaussians import Avatar
from crafters.models.avatar.rig import neutral_pose, template_vertices
from crafters.models.body.body import BodyModel
from crafters.models.body.rotation import matrix_to_quaternion
from crafters.models.body.skinning import blend, move

SKIN, HAIR, EYE, SHIRT, TROUSERS, SHOES = torch.tensor([
    (0.86, 0.66, 0.54), (0.25, 0.16, 0.12), (0.12, 0.2, 0.3), (0.15, 0.45, 0.6), (0.22, 0.24, 0.35), (0.75, 0.3, 0.2),
])
SHIRT_JOINTS, TROUSER_JOINTS, SHOE_JOINTS = (3, 6, 9, 13, 14, 16, 17), (0, 1, 2, 4, 5), (7, 8, 10, 11)


def synthetic_avatar(body: BodyModel, count: int = 40_000, seed: int = 0) -> Avatar:
    """`count` flat gaussians, spread evenly over the mesh as LHM spreads its own; `seed` chooses where they are."""
    generator = torch.Generator().manual_seed(seed)
    corners = body.template[body.faces]  # [F,3,3]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = normals.norm(dim=1) / 2
    face = torch.multinomial(area, count, replacement=True, generator=generator)
    u, v = torch.rand(2, count, 1, generator=generator)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    a, b, c = corners[face].unbind(1)
    dense = a + u * (b - a) + v * (c - a)

    there, back = neutral_pose(body.skeleton)
    vertex = template_vertices(body, dense, torch.eye(4).expand(len(back), 4, 4))
    skin = blend(body.skinning[vertex], there)
    normal = torch.nn.functional.normalize((skin[..., :3] @ normals[face, :, None]).squeeze(-1), dim=1)
    radius = 0.8 * (area.sum() / count).sqrt()
    return Avatar(
        offset=torch.zeros(count, 3),
        points=move(skin, dense),
        rgb=_dress(dense, body.skinning[vertex].argmax(dim=1)),
        opacity=torch.full((count, 1), 0.95),
        scale=torch.stack([radius, radius, radius / 5]).expand(count, 3),
        rotation=matrix_to_quaternion(_facing(normal)),
        neutral_transforms=back,
        betas=torch.zeros(10),
    )


def _facing(normal: torch.Tensor) -> torch.Tensor:
    """[N,3,3]: rotations that turn the z axis to `normal` [N,3]."""
    helper = torch.eye(3)[normal.abs().argmin(dim=1)]
    x = torch.nn.functional.normalize(torch.linalg.cross(helper, normal), dim=1)
    return torch.stack([x, torch.linalg.cross(normal, x), normal], dim=-1)


def _dress(points: torch.Tensor, joint: torch.Tensor) -> torch.Tensor:
    _, y, z = points.T

    def of(joints: tuple[int, ...]) -> torch.Tensor:
        return torch.isin(joint, torch.tensor(joints))[:, None]

    rgb = SKIN.expand(len(points), 3)
    rgb = torch.where(of((15,)) & ((y > 0.4) | ((z < -0.01) & (y > 0.25)))[:, None], HAIR, rgb)
    rgb = torch.where(of((23, 24)), EYE, rgb)
    for joints, colour in ((SHIRT_JOINTS, SHIRT), (TROUSER_JOINTS, TROUSERS), (SHOE_JOINTS, SHOES)):
        rgb = torch.where(of(joints), colour, rgb)
    return rgb
