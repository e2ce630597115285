"""What tells people apart: colours, hair, clothes, drawn at random so that no one is in both splits."""

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
SPLITS = ("train", "test")

SKINS: tuple[Colour, ...] = (
    (0.98, 0.83, 0.74), (0.95, 0.76, 0.64), (0.90, 0.69, 0.54), (0.82, 0.60, 0.44), (0.69, 0.48, 0.34),
    (0.56, 0.37, 0.26), (0.43, 0.28, 0.20),
)
HAIRS: tuple[Colour, ...] = (
    (0.11, 0.09, 0.09), (0.24, 0.15, 0.10), (0.40, 0.25, 0.14), (0.60, 0.38, 0.18), (0.87, 0.70, 0.36),
    (0.68, 0.29, 0.13), (0.62, 0.62, 0.64), (0.55, 0.26, 0.42),
)
EYES: tuple[Colour, ...] = ((0.27, 0.16, 0.09), (0.20, 0.42, 0.62), (0.22, 0.46, 0.28), (0.40, 0.29, 0.14))
CLOTHES: tuple[Colour, ...] = (
    (0.85, 0.24, 0.24), (0.96, 0.55, 0.20), (0.97, 0.80, 0.28), (0.45, 0.70, 0.32), (0.13, 0.48, 0.38),
    (0.20, 0.66, 0.70), (0.25, 0.47, 0.80), (0.17, 0.22, 0.44), (0.52, 0.34, 0.68), (0.90, 0.50, 0.65),
    (0.60, 0.40, 0.27), (0.93, 0.91, 0.86), (0.55, 0.58, 0.62), (0.20, 0.20, 0.23),
)
DARK: tuple[Colour, ...] = (
    (0.18, 0.22, 0.34), (0.22, 0.22, 0.25), (0.34, 0.43, 0.58), (0.45, 0.36, 0.28), (0.36, 0.40, 0.33),
    (0.70, 0.64, 0.54),
)
HAIR_STYLES = ("short", "bob", "long", "bun", "bald", "afro", "cap", "scarf", "swept", "ponytail")
TOPS = ("tshirt", "long_sleeve", "jacket", "dress", "shirt", "striped", "apron", "vneck", "hoodie", "block")
BOTTOMS = ("trousers", "trousers", "shorts", "skirt")


@dataclass(frozen=True)
class Look:
    """Colours 0..1; `hair_style`, `top` and `bottom` as in this module's lists."""

    skin: Colour
    hair: Colour
    eyes: Colour
    hair_style: str
    beard: bool
    glasses: bool
    top: str
    colour: Colour
    second: Colour
    bottom: str
    bottom_colour: Colour
    shoes: Colour


def draw_look(rng: np.random.Generator, split: str) -> Look:
    """A look of `split`. The two splits share every part but no combination of hair style, top and the top's colour."""
    hair, top, colour = (int(rng.integers(len(kinds))) for kinds in (HAIR_STYLES, TOPS, CLOTHES))
    if (hair + top + colour) % 2 != SPLITS.index(split):
        colour = (colour + 1) % len(CLOTHES)  # an even number of colours: the next always has the other parity
    second = (colour + int(rng.integers(3, len(CLOTHES) - 2))) % len(CLOTHES)
    bottom = BOTTOMS[rng.integers(len(BOTTOMS))]
    style = HAIR_STYLES[hair]
    bearded = style == "bald" or (style in ("short", "cap", "swept", "afro") and rng.random() < 0.3)

    def tinted(colours: tuple[Colour, ...], index: int | None = None) -> Colour:
        base = np.array(colours[rng.integers(len(colours)) if index is None else index])
        return tuple(np.clip(base + rng.normal(0, 0.02) + rng.normal(0, 0.012, 3), 0, 1).tolist())

    return Look(
        skin=tinted(SKINS),
        hair=tinted(HAIRS),
        eyes=tinted(EYES),
        hair_style=style,
        beard=bearded,
        glasses=bool(rng.random() < 0.25),
        top=TOPS[top],
        colour=tinted(CLOTHES, colour),
        second=tinted(CLOTHES, second),
        bottom=bottom,
        bottom_colour=tinted(DARK if rng.random() < 0.7 else CLOTHES),
        shoes=tinted(CLOTHES),
    )
