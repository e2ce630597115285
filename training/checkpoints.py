"""Checkpoint folders that are whole or not there at all, whenever the process ends."""

import os
import shutil
from pathlib import Path

from ..models.whole import PART


def folder_of(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"step-{step:08d}"


def whole(checkpoints: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    return sorted(path for path in checkpoints.glob("step-*") if path.suffix != PART)


def part_of(target: Path) -> Path:
    """Where what shall become `target` is written."""
    return target.with_name(target.name + PART)


def begin(target: Path) -> Path:
    """`part_of(target)` as an empty folder."""
    part = part_of(target)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def publish(part: Path, target: Path) -> None:
    """Give the folder `part` its name, once all it holds is on the disk."""
    _sync(part)
    if target.exists():
        _remove(target)
    os.replace(part, target)
    _sync_entry(target.parent)


def publish_files(part: Path, target: Path) -> None:
    """Move the files of `part` into `target`, each replacing its namesake in one go."""
    _sync(part)
    for file in sorted(path for path in part.rglob("*") if path.is_file()):
        place = target / file.relative_to(part)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
        _sync_entry(place.parent)
    shutil.rmtree(part)


def prune(checkpoints: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and what an interrupted run left."""
    for path in whole(checkpoints)[:-keep]:
        _remove(path)
    for path in checkpoints.glob(f"*{PART}"):
        shutil.rmtree(path)


def _remove(folder: Path) -> None:
    # Renamed first: half a folder must not look like a checkpoint.
    part = folder.with_name(f"{folder.name}.old{PART}")
    os.replace(folder, part)
    shutil.rmtree(part)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync_entry(path)
    _sync_entry(folder)


def _sync_entry(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
