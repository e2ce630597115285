"""A body's hands as meshes of their own, closed at the wrist."""

import torch

from .layout import FIRST_FINGER, WRIST


def hand_faces(faces: torch.Tensor, skinning: torch.Tensor, side: str) -> torch.Tensor:
    """Of `faces` [F,3] those whose corners move most with the `side`'s wrist or fingers by `skinning` [V,55], and a
    fan that closes them: [f,3]."""
    owner = skinning.argmax(1)
    first = FIRST_FINGER[side]
    own = (owner == WRIST[side]) | ((owner >= first) & (owner < first + 15))
    return closed(faces[own[faces].all(1)])


def closed(faces: torch.Tensor) -> torch.Tensor:
    """Faces [f,3] with a fan over the largest hole."""
    loop = _boundary(faces)
    fan = [(loop[0], b, a) for a, b in zip(loop[1:], loop[2:], strict=False)]
    return torch.cat([faces, torch.tensor(fan, dtype=faces.dtype).view(-1, 3)])


def _boundary(faces: torch.Tensor) -> list[int]:
    """The vertices around the longest hole of a mesh, in the order of its faces' edges."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    directed = {tuple(edge) for edge in edges}
    following = {a: b for a, b in edges if (b, a) not in directed}
    loops = []
    while following:
        loop = [next(iter(following))]
        while (after := following.pop(loop[-1], None)) is not None:
            loop.append(after)
        loops.append(loop[:-1])
    return max(loops, key=len, default=[])
