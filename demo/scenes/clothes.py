"""Clothes: layers over the body, cut where they end (y up, m, on the mean body in the T-pose)."""

import torch

from .look import Colour, Look
from .surface import Field, Surface, ramp

LEFT_HIP, RIGHT_HIP, PELVIS = 1, 2, 0
WAIST, ANKLE, WRIST, SHORT_SLEEVE = -0.24, -1.15, 0.64, 0.35
HIDDEN = 0.012  # m inside a garment's border the skin is not seen
WHITE: Colour = (0.94, 0.94, 0.92)


def dress(body: Surface, look: Look) -> list[Surface]:
    """The body without the skin that is covered, and every garment. `body`: one surface in the T-pose."""
    layers = []
    legs = _trousers(-0.62 if look.bottom == "shorts" else ANKLE)
    long_skirt = look.top == "dress"
    covered = []
    if not long_skirt and look.bottom != "skirt":
        layers.append(body.cut(legs).smooth(4).shell(lambda m: 0.009 + 0.012 * _near(m[:, 1], -0.5, -1.15), look.bottom_colour))
        covered.append(legs)
    shoe = _below(-1.165)
    feet = body.cut(shoe).smooth(12).shell(0.011, look.shoes).painted(_below(-1.238), WHITE)
    layers.append(feet)
    covered.append(shoe)
    garments, over = _top(body, look)
    layers += garments
    covered.append(over)
    if long_skirt or look.bottom == "skirt":
        layers.append(_skirt(body, look.colour if long_skirt else look.bottom_colour))
    for field in covered:
        body = body.without(field, HIDDEN)
    return [body, *layers]


def _top(body: Surface, look: Look) -> tuple[list[Surface], Field]:
    """The garments of the upper body, and the field of the one next to the skin."""
    kind = look.top
    sleeve = WRIST if kind in ("long_sleeve", "jacket", "shirt", "hoodie", "striped") else SHORT_SLEEVE
    hem = -0.24 if kind == "dress" else -0.40
    neck = _vneck if kind in ("vneck", "jacket") else _crew
    shirt = _all(neck, _above(hem), _within(sleeve if kind != "jacket" else SHORT_SLEEVE))
    colour = look.second if kind in ("jacket", "apron") else look.colour

    def loose(m: torch.Tensor) -> torch.Tensor:
        at_hem = _near(m[:, 1], -0.15, hem) * (m[:, 0].abs() < 0.25)
        at_cuff = _near(m[:, 0].abs(), sleeve - 0.12, sleeve)
        return 0.010 + 0.010 * at_hem + (0.010 if sleeve < 0.5 else 0.004) * at_cuff

    base = body.cut(shirt).smooth(6).shell(loose, colour)
    layers = [base]
    if kind == "striped":
        layers = [base.painted(lambda m: torch.cos(2 * torch.pi * m[:, 1] / 0.07) * 0.011 * _torso(m), look.second)]
    elif kind == "block":
        layers = [base.painted(lambda m: -0.02 - m[:, 1], look.second)]
    elif kind == "tshirt":
        layers = [base.painted(_all(_front, _disc(0.0, -0.06, 0.065)), look.second)]
    elif kind in ("long_sleeve", "vneck"):
        band = look.second
        layers = [base.painted(lambda m: m[:, 0].abs() - sleeve + 0.035, band).painted(_below(hem + 0.03), band)]
    elif kind == "shirt":
        layers = [base.painted(_all(_front, lambda m: 0.012 - m[:, 0].abs()), tuple(0.82 * c for c in look.colour))]
        for y in (0.06, -0.03, -0.12, -0.21, -0.30):
            layers[0] = layers[0].painted(_all(_front, _disc(0.0, y, 0.006)), WHITE)
        collar = _all(_crew, lambda m: m[:, 1] - 0.135 + 0.5 * m[:, 2], _within(0.14))
        layers.append(body.cut(collar).smooth(2).shell(0.019, WHITE))
    elif kind == "jacket":
        opening = _all(_front, lambda m: 0.045 + 0.10 * (m[:, 1] + 0.40).clamp(0, 0.6) - m[:, 0].abs())
        coat = _all(_crew, _above(-0.43), _within(WRIST), lambda m: -opening(m))
        layers.append(body.cut(coat).smooth(6).shell(lambda m: loose(m) + 0.012, look.colour))
        lapel = _all(_front, lambda m: 0.028 - (0.045 + 0.10 * (m[:, 1] + 0.40).clamp(0, 0.6) - m[:, 0].abs()).abs())
        layers[-1] = layers[-1].painted(lapel, tuple(0.75 * c for c in look.colour))
    elif kind == "apron":
        bib = _all(_front, lambda m: 0.105 + 0.12 * _near(m[:, 1], -0.1, -0.3) - m[:, 0].abs(),
                   lambda m: 0.02 - m[:, 1], _above(-0.52))  # fmt: skip
        straps = _all(lambda m: 0.014 - (m[:, 0].abs() - 0.085).abs(), lambda m: m[:, 1] + 0.02, _crew, _within(0.15))
        layers += [body.cut(bib).smooth(6).shell(0.024, look.colour), body.cut(straps).smooth(6).shell(0.020, look.colour)]
    elif kind == "hoodie":
        pocket = _all(_front, lambda m: 0.11 + 0.35 * (m[:, 1] + 0.33).clamp(max=0) - m[:, 0].abs(), _above(-0.37), _below(-0.22))
        layers = [base.painted(pocket, tuple(0.84 * c for c in look.colour))]
        hood = _all(lambda m: m[:, 1] - 0.11 + 0.45 * m[:, 2], lambda m: 0.2 - 0.3 * m[:, 2] - m[:, 1], _within(0.13))
        layers.append(body.cut(hood).smooth(3).shell(0.026, tuple(0.92 * c for c in look.colour)))
        for x in (-0.035, 0.035):
            cord = _all(_front, lambda m, x=x: 0.005 - (m[:, 0] - x).abs(), _below(0.11), _above(-0.03))
            layers[0] = layers[0].painted(cord, WHITE)
    return layers, shirt


def _skirt(body: Surface, colour: Colour, around: int = 48) -> Surface:
    """A closed bell from the waist to above the knees; each leg takes its half along."""
    levels = torch.tensor([-0.20, -0.25, -0.31, -0.37, -0.43, -0.50, -0.58, -0.66])
    turn = torch.arange(around) * 2 * torch.pi / around
    rings, means = [], []
    half = depth = middle = 0.0
    for y in levels.tolist():
        near = ((body.mean[:, 1] - y).abs() < 0.02) & (body.mean[:, 0].abs() < 0.3)
        ring = body.points[near]
        front, back = ring[:, 2].max().item(), ring[:, 2].min().item()
        half = max(half + 0.012, ring[:, 0].abs().max().item() + 0.014)
        depth = max(depth + 0.012, (front - back) / 2 + 0.014)
        middle = (front + back) / 2 if y > -0.45 else middle
        x, z = half * turn.cos(), middle + depth * turn.sin()
        rings.append(torch.stack([x, ring[:, 1].mean().expand(around), z], 1))
        means.append(torch.stack([x, torch.full((around,), y), z], 1))
    points, mean = torch.stack(rings), torch.stack(means)
    here = torch.arange(points[..., 0].numel()).view(points.shape[:2])
    beside = here.roll(-1, 1)
    a, b, c, d = here[:-1], here[1:], beside[:-1], beside[1:]
    faces = torch.cat([torch.stack([a, c, b], -1), torch.stack([c, d, b], -1)]).view(-1, 3)
    ends = [torch.stack([ring[:1].expand(around - 2), *pair], 1)
            for ring, pair in ((here[0], (beside[0, 1:-1], here[0, 1:-1])), (here[-1], (here[-1, 1:-1], beside[-1, 1:-1])))]  # fmt: skip
    mean = mean.view(-1, 3)
    skinning = torch.zeros(len(mean), body.skinning.shape[1])
    legs = _near(mean[:, 1], -0.34, -0.66) * 0.9
    left = _near(mean[:, 0], -0.14, 0.14)
    skinning[:, LEFT_HIP], skinning[:, RIGHT_HIP], skinning[:, PELVIS] = legs * left, legs * (1 - left), 1 - legs
    colours = torch.tensor(colour).expand_as(mean)
    return Surface(points.view(-1, 3), mean, skinning, colours, torch.cat([faces, *ends]))


def _crew(m: torch.Tensor) -> torch.Tensor:
    return 0.158 - 0.42 * m[:, 2] - m[:, 1]


def _vneck(m: torch.Tensor) -> torch.Tensor:
    deep = torch.where(m[:, 2] > 0.02, 1.5 * m[:, 0].abs() + 0.03 - m[:, 1], 1.0)
    return torch.minimum(_crew(m), deep)


def _trousers(end: float) -> Field:
    return _all(_below(WAIST), _above(end), lambda m: 0.3 - m[:, 0].abs())


def _torso(m: torch.Tensor) -> torch.Tensor:
    """1 on the trunk, −1 on the arms, so that stripes end at the shoulders."""
    return torch.where(m[:, 0].abs() < 0.19, 1.0, -1.0)


def _front(m: torch.Tensor) -> torch.Tensor:
    return m[:, 2] - 0.01


def _disc(x: float, y: float, radius: float) -> Field:
    return lambda m: radius - ((m[:, 0] - x).square() + (m[:, 1] - y).square()).sqrt()


def _above(y: float) -> Field:
    return lambda m: m[:, 1] - y


def _below(y: float) -> Field:
    return lambda m: y - m[:, 1]


def _within(x: float) -> Field:
    return lambda m: x - m[:, 0].abs()


def _all(*fields: Field) -> Field:
    return lambda m: torch.stack([field(m) for field in fields]).amin(0)


def _near(value: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """0 at `start`, 1 at `end`, smooth between."""
    t = ramp(value, (start, end), (0, 1)) if end > start else ramp(-value, (-start, -end), (0, 1))
    return t * t * (3 - 2 * t)
