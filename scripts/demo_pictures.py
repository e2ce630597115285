"""Draw the README's moving picture and the templates' stills of what `crafters demo` made.

    crafters demo --out DIR && python scripts/demo_pictures.py DIR

Writes docs/images/demo.webp, and workflows/NAME.jpg of the graphs whose inputs are the demo's.
"""

import argparse
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from crafters.media.clip import read_clip
from crafters.proof.demo import FPS, FRAMES
from crafters.scenes import LANDSCAPE, PORTRAIT
from crafters.scenes.anicrafter_data import make_avatar_scene
from crafters.scenes.scene import make_scene
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
WIDTH, MARGIN, TITLE, LABEL = 1000, 28, 44, 26  # px
PAPER, INK, GREY = (247, 247, 248), (32, 33, 36), (110, 113, 120)
SLOWER = 0.7  # of the clip's rate: a second of film, seen forth and back
QUALITY = 82
SAYS = {"AnchorCrafter": "this person presents that product", "AniCrafter": "this character moves in that scene"}
# Graphs that begin from the same inputs.
ALIKE = {
    "AnchorCrafter": ("AnchorCrafter", "AnchorCrafter fast"),
    "AniCrafter": ("AniCrafter", "AniCrafter fast", "AniCrafter long video", "AniCrafter self-contained"),
}


@dataclass(frozen=True)
class Panel:
    """label: what it is. frames: uint8 [F or 1, h, w, 3]. height: px on the picture. made: of the panels before it."""

    label: str
    frames: np.ndarray
    height: int
    made: bool = False

    @property
    def width(self) -> int:
        return round(self.frames.shape[2] * self.height / self.frames.shape[1])


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def row(title: str, says: str, panels: list[Panel], frame: int) -> Image.Image:
    """Panels beside each other, with plus signs between inputs and arrows before what is made of them."""
    tall = max(panel.height for panel in panels)
    picture = Image.new("RGB", (WIDTH, TITLE + tall + LABEL), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, 4), title, INK, _font(24))
    draw.text((MARGIN + draw.textlength(title, _font(24)) + 12, 11), says, GREY, _font(17))
    gap = (WIDTH - 2 * MARGIN - sum(panel.width for panel in panels)) / (len(panels) - 1)
    left = MARGIN
    for number, panel in enumerate(panels):
        top = TITLE + (tall - panel.height) // 2
        shown = Image.fromarray(panel.frames[min(frame, len(panel.frames) - 1)])
        picture.paste(shown.resize((panel.width, panel.height), Image.Resampling.LANCZOS), (round(left), top))
        draw.text((left + panel.width / 2, top + panel.height + 3), panel.label, GREY, _font(16), "ma")
        if number:
            _sign(draw, left - gap / 2, TITLE + tall / 2, arrow=panel.made)
        left += panel.width + gap
    return picture


def _sign(draw: ImageDraw.ImageDraw, x: float, y: float, arrow: bool) -> None:
    draw.line([(x - 8, y), (x + 8, y)], GREY, 3)
    draw.line([(x + 2, y - 7), (x + 9, y), (x + 2, y + 7)] if arrow else [(x, y - 8), (x, y + 8)], GREY, 3)


def panels(folder: Path, seed: int) -> dict[str, list[Panel]]:
    """By graph, what stands beside each other."""
    scene = make_scene(seed, "test", PORTRAIT, FRAMES, FPS)
    shown = make_avatar_scene(seed, "test", LANDSCAPE, FRAMES, FPS, strength=1.0)
    conditions = np.maximum(np.maximum(scene.pose_frames, scene.hand_mesh), scene.object_depth)
    return {
        "AnchorCrafter": [
            Panel("person", scene.person_photo[None], 250),
            Panel("product", scene.product_views[1:2], 150),
            Panel("driving clip", scene.frames, 250),
            Panel("its pose, hands, depth", conditions, 250, made=True),
            Panel("video", _made(folder, "AnchorCrafter"), 410, made=True),
        ],
        "AniCrafter": [
            Panel("character", shown.photo[None], 250),
            Panel("motion", shown.mesh, 138),
            Panel("scene", shown.scene.background, 138),
            Panel("video", _made(folder, "AniCrafter"), 250, made=True),
        ],
        "MimicMotion baseline": [
            Panel("person", scene.person_photo[None], 330),
            Panel("driving clip", scene.frames, 330),
            Panel("its pose", scene.pose_frames, 330, made=True),
        ],
    }


def _made(folder: Path, name: str) -> np.ndarray:
    return read_clip(max(folder.glob(f"{name}_*.mp4")))[0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where `crafters demo` wrote")
    folder = parser.parse_args().folder
    seed = int(re.match(r"# Demo, scene (\d+)", (folder / "demo.md").read_text("utf-8"))[1])
    shown = panels(folder, seed)
    for name, of in shown.items():
        still = row("", "", of, FRAMES // 2)
        for graph in ALIKE.get(name, (name,)):
            still.crop((0, TITLE - 8, *still.size)).save(ROOT / "workflows" / f"{graph}.jpg", quality=88)
    films = [[row(name, says, shown[name], frame) for frame in range(FRAMES)] for name, says in SAYS.items()]
    pages = [_below(rows) for rows in zip(*films, strict=True)]
    pages += pages[-2:0:-1]
    out = ROOT / "docs" / "images" / "demo.webp"
    pages[0].save(out, save_all=True, append_images=pages[1:], duration=round(1000 / FPS / SLOWER), loop=0,
                  quality=QUALITY, method=6)
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")


def _below(rows: tuple[Image.Image, ...]) -> Image.Image:
    page = Image.new("RGB", (WIDTH, sum(part.height for part in rows) + MARGIN * len(rows)), PAPER)
    top = MARGIN // 2
    for part in rows:
        page.paste(part, (0, top))
        top += part.height + MARGIN
    return page


if __name__ == "__main__":
    main()
