"""Products among an avatar's gaussians: textured meshes, drawn exactly, in front of what is behind them."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from ..drawing.camera import NEAR_MESH, Camera
from ..drawing.mesh import face_normals, visible_surface
from ..drawing.rasterize import Render, project_gaussians, rasterize
from ..drawing.texture import level, sampled
from ..staging.held import HeldProduct
from .animate import Posed

SUPERSAMPLING = 2
OPAQUE = 0.5  # of a texture: less is a hole
AROUND = 24  # px around a product, in which gaussians may lie that reach it


class Seen(NamedTuple):
    """Products as the camera sees them, in the part of the picture around them: `rows`, `columns` of it; rgb [3,h,w]
    0…1 times coverage; coverage [h,w] 0…1; depth [h,w] m, where there is coverage."""

    rows: slice
    columns: slice
    rgb: torch.Tensor
    coverage: torch.Tensor
    depth: torch.Tensor


def draw_products(products: Sequence[HeldProduct], places: Sequence[torch.Tensor], camera: Camera) -> Seen | None:
    """`products`, each moved by its place [4,4]; None where the picture shows none of them."""
    if not products:
        return None
    vertices = [product.placed(place) for product, place in zip(products, places, strict=True)]
    rows, columns = _window(torch.cat(vertices), camera)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return None
    window = Camera(camera.focal, (camera.principal[0] - columns.start, camera.principal[1] - rows.start),
                    (columns.stop - columns.start, rows.stop - rows.start))
    fine = window.scaled(SUPERSAMPLING)
    width, height = fine.size
    first = np.cumsum([0] + [len(part) for part in vertices])
    faces = [_towards_camera(part, product.faces) + int(start)
             for part, product, start in zip(vertices, products, first, strict=False)]
    ends = torch.tensor([len(part) for part in faces]).cumsum(0)
    faces, together = torch.cat(faces), torch.cat(vertices)
    colour, depth = torch.zeros(height * width, 3), torch.zeros(height * width)
    for seen in visible_surface(together, faces, fine):
        of_product = torch.searchsorted(ends, seen.face, right=True)
        for number, product in enumerate(products):
            here = torch.nonzero(of_product == number)[:, 0]
            if not len(here):
                continue
            uv = torch.einsum("nk,nkc->nc", seen.weights[here], product.uv[faces[seen.face[here]] - int(first[number])])
            zoom = fine.focal[0] / float(seen.depth[here].mean())
            rgba = sampled(level(product.texture, product.vertices, product.uv, zoom), uv)
            solid = rgba[:, 3] >= OPAQUE
            pixel = seen.pixel[here[solid]]
            colour[pixel], depth[pixel] = rgba[solid, :3], seen.depth[here[solid]]
    if not depth.any():
        return None
    shown = (depth > 0).float()
    planes = torch.cat([colour, shown[:, None], depth[:, None]], 1).view(height, width, 5).numpy()
    planes = torch.from_numpy(cv2.resize(planes, window.size, interpolation=cv2.INTER_AREA)).movedim(-1, 0)
    return Seen(rows, columns, planes[:3], planes[3], planes[4] / planes[3].clamp(min=1e-6))


def among(render: Render, posed: Posed, seen: Seen, camera: Camera, backend: str) -> Render:
    """`render`, the picture of gaussians, changed to one with products that cover those behind them.

    A product is one more layer of the stack that a pixel's gaussians are: those that are nearer than it are drawn over
    it. posed: of one frame.
    """
    near = _before(posed, seen, camera)
    over = rasterize(*(part[near] for part in (posed.xyz, posed.rgb, posed.opacity, posed.scale, posed.rotation)),
                     camera, backend)
    window = slice(None), seen.rows, seen.columns
    coverage, depth, rgb = (part.to(render.rgb) for part in (seen.coverage[None], seen.depth[None], seen.rgb))
    through, rest = 1 - over.alpha[window], 1 - coverage
    layers = zip(render, over, (rgb, coverage, coverage * depth), strict=True)
    for behind, before, product in layers:
        behind[window] = rest * behind[window] + coverage * before[window] + through * product
    return render


def _before(posed: Posed, seen: Seen, camera: Camera) -> torch.Tensor:
    """[N] bool: gaussians that reach a product's pixels and are nearer to the camera than it is there, or, beside it,
    than it is at its edge."""
    covered = (seen.coverage > 0).numpy()
    _, label = cv2.distanceTransformWithLabels((~covered).astype(np.uint8), cv2.DIST_L2, 5,
                                               labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros(label.max() + 1, np.float32)
    of_label[label[covered]] = seen.depth.numpy()[covered]
    nearest = torch.from_numpy(of_label[label]).to(posed.xyz)

    splats = project_gaussians(posed.xyz, posed.scale, posed.rotation, camera)
    at = splats.xy - splats.xy.new_tensor([seen.columns.start, seen.rows.start])
    end, reach = at.new_tensor([*reversed(covered.shape)]) - 1, splats.radii[:, None]
    reaches = (splats.radii > 0) & ((at + reach >= 0) & (at - reach <= end)).all(-1)
    x, y = at.round().clamp(min=torch.zeros_like(end), max=end).long().unbind(-1)
    return reaches & (splats.depth < nearest[y, x])


def _window(vertices: torch.Tensor, camera: Camera) -> tuple[slice, slice]:
    """Rows and columns of the picture around what vertices [V,3] m show."""
    at = camera.project(vertices[vertices[:, 2] > NEAR_MESH])
    if not len(at):
        return slice(0, 0), slice(0, 0)
    ends = zip(at.amin(0).floor().tolist(), at.amax(0).ceil().tolist(), camera.size, strict=True)
    columns, rows = (slice(max(0, int(low) - AROUND), min(size, int(high) + AROUND)) for low, high, size in ends)
    return rows, columns


def _towards_camera(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    return faces[(face_normals(vertices, faces) * vertices[faces[:, 0]]).sum(-1) < 0]
