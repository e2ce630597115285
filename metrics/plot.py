"""The report's course over the frames, drawn as a picture."""

import numpy as np
from PIL import Image, ImageDraw

from .report import Report, Row

WIDTH, HEIGHT = 560, 150  # of one panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 24, 20  # its margins
INK, GRID = (40, 40, 40), (220, 220, 220)
COLOURS = [(31, 119, 180), (214, 96, 20), (44, 140, 60), (190, 40, 50), (128, 90, 170), (120, 80, 70), (200, 100, 170)]
KEY = 16  # height of a line of the key


def plot(report: Report) -> np.ndarray:
    """uint8 RGB [H,W,3]: a panel for each metric that has a value per frame, two in a row, a line for each clip.

    A gap is a frame that does not count. Above eight clips their colours repeat.
    """
    rows = [row for row in report.measured if row.score.frames]
    clips = list(dict.fromkeys(clip for row in rows for clip in row.score.frames))
    colours = {clip: COLOURS[i % len(COLOURS)] for i, clip in enumerate(clips)}
    key = KEY * (len(clips) + 1) if len(clips) > 1 else 0
    picture = Image.new("RGB", (2 * WIDTH, max(1, -(-len(rows) // 2)) * HEIGHT + key), "white")
    draw = ImageDraw.Draw(picture)
    for i, row in enumerate(rows):
        _panel(draw, row, colours, i % 2 * WIDTH, i // 2 * HEIGHT)
    if key:
        for i, (clip, colour) in enumerate(colours.items()):
            draw.text((LEFT, picture.height - key + i * KEY), clip, fill=colour)
    return np.array(picture)


def _panel(draw: ImageDraw.ImageDraw, row: Row, colours: dict, x0: int, y0: int) -> None:
    series = row.score.frames
    counted = np.concatenate(list(series.values()))
    counted = counted[np.isfinite(counted)]
    low, high = float(counted.min()), float(counted.max())
    middle, half = (low + high) / 2, max((high - low) / 2, 1e-3 * max(abs(high), 1e-3))
    low, high = middle - half, middle + half
    count = max(len(values) for values in series.values())
    right, bottom = x0 + WIDTH - RIGHT, y0 + HEIGHT - BOTTOM

    def point(frame: int, value: float) -> tuple[float, float]:
        across = frame / max(count - 1, 1)
        return x0 + LEFT + across * (right - x0 - LEFT), bottom - (value - low) / (high - low) * (bottom - y0 - TOP)

    for value in (low, middle, high):
        start, end = point(0, value), (right, point(0, value)[1])
        draw.line([start, end], fill=GRID)
        draw.text((x0 + LEFT - 6, start[1]), f"{value:.3g}", fill=INK, anchor="rm")
    draw.text((x0 + LEFT, y0 + 5), f"{row.title}: {row.score.value:.4g} ({row.better} is better)", fill=INK)
    draw.text((x0 + LEFT, bottom + 4), "frame 0", fill=INK)
    draw.text((right, bottom + 4), str(count - 1), fill=INK, anchor="ra")
    for clip, values in series.items():
        _line(draw, [point(i, value) if np.isfinite(value) else None for i, value in enumerate(values)], colours[clip])


def _line(draw: ImageDraw.ImageDraw, points: list[tuple[float, float] | None], colour: tuple) -> None:
    """Lines between neighbours that count; a dot for one without such a neighbour."""
    for i, point in enumerate(points):
        if point is None:
            continue
        before = points[i - 1] if i else None
        if before is not None:
            draw.line([before, point], fill=colour, width=2)
        elif i + 1 == len(points) or points[i + 1] is None:
            draw.ellipse([point[0] - 2, point[1] - 2, point[0] + 2, point[1] + 2], fill=colour)
