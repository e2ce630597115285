"""The 63 points that the fit follows, on SMPL-X or Anny, as a differentiable function of pose and shape."""

import torch

from ...models.body.anny import anny
from ...models.body.body import JOINTS, BodyModel, BodyModelError
from .fit import BETWEEN, Points
from .targets import SMPLX

_SMPLX_VERTICES = 10475
# Points that are no joints, in SMPL-X's order from 55 on, by their names in smplx.
_EXTRA = ("nose", "reye", "leye", "rear", "lear", "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
          "lthumb", "lindex", "lmiddle", "lring", "lpinky", "rthumb", "rindex", "rmiddle", "rring",
          "rpinky")
_FIRST_TIP, _HEAD = 66, 15
_LAST_BONES = (39, 27, 30, 36, 33, 54, 42, 45, 51, 48)  # of the fingers, in the order of the tips


class BodyPoints:
    """`BodyPoints(model)(rotations, betas)`, see `fit.Body`; linear blend skinning, exact, pose blend shapes included.

    A point is a mean of vertices, so every joint carries one 3-D point of it: its weighted share.
    Raises BodyModelError for a body whose points are not known.
    """

    def __init__(self, model: BodyModel) -> None:
        self._skeleton = model.skeleton
        parents = model.skeleton.parents
        depth = [0] * JOINTS
        for joint, parent in enumerate(parents[1:], 1):
            depth[joint] = depth[parent] + 1
        self._levels = [
            torch.tensor([joint for joint in range(JOINTS) if depth[joint] == level])
            for level in range(1, max(depth) + 1)
        ]
        self._parents = torch.tensor(parents)
        weights = _vertex_weights(model)
        rows = []
        for point, wanted in enumerate(SMPLX.tolist()):
            if not weights[point].any():
                rows.append(
                    (point, wanted, 1.0, model.skeleton.joints[wanted], model.skeleton.shape_dirs[wanted], None)
                )
                continue
            used = torch.nonzero(weights[point])[:, 0]
            share = model.skinning[used] * weights[point, used, None]
            bent = model.pose_dirs.unflatten(1, (-1, 3))[:, used] if model.pose_dirs.any() else None
            for joint in torch.nonzero(share.any(0))[:, 0].tolist():
                of = share[:, joint]
                rows.append((
                    point, joint, of.sum().item(), of @ model.template[used],
                    torch.einsum("v,vcb->cb", of, model.shape_dirs[used]),
                    None if bent is None else torch.einsum("v,pvc->cp", of, bent),
                ))
        point, joint, weight, place, dirs, bent = zip(*rows, strict=True)
        self._point, self._joint = torch.tensor(point), torch.tensor(joint)
        self._weight, self._place, self._dirs = torch.tensor(weight), torch.stack(place), torch.stack(dirs)
        flexible = next((b for b in bent if b is not None), None)
        if flexible is not None:
            bent = torch.stack([torch.zeros_like(flexible) if b is None else b for b in bent])
        self._bent = None if flexible is None else bent

    def __call__(self, rotations: torch.Tensor, betas: torch.Tensor) -> Points:
        turn, at, rest = self.joints(rotations, betas)
        local = self._place.to(betas) + torch.einsum("pcb,fb->fpc", self._dirs.to(betas), betas)
        if self._bent is not None:
            eye = torch.eye(3).to(rotations)
            feature = (_ordered(rotations)[:, 1:] - eye).flatten(1)
            local = local + torch.einsum("pck,fk->fpc", self._bent.to(betas), feature)
        share = self._weight.to(betas)[:, None] * rest[:, self._joint]
        moved = (turn[:, self._joint] @ (local - share)[..., None])[..., 0]
        moved = moved + self._weight.to(betas)[:, None] * at[:, self._joint]
        points = moved.new_zeros(len(betas), len(SMPLX), 3).index_add(1, self._point, moved)
        return Points(points, at[:, 0], at[:, _HEAD])

    def joints(self, rotations: torch.Tensor, betas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Turns [F,55,3,3] and places [F,55,3] m of the unturned body's joints, and their places at rest."""
        own, rest = _ordered(rotations), self._skeleton.rest(betas)
        turn, at = list(own.unbind(1)), list(rest.unbind(1))
        for level in self._levels:
            parent = self._parents[level].tolist()
            above = torch.stack([turn[p] for p in parent], 1)
            turns = above @ own[:, level]
            arm = rest[:, level] - rest[:, parent]
            places = torch.stack([at[p] for p in parent], 1) + (above @ arm[..., None])[..., 0]
            for i, joint in enumerate(level.tolist()):
                turn[joint], at[joint] = turns[:, i], places[:, i]
        return torch.stack(turn, 1), torch.stack(at, 1), rest


def _ordered(rotations: torch.Tensor) -> torch.Tensor:
    """[F,55,3,3] in SMPL-X's order of the fit's [F,52,3,3]; root and eyes unturned."""
    eye = torch.eye(3).to(rotations).expand(len(rotations), 1, 3, 3)
    return torch.cat([eye, rotations[:, :BETWEEN], rotations[:, -1:], eye, eye, rotations[:, BETWEEN:-1]], dim=1)


def _vertex_weights(model: BodyModel) -> torch.Tensor:
    """[63,V]: each point as a mean of vertices; zero where it is a joint."""
    count = len(model.template)
    weights = torch.zeros(len(SMPLX), count)
    if count == _SMPLX_VERTICES:
        from smplx.vertex_ids import vertex_ids

        extra = {55 + i: vertex_ids["smplx"][name] for i, name in enumerate(_EXTRA)}
        for point, joint in enumerate(SMPLX.tolist()):
            if joint in extra:
                weights[point, extra[joint]] = 1
        return weights
    body = anny()
    if count != len(body.model.template):
        raise BodyModelError(f"The points of a body with {count} vertices are not known: use SMPL-X or Anny.")
    weights[: len(body.keypoints)] = body.keypoints
    for point, joint in enumerate(SMPLX.tolist()):
        if joint >= _FIRST_TIP:
            weights[point, finger_tip(model, _LAST_BONES[joint - _FIRST_TIP])] = 1
    return weights


def finger_tip(model: BodyModel, bone: int) -> int:
    """The vertex of a finger's last bone that is farthest along it."""
    along = model.skeleton.joints[bone] - model.skeleton.joints[bone - 1]
    own = model.skinning.argmax(1) == bone
    return int(torch.where(own, model.template @ along, -torch.inf).argmax())
