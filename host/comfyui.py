"""The ComfyUI of this machine: its folder, its version, and what it is started with."""

from __future__ import annotations

import os
import re
from pathlib import Path

PACK = Path(__file__).resolve().parents[1]
FLOOR = "0.30.0"  # the oldest ComfyUI that the tests run; pyproject.toml and README say the same
UNKNOWN = "of unknown version"


class ServerError(RuntimeError):
    """ComfyUI could not be found or did not start; the message says why."""


def find_comfyui() -> Path | None:
    """The folder holding ComfyUI's `main.py`: `COMFYUI_DIR`, `.comfyui/ComfyUI` beside the pack, or the one around it.

    Raises ServerError when `COMFYUI_DIR` names a folder that is no ComfyUI.
    """
    named = os.environ.get("COMFYUI_DIR")
    if named:
        if not _is_comfyui(Path(named)):
            raise ServerError(f"COMFYUI_DIR names {named}, which holds no ComfyUI (no main.py with a comfy folder).")
        return Path(named).resolve()
    # The unresolved path too: a pack linked into custom_nodes belongs to the ComfyUI around the link.
    around = [*PACK.parents, *Path(os.path.abspath(__file__)).parents]
    return next((folder for folder in [PACK / ".comfyui" / "ComfyUI", *around] if _is_comfyui(folder)), None)


def pack_base(comfy_dir: Path) -> Path | None:
    """The base directory to start `comfy_dir` with: None when the pack is installed in it, else `.comfyui/base`."""
    base = PACK / ".comfyui" / "base"
    installed = any(folder.resolve() == PACK for folder in (comfy_dir / "custom_nodes").glob("*"))
    return base if base.is_dir() and not installed else None


def comfyui_version(comfy_dir: Path) -> str:
    """The version in `comfyui_version.py`, or `UNKNOWN`."""
    try:
        text = (comfy_dir / "comfyui_version.py").read_text(encoding="utf-8")
    except FileNotFoundError:
        return UNKNOWN
    return text.partition('__version__ = "')[2].partition('"')[0] or UNKNOWN


def too_old(version: str) -> str:
    """What a user of a ComfyUI below `FLOOR`, or of an unknown version, is told; empty where it is new enough."""
    if _numbers(version) >= _numbers(FLOOR):
        return ""
    return f"This ComfyUI is {version}, Crafters needs {FLOOR} or newer: update ComfyUI."


def check_version() -> None:
    """Inside ComfyUI: raises ServerError with one sentence where it is older than `FLOOR`."""
    try:
        from comfyui_version import __version__ as version
    except ImportError:  # ComfyUI's first versions did not say
        version = UNKNOWN
    if told := too_old(version):
        raise ServerError(told)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy" / "cli_args.py").is_file()
