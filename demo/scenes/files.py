"""Writing clips of scenes."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

CODECS = {True: ("libx264rgb", "rgb24", "0"), False: ("libx264", "yuv444p", "4")}  # by exactness: pixels, quality


def write_clip(path: Path, frames: Sequence[np.ndarray], fps: float, exact: bool) -> None:
    """uint8 RGB frames [H, W, 3] as H.264: without any loss, or nearly so (small files for pictures of a camera).

    A clip that is written is whole: it gets its name when it is finished. RuntimeError without the encoder.
    """
    import av

    codec, pixels, quality = CODECS[exact]
    if codec not in av.codecs_available:
        raise RuntimeError(f"This PyAV has no {codec} encoder; get one that has: pip install -U av.")
    height, width = frames[0].shape[:2]
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format="mp4") as container:
        options = {"crf": quality, "preset": "veryfast"}
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    os.replace(part, path)
