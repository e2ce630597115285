"""One picture of several meshes: colours, which object each pixel shows, and depth.

The z-buffer is that of the avatar's body mesh. A vertex is lit where it stands, by ambient light, one lamp and a rim;
the picture is drawn at twice its size, which gives it smooth edges, while objects and depth keep hard ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ..models.drawing.camera import Camera
from ..models.drawing.mesh import face_normals, vertex_normals, visible_surface
from ..models.drawing.texture import Texture, level, sampled

SUPERSAMPLING = 2
LAMP = (-0.42, -0.62, -0.66)  # towards it: above, to the left, on the camera's side
AMBIENT, DIFFUSE, RIM = 0.62, 0.46, 0.16
BACKGROUND = 0


@dataclass(frozen=True)
class Mesh:
    """vertices [V, 3] m in camera space, faces [F, 3] int64, colours [V, 3] 0…1, normals [V, 3] (computed if None).

    With `texture`, of three channels, the colour is multiplied by it at uv [V, 2], 0…1 from its left upper corner.
    Faces are seen from their counter-clockwise side only.
    """

    vertices: torch.Tensor
    faces: torch.Tensor
    colours: torch.Tensor
    normals: torch.Tensor | None = None
    uv: torch.Tensor | None = None
    texture: Texture = ()


class Picture(NamedTuple):
    """colour float32 [H, W, 3] 0…255 times coverage, coverage [H, W] 0…1, object uint8 [H, W], depth float32 [H, W] m.

    object is the place in the list of what covers most of the pixel, from 1; 0 where that is nothing, as depth is.
    """

    colour: np.ndarray
    coverage: np.ndarray
    object: np.ndarray
    depth: np.ndarray

    def over(self, background: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] on a background [H, W, 3] of 0…255."""
        mixed = self.colour + (1 - self.coverage[..., None]) * background
        return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def render(objects: Sequence[Sequence[Mesh]], camera: Camera) -> Picture:
    """Objects, each of one or several meshes, as `camera` sees them."""
    fine = camera.scaled(SUPERSAMPLING)
    width, height = fine.size
    parts = [(number, mesh) for number, meshes in enumerate(objects, 1) for mesh in meshes]
    first = np.cumsum([0] + [len(mesh.vertices) for _, mesh in parts])
    vertices = torch.cat([mesh.vertices for _, mesh in parts])
    lit = torch.cat([_lit(mesh) for _, mesh in parts])
    faces = [_towards_camera(mesh) + int(start) for (_, mesh), start in zip(parts, first, strict=False)]
    ends = torch.tensor([len(part) for part in faces]).cumsum(0)
    faces = torch.cat(faces)

    colour = torch.zeros(height * width, 3)
    shown = torch.zeros(height * width, dtype=torch.uint8)
    depth = torch.zeros(height * width)
    numbers = torch.tensor([number for number, _ in parts], dtype=torch.uint8)
    for seen in visible_surface(vertices, faces, fine):
        corners, of_part = faces[seen.face], torch.searchsorted(ends, seen.face, right=True)
        pixels = torch.einsum("nk,nkc->nc", seen.weights, lit[corners])
        for index, (_, mesh) in enumerate(parts):
            here = torch.nonzero(of_part == index)[:, 0] if mesh.texture else ()
            if len(here):
                uv = torch.einsum("nk,nkc->nc", seen.weights[here], mesh.uv[corners[here] - int(first[index])])
                zoom = fine.focal[0] / float(seen.depth[here].mean())
                pixels[here] *= sampled(level(mesh.texture, mesh.vertices, mesh.uv, zoom), uv)
        colour[seen.pixel] = pixels
        shown[seen.pixel] = numbers[of_part]
        depth[seen.pixel] = seen.depth
    grid = (height, width)
    return _reduced(colour.view(*grid, 3).numpy(), shown.view(grid).numpy(), depth.view(grid).numpy(), len(objects))


def _lit(mesh: Mesh) -> torch.Tensor:
    normals = vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else mesh.normals
    view = F.normalize(-mesh.vertices, dim=-1)
    lamp = (normals @ F.normalize(normals.new_tensor(LAMP), dim=0)).clamp(min=0)
    rim = (1 - (normals * view).sum(-1).clamp(0, 1)) ** 3
    return mesh.colours * (255 * (AMBIENT + DIFFUSE * lamp + RIM * rim))[:, None]


def _towards_camera(mesh: Mesh) -> torch.Tensor:
    corner = mesh.vertices[mesh.faces[:, 0]]
    return mesh.faces[(face_normals(mesh.vertices, mesh.faces) * corner).sum(-1) < 0]


def _reduced(colour: np.ndarray, shown: np.ndarray, depth: np.ndarray, objects: int) -> Picture:
    """From the fine picture to its own size."""
    size = (colour.shape[1] // SUPERSAMPLING, colour.shape[0] // SUPERSAMPLING)

    def mean(plane: np.ndarray) -> np.ndarray:
        return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)

    shares = [mean((shown == number).astype(np.float32)) for number in range(objects + 1)]
    # Where two cover as much, an object goes before nothing, and the last in the list before the others.
    most = (objects - np.argmax(shares[::-1], axis=0)).astype(np.uint8)
    share = np.take_along_axis(np.stack(shares), most[None].astype(np.intp), 0)[0]
    deep = np.zeros(size[::-1], np.float32)
    for number in range(1, objects + 1):
        np.copyto(deep, mean(np.where(shown == number, depth, 0)) / np.maximum(share, 1e-6), where=most == number)
    return Picture(np.clip(mean(colour), 0, 255), 1 - shares[BACKGROUND], most, deep)
