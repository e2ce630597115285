"""Writing a clip."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np


def write_video(path: Path, pictures: Sequence[np.ndarray], fps: float) -> None:
    """uint8 RGB pictures [H, W, 3], both sides even, to a near-lossless H.264 file. RuntimeError without an encoder."""
    import av

    if "libx264" not in av.codecs_available:
        raise RuntimeError("This PyAV has no libx264 encoder for the demo clips; get one that has: pip install -U av.")
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
