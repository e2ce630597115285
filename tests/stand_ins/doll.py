"""A cartoon scene that gives the AnchorCrafter graph real inputs without any download.

A paper doll presents a box of tea; a second doll is the person of the reference photo. The condition clips follow the
published data: light-blue hand meshes without the pixels that the product covers, and the product's relief in inferno
colours without the fingers in front of it, both on pure black.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from crafters.media.clip import write_video
from crafters.scenes.paint import Canvas, Colour, ellipse, point, rectangle, rotate, sample, smooth

from ...preprocessors.pose.keypoints import Pose
from . import figure
from .figure import Doll
from .tea_box import TeaBox

PERSON_SIZE = (576, 1024)
PERSON_POSE = Pose(right_wrist=(-62, 186), left_wrist=(96, 74), sway=-5, lean=-1.5, tilt=4, turn=0.35)
HAND_MESH_BASE = np.array([0.65098, 0.74118, 0.85882])  # light blue, before shading and gamma
HAND_MESH_GAMMA = 2.2

# Muted colours, far from all pins.
SKIN = ((247, 214, 190), (232, 188, 158), (196, 148, 120), (156, 112, 92))
HAIR = ((92, 72, 70), (150, 108, 84), (206, 172, 124), (104, 104, 112))
TOP = ((226, 136, 120), (118, 150, 176), (226, 190, 122), (150, 172, 138), (178, 150, 184))
BOTTOM = ((92, 102, 130), (132, 116, 108), (108, 128, 124), (150, 130, 150))
SHOES = ((110, 92, 88), (226, 216, 204), (96, 98, 110))
WALL = ((236, 226, 210), (214, 224, 224), (228, 216, 222), (218, 226, 208))
PRODUCT = ((120, 158, 140), (216, 140, 116), (122, 142, 178), (202, 168, 106))


@dataclass(frozen=True)
class _Cast:
    """Everything the seed decides."""

    presenter: Doll
    person: Doll
    box: TeaBox
    walls: tuple[Colour, Colour]
    reach: float  # how far the product is raised, about 1
    phase: float  # of the free hand, radians


def _cast(seed: int) -> _Cast:
    rng = np.random.default_rng(seed)

    def two(palette: tuple[Colour, ...]) -> tuple[Colour, Colour]:
        first, second = rng.permutation(len(palette))[:2]
        return palette[first], palette[second]

    clothes = zip(*(two(palette) for palette in (SKIN, HAIR, TOP, BOTTOM, SHOES)), strict=True)
    look, other = (dict(zip(("skin", "hair", "top", "bottom", "shoes"), kind, strict=True)) for kind in clothes)
    grow = rng.uniform(0.97, 1.03)
    skirt, bun = rng.random(2) < 0.5
    presenter = Doll(
        head=90,
        shoulder=92 * grow,
        hip=48,
        torso=236,
        leg=308 * grow,
        upper_arm=120,
        forearm=110,
        skirt=bool(skirt),
        bun=bool(bun),
        **look,
    )
    person = Doll(
        head=82,
        shoulder=84 / grow,
        hip=42,
        torso=204,
        leg=322 / grow,
        upper_arm=108,
        forearm=98,
        skirt=not skirt,
        bun=not bun,
        **other,
    )
    box = TeaBox.printed(PRODUCT[rng.integers(len(PRODUCT))])
    return _Cast(presenter, person, box, two(WALL), rng.uniform(0.9, 1.1), rng.uniform(0, 2 * np.pi))


def _presenting(cast: _Cast, time: float) -> tuple[Pose, float, float]:
    """The pose at `time` in 0..1, and the product's yaw and roll in degrees."""
    wave, lift = np.sin(2 * np.pi * time), np.sin(np.pi * time) ** 2 * cast.reach
    free = 2 * np.pi * time + cast.phase
    pose = Pose(
        right_wrist=(-96 - 6 * lift, 165 - 125 * lift),
        left_wrist=(82 + 8 * np.cos(free), 30 + 22 * np.sin(free)),
        sway=7 * wave,
        lean=2.5 * wave,
        tilt=-6 * lift + 3 * np.sin(free),
        turn=-0.9 * lift + 0.2,
    )
    return pose, 52 * wave, 5 * wave


def _times(frames: int) -> np.ndarray:
    return np.linspace(0, 1, frames)


def paint_room(canvas: Canvas, wall: Colour) -> None:
    edge = 500 * canvas.width / canvas.height + 1
    floor, wood, frame = (206, 186, 164), (176, 148, 122), (250, 246, 238)
    stripe = tuple(channel - 7 for channel in wall)
    canvas.paint(rectangle(-edge, 0, edge, 1000), wall)
    for x in np.arange(-1020, 1020, 60.0):
        canvas.paint(rectangle(x, 0, x + 24, 800), stripe)
    canvas.paint(rectangle(-edge, 780, edge, 1000), floor)
    canvas.paint(rectangle(-edge, 764, edge, 786), frame, 3)
    canvas.paint(ellipse(point(0, 925), 236, 46), (196, 168, 156))
    canvas.paint(ellipse(point(0, 925), 206, 38), (222, 204, 188))
    # window
    canvas.paint(rectangle(120, 60, 292, 330), frame, 4)
    canvas.paint(rectangle(132, 72, 280, 318), (198, 220, 232))
    canvas.paint(smooth((110, 330), (132, 262), (190, 236), (240, 270), (280, 244), (296, 330)), (172, 190, 160))
    canvas.paint(rectangle(120, 318, 292, 336), frame, 4)
    canvas.paint(rectangle(202, 72, 210, 318), frame)
    # picture
    canvas.paint(rectangle(-268, 96, -156, 236), wood, 4)
    canvas.paint(rectangle(-258, 106, -166, 226), (240, 232, 220))
    canvas.paint(ellipse(point(-222, 180), 26, 26), (224, 178, 150))
    canvas.paint(ellipse(point(-196, 196), 20, 20), (160, 178, 182))
    # plant
    for degrees in (-52, -28, -6, 18, 42):
        leaf = smooth((0, -150), (22, -80), (6, 0), (-6, 0), (-22, -80)) + point(236, 740)
        canvas.paint(rotate(leaf, degrees, point(236, 740)), (142, 168, 138), 3)
    canvas.paint(smooth((196, 716), (276, 716), (266, 812), (206, 812)), (200, 146, 122), 4)


def _shade_hand(canvas: Canvas, shapes: list[np.ndarray]) -> None:
    """Domes lit from the front, as a renderer shows a hand mesh."""
    for shape in shapes:
        mask = canvas.mask(shape).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        box = (slice(y, y + height), slice(x, x + width))
        distance = cv2.distanceTransform(np.pad(mask[box], 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        light = 0.46 + 0.6 * np.sqrt(1 - (1 - distance / distance.max()) ** 2)
        colour = 255 * np.clip(light[..., None] * HAND_MESH_BASE, 0, 1) ** (1 / HAND_MESH_GAMMA)
        inside = mask[box].astype(bool)
        canvas.pixels[box][inside] = colour[inside]


def _open_hand(joints: dict[str, np.ndarray], side: str) -> list[np.ndarray]:
    forearm = joints[f"{side}_wrist"] - joints[f"{side}_elbow"]
    degrees = np.rad2deg(np.arctan2(forearm[0], -forearm[1]))
    return figure.open_hand(joints[f"{side}_wrist"], degrees, -1 if side == "left" else 1)


def _frame(cast: _Cast, time: float, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The clip's image, hand mesh and object depth at `time` in 0..1: [height, width, 3] uint8 RGB each."""
    pose, yaw, roll = _presenting(cast, time)
    joints = figure.joints_of(cast.presenter, pose)
    wrist = joints["right_wrist"]
    palm, fingers = figure.grip(wrist, roll)
    free_hand = _open_hand(joints, "left")

    canvas = Canvas(width, height)
    paint_room(canvas, cast.walls[0])
    figure.draw_doll(canvas, cast.presenter, joints)
    for shape in palm + free_hand:
        canvas.paint(shape, cast.presenter.skin, 3)
    relief = cast.box.draw(canvas, rotate(wrist + point(0, -34), roll, wrist), yaw, roll)
    for shape in fingers:
        canvas.paint(shape, cast.presenter.skin, 3)
        relief[canvas.mask(shape)] = 0
    figure.draw_pins(canvas, joints)

    mesh = Canvas(width, height)
    _shade_hand(mesh, palm + fingers + free_hand)
    mesh.pixels[relief > 0] = 0
    relief = sample(relief)
    depth = cv2.cvtColor(cv2.applyColorMap(relief, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    depth[relief == 0] = 0
    return canvas.image(), sample(mesh.pixels), depth


def _portrait(cast: _Cast) -> np.ndarray:
    canvas = Canvas(*PERSON_SIZE)
    joints = figure.joints_of(cast.person, PERSON_POSE)
    paint_room(canvas, cast.walls[1])
    figure.draw_doll(canvas, cast.person, joints)
    for shape in _open_hand(joints, "left") + _open_hand(joints, "right"):
        canvas.paint(shape, cast.person.skin, 3)
    figure.draw_pins(canvas, joints)
    return canvas.image()


def _write_image(path: Path, picture: np.ndarray) -> None:
    order = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    _, png = cv2.imencode(".png", cv2.cvtColor(picture, order))
    path.write_bytes(png.tobytes())


def scene_joints(seed: int = 0, frames: int = 24, width: int = 360, height: int = 640) -> tuple[np.ndarray, np.ndarray]:
    """The true COCO body keypoints of `make_scene`: [frames, 17, 2] in driving.mp4, [17, 2] in person.png.

    Pixels (x, y), a whole number being a pixel's centre.
    """
    cast = _cast(seed)

    def pixels(doll: Doll, pose: Pose, size: tuple[int, int]) -> np.ndarray:
        joints = figure.joints_of(doll, pose)
        units = np.stack([joints[name] for name in figure.PIN_COLOURS])
        return units * size[1] / 1000 + (size[0] / 2 - 0.5, -0.5)

    driving = [pixels(cast.presenter, _presenting(cast, time)[0], (width, height)) for time in _times(frames)]
    return np.stack(driving), pixels(cast.person, PERSON_POSE, PERSON_SIZE)


def make_scene(
    folder: str | Path, seed: int = 0, frames: int = 24, width: int = 360, height: int = 640, fps: float = 30
) -> dict[str, Path]:
    """Write the scene's files into `folder` and return their paths by name.

    - `driving`: driving.mp4, a doll raises, turns and lowers the product;
    - `hand_mesh`, `object_depth`: hand_mesh.mp4, object_depth.mp4, the conditions of the same frames;
    - `person`: person.png, another doll in another room, 576 x 1024;
    - `product_left`, `product_front`, `product_right`: PNGs of the product, cropped, on a transparent background.

    Clips are near-lossless H.264 of `width` x `height` pixels. The seed decides clothes, proportions, colours and the
    free hand's motion; the same seed always draws the same pictures.

    Raises ValueError for a size that H.264 or the drawing cannot have, RuntimeError if PyAV lacks the encoder.
    """
    if frames < 1 or fps <= 0:
        raise ValueError(f"The demo scene needs at least one frame and a positive rate, not {frames} at {fps} fps.")
    if width % 2 or height % 2 or height < 128 or 16 * width < 9 * height:
        raise ValueError(
            f"The demo scene cannot be {width} x {height}: width and height must be even, the height at least 128, "
            "and the shape no narrower than 9:16."
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cast = _cast(seed)
    clips = zip(*(_frame(cast, time, width, height) for time in _times(frames)), strict=True)
    paths = {}
    for name, pictures in zip(("driving", "hand_mesh", "object_depth"), clips, strict=True):
        paths[name] = folder / f"{name}.mp4"
        write_video(paths[name], pictures, fps)
    photos = {"person": _portrait(cast)}
    photos |= {f"product_{side}": cast.box.photo(yaw) for side, yaw in (("left", 45), ("front", 0), ("right", -45))}
    for name, picture in photos.items():
        paths[name] = folder / f"{name}.png"
        _write_image(paths[name], picture)
    return paths
