"""What the demo's videos are worth: measured against the scenes they are made of, and shown beside them."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..metrics.landmarks import body, body_distance
from ..metrics.masks import iou, overlap
from ..metrics.pixels import psnr
from ..preprocessors.pose.dwpose import DWPose
from ..scenes.anicrafter_data import AvatarScene
from ..scenes.scene import Scene

REACH = 0.25  # of the short side: how far from its place the product is looked for
SHADES = 12  # colours that a product's photos are reduced to
FRINGE = 4  # px around person and product that are not called still
SHIFT = 3  # px that the person may be off from where they should be
NOTICED, ALIKE = 3.0, 20.0  # of Lab: how much nearer the product's colours a pixel has to be, and how near

# Of a video: its measures by name, and a sheet that shows it beside what it is judged by, uint8 [h, w, 3].
Judgement = tuple[dict[str, float], np.ndarray]


def find_product(frames: np.ndarray, scene: Scene) -> np.ndarray:
    """Where a generated clip shows the scene's product, bool [F, H, W].

    What looks rather like the product's photos than like the same scene without a product, pixel by pixel in Lab; the
    largest such piece of a frame, its holes filled. It is looked for around where it should be, not only there.
    """
    shades = _shades(scene.product_views)
    reach = round(REACH * min(scene.size))
    found = np.zeros(frames.shape[:3], dtype=bool)
    for number, (frame, bare, mask) in enumerate(zip(frames, scene.without_product, scene.product_mask, strict=True)):
        if mask.any():
            near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
            colours = _lab(frame)
            away, away_bare = _away_from_any(colours, shades), _away_from_any(colours, _around(_lab(bare)))
            found[number] = _largest(near * ((away < ALIKE) & (away_bare - away > NOTICED)))
    return found


def _lab(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)


def _shades(views: np.ndarray) -> list[np.ndarray]:
    """SHADES colours [3] of pictures on black."""
    pixels = views[views.any(-1)]
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_COUNT, 20, 0)
    _, _, centres = cv2.kmeans(_lab(pixels[None])[0], SHADES, None, criteria, 1, cv2.KMEANS_PP_CENTERS)
    return list(centres)


def _around(picture: np.ndarray) -> Iterator[np.ndarray]:
    """The picture [H, W, 3], moved by up to SHIFT pixels in every direction."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    for top, left in np.ndindex(2 * SHIFT + 1, 2 * SHIFT + 1):
        yield padded[top : top + height, left : left + width]


def _away_from_any(colours: np.ndarray, others: Iterable[np.ndarray]) -> np.ndarray:
    """[H, W]: how far a pixel is from the nearest of others, each [H, W, 3] or [3]."""
    return np.sqrt(np.min([np.square(colours - other).sum(-1) for other in others], axis=0))


def _largest(mask: np.ndarray) -> np.ndarray:
    """bool [H, W]: the largest piece of uint8 [H, W], with small gaps and all holes closed."""
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    if outlines:
        cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.astype(bool)


def judge_presenting(scene: Scene, result: np.ndarray, dwpose: DWPose) -> dict[str, float]:
    """AnchorCrafter's clip, uint8 [F, H, W, 3], beside its scene, placed as the clip's conditions were.

    Obj-IoU of the product as `find_product` sees it, and mean distance of the body's joints in % of the short side;
    both also of the true clip seen so, which bounds them. PSNR in dB of the product's true pixels and of the whole, and
    of the person's photo in the result's place; and `flicker`.
    """
    truth, mask = scene.frames, scene.product_mask
    photo = np.broadcast_to(scene.person_photo, truth.shape)
    return {
        "Obj-IoU": _product_iou(scene, result),
        "Obj-IoU, true clip": _product_iou(scene, truth),
        "body LMD, %": _body_lmd(scene, result, dwpose),
        "body LMD, %, true clip": _body_lmd(scene, truth, dwpose),
        "product PSNR, dB": clip_psnr(truth, result, mask),
        "product PSNR, person photo": clip_psnr(truth, photo, mask),
        "PSNR, dB": clip_psnr(truth, result),
        "PSNR, person photo": clip_psnr(truth, photo),
        "flicker, levels": flicker(scene, result),
    }


def judge_directed(scene: Scene, result: np.ndarray, dwpose: DWPose) -> dict[str, float]:
    """A clip of a person who was told what to do, uint8 [F, H, W, 3], beside what was intended.

    Obj-IoU with the product's intended track, and mean distance of the body's joints from the intended pose in % of the
    short side; the latter also of the person's photo in the result's place.
    """
    return {
        "intended Obj-IoU": _product_iou(scene, result),
        "intended body LMD, %": _body_lmd(scene, result, dwpose),
        "intended body LMD, %, person photo": _body_lmd(scene, scene.frames, dwpose),
    }


def _product_iou(scene: Scene, clip: np.ndarray) -> float:
    found = find_product(clip, scene)
    return iou(*overlap(scene.product_mask.astype(np.uint8) * 255, found.astype(np.uint8) * 255))


def _body_lmd(scene: Scene, clip: np.ndarray, dwpose: DWPose) -> float:
    found = (body(dwpose(frame), *scene.size) for frame in clip)
    pairs = zip((body(pose, *scene.size) for pose in scene.poses), found, strict=True)
    return 100 * float(np.nanmean([body_distance(*pair) for pair in pairs])) / min(scene.size)


def judge_moving(shown: AvatarScene, result: np.ndarray) -> dict[str, float]:
    """AniCrafter's clip, uint8 [F, H, W, 3], beside its scene: PSNR in dB where the person is and in the room, and of
    the avatar's composite that went in."""
    truth, person = shown.scene.frames, shown.scene.person_mask
    return {
        "person PSNR, dB": clip_psnr(truth, result, person),
        "person PSNR, composite": clip_psnr(truth, shown.blend, person),
        "room PSNR, dB": clip_psnr(truth, result, ~person),
        "room PSNR, composite": clip_psnr(truth, shown.blend, ~person),
    }


def flicker(scene: Scene, clip: np.ndarray) -> float:
    """Mean change from frame to frame, of 255 levels, where neither person nor product is or was, nan without frames or
    such a place; clip: uint8 [F, H, W, 3]. The true clip's is 0."""
    moving = (scene.person_mask | scene.product_mask).astype(np.uint8)
    moving = np.stack([cv2.dilate(mask, np.ones((2 * FRINGE + 1,) * 2, np.uint8)) for mask in moving]) > 0
    change, still = np.abs(np.diff(clip.astype(np.float32), axis=0)).mean(-1), ~(moving[1:] | moving[:-1])
    return float(change[still].mean()) if still.any() else float("nan")


def clip_psnr(truth: np.ndarray, result: np.ndarray, region: np.ndarray | None = None) -> float:
    """dB, mean over the frames of two clips, uint8 [F, H, W, 3], within `region`, bool [F, H, W], where it is."""
    regions = [None] * len(truth) if region is None else region
    return float(np.nanmean([psnr(*frame) for frame in zip(truth, result, regions, strict=True)]))


def sheet_presenting(scene: Scene, result: np.ndarray, columns: int = 5, truth: bool = True) -> np.ndarray:
    """uint8 picture: person, product and then `columns` frames of conditions, result and, where there is one, the truth
    below each other."""
    conditions = np.maximum(np.maximum(scene.pose_frames, scene.hand_mesh), scene.object_depth)
    width, height = scene.size
    product = cv2.resize(scene.product_views[1], (width, width), interpolation=cv2.INTER_AREA)
    clips = [conditions, result, scene.frames] if truth else [conditions, result]
    first = np.zeros((len(clips) * height, width, 3), np.uint8)
    first[:height], first[height : height + width] = scene.person_photo, product
    return np.concatenate([first, _strips(columns, *clips)], 1)


def sheet_moving(shown: AvatarScene, result: np.ndarray, columns: int = 4) -> np.ndarray:
    """uint8 picture: `columns` frames of what goes in, of the result and of the truth below each other."""
    return _strips(columns, shown.blend, result, shown.scene.frames)


def _strips(columns: int, *clips: np.ndarray) -> np.ndarray:
    """A row of `columns` frames of each clip [F, H, W, 3]."""
    picked = np.linspace(0, len(clips[0]) - 1, columns).round().astype(int)
    return np.concatenate([np.concatenate(list(clip[picked]), 1) for clip in clips])


def judge_parser(description: str, frames: int, steps: int, guidance: float) -> argparse.ArgumentParser:
    """What the judges of both systems are told alike."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first held-out scene; default: 0")
    parser.add_argument("--count", type=int, default=8, help="held-out scenes; default: %(default)s")
    parser.add_argument("--frames", type=int, default=frames, help="AniCrafter: a multiple of 4; default: %(default)s")
    parser.add_argument("--steps", type=int, default=steps, help="default: %(default)s")
    parser.add_argument("--guidance", type=float, default=guidance, help="default: %(default)s")
    parser.add_argument("--sheet", type=Path, help="write a picture of the scenes there")
    return parser


def report(judged: Iterable[tuple[str, Judgement]], picture: Path | None = None) -> None:
    """Print the measures of every scene as they come, by its name, and their means; write the sheets below each other
    to `picture`."""
    rows, sheets = [], []
    for name, (values, sheet) in judged:
        rows.append(values)
        sheets.append(sheet)
        _print(name, values)
    _print("mean", {name: np.nanmean([row[name] for row in rows]) for name in rows[0]})
    if picture:
        Image.fromarray(np.concatenate(sheets)).save(picture)


def _print(name: str, values: dict[str, float]) -> None:
    print(name, *(f"{measure} {value:.4g};" for measure, value in values.items()), flush=True)
