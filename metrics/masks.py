"""The product's masks: Obj-IoU, and the product cut out for Obj-CLIP (AnchorCrafter, evaluation)."""

import cv2
import numpy as np

from . import CLEAN

PUBLISHED = 0  # the published threshold: every level above it counts as product


def grey(masks: np.ndarray) -> np.ndarray:
    """uint8 [T,H,W] of uint8 masks [T,H,W] or, in any one colour on black, RGB [T,H,W,3]."""
    return masks if len(masks.shape) == 3 else np.stack([cv2.cvtColor(mask, cv2.COLOR_RGB2GRAY) for mask in masks])


def overlap(truth: np.ndarray, result: np.ndarray, threshold: int = PUBLISHED) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of intersection and of union in each frame, int64 [T] each.

    truth [T,H,W], result [T,h,w]: uint8 grey masks; the result's are resized (bilinear) to the truth's, and the
    shorter clip decides. `threshold` PUBLISHED counts every pixel that is not black, video noise included; CLEAN only
    what is bright.
    """
    height, width = truth.shape[1:]
    resized = [cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) > threshold for mask in result]
    pairs = [(mask > threshold, other) for mask, other in zip(truth, resized, strict=False)]
    return np.array([(a & b).sum() for a, b in pairs]), np.array([(a | b).sum() for a, b in pairs])


def iou(intersection: np.ndarray, union: np.ndarray) -> float:
    """Obj-IoU of a clip: the frames' intersections by their unions; NaN if no mask shows a product."""
    return float(intersection.sum() / union.sum()) if union.sum() else float("nan")


def extract_object(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The product on black, uint8 [h,w,3]: `frame` [H,W,3] under its grey mask [h,w], cropped to the largest piece.

    Without a product 100x100 black, which is scored like any other picture. (The published code stores the crop as a
    JPEG in between; this does not.)
    """
    height, width = frame.shape[:2]
    binary = np.where(mask > CLEAN, 255, 0).astype(np.uint8)
    binary = cv2.resize(binary, (width, height), interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros((100, 100, 3), dtype=np.uint8)
    x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return np.where(binary[..., None] > 0, frame, 0)[y : y + h, x : x + w]
