"""Photos from files."""

from pathlib import Path

import torch


def read_photo(path: Path) -> tuple[torch.Tensor, torch.Tensor | None]:
    """IMAGE [1, H, W, 3] of one picture, upright, and its opacity [1, H, W] where it says one.

    Raises ValueError, or FileNotFoundError, with a sentence for the user.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            cut_out = "A" in upright.getbands() or "transparency" in upright.info
            pixels = torch.from_numpy(np.array(upright.convert("RGBA"))).float() / 255
    except OSError as error:
        raise ValueError(f"{path} is not a picture that can be read.") from error
    return pixels[None, ..., :3], pixels[None, ..., 3] if cut_out else None
