"""A body in SMPL-X's layout: its skeleton, which also moves avatars, and its mesh."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from .layout import FINGERS, FIRST_FINGER, JOINTS, SIDES, WRIST, BodyModelError
from .rotation import axis_angle_to_matrix
from .skinning import joint_transforms, posed_vertices

VERTEX_CHUNK = 16  # frames


@dataclass(frozen=True)
class Skeleton:
    """SMPL-X's joints: `joints` [55,3] m of the mean shape, `shape_dirs` [55,3,10] m per beta, `parents` (root: -1).

    See `layout` for their order and for the axes.
    """

    joints: torch.Tensor
    shape_dirs: torch.Tensor
    parents: tuple[int, ...]

    @classmethod
    def regress(
        cls, regressor: torch.Tensor, template: torch.Tensor, shape_dirs: torch.Tensor, parents: Iterable[int]
    ) -> "Skeleton":
        """From `regressor` [55,V], `template` [V,3] and `shape_dirs` [V,3,10]; in their dtype."""
        wide = regressor.double()
        joints = wide @ template.double()
        directions = torch.einsum("jv,vcb->jcb", wide, shape_dirs.double())
        return cls(joints.to(template), directions.to(template), (-1, *[int(p) for p in parents][1:]))

    def rest(self, betas: torch.Tensor) -> torch.Tensor:
        """Joints [...,55,3] m of the unposed body with shape `betas` [...,10]."""
        return self.joints.to(betas) + torch.einsum("jcb,...b->...jc", self.shape_dirs.to(betas), betas)

    def transforms(self, pose: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        """What `pose` [F,55,3] (axis-angle) does to a point that moves with a joint: [F,55,4,4] for `rest` [55,3] m."""
        return joint_transforms(axis_angle_to_matrix(pose), rest, self.parents)


@dataclass(frozen=True, eq=False)
class BodyModel:
    """`template` [V,3] m, `shape_dirs` [V,3,10], `pose_dirs` [486,3V], `regressor` [55,V], `skinning` [V,55], `faces`
    [F,3] and its skeleton; float32 on the CPU.

    `keypoints` [65,V+55]: COCO-WholeBody's points without the face (17 of the body, 6 of the feet, 21 of each hand),
    each a mean of vertices and joints; None where they are not known. `hands`: faces [f,3] of the `left` and the
    `right` hand, closed behind the wrist. `parts`: [F] bool per name: which faces are of it. Both may be empty.
    """

    template: torch.Tensor
    shape_dirs: torch.Tensor
    pose_dirs: torch.Tensor
    regressor: torch.Tensor
    skinning: torch.Tensor
    faces: torch.Tensor
    skeleton: Skeleton
    keypoints: torch.Tensor | None = None
    hands: Mapping[str, torch.Tensor] = field(default_factory=dict)
    parts: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def known_keypoints(self) -> torch.Tensor:
        """`keypoints`. Raises BodyModelError where they are not known."""
        if self.keypoints is None:
            raise BodyModelError(
                f"The points of a body with {len(self.template)} vertices are not known: use SMPL-X or Anny."
            )
        return self.keypoints

    @torch.no_grad()
    def vertices(self, pose: torch.Tensor, betas: torch.Tensor, trans: torch.Tensor) -> torch.Tensor:
        """Vertices [F,V,3] m of the posed body, pose blend shapes included, expression zero.

        `pose` [F,55,3] axis-angle, `betas` [F,10], `trans` [F,3] m. float32.
        """
        pose, betas, trans = (tensor.to(self.template) for tensor in (pose, betas, trans))
        vertices = torch.empty(len(pose), *self.template.shape)
        for part in torch.arange(len(pose)).split(VERTEX_CHUNK):
            rotations = axis_angle_to_matrix(pose[part])
            posed = posed_vertices(self, rotations, betas[part], self.skeleton.parents)
            vertices[part] = posed + trans[part, None]
        return vertices


def keypoint_regressor(body: torch.Tensor, tips: Mapping[str, Sequence[int]]) -> torch.Tensor:
    """`BodyModel.keypoints` from its first 23 rows, `body` [23,V+55], and the vertices at the `tips` of both hands'
    fingers, from the thumb on."""
    vertices = body.shape[1] - JOINTS
    columns = []
    for side in SIDES:
        columns.append(vertices + WRIST[side])
        for finger, tip in zip(FINGERS, tips[side], strict=True):
            knuckle = vertices + FIRST_FINGER[side] + 3 * finger
            columns += [knuckle, knuckle + 1, knuckle + 2, tip]
    return torch.cat([body, F.one_hot(torch.tensor(columns), body.shape[1]).to(body)])
