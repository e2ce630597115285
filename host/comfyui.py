"""The ComfyUI of this machine: its folder, its version, and what it is started with."""

from __future__ import annotations

import os
from pathlib import Path

PACK = Path(__file__).resolve().parents[1]


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
    """The version in `comfyui_version.py`, or "unknown version"."""
    try:
        text = (comfy_dir / "comfyui_version.py").read_text(encoding="utf-8")
    except FileNotFoundError:
        return "unknown version"
    return text.partition('__version__ = "')[2].partition('"')[0] or "unknown version"


def _is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy" / "cli_args.py").is_file()
