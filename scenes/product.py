"""Products to hold: boxes, bottles, cans, mugs, tubes, pouches, bags, jars and sprays with a printed label."""

from dataclasses import dataclass, field

import numpy as np
import torch

from ..media.box import around
from ..models.drawing.camera import Camera
from ..models.drawing.solids import Solid, loft, travelled
from ..models.drawing.texture import Texture, pyramid
from ..preprocessors.product.views import VIEW_SIDE, fit_to_square
from .label import Print, draw_print, paint_label
from .render import Mesh, render
from .shapes import SHAPES, Shape

TEXELS = 2400  # of a wrapper, per metre
LEVELS = 5  # sizes of its texture
VIEW_TURNS = (45.0, 0.0, -45.0)  # degrees: left, front, right
VIEW_DISTANCE = 6.0  # of the camera, in sizes of the product
VIEW_FILL = 0.94


@dataclass(frozen=True)
class Product:
    """A product about its own centre: x right, y down, its front towards −z, m.

    `size`: width, height, depth m. `print`: what is on its label. `body` is wrapped in `texture` (see `Mesh`); `trim`
    are plain parts, each with its RGB colour 0…1.
    """

    kind: str
    size: tuple[float, float, float]
    print: Print
    body: Solid = field(repr=False)
    texture: Texture = field(repr=False)
    trim: tuple[tuple[Solid, tuple[float, float, float]], ...] = field(repr=False)

    def meshes(self, place: torch.Tensor | np.ndarray) -> list[Mesh]:
        """What `render` draws of it at `place` [4, 4], from the product's to the camera's space."""
        place = torch.as_tensor(place, dtype=torch.float32)
        parts = [(self.body, (1.0, 1.0, 1.0), self.texture), *((solid, colour, ()) for solid, colour in self.trim)]
        meshes = []
        for solid, colour, texture in parts:
            vertices, normals, uv = (torch.from_numpy(value) for value in (solid.vertices, solid.normals, solid.uv))
            meshes.append(
                Mesh(
                    vertices @ place[:3, :3].T + place[:3, 3],
                    torch.from_numpy(solid.faces),
                    torch.tensor(colour).expand(len(vertices), 3),
                    normals @ place[:3, :3].T,
                    uv,
                    texture,
                )
            )
        return meshes


def make_product(seed: int, split: str) -> Product:
    """The product of a seed; `split` is "train" or "test", which never share a word or a pair of colours."""
    if split not in ("train", "test"):
        raise ValueError(f'A split is "train" or "test", not {split!r}.')
    rng = np.random.default_rng([seed, split == "test", 1])
    kind = list(SHAPES)[rng.integers(len(SHAPES))]
    label = draw_print(rng, split)
    shape = SHAPES[kind](rng, label)
    solids = [loft(np.array(shape.rings)), *(solid for solid, _ in shape.trim)]
    every = np.concatenate([solid.vertices for solid in solids])
    low, high = every.min(0), every.max(0)
    body, *parts = (solid._replace(vertices=solid.vertices - (low + high) / 2) for solid in solids)
    trim = tuple((part, tuple(c / 255 for c in colour)) for part, (_, colour) in zip(parts, shape.trim, strict=True))
    texture = pyramid(_wrapper(shape, label, body), LEVELS)
    return Product(kind, tuple((high - low).tolist()), label, body, texture, trim)


def views(product: Product) -> np.ndarray:
    """uint8 [3, 518, 518, 3]: left, front, right on pure black, as AnchorCrafter is shown its products."""
    return np.stack([_view(product, degrees) for degrees in VIEW_TURNS])


def _view(product: Product, degrees: float) -> np.ndarray:
    turn = np.deg2rad(degrees)
    place = np.eye(4)
    place[[0, 0, 2, 2], [0, 2, 0, 2]] = np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)
    extent = float(np.linalg.norm(product.size))
    place[2, 3] = VIEW_DISTANCE * extent
    focal = VIEW_FILL * VIEW_SIDE * VIEW_DISTANCE
    picture = render([product.meshes(place)], Camera.centred(focal, VIEW_SIDE, VIEW_SIDE))
    shown = torch.from_numpy(picture.colour * (picture.object > 0)[..., None])
    shown = shown[around(picture.object)]
    square, _ = fit_to_square(shown, torch.ones(shown.shape[:2]))
    return square.round().clamp(0, 255).byte().numpy()


def _wrapper(shape: Shape, label: Print, body: Solid) -> np.ndarray:
    """The printed surface around a shape, laid out flat."""
    rings = np.array(shape.rings)
    around = body.vertices.reshape(len(rings), -1, 3)[(rings[:, 1] + rings[:, 2]).argmax()]
    down = travelled(rings[:, :3]) * TEXELS
    width, height = round(travelled(around)[-1] * TEXELS), round(down[-1])
    span, top, bottom = shape.label
    middle, half = width / 2, span / 2 * TEXELS
    texture = paint_label((width, height), label, (middle - half, down[top], middle + half, down[bottom]))
    for first, last, colour in shape.bands:
        texture[round(down[first]) : round(down[last])] = colour
    return texture
