"""What the demo's videos are worth: measured against the scenes they are made of, and shown beside them."""

import cv2
import numpy as np

from ..metrics.landmarks import body, body_distance
from ..metrics.masks import iou, overlap
from ..metrics.pixels import psnr
from ..preprocessors.dwpose import DWPose
from .scenes.anicrafter_data import AvatarScene
from .scenes.scene import Scene

BINS = 16  # of a colour channel
REACH = 0.25  # of the short side: how far from its place the product is looked for


def find_product(frames: np.ndarray, scene: Scene) -> np.ndarray:
    """Where a generated clip shows the scene's product, bool [F, H, W].

    By colour: of the product's photos against those of the same frame away from it, cut along edges (GrabCut). It is
    looked for around where it should be, not only there.
    """
    photos = scene.product_views.reshape(-1, 3)
    product = _histogram(photos[photos.any(1)])
    reach = round(REACH * min(scene.size))
    found = np.zeros(frames.shape[:3], dtype=bool)
    for number, (frame, mask) in enumerate(zip(frames, scene.product_mask, strict=True)):
        near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)).astype(bool)
        if mask.any() and not near.all():
            found[number] = _cut(frame, near, product)
    return found


def _cut(frame: np.ndarray, near: np.ndarray, product: np.ndarray) -> np.ndarray:
    likely = _look_up(product, frame) > _look_up(_histogram(frame[~near]), frame)
    labels = np.where(near, np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD), cv2.GC_BGD).astype(np.uint8)
    if not (labels == cv2.GC_PR_FGD).any():
        return np.zeros(near.shape, dtype=bool)
    cv2.setRNGSeed(0)
    cv2.grabCut(
        np.ascontiguousarray(frame), labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK
    )
    shown = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, pieces, sizes, _ = cv2.connectedComponentsWithStats(shown)
    return pieces == 1 + sizes[1:, cv2.CC_STAT_AREA].argmax() if len(sizes) > 1 else shown.astype(bool)


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """Blurred, of colours [N, 3]: the probability of each of BINS³ colours."""
    counts, _ = np.histogramdd(pixels, bins=(BINS,) * 3, range=((0, 256),) * 3)
    for axis in range(3):
        counts = (np.roll(counts, 1, axis) + 2 * counts + np.roll(counts, -1, axis)) / 4
    return counts / counts.sum()


def _look_up(histogram: np.ndarray, frame: np.ndarray) -> np.ndarray:
    return histogram[tuple((frame // (256 // BINS)).reshape(-1, 3).T)].reshape(frame.shape[:2])


def judge_presenting(scene: Scene, result: np.ndarray, dwpose: DWPose) -> dict[str, float]:
    """AnchorCrafter's clip, uint8 [F, H, W, 3], beside its scene.

    Obj-IoU of the product as `find_product` sees it, and of the true clip seen so, which bounds it; mean distance of
    the body's joints in % of the short side; PSNR in dB of the product's true pixels and of the whole, and of the
    person's photo in the result's place.
    """
    truth, mask = scene.frames, scene.product_mask
    photo = np.broadcast_to(scene.person_photo, truth.shape)
    shown, seen = (
        iou(*overlap(mask.astype(np.uint8) * 255, find_product(clip, scene).astype(np.uint8) * 255))
        for clip in (result, truth)
    )
    poses = zip(scene.poses, (dwpose(frame) for frame in result), strict=True)
    away = [body_distance(*(body(pose, *scene.size) for pose in pair)) for pair in poses]
    return {
        "Obj-IoU": shown,
        "Obj-IoU, true clip": seen,
        "body LMD, %": 100 * float(np.nanmean(away)) / min(scene.size),
        "product PSNR, dB": _psnr(truth, result, mask),
        "product PSNR, person photo": _psnr(truth, photo, mask),
        "PSNR, dB": _psnr(truth, result),
        "PSNR, person photo": _psnr(truth, photo),
    }


def judge_moving(shown: AvatarScene, result: np.ndarray) -> dict[str, float]:
    """AniCrafter's clip, uint8 [F, H, W, 3], beside its scene: PSNR in dB where the person is and in the room, and of
    the avatar's composite that went in."""
    truth, person = shown.scene.frames, shown.scene.person_mask
    return {
        "person PSNR, dB": _psnr(truth, result, person),
        "person PSNR, composite": _psnr(truth, shown.blend, person),
        "room PSNR, dB": _psnr(truth, result, ~person),
        "room PSNR, composite": _psnr(truth, shown.blend, ~person),
    }


def sheet_presenting(scene: Scene, result: np.ndarray, columns: int = 5) -> np.ndarray:
    """uint8 picture: person, product and then `columns` frames of conditions, result and truth below each other."""
    picked = np.linspace(0, len(result) - 1, columns).round().astype(int)
    conditions = np.maximum(np.maximum(scene.pose_frames, scene.hand_mesh), scene.object_depth)
    width, height = scene.size
    product = cv2.resize(scene.product_views[1], (width, width), interpolation=cv2.INTER_AREA)
    first = np.zeros((3 * height, width, 3), np.uint8)
    first[:height], first[height : height + width] = scene.person_photo, product
    rows = [np.concatenate(list(clip[picked]), 1) for clip in (conditions, result, scene.frames)]
    return np.concatenate([first, np.concatenate(rows)], 1)


def sheet_moving(shown: AvatarScene, result: np.ndarray, columns: int = 4) -> np.ndarray:
    """uint8 picture: `columns` frames of what goes in, of the result and of the truth below each other."""
    picked = np.linspace(0, len(result) - 1, columns).round().astype(int)
    return np.concatenate([np.concatenate(list(clip[picked]), 1) for clip in (shown.blend, result, shown.scene.frames)])


def _psnr(truth: np.ndarray, result: np.ndarray, region: np.ndarray | None = None) -> float:
    regions = [None] * len(truth) if region is None else region
    return float(np.nanmean([psnr(*frame) for frame in zip(truth, result, regions, strict=True)]))
