"""Colours of AnchorCrafter's two object conditions: inferno depth of the visible product, light-blue hand meshes.

Both are what its published sample set shows (depth coloured as ViTA writes it, hands as HaMeR renders them); training
and inference must use the same, which is why the rules are here and nowhere else.
"""

import base64
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from ..media.frames import gathered, stepped
from ..models.drawing.camera import Camera
from ..models.drawing.mesh import vertex_normals, visible_surface

HAND_COLOUR = (0.65098039, 0.74117647, 0.85882353)  # linear RGB, HaMeR's light blue
GAMMA = 2.2
AMBIENT, DIFFUSE, BRIGHTEST = 0.45, 0.6, 1.05
# The range of the depth of a product that is known exactly, in distances of the product: a wall behind, something
# nearer in front, as in a filmed clip. It puts a held product into inferno's orange.
WALL, NEAREST = 3.0, 0.86

# Matplotlib's inferno (CC0), 256 rows of RGB bytes, trunc(256 * colour); OpenCV's table is off by 1 here and there.
_INFERNO = (
    "AAADAAAEAAAGAQAHAQEJAQELAgEOAgIQAwISBAMUBAMWBQQYBgQbBwUdCAYfCQYhCgckDAcmDQgoDggrDwktEAkvEgoyEwo0FAs3Fgs5Fws7GQs+"
    "GgxAHAxDHQxFHwxIIQxKIgtMJAtOJgtRJwtTKQtVKwpXLQpZLgpaMApcMgleNAlfNglgNwliOQljOwlkPAllPglmQAlnQgloQwpoRQppRwpqSAtq"
    "SgtrTAxrTQxsTw1sUA1sUg5tVA5tVQ9tVw9tWRBuWhFuXBFuXRJuXxJuYRNuYhRuZBRuZRVuZxVuaBZuahdubBdubRhubxhucBluchpudBpudRtu"
    "dxtteBxtehxtfB1tfR1sfx5sgB9sgh9shCBrhSBrhyFriCFqiiJqjCNpjSNpjyRokCRokiVolCVnlSZnlydmmCdlmihlmyhknSlknypjoCpioiti"
    "oythpSxgpy1gqC1fqi5eqy9drS9drjBcsDFbsTFaszJZtDNZtjRYtzRXuTVWujZVvDdUvThTvzhSwDlRwjpQwztPxTxOxj1Nxz5MyT9LykBKy0FJ"
    "zUJIzkNHz0RG0UVF0kZE00dD1UhB1klA10o/2Ew+2U0920483E873VE53lI431M34FU24VY14lcz41ky5Fox5Vsw5l0v514t6GAs6WEr6mMq62Qo"
    "7GYn7Wcm7Wkl7moj72wi8G4h8W8g8XEe8nId83Qc83Ya9HcZ9HkY9XsW9n0V9n4U94AS94IR+IQQ+IUO+IcN+YkM+YsL+o0J+o4I+pAI+5IH+5QG"
    "+5YG+5gG/JkG/JsG/J0G/J8H/KEH/KMI/KUK/KcL/KkN/KoO/KwQ/K4S/LAU/LIW/LQY/LYa/Lgc/Loe+7wh+74j+8Al+8Io+sQq+sYt+sgv+coy"
    "+cw0+c43+NA6+NI999Q/99ZC9thF9tlJ9dtM9d1P9N9S9OFW9ONZ8+Vd8+dh8ull8upp8uxt8u5x8u918vF58vN98/SC8/WG9PeK9fiO9vmS9/uW"
    "+Pya+f2d+/6h/f+l"
)


def depth_levels(inverse_depth: torch.Tensor) -> torch.Tensor:
    """uint8 levels, 255 = nearest, of float inverse depth [T,h,w] (larger = nearer), one range for the whole clip.

    The range is that of the full frames, not of the product (ViTA's writer), so that a product keeps its brightness
    while it keeps its distance. Raises ValueError for values that are not finite or all the same.
    """
    return gathered(_depth_levels(inverse_depth), len(inverse_depth))


def _depth_levels(inverse_depth: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    low = torch.stack([depth.amin() for depth in inverse_depth]).float().amin()
    high = torch.stack([depth.amax() for depth in inverse_depth]).float().amax()
    if not bool(torch.isfinite(high - low)) or not bool(high > low):
        raise ValueError("The depth of the clip cannot be coloured: it is the same everywhere, or not finite.")
    return (((depth.float() - low) / (high - low) * 255).to(torch.uint8) for depth in inverse_depth)


def inferno(levels: torch.Tensor) -> torch.Tensor:
    """uint8 RGB [...,3] of uint8 levels [...]."""
    table = torch.frombuffer(bytearray(base64.b64decode(_INFERNO)), dtype=torch.uint8).view(256, 3)
    return table.to(levels.device)[levels.long()]


def depth_condition(
    inverse_depth: torch.Tensor, mask: torch.Tensor, on_step: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """The object-depth condition, uint8 RGB [T,H,W,3]: coloured depth on the visible product, 0 elsewhere.

    inverse_depth: float [T,h,w], larger = nearer, of the full frames (see `depth_levels`); it is coloured first and
    then resized, as published. mask: [T,H,W], bool or 0…1, the product's visible pixels (a finger in front is not).
    """
    return gathered(depth_pictures(inverse_depth, mask, on_step), len(mask))


def depth_pictures(
    inverse_depth: Sequence[torch.Tensor], mask: torch.Tensor, on_step: Callable[[int, int], None] | None = None
) -> Iterator[torch.Tensor]:
    """The frames of `depth_condition`, each coloured when it is asked for."""
    if len(inverse_depth) != len(mask):
        raise ValueError(f"The depth has {len(inverse_depth)} frames but the product mask {len(mask)}.")
    import cv2

    (height, width), shrinks = mask.shape[1:], mask.shape[1] < len(inverse_depth[0])
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    for visible, level in zip(stepped(mask, on_step), _depth_levels(inverse_depth), strict=True):
        resized = torch.from_numpy(cv2.resize(inferno(level).cpu().numpy(), (width, height), interpolation=how))
        yield resized.to(mask.device).masked_fill(~(visible >= 0.5)[..., None], 0)


def held_depth_condition(depth: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The object-depth condition, uint8 RGB [T,H,W,3], of a product whose distance is known.

    depth: float [T,H,W], m, where it is visible; mask: [T,H,W] bool, which says where that is; 0 elsewhere.
    """
    colours = torch.zeros(*mask.shape, 3, dtype=torch.uint8)
    if mask.any():
        nearness = depth[mask].median() / depth[mask]
        level = (nearness - 1 / WALL) / (1 / NEAREST - 1 / WALL)
        colours[mask] = inferno((255 * level).clamp(0, 255).byte())
    return colours


def hand_light(normals: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
    """Light L [...] on a surface with unit normals [...,3], seen along the unit vector `view` (surface to camera)."""
    return (AMBIENT + DIFFUSE * (normals * view).sum(-1).clamp(min=0)).clamp(max=BRIGHTEST)


def hand_colour(light: torch.Tensor) -> torch.Tensor:
    """uint8 RGB [...,3] of a hand mesh under light L [...] (0 = dark, 1 = its own colour), gamma-encoded."""
    linear = light[..., None] * light.new_tensor(HAND_COLOUR)
    return (255 * linear.clamp(0, 1) ** (1 / GAMMA)).round().to(torch.uint8)


def hand_condition(render: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The hand-mesh condition: `render` [T,H,W,3], hand meshes on black, cut out where the product is visible.

    mask: [T,H,W], bool or 0…1. Nothing else occludes a hand: it is drawn over sleeve and arm, as published. Returns
    the dtype of `render`.
    """
    if render.shape[:3] != mask.shape:
        raise ValueError(f"Hand render {list(render.shape[:3])} and product mask {list(mask.shape)} differ in size.")
    return render.masked_fill((mask >= 0.5)[..., None], 0)


def draw_hands(vertices: torch.Tensor, faces: torch.Tensor, camera: Camera) -> tuple[torch.Tensor, torch.Tensor]:
    """Hand meshes, vertices [V,3] m in camera space and faces [F,3], in the published light on black: uint8 [H,W,3],
    and the face that each pixel shows, [H,W], -1 for none."""
    width, height = camera.size
    picture = torch.zeros(height * width, 3, dtype=torch.uint8)
    shown = torch.full((height * width,), -1)
    normals = vertex_normals(vertices, faces)
    for seen in visible_surface(vertices, faces, camera):
        normal, point = ((seen.weights[..., None] * of[faces[seen.face]]).sum(1) for of in (normals, vertices))
        picture[seen.pixel] = hand_colour(hand_light(F.normalize(normal, dim=-1), F.normalize(-point, dim=-1)))
        shown[seen.pixel] = seen.face
    return picture.view(height, width, 3), shown.view(height, width)
