"""Draw the pictures of the help pages (web/docs/pictures) from two synthetic scenes.

    python scripts/help_pictures.py
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from crafters.models.anicrafter.conditions import compose
from crafters.models.avatar.render import render_avatar, render_body, render_turntable
from crafters.models.body.anny import anny_body
from crafters.preprocessors.background.remove import cut_hole
from crafters.preprocessors.condition_sheet import condition_sheet
from crafters.preprocessors.directed.hold import hold
from crafters.preprocessors.directed.present import direct, overview
from crafters.preprocessors.directed.stage import Spot, stage_person
from crafters.preprocessors.directed.stage import overview as staged_overview
from crafters.preprocessors.pose.draw_pose import draw_pose
from crafters.preprocessors.pose.placement import fit_placement
from crafters.preprocessors.product.views import on_black
from crafters.proof.demo import KINDS
from crafters.scenes.anicrafter_data import character_photo, composite, make_avatar_scene
from crafters.scenes.avatar import avatar_rig, scene_avatar
from crafters.scenes.placed import place_scene
from crafters.scenes.product import make_product
from crafters.scenes.product import views as product_photos
from crafters.scenes.scene import make_scene
from PIL import Image

PICTURES = Path(__file__).resolve().parent.parent / "web" / "docs" / "pictures"
PORTRAIT, LANDSCAPE = (432, 576), (640, 480)  # what is drawn
HEIGHT, GAP, QUALITY = 300, 6, 78  # what is shown: pixels, pixels between panels, WebP's
PRESENTING, MOVING = 6, 5  # seeds


def pictures() -> Iterator[tuple[str, list[np.ndarray]]]:
    """The panels of each picture by its name, uint8 RGB [H, W, 3]."""
    scene = make_scene(PRESENTING, "test", PORTRAIT, 12, 8.0, "raise")
    frame, drawn = scene.frames[6], draw_pose(scene.poses[6], *PORTRAIT)
    yield "clip", [scene.frames[at] for at in (0, 4, 8, 11)]
    lines = cv2.dilate(drawn, np.ones((5, 5), np.uint8))  # they are thin, and shown small
    yield "pose", [frame, np.where(lines.any(-1, keepdims=True), lines, frame // 2), drawn]
    yield "masks", [frame, _tinted(frame, scene.product_mask[6], (255, 96, 0)),
                    _tinted(frame, scene.person_mask[6], (0, 144, 255))]
    yield "product", list(scene.product_views)
    yield "conditions", [frame, scene.hand_mesh[6], scene.object_depth[6]]
    placed = place_scene(scene, fit_placement(scene.poses, scene.person_pose, PORTRAIT, PORTRAIT))
    shown = (_image(clip) for clip in (placed.pose_frames, placed.hand_mesh, placed.object_depth))
    sheet = condition_sheet(_image(scene.person_photo[None]), *shown, _image(scene.product_views))
    yield "sheet", [scene.person_photo, _levels(sheet[6]), frame]

    size = dict(zip(("width", "height", "depth"), (100 * side for side in scene.product.size), strict=True))
    views = on_black([_image(view[None]) for view in scene.product_views])
    told = direct(anny_body(), scene.person_pose, PORTRAIT, views, "raise, turn", seconds=4.0, fps=4.0, **size)
    yield "directed", [scene.person_photo, *map(_levels, overview(told, _image(scene.person_photo[None]), 3))]

    moving = make_avatar_scene(MOVING, "test", LANDSCAPE, 5, 4.0, "dance", strength=0.0)
    film = moving.scene
    cut, _ = cut_hole(_image(film.frames), torch.from_numpy(film.person_mask).float(), dilation=6, scale=1.0)
    yield "background", [film.frames[3], _levels(cut[3]), film.background[3]]
    near, far = Spot(0.3, 0.95, 60, pixels=330, horizon=0.45), Spot(0.62, 0.86, 60, pixels=240, horizon=0.45)
    staged = [stage_person(film.motion, anny_body(), LANDSCAPE, *place) for place in ((near, 30.0), (far, -50.0))]
    there = [staged_overview(each, anny_body(), _image(film.background), 1)[0] for each in staged]
    yield "staged", [film.background[0], *map(_levels, there)]
    avatar = scene_avatar(film.person, 40_000, MOVING)
    yield "avatar", [_levels(image) for image in render_turntable(avatar, 4, 400, 400)]
    blend = composite(avatar, film.motion, film.background)
    product = make_product(PRESENTING, "test")
    views = on_black([_image(view[None]) for view in product_photos(product)])
    size = (100 * side for side in product.size)
    held = hold(anny_body(), film.motion, views, KINDS.get(product.kind, product.kind), *size)
    shown = {"products": held.products}
    clip = render_avatar(avatar, avatar_rig(avatar), held.motion, *LANDSCAPE, **shown)
    mesh, _ = render_body(anny_body(), held.motion, *LANDSCAPE, **shown)
    over = compose(clip.image, clip.alpha, _image(film.background))
    yield "held", [_levels(views.views[1]), _levels(over[3]), _levels(mesh[3])]
    yield "scene", [character_photo(film.person, LANDSCAPE[1]), moving.mesh[3], blend[3]]


def _image(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures)).float() / 255


def _levels(image: torch.Tensor) -> np.ndarray:
    return (255 * image).round().byte().numpy()


def _tinted(frame: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.where(mask[..., None], 0.4 * frame + 0.6 * np.array(colour), frame).astype(np.uint8)


def strip(panels: list[np.ndarray]) -> Image.Image:
    """The panels side by side, each `HEIGHT` tall."""
    shown = [Image.fromarray(panel) for panel in panels]
    shown = [panel.resize((round(panel.width * HEIGHT / panel.height), HEIGHT), Image.Resampling.LANCZOS)
             for panel in shown]
    whole = Image.new("RGB", (sum(panel.width for panel in shown) + GAP * (len(shown) - 1), HEIGHT), "white")
    left = 0
    for panel in shown:
        whole.paste(panel, (left, 0))
        left += panel.width + GAP
    return whole


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, panels in pictures():
        strip(panels).save(PICTURES / f"{name}.webp", quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
