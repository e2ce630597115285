"""One decoded frame of a video file as a viewer sees it: upright, in its shape, on black, in a screen's colours."""

from collections.abc import Callable

import numpy as np

from .hdr import HLG, PQ, tone_mapped

BT2020, UNSAID = 9, 2  # matrices, by their numbers in ITU-T H.273
NO_RGB = {10, 11, 13, 14, 15}  # constant luminance, ICtCp, IPT-C2: more than a matrix
DOLBY = ("dvh1", "dvhe", "dva1", "dvav", "dav1")  # tags: the colours are Dolby Vision's own if no matrix is said


class View:
    """Of the frames of one stream. `doubts`: sentences on what had to be decided, each once."""

    def __init__(self, stream, name: str, size_of: Callable[[int, int], tuple[int, int]] | None = None):
        """name: the file's. size_of(width, height): wanted instead, of an upright picture; None keeps its size."""
        self._name, self._context, self._size_of = name, stream.codec_context, size_of or (lambda *size: size)
        aspect = stream.sample_aspect_ratio
        self._aspect = float(aspect) if aspect and 0.1 < aspect < 10 else 1.0
        self.doubts: dict[str, None] = {}

    def __call__(self, frame) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 RGB [H, W, 3], and the opacity uint8 [H, W] of a format that has one. Raises ValueError."""
        transposed, flips = self._orientation(frame)
        size = round(frame.width * self._aspect), frame.height
        size = self._size_of(*(size[::-1] if transposed else size))
        size = size[::-1] if transposed else size
        image, opacity = self._see_through(frame, size) if _has_alpha(frame.format) else (self._rgb(frame, size), None)
        turned = [
            None if layer is None else np.ascontiguousarray((layer.swapaxes(0, 1) if transposed else layer)[flips])
            for layer in (image, opacity)
        ]
        return turned[0], turned[1]

    def _rgb(self, frame, size: tuple[int, int], alpha: bool = False) -> np.ndarray:
        """RGB or RGBA of that (width, height), uint8 [H, W, 3 or 4], before it is turned."""
        transfer = self._context.color_trc
        own = frame.colorspace == UNSAID and self._context.codec_tag in DOLBY
        if own or int(frame.colorspace) in NO_RGB:
            raise ValueError(
                f"{self._name} has colours (Dolby Vision's own, or ICtCp) that cannot be shown here: export it as SDR, "
                "HLG or HDR10 first."
            )
        # Area averaging would make the colours blocky where only they are scaled (4:2:0 at full size).
        shrinks = size != (frame.width, frame.height) and size[0] <= frame.width and size[1] <= frame.height
        how = {"interpolation": "AREA" if shrinks else "BILINEAR"}
        name = "rgba" if alpha else "rgb"
        if transfer not in (HLG, PQ):
            return frame.reformat(*size, "rgba" if alpha else "rgb24", **how).to_ndarray()
        if frame.colorspace == UNSAID:
            how |= {"src_colorspace": BT2020, "dst_colorspace": BT2020}
        deep = frame.reformat(*size, f"{name}{64 if alpha else 48}le", **how).to_ndarray()
        image = tone_mapped(deep[..., :3], transfer, self._context.color_primaries)
        return np.dstack([image, deep[..., 3] >> 8]).astype(np.uint8) if alpha else image

    def _see_through(self, frame, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """A picture with opacity, on black: hidden colours are gone before anything is averaged."""
        import cv2

        layers = self._rgb(frame, (frame.width, frame.height), alpha=True)
        layers[..., :3] = (layers[..., :3].astype(np.uint16) * layers[..., 3:] + 127) // 255
        if size != (frame.width, frame.height):
            how = cv2.INTER_AREA if size[0] <= frame.width and size[1] <= frame.height else cv2.INTER_LINEAR
            layers = cv2.resize(layers, size, interpolation=how)
        return layers[..., :3], layers[..., 3]

    def _orientation(self, frame) -> tuple[bool, tuple[slice, slice]]:
        """Whether rows become columns, and the slices that flip what then are rows and columns.

        The matrix holds nine 32-bit numbers, a b u, c d v, x y w: a point (x, y) is shown at (ax + cy, bx + dy).
        """
        data = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
        if data is None:
            return False, (slice(None), slice(None))
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5] / 65536
        transposed = abs(b) + abs(c) > abs(a) + abs(d)
        across, down = (c, b) if transposed else (a, d)
        rest = (a, d) if transposed else (b, c)
        if max(abs(abs(across) - 1), abs(abs(down) - 1), *map(abs, rest)) > 0.05:
            doubt = f"{self._name} asks for another turn than a quarter, or a scale: the nearest upright view is shown."
            self.doubts[doubt] = None
        return transposed, (slice(None, None, -1 if down < 0 else 1), slice(None, None, -1 if across < 0 else 1))


def _has_alpha(pixels) -> bool:
    return pixels.name == "pal8" or any(part.is_alpha for part in pixels.components)
