"""Every body there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .body import BodyModel

ANNY = "Anny"  # in the place of a file
BUILT_IN = (ANNY,)


def load_body_model(path: str | Path) -> BodyModel:
    """The body of that name in BUILT_IN, or SMPL-X from a file.

    Raises BodyModelError with a sentence that says what is missing or wrong.
    """
    import torch  # here, since the command line names the bodies without it

    from .anny import anny_body
    from .smplx import read_smplx

    with torch.inference_mode(False):  # so that bodies loaded in inference mode can be fitted
        return anny_body() if str(path) == ANNY else read_smplx(Path(path))
