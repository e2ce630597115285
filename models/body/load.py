"""Every body there is."""

from pathlib import Path

import torch

from .anny import anny_body
from .body import BodyModel
from .smplx import read_smplx

ANNY = "Anny"  # in the place of a file
BUILT_IN = {ANNY: anny_body}


@torch.inference_mode(False)  # so that bodies loaded in inference mode can be fitted
def load_body_model(path: str | Path) -> BodyModel:
    """The body of that name in BUILT_IN, or SMPL-X from a file.

    Raises BodyModelError with a sentence that says what is missing or wrong.
    """
    return BUILT_IN[str(path)]() if str(path) in BUILT_IN else read_smplx(Path(path))
