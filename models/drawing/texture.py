"""Pictures on meshes: a texture in several sizes, of which the one that suits the picture is looked up."""

import cv2
import numpy as np
import torch

Texture = tuple[np.ndarray, ...]  # uint8 pictures [h, w, C], each half as large as the one before


def pyramid(picture: np.ndarray, levels: int) -> Texture:
    """`picture` uint8 [h, w, C] in `levels` sizes."""
    sizes = [picture]
    while len(sizes) < levels:
        sizes.append(cv2.pyrDown(sizes[-1]))
    return tuple(sizes)


def level(texture: Texture, vertices: torch.Tensor, uv: torch.Tensor, zoom: float) -> np.ndarray:
    """The one whose pixels are nearest in size to those of a picture, of which a metre has `zoom`.

    vertices [V, 3] m and uv [V, 2], 0…1 from the texture's left upper corner: of the mesh that wears it.
    """
    span = uv.amax(0) - uv.amin(0)
    size = (vertices.amax(0) - vertices.amin(0)).norm()
    texels = float(span[1]) * texture[0].shape[0] / float(size)
    return texture[min(round(np.log2(max(texels / zoom, 1))), len(texture) - 1)]


def sampled(picture: np.ndarray, uv: torch.Tensor) -> torch.Tensor:
    """Colours at uv [n, 2], bilinear: [n, C] in 0…1."""
    height, width, channels = picture.shape
    x, y = (uv.numpy() * (width, height) - 0.5).astype(np.float32).T
    # cv2.remap takes no more than 32767 rows.
    rows = max(1, -(-len(x) // 16384))
    pad = rows * 16384 - len(x)
    x, y = (np.pad(value, (0, pad)).reshape(-1, rows) for value in (x, y))
    taken = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return torch.from_numpy(taken.reshape(-1, channels)[: len(uv)]).float() / 255
