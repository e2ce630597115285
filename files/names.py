"""Names that a graph, a client or a server gives: what they lead to lies in the folder they are meant for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_LONGEST = 150  # bytes of a part: numbers and endings are put to it, and file systems take 255
_SIGNS = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')  # on Windows ':' is a drive's, or a stream's
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # on Windows, whatever their ending


def inside(root: Path, name: str, suffixes: Iterable[str] = ()) -> Path:
    """The path of `name` below `root`, which may itself be a link; neither need be there.

    Forward and backward slashes part folders. suffixes: what the name must end in, if any. Raises ValueError with a
    sentence for a name that leads elsewhere (also through a link), that is none, or that not every system takes.
    """
    parts, endings = str(name).replace("\\", "/").removesuffix("/").split("/"), tuple(suffixes)
    for part in parts:
        _check_part(part, name)
    if endings and not parts[-1].lower().endswith(endings):
        raise ValueError(f"{_told(name)} does not end in {' or '.join(endings)}: give it that ending.")
    home = Path(root).resolve()
    found = home.joinpath(*parts).resolve()
    if not found.is_relative_to(home) or found == home:
        raise ValueError(f"{_told(name)} is a link that leads out of the folder {home.name}: choose another name.")
    return found


def plain(name: str) -> str:
    """`name`, which must be one of a file by itself, without folders. Raises ValueError with a sentence."""
    if re.search(r"[/\\]", str(name)):
        raise ValueError(f"{_told(name)} names folders: give a plain name, as in anna_mug.")
    _check_part(str(name), name)
    return name


def _check_part(part: str, name: str) -> None:
    if not part.strip(". "):
        fault = "leads elsewhere" if part.strip() else "has an empty part"
    elif part.startswith("~") or _SIGNS.search(part):
        fault = "has signs that names of files cannot have"
    elif part != part.strip() or part.endswith(".") or _DEVICES.match(part):
        fault = "is no name on Windows"
    elif len(part.encode("utf-8", "replace")) > _LONGEST:
        fault = "is too long"
    else:
        return
    raise ValueError(f"{_told(name)} {fault}: give a plain name, or one below a folder, as in mine/first.")


def _told(name: str) -> str:
    return repr(name) if len(str(name)) <= 60 else f"{str(name)[:60]!r}…"
