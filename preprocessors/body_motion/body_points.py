"""The 63 points that the fit follows, on any body, as a differentiable function of pose and shape."""

import torch

from ...models.body.body import BodyModel
from ...models.body.layout import HEAD, JOINTS
from ...models.body.skinning import joint_transforms, move
from .fit import BETWEEN, Points
from .targets import KEYPOINTS


class BodyPoints:
    """`BodyPoints(model)(rotations, betas)`, see `fit.Body`; linear blend skinning, exact, pose blend shapes included.

    A point is a mean of vertices and joints, so every joint carries one 3-D point of it: its weighted share.
    Raises BodyModelError for a body whose points are not known.
    """

    def __init__(self, model: BodyModel) -> None:
        self._skeleton = model.skeleton
        points = model.known_keypoints()[KEYPOINTS]
        used = points.any(0)
        points = points[:, used]
        skinning = torch.cat([model.skinning, torch.eye(JOINTS)])[used]
        places = torch.cat([model.template, model.skeleton.joints])[used]
        dirs = torch.cat([model.shape_dirs, model.skeleton.shape_dirs])[used]
        share = points[:, :, None] * skinning  # [63,used,55]
        self._point, self._joint = torch.nonzero(share.any(1), as_tuple=True)
        share = share[self._point, :, self._joint]
        self._weight, self._place = share.sum(1), share @ places
        self._dirs = torch.einsum("pv,vcb->pcb", share, dirs)
        self._pose_dirs = None
        if model.pose_dirs.any():
            of_vertices = used[:-JOINTS]
            pose_dirs = model.pose_dirs.unflatten(1, (-1, 3))[:, of_vertices]
            self._pose_dirs = torch.einsum("pv,kvc->pck", share[:, : pose_dirs.shape[1]], pose_dirs)

    def __call__(self, rotations: torch.Tensor, betas: torch.Tensor) -> Points:
        transforms, rest = self._posed(rotations, betas)
        local = self._place.to(betas) + torch.einsum("pcb,fb->fpc", self._dirs.to(betas), betas)
        if self._pose_dirs is not None:
            feature = (_ordered(rotations)[:, 1:] - torch.eye(3).to(rotations)).flatten(1)
            local = local + torch.einsum("pck,fk->fpc", self._pose_dirs.to(betas), feature)
        of = transforms[:, self._joint]
        moved = (of[..., :3, :3] @ local[..., None])[..., 0] + self._weight.to(betas)[:, None] * of[..., :3, 3]
        points = moved.new_zeros(len(betas), len(KEYPOINTS), 3).index_add(1, self._point, moved)
        at = move(transforms, rest)
        return Points(points, at[:, 0], at[:, HEAD])

    def joints(self, rotations: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
        """Places [F,55,3] m of the unturned body's joints."""
        return move(*self._posed(rotations, betas))

    def _posed(self, rotations: torch.Tensor, betas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the joints' turns do [F,55,4,4], and their places at rest [F,55,3] m."""
        rest = self._skeleton.rest(betas)
        return joint_transforms(_ordered(rotations), rest, self._skeleton.parents), rest


def _ordered(rotations: torch.Tensor) -> torch.Tensor:
    """[F,55,3,3] in SMPL-X's order of the fit's [F,52,3,3]; root and eyes unturned."""
    eye = torch.eye(3).to(rotations).expand(len(rotations), 1, 3, 3)
    return torch.cat([eye, rotations[:, :BETWEEN], rotations[:, -1:], eye, eye, rotations[:, BETWEEN:-1]], dim=1)
