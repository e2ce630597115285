"""Clothes: layers over the body, cut where they end (y up, m, on the mean body in the T-pose)."""

import torch

from ..models.body.layout import HIP, PELVIS
from ..models.drawing.solids import tube
from .look import Colour, Look
from .surface import Field, Surface, ellipsoid, ramp

WAIST, HEM, TUCKED, SHORTS, ANKLE, WRIST, SHORT_SLEEVE = -0.34, -0.40, -0.25, -0.62, -1.15, 0.64, 0.35
HIDDEN = 0.012  # m inside a garment's border the skin is not seen
WHITE: Colour = (0.94, 0.94, 0.92)


def dress(body: Surface, look: Look) -> list[Surface]:
    """The body without the skin that is covered, and every garment. `body`: one surface in the T-pose."""
    shoe = _below(-1.165)
    shoes = body.cut(shoe).smooth(20).shell(0.014, look.shoes).painted(_below(-1.242), WHITE)
    upper, shirt = _top(body, look)
    layers, covered = [shoes, *upper], [shoe, shirt]
    if _skirted(look):
        covered.append(_all(_below(-0.25), _above(-0.63), _within(0.3)))
        layers.append(_skirt(body, look.colour if look.top == "dress" else look.bottom_colour))
    else:
        legs = _all(_below(WAIST), _above(SHORTS if look.bottom == "shorts" else ANKLE), _within(0.3))
        layers.append(
            body.cut(legs)
            .smooth(4)
            .shell(
                lambda m: 0.003 + 0.006 * _step(m[:, 1], WAIST, -0.5) + 0.012 * _step(m[:, 1], -0.5, -1.15),
                look.bottom_colour,
            )
        )
        covered.append(legs)
    for field in covered:
        body = body.without(field, HIDDEN)
    return [body, *layers]


def _top(body: Surface, look: Look) -> tuple[list[Surface], Field]:
    """The garments of the upper body, and the field of the one next to the skin."""
    kind = look.top
    sleeve = WRIST if kind in ("long_sleeve", "shirt", "hoodie", "striped") else SHORT_SLEEVE
    hem = TUCKED if _skirted(look) else HEM
    shirt = _all(_vneck if kind in ("vneck", "jacket") else _crew, _above(hem), _within(sleeve))

    def loose(m: torch.Tensor) -> torch.Tensor:
        at_hem = _step(m[:, 1], -0.15, HEM) * (m[:, 0].abs() < 0.25)
        at_cuff = _step(m[:, 0].abs(), sleeve - 0.12, sleeve)
        return 0.012 + (0.004 if kind == "apron" else 0.012) * at_hem + (0.010 if sleeve < 0.5 else 0.004) * at_cuff

    smoothed = body.cut(shirt).smooth(6)
    base = smoothed.shell(loose, look.second if kind in ("jacket", "apron") else look.colour)
    extra = []
    if kind == "striped":
        for i, y in enumerate(torch.arange(0.10, -0.42, -0.04).tolist()):
            base = base.painted(_all(_below(y), _within(0.2)), look.colour if i % 2 else look.second)
        base = base.painted(lambda m: m[:, 0].abs() - 0.2, look.second)
    elif kind == "block":
        base = base.painted(_below(-0.04), look.second)
    elif kind == "tshirt":
        base = base.painted(_all(_front, lambda m: 0.075 - m[:, 0].abs() - (m[:, 1] + 0.04).abs()), look.second)
    elif kind in ("long_sleeve", "vneck"):
        base = base.painted(lambda m: m[:, 0].abs() - sleeve + 0.035, look.second)
        base = base.painted(_below(hem + 0.03), look.second)
    elif kind == "shirt":
        base = base.painted(_all(_front, _within(0.014)), _darker(look.colour))
        extra = [_button(base, y) for y in (0.06, -0.03, -0.12, -0.21, -0.30) if y > hem]
        collar = _all(_crew, lambda m: m[:, 1] - 0.122 + 0.32 * m[:, 2] - 0.35 * m[:, 0].abs(), _within(0.16))
        extra.append(body.cut(collar).smooth(2).shell(0.022, WHITE))
    elif kind == "jacket":
        coat = _all(_crew, _above(hem - 0.03), _within(WRIST), lambda m: -_opening(m))
        coat = body.cut(coat).smooth(6).shell(lambda m: loose(m) + 0.014, look.colour)
        extra.append(coat.painted(_all(_front, lambda m: _opening(m) + 0.035), _darker(look.colour)))
    elif kind == "apron":
        bib = _all(_front, lambda m: 0.105 + 0.06 * _step(m[:, 1], -0.1, -0.3) - m[:, 0].abs(), _below(0.02))
        straps = _all(lambda m: 0.014 - (m[:, 0].abs() - 0.085).abs(), _above(-0.02), _crew)
        extra.append(smoothed.cut(bib).shell(0.026, look.colour))
        extra.append(smoothed.cut(straps).shell(0.020, look.colour))
    elif kind == "hoodie":
        pocket = _all(_front, lambda m: 0.11 + 0.35 * (m[:, 1] + 0.33).clamp(max=0) - m[:, 0].abs(), _above(-0.37))
        base = base.painted(_all(pocket, _below(-0.22)), _darker(look.colour))
        hood = _all(_crew, lambda m: m[:, 1] - 0.105 + 0.42 * m[:, 2] - 0.30 * m[:, 0].abs(), _within(0.16))
        extra.append(body.cut(hood).smooth(3).shell(0.030, _darker(look.colour)))
        extra += [_cord(base, x) for x in (-0.03, 0.03)]
    return [base, *extra], shirt


def _skirted(look: Look) -> bool:
    return look.top == "dress" or look.bottom == "skirt"


def _button(shirt: Surface, y: float) -> Surface:
    return shirt.attached(*ellipsoid(_spot(shirt, 0, y), (0.007, 0.007, 0.003), around=10), WHITE)


def _cord(hoodie: Surface, x: float) -> Surface:
    path = torch.stack([_spot(hoodie, x, float(y)) for y in torch.linspace(0.11, -0.03, 8)])
    path = (path + path.new_tensor([0, 0, 0.004])) * path.new_tensor([1, -1, -1])
    solid = tube(path.numpy(), 0.004, 6)
    points = torch.from_numpy(solid.vertices) * path.new_tensor([1, -1, -1])
    return hoodie.attached(points, torch.from_numpy(solid.faces), WHITE)


def _spot(surface: Surface, x: float, y: float) -> torch.Tensor:
    """Where the front is at x, y of the mean body: [3]."""
    front = surface.mean[:, 2] > 0
    distance = (surface.mean[:, :2] - surface.mean.new_tensor([x, y])).square().sum(1)
    near = torch.where(front, distance, 1.0).topk(4, largest=False)
    weight = 1 / (near.values + 1e-6)
    spot = (surface.points[near.indices] * (weight / weight.sum())[:, None]).sum(0)
    spot[2] = surface.points[near.indices, 2].max()
    return spot


def _skirt(body: Surface, colour: Colour, around: int = 48) -> Surface:
    """A closed bell from the waist to above the knees; each leg takes its half along."""
    levels = torch.tensor([-0.21, -0.25, -0.31, -0.37, -0.43, -0.50, -0.58, -0.66])
    turn = torch.arange(around) * 2 * torch.pi / around
    rings, means = [], []
    half = depth = middle = 0.0
    for y in levels.tolist():
        near = ((body.mean[:, 1] - y).abs() < 0.02) & (body.mean[:, 0].abs() < 0.3)
        ring = body.points[near]
        front, back = ring[:, 2].max().item(), ring[:, 2].min().item()
        half = max(half + 0.012, ring[:, 0].abs().max().item() + 0.020)
        depth = max(depth + 0.012, (front - back) / 2 + 0.022)
        middle = (front + back) / 2 if y > -0.45 else middle
        x, z = half * turn.cos(), middle + depth * turn.sin()
        rings.append(torch.stack([x, ring[:, 1].mean().expand(around), z], 1))
        means.append(torch.stack([x, torch.full((around,), y), z], 1))
    points, mean = torch.stack(rings), torch.stack(means)
    here = torch.arange(points[..., 0].numel()).view(points.shape[:2])
    beside = here.roll(-1, 1)
    a, b, c, d = here[:-1], here[1:], beside[:-1], beside[1:]
    faces = torch.cat([torch.stack([a, c, b], -1), torch.stack([c, d, b], -1)]).view(-1, 3)
    lids = [torch.stack([ring[:1].expand(around - 2), ring[1:-1], ring[2:]], 1) for ring in (here[0].flip(0), here[-1])]
    mean = mean.view(-1, 3)
    skinning = torch.zeros(len(mean), body.skinning.shape[1])
    legs = _step(mean[:, 1], -0.30, -0.56) * 0.95
    left = _step(mean[:, 0], -0.14, 0.14)
    skinning[:, [HIP["left"], HIP["right"], PELVIS]] = torch.stack([legs * left, legs * (1 - left), 1 - legs], 1)
    colours = torch.tensor(colour).expand_as(mean)
    return Surface(points.view(-1, 3), mean, skinning, colours, torch.cat([faces, *lids]))


def _crew(m: torch.Tensor) -> torch.Tensor:
    return 0.153 - 0.32 * m[:, 2] + 0.55 * ((m[:, 0].square() + 0.05**2).sqrt() - 0.05) - m[:, 1]


def _vneck(m: torch.Tensor) -> torch.Tensor:
    deep = torch.where(m[:, 2] > 0.02, 1.8 * m[:, 0].abs() + 0.03 - m[:, 1], 1.0)
    return torch.minimum(_crew(m), deep)


def _opening(m: torch.Tensor) -> torch.Tensor:
    """Above 0 where a jacket does not close."""
    return torch.minimum(_front(m), 0.04 + 0.12 * (m[:, 1] + 0.40).clamp(0, 0.6) - m[:, 0].abs())


def _front(m: torch.Tensor) -> torch.Tensor:
    return m[:, 2] - 0.01


def _darker(colour: Colour) -> Colour:
    return tuple(0.8 * channel for channel in colour)


def _above(y: float) -> Field:
    return lambda m: m[:, 1] - y


def _below(y: float) -> Field:
    return lambda m: y - m[:, 1]


def _within(x: float) -> Field:
    return lambda m: x - m[:, 0].abs()


def _all(*fields: Field) -> Field:
    return lambda m: torch.stack([field(m) for field in fields]).amin(0)


def _step(value: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """0 at `start`, 1 at `end`, smooth between."""
    t = ramp(value, (start, end), (0, 1)) if end > start else ramp(-value, (-start, -end), (0, 1))
    return t * t * (3 - 2 * t)
