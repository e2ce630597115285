"""Skinned surfaces that clothes, hair and faces are cut from.

Regions are given by fields: a number per vertex, above 0 inside. Cutting follows the field's zero line through the
triangles, so that borders are crisp at any picture size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ..models.body.layout import JOINTS
from ..models.body.skinning import blend, move
from ..models.drawing.mesh import vertex_normals
from ..models.drawing.solids import Solid

Field = Callable[[torch.Tensor], torch.Tensor]  # [V,3] m → [V]
BORDER = 0.0015  # m: half the width in which a painted border changes colour


@dataclass(frozen=True)
class Surface:
    """`points` [V,3] m at rest, `mean` [V,3] m: where they are on the mean body, which fields are given on; `skinning`
    [V,55], `colours` [V,3] 0..1, `faces` [F,3]."""

    points: torch.Tensor
    mean: torch.Tensor
    skinning: torch.Tensor
    colours: torch.Tensor
    faces: torch.Tensor

    def posed(self, transforms: torch.Tensor, trans: torch.Tensor) -> torch.Tensor:
        """[F,V,3] m: the points moved by the joints' `transforms` [F,55,4,4], then by `trans` [F,3]."""
        posed = [move(blend(self.skinning, frame), self.points) for frame in transforms]  # all at once need much memory
        return torch.stack(posed) + trans.to(self.points)[:, None]

    def cut(self, field: Field, keep: float = 0.0) -> "Surface":
        """The part where `field` is above `keep`; triangles on the border are split along it."""
        inside, _ = self._split(field(self.mean) - keep)
        return inside.compact()

    def painted(self, field: Field, colour: Sequence[float] | torch.Tensor) -> "Surface":
        """The same surface, in `colour` where `field` is above 0."""
        surface = self
        for border in (-BORDER, BORDER):
            inside, outside = surface._split(field(surface.mean) - border)
            surface = replace(inside, faces=torch.cat([inside.faces, outside.faces]))
        colour = torch.as_tensor(colour).to(self.colours).expand_as(surface.colours)
        return replace(surface, colours=torch.where(field(surface.mean)[:, None] > 0, colour, surface.colours))

    def without(self, field: Field, margin: float) -> "Surface":
        """Without the faces whose corners are all deeper than `margin` inside: those that clothes hide."""
        deep = field(self.mean) > margin
        return replace(self, faces=self.faces[~deep[self.faces].all(1)])

    def shell(self, thickness: float | Field, colour: Sequence[float] | torch.Tensor) -> "Surface":
        """A layer on top, `thickness` m outward, closed down to this surface around its holes and borders."""
        depth = thickness(self.mean) if callable(thickness) else torch.full_like(self.points[:, 0], thickness)
        outer = self.points + depth[:, None] * vertex_normals(self.points, self.faces)
        a, b = border_edges(self.faces).unbind(1)
        count = len(self.points)
        hem = torch.cat([torch.stack([a, a + count, b], 1), torch.stack([b, a + count, b + count], 1)])
        top = replace(self, points=outer, colours=torch.as_tensor(colour).to(self.points).expand_as(self.points))
        both = join([top, replace(self, colours=0.8 * top.colours)])
        return replace(both, faces=torch.cat([self.faces, hem])).compact()

    def smooth(self, rounds: int) -> "Surface":
        """Each point moved to the mean of its neighbours, `rounds` times, and its place on the mean body with it."""
        edges = _edges(self.faces)
        edges, _ = _unique(torch.cat([edges, edges.flip(1)]))
        count = torch.bincount(edges[:, 0], minlength=len(self.points)).clamp(min=1)[:, None]
        border = border_edges(self.faces).flatten()
        both = torch.cat([self.points, self.mean], dim=1)
        for _ in range(rounds):
            near = torch.zeros_like(both).index_add_(0, edges[:, 0], both[edges[:, 1]]) / count
            near[border] = both[border]
            both = near
        return replace(self, points=both[:, :3], mean=both[:, 3:])

    def attached(self, points: torch.Tensor, faces: torch.Tensor, colour: Sequence[float]) -> "Surface":
        """A small thing [n,3] that moves with what is nearest on this surface."""
        skinning = self.skinning[torch.cdist(points, self.points).argmin(1)]
        return Surface(points, points, skinning, points.new_tensor(colour).expand_as(points), faces)

    def compact(self) -> "Surface":
        """Without vertices that no face uses."""
        used, faces = self.faces.unique(return_inverse=True)
        return Surface(self.points[used], self.mean[used], self.skinning[used], self.colours[used], faces)

    def _split(self, value: torch.Tensor) -> tuple["Surface", "Surface"]:
        """Both sides of the line where `value` [V] is 0; they share their vertices."""
        value = torch.where(value.abs() < 1e-7, 1e-7, value)  # a corner on the line would make needles without area
        inside = value[self.faces] > 0
        count = inside.sum(1)
        mixed = (count == 1) | (count == 2)
        # Turned so that the corner that is alone on its side comes first.
        first = torch.where(count[mixed, None] == 1, inside[mixed], ~inside[mixed]).int().argmax(1, keepdim=True)
        a, b, c = self.faces[mixed].gather(1, (first + torch.arange(3)) % 3).unbind(1)
        edges, index = _unique(torch.stack([torch.cat([a, a]), torch.cat([b, c])], 1).sort(1).values)
        ab, ac = (index + len(value)).chunk(2)
        alone = torch.stack([a, ab, ac], 1)
        rest = torch.cat([torch.stack([ab, b, c], 1), torch.stack([ab, c, ac], 1)])
        one = count[mixed] == 1
        kept = torch.cat([self.faces[count == 3], alone[one], rest[(~one).repeat(2)]])
        other = torch.cat([self.faces[count == 0], alone[~one], rest[one.repeat(2)]])

        start, end = edges.unbind(1)
        t = (value[start] / (value[start] - value[end]))[:, None]
        data = [
            torch.cat([tensor, torch.lerp(tensor[start], tensor[end], t.to(tensor))])
            for tensor in (self.points, self.mean, self.skinning, self.colours)
        ]
        return Surface(*data, kept), Surface(*data, other)


def join(parts: Sequence[Surface]) -> Surface:
    """Several surfaces as one."""
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part.points))
    data = [torch.cat([getattr(part, name) for part in parts]) for name in ("points", "mean", "skinning", "colours")]
    return Surface(*data, torch.cat([part.faces + start for part, start in zip(parts, starts, strict=False)]))


def rigid(points: torch.Tensor, faces: torch.Tensor, joint: int, colour: Sequence[float] | torch.Tensor) -> Surface:
    """A thing of its own that moves with one joint."""
    skinning = torch.zeros(len(points), JOINTS)
    skinning[:, joint] = 1
    colours = torch.as_tensor(colour, dtype=torch.float32).expand(len(points), 3)
    return Surface(points.float(), points.float(), skinning, colours, faces)


def upright(solid: Solid, joint: int, colour: Sequence[float]) -> Surface:
    """A `rigid` thing from a solid, whose y grows downwards."""
    flip = torch.tensor([1.0, -1, -1])
    return rigid(torch.from_numpy(solid.vertices) * flip, torch.from_numpy(solid.faces).long(), joint, colour)


def ellipsoid(
    centre: Sequence[float] | torch.Tensor,
    radii: Sequence[float],
    rings: Sequence[float] | None = None,
    around: int = 24,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and faces; its pole looks along +z, and `rings` are the angles from it, 0..π, at which vertices lie."""
    angle = torch.linspace(0, torch.pi, 14) if rings is None else torch.tensor(rings)
    turn = torch.arange(around) * 2 * torch.pi / around
    ring = torch.stack([turn.cos(), turn.sin(), torch.zeros(around)], 1)
    points = angle.sin()[:, None, None] * ring + angle.cos()[:, None, None] * torch.tensor([0.0, 0, 1])
    here = torch.arange(len(angle) * around).view(len(angle), around)
    beside = here.roll(-1, 1)
    a, b, c, d = here[:-1], beside[:-1], here[1:], beside[1:]
    faces = torch.cat([torch.stack([a, c, b], -1), torch.stack([b, c, d], -1)])
    return points.view(-1, 3) * torch.tensor(radii) + torch.as_tensor(centre), faces.view(-1, 3)


def border_edges(faces: torch.Tensor) -> torch.Tensor:
    """Edges [E,2] that only one face has, in its direction."""
    edges = _edges(faces)
    _, index = _unique(edges.sort(1).values)
    return edges[torch.bincount(index)[index] == 1]


def _edges(faces: torch.Tensor) -> torch.Tensor:
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def _unique(pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Different pairs of vertices, and which of them each is. Many times faster than `unique` of rows."""
    base = int(pairs.max()) + 1 if len(pairs) else 1
    keys, index = (pairs[:, 0] * base + pairs[:, 1]).unique(return_inverse=True)
    return torch.stack([keys // base, keys % base], 1), index


def ramp(x: torch.Tensor, places: Sequence[float], values: Sequence[float]) -> torch.Tensor:
    """Straight lines through (place, value), places rising; constant beyond the ends."""
    places, values = x.new_tensor(places), x.new_tensor(values)
    after = torch.searchsorted(places, x.contiguous()).clamp(1, len(places) - 1)
    t = ((x - places[after - 1]) / (places[after] - places[after - 1])).clamp(0, 1)
    return torch.lerp(values[after - 1], values[after], t)
