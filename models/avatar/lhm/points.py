"""Where LHM's gaussians start: 40 000 points on the body, always the same."""

import torch

from ...body.skinning import blend, move
from ...checkpoint import CheckpointError
from ..rig import Rig, neutral_pose

_BODY = "renderer.smplx_model."
R2 = (0.7548776662466927, 0.5698402909980532)
_NEEDED = ("shape_dirs", "skinning_weight", *(f"smplx_layer.{name}" for name in (
    "v_template", "shapedirs", "lbs_weights", "faces_tensor")))


def spread_points(state: dict[str, torch.Tensor], rig: Rig) -> torch.Tensor:
    """[N,3] m in the neutral pose, from what LHM's checkpoint says of its points; `rig` is that checkpoint's.

    The checkpoint holds the nearest template vertex of each point, not the points, which are a random sample of the
    surface: each is put, evenly, on the faces around its vertex, in the part that is nearest to it. LHM's own points, a
    face's size away, are in every avatar that LHM made.

    Raises CheckpointError when the checkpoint does not tell the vertices.
    """
    missing = [name for name in _NEEDED if _BODY + name not in state]
    if missing:
        raise CheckpointError(f"The LHM model has no {_BODY}{missing[0]}: choose an avatar made by LHM as `points`.")
    found = {name.removeprefix("smplx_layer."): state[_BODY + name].cpu() for name in _NEEDED}
    template, faces = found["v_template"].float(), found["faces_tensor"].long()
    vertex = _same_rows(
        torch.cat([found["shape_dirs"].flatten(1), found["skinning_weight"]], dim=1).float(),
        torch.cat([found["shapedirs"].flatten(1), found["lbs_weights"]], dim=1).float(),
    )
    there, _ = neutral_pose(rig.skeleton)
    return move(blend(rig.skinning, there), _around(vertex, template, faces))


def _same_rows(rows: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
    """Index in `among` of each of `rows`."""
    _, label = torch.cat([among, rows]).unique(dim=0, return_inverse=True)
    known = torch.full((int(label.max()) + 1,), -1)
    known[label[: len(among)]] = torch.arange(len(among))
    index = known[label[len(among) :]]
    if (index < 0).any():
        raise CheckpointError(
            f"{int((index < 0).sum())} of LHM's {len(rows)} points belong to no vertex of its body: choose an avatar "
            "made by LHM as `points`."
        )
    return index


def _around(vertex: torch.Tensor, template: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Points [N,3] on the faces around `vertex` [N], evenly, each nearer to it than to its face's other corners."""
    turned = torch.cat([faces, faces.roll(-1, 1), faces.roll(-2, 1)])  # every face, once for each of its corners
    turned = turned[turned[:, 0].argsort(stable=True)]
    corner = turned[:, 0].contiguous()
    first, beyond = torch.searchsorted(corner, vertex), torch.searchsorted(corner, vertex, right=True)
    order = vertex.argsort(stable=True)
    rank = torch.empty_like(vertex)  # among the points of its vertex
    rank[order] = torch.arange(len(vertex)) - torch.searchsorted(vertex[order], vertex[order])
    face = template[turned[first + rank % (beyond - first).clamp(min=1)]]
    start, sides = face[:, 0], face[:, 1:] - face[:, :1]
    # A sequence that fills a triangle evenly (R2, of the plastic number); the largest share is the vertex's own.
    u, v = ((rank[:, None] + 1) * torch.tensor(R2, dtype=torch.float64) % 1).float().unbind(1)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    share = torch.stack([1 - u - v, u, v], dim=1)
    share = share.gather(1, (share.argmax(dim=1, keepdim=True) + torch.arange(3)) % 3)
    away = (share[:, 1:, None] * sides).sum(1)
    # In a slender face that may still be nearer to another corner: back, to this side of the middle.
    middle = sides.square().sum(-1) / (2 * (away[:, None] * sides).sum(-1)).clamp(min=1e-12)
    return start + (0.95 * middle.amin(dim=1, keepdim=True)).clamp(max=1) * away
