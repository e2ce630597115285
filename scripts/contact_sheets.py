"""Draw the contact sheets of docs/images: gestures of a directed person, and products that an avatar holds.

    python scripts/contact_sheets.py

Of made-up people and products; photos of real ones are in nobody's right to give away here.
"""

from pathlib import Path

import numpy as np
import torch
from crafters.models.anicrafter.conditions import compose
from crafters.models.avatar.render import render_avatar
from crafters.models.body.anny import anny_body
from crafters.models.staging.gestures import GESTURES
from crafters.preprocessors.directed.hold import hold
from crafters.preprocessors.directed.present import direct, overview
from crafters.preprocessors.product.views import ProductViews, on_black
from crafters.proof.demo import KINDS
from crafters.scenes.avatar import avatar_rig, scene_avatar
from crafters.scenes.product import Product, make_product, views
from crafters.scenes.scene import make_scene
from PIL import Image

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
QUALITY, FPS, EACH = 82, 1.0, 2.0  # s for each gesture
PORTRAIT, LANDSCAPE = (324, 432), (1280, 720)
PRESENTING, MOVING = 6, 1  # seeds
HELD = (  # seed of the product, and how it is held
    (7, {"hand": "right"}), (5, {"hand": "both"}), (2, {"hand": "left", "grip": "below"}),
    (4, {"hand": "table", "x": 0.64, "y": 0.86, "nearer": 0.4}),
)
CROP = slice(60, 700), slice(420, 900)


def gestures() -> Image.Image:
    """The photo, and the middle of every gesture over it."""
    scene = make_scene(PRESENTING, "test", PORTRAIT, 1)
    seconds = EACH * len(GESTURES)
    told = ", ".join(GESTURES), "right", *_kind(scene.product)
    done = direct(anny_body(), scene.person_pose, PORTRAIT, _photos(scene.product), *told, seconds=seconds, fps=FPS)
    photo = torch.from_numpy(scene.person_photo)[None] / 255
    shown = overview(done, photo, len(done.motion))
    middles = [round((number + 0.5) * EACH * FPS) for number in range(len(GESTURES))]
    return _rows([photo[0], *shown[middles]], 3)


def products() -> Image.Image:
    """An avatar with a product in one hand, in both, on the palm, and beside one on a table."""
    scene = make_scene(MOVING, "test", LANDSCAPE, 2, 1.0, "squat")
    avatar = scene_avatar(scene.person, 20_000, MOVING)
    background = torch.from_numpy(scene.background[1:]).float() / 255
    shown = []
    for seed, how in HELD:
        product = make_product(seed, "test")
        motion = scene.motion.since(1)
        held = hold(anny_body(), motion, _photos(product), *_kind(product), **how)
        clip = render_avatar(avatar, avatar_rig(avatar), held.motion, *LANDSCAPE, products=held.products)
        shown.append(compose(clip.image, clip.alpha, background)[0][CROP])
    return _rows(shown, 4)


def _photos(product: Product) -> ProductViews:
    return on_black([torch.from_numpy(view)[None] / 255 for view in views(product)])


def _kind(product: Product) -> tuple[str, float, float, float]:
    """Kind, and width, height, depth in cm."""
    return KINDS.get(product.kind, product.kind), *(100 * side for side in product.size)


def _rows(pictures: list[torch.Tensor], columns: int) -> Image.Image:
    levels = [(255 * picture).round().byte().numpy() for picture in pictures]
    rows = [np.concatenate(levels[first : first + columns], 1) for first in range(0, len(levels), columns)]
    return Image.fromarray(np.concatenate(rows))


def main() -> None:
    for name, sheet in (("directed", gestures()), ("held", products())):
        sheet.save(IMAGES / f"{name}.jpg", quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
