"""Real clips and photos for tests. They are not ours to pass on, so a test that needs one skips where there is none.

What a stage makes of one is kept as a picture and a line of figures in test-artifacts/real: numbers and looks together.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from crafters.preprocessors.pose.keypoints import Pose, from_openpose

FOLDER = Path(os.environ.get("CRAFTERS_DATA", Path(__file__).parents[3] / "shared" / "data"))
KEYPOINTS = Path(__file__).parents[1] / "data" / "real_keypoints.json"  # MediaPipe's of every second or third frame
ARTIFACTS = Path(__file__).parents[2] / "test-artifacts" / "real"


def real_file(name):
    """The path of `name` below the folder named by CRAFTERS_DATA."""
    path = FOLDER / name
    return path if path.is_file() else pytest.skip(f"no real data: CRAFTERS_DATA has no {name}")


def real_poses(name):
    """The poses of every frame and the picture's size, from MediaPipe's points [F,134,3] in px: body, feet, face, left
    and right hand; or of a clip's name from the keypoints kept here."""
    if not name.endswith(".npz"):
        return from_openpose(json.loads(KEYPOINTS.read_text())[name])
    with np.load(real_file(name)) as found:
        points, size = found["k"].astype(float), tuple(int(side) for side in found["size"])
    points[..., :2] /= size
    points[points[..., 2] <= 0] = np.nan, np.nan, 0
    parts = slice(18), slice(24, 92), slice(92, 113), slice(113, 134)
    return [Pose(*(frame[None, part] for part in parts)) for frame in points], size


def keep(name, *rows, **figures):
    """Rows of pictures (clips uint8, float in 0…1 or bool, [F,H,W] or [F,H,W,3]) as test-artifacts/real/NAME.png, and
    the figures as a line of figures.md there."""
    from PIL import Image

    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    columns = min(6, *map(len, rows))
    lines = []
    for row in rows:
        clip = np.asarray(row)[np.linspace(0, len(row) - 1, columns).round().astype(int)]
        clip = clip if clip.dtype == np.uint8 else (clip.clip(0, 1) * 255).round().astype(np.uint8)
        clip = np.repeat(clip[..., None], 3, -1) if clip.ndim == 3 else clip[..., :3]
        lines.append(np.concatenate(list(clip), 1))
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 4), (0, width - line.shape[1]), (0, 0))) for line in lines]
    Image.fromarray(np.concatenate(lines)).save(ARTIFACTS / f"{name}.png")
    table = ARTIFACTS / "figures.md"
    told = [line for line in table.read_text().splitlines() if table.is_file()] if table.is_file() else []
    told = [line for line in told if not line.startswith(f"- {name}:")]
    told.append(f"- {name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in figures.items()))
    table.write_text("\n".join(sorted(told)) + "\n")


def tinted(pictures, masks):
    """uint8 pictures with the masks in magenta."""
    pictures, masks = np.asarray(pictures), np.asarray(masks).astype(bool)
    return np.where(masks[..., None], pictures // 2 + np.array([127, 0, 127], np.uint8), pictures)


def iou(a, b):
    a, b = np.asarray(a).astype(bool), np.asarray(b).astype(bool)
    return (a & b).sum() / (a | b).sum()
