"""Avatars as the `.ply` of 3-D Gaussian splatting viewers: binary little endian, one vertex per gaussian.

Opacity is stored as logit, scale as logarithm, colour as spherical harmonics of degree 0. What such a file does not
hold is kept where viewers do not look: `offset_*` beside the other numbers of a gaussian, the rest in comments.
"""

import base64
import binascii
import math
from pathlib import Path

import numpy as np
import torch

from ..checkpoint import CheckpointError
from .gaussians import Avatar

POSITION, OFFSET, COLOUR = ("x", "y", "z"), ("offset_x", "offset_y", "offset_z"), ("f_dc_0", "f_dc_1", "f_dc_2")
SCALE, ROTATION = ("scale_0", "scale_1", "scale_2"), ("rot_0", "rot_1", "rot_2", "rot_3")
PROPERTIES = (*POSITION, "nx", "ny", "nz", *COLOUR, "opacity", *SCALE, *ROTATION, *OFFSET)
COMMENT = "comment crafters avatar "  # then base64 of float32: neutral transforms, betas, visible ratio, has head
SH_0 = 0.5 / math.sqrt(math.pi)  # colour = 0.5 + SH_0 · f_dc
TYPES = {
    "char": "i1", "uchar": "u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4", "float": "<f4",
    "double": "<f8", "int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4",
    "float32": "<f4", "float64": "<f8",
}


def write_ply(avatar: Avatar, path: Path) -> None:
    """Exact to float32 rounding of each number as stored."""
    tiny = torch.finfo(torch.float32).tiny
    opacity = avatar.opacity.double().clamp(tiny, 1 - 2.0**-25)  # finite logits, and back to 0 and 1 in float32
    columns = (
        avatar.xyz(), torch.zeros(len(avatar), 3), (avatar.rgb.double() - 0.5) / SH_0, opacity.logit(),
        avatar.scale.double().clamp(min=tiny).log(), avatar.rotation, avatar.offset,
    )
    rows = torch.cat([column.float() for column in columns], -1).numpy().astype("<f4")
    rest = [*avatar.neutral_transforms.flatten(), *avatar.betas, avatar.visible_ratio, avatar.has_head]
    text = base64.b64encode(np.array(rest, "<f4").tobytes()).decode()
    header = [
        "ply", "format binary_little_endian 1.0",
        *(COMMENT + text[at : at + 96] for at in range(0, len(text), 96)),
        f"element vertex {len(avatar)}", *(f"property float {name}" for name in PROPERTIES), "end_header\n",
    ]
    path.write_bytes("\n".join(header).encode() + rows.tobytes())


def read_ply(path: Path) -> dict:
    """The items of an `Avatar` by name; those that the file does not hold are 0.

    View-dependent colour (`f_rest_*`) is left out. Raises CheckpointError.
    """
    with path.open("rb") as file:
        kind, comments, count = _header(file, path.name)
        if path.stat().st_size - file.tell() < count * kind.itemsize:
            raise CheckpointError(f"{path.name} is cut off: it holds fewer than its {count} gaussians.")
        data = file.read(count * kind.itemsize)
    rows = np.frombuffer(data, kind)

    def columns(*names: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([rows[name].astype(np.float64) for name in names], -1))

    xyz = columns(*POSITION)
    offset = columns(*OFFSET) if set(OFFSET) <= set(kind.names) else torch.zeros_like(xyz)
    rotation = columns(*ROTATION)
    length = rotation.norm(dim=-1, keepdim=True)
    off = ((length - 1).abs() > 1e-6) & (length > 0)
    items = {
        "offset": offset,
        "points": xyz - offset,  # the position is what editors change
        "rgb": (0.5 + SH_0 * columns(*COLOUR)).clamp(0, 1),
        "opacity": columns("opacity").sigmoid(),
        "scale": columns(*SCALE).exp(),
        "rotation": torch.where(off, rotation / length, rotation),
    }
    return {**{name: tensor.float() for name, tensor in items.items()}, **_rest(comments, path.name)}


def _rest(comments: str, name: str) -> dict:
    if not comments:
        return {"neutral_transforms": torch.zeros(55, 4, 4), "betas": torch.zeros(10)}
    try:
        values = np.frombuffer(base64.b64decode(comments, validate=True), "<f4")
        transforms, betas, visible_ratio, has_head = np.split(values, [880, 890, 891])
        return {
            "neutral_transforms": torch.from_numpy(transforms.reshape(55, 4, 4).astype(np.float32)),
            "betas": torch.from_numpy(betas.astype(np.float32)),
            "visible_ratio": float(visible_ratio.item()),
            "has_head": int(has_head.item()),
        }
    except (binascii.Error, ValueError, OverflowError) as error:
        raise CheckpointError(f"{name}: the comments that hold the avatar's pose and shape are damaged.") from error


def _header(file, name: str) -> tuple[np.dtype, str, int]:
    """The type of a vertex, what our comments say, and the number of vertices; leaves `file` at the first of them."""
    lines = []
    while not lines or lines[-1] != "end_header":
        line = file.readline(1024)
        if not line or len(lines) > 1000 or (not lines and line.strip() != b"ply"):
            raise CheckpointError(f"{name} is not a whole ply file: its header has no {'end' if lines else 'start'}.")
        lines.append(line.decode("ascii", "replace").strip())
    if "format binary_little_endian 1.0" not in lines:
        raise CheckpointError(f"{name} is not a binary little-endian ply: save it as that.")
    if any(line.startswith("element chunk ") for line in lines):
        raise CheckpointError(f"{name} is SuperSplat's compressed ply: export it there as a plain, uncompressed .ply.")
    elements = [at for at, line in enumerate(lines) if line.startswith("element ")] + [len(lines)]
    words = lines[elements[0]].split() if len(elements) > 1 else []
    if len(words) != 3 or words[1] != "vertex" or not (words[2].isdecimal() and len(words[2]) < 12):
        raise CheckpointError(f"{name}: its first element is not the vertices, so it holds no gaussians.")
    properties = [line.split()[1:] for line in lines[elements[0] + 1 : elements[1]] if line.startswith("property ")]
    for words_of in properties:
        if len(words_of) != 2 or words_of[0] not in TYPES:
            raise CheckpointError(f"{name}: the vertex property `{' '.join(words_of)}` is none that gaussians have.")
    names = [words_of[1] for words_of in properties]
    lacking = [p for p in (*POSITION, *COLOUR, "opacity", *SCALE, *ROTATION) if p not in names]
    if lacking or len(set(names)) < len(names):
        what = f"no property {lacking[0]}" if lacking else "a property twice"
        raise CheckpointError(f"{name}: its vertices have {what}, so they are not gaussians.")
    comments = "".join(line.removeprefix(COMMENT) for line in lines if line.startswith(COMMENT))
    return np.dtype([(words_of[1], TYPES[words_of[0]]) for words_of in properties]), comments, int(words[2])
