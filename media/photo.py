"""Photos from files, and the masks that come with photos."""

import logging
from pathlib import Path

import torch

LARGEST = 16384  # px, the sides that ComfyUI's own nodes allow
RANGES = (1.0, 255.0, 65535.0)  # white of pictures whose type does not say it
LEAST_USED = 1 / 16  # of a range; a picture that is darker throughout has another one

logger = logging.getLogger(__name__)


def read_photo(path: Path) -> tuple[torch.Tensor, torch.Tensor | None]:
    """IMAGE [1, H, W, 3] of one picture, upright, and its opacity [1, H, W] where it says one.

    16 bits are read as such; where whole numbers of 32 bits or floats do not say what is white, what was taken for it
    is logged. Raises ValueError, or FileNotFoundError, with a sentence for the user.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with Image.open(path) as picture:
            if max(picture.size) > LARGEST:
                raise Image.DecompressionBombError
            upright = ImageOps.exif_transpose(picture)
            if upright.mode[0] in "IF":  # numbers without colours: PIL would cut them off at 255
                grey = torch.from_numpy(_grey(np.array(upright), upright.mode, path))
                return grey[None, ..., None].repeat(1, 1, 1, 3), None
            cut_out = "A" in upright.getbands() or "transparency" in upright.info
            pixels = torch.from_numpy(np.array(upright.convert("RGBA"))).float() / 255
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{path} is too large: pictures have at most {LARGEST} pixels a side and {2 * Image.MAX_IMAGE_PIXELS:,} "
            "in all. Save it smaller."
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # by which PIL's formats tell of broken files
        raise ValueError(f"{path} is not a picture that can be read.") from error
    return pixels[None, ..., :3], pixels[None, ..., 3] if cut_out else None


def _grey(numbers, mode: str, path: Path):
    """float32 [H, W] in 0…1 of a picture of PIL's mode I;16…, I or F."""
    import numpy as np

    numbers = np.nan_to_num(numbers.astype(np.float32), posinf=0, neginf=0)
    white, brightest = RANGES[-1], float(numbers.max())
    if not mode.startswith("I;16"):
        white = next((most for most in RANGES if LEAST_USED * most < brightest <= most), brightest)
        if mode == "F" and brightest <= 1:
            white = 1.0
        else:
            logger.warning("%s does not say what is white: %g is taken for it.", path, white)
    return (numbers / (white or 1.0)).clip(0, 1)


def mask_of(subject: str, mask: torch.Tensor | None, shows: str, name: str) -> torch.Tensor | None:
    """A photo's MASK [B, H, W] made 1 on its subject, or None where it says nothing.

    subject: what the mask may show, in the user's words; shows: `subject`, as segmentation gives; "background", as
    Load Image gives for a transparent photo, with zeros for an opaque one; or "auto": the background, where the upper
    half of the mask's border is mostly 1. What "auto" decided is logged.
    """
    if mask is None or shows == subject:
        return mask
    if not mask.any():
        if shows == "auto":
            logger.warning("%s is 0 everywhere: the photo is shown whole.", name)
        return None
    if shows == "auto":
        top, sides = mask[:, 0], mask[:, : mask.shape[1] // 2, [0, -1]]
        if torch.cat([top.flatten(), sides.flatten()]).mean() < 0.5:
            return mask
        logger.warning("%s is 1 around the %s, as Load Image gives it: it was turned round.", name, subject)
    return 1 - mask
