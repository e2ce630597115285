"""Checkpoint folders that are whole or not there at all, whenever the process ends."""

import json
import os
import shutil
from pathlib import Path

from ..files.digest import content
from ..files.whole import PART, remove

LIST, PROGRESS, DAMAGED = "content.json", "progress.json", ".damaged"


def folder_of(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"step-{step:08d}"


def whole(checkpoints: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    return sorted(path for path in checkpoints.glob("step-*") if path.suffix not in (PART, DAMAGED))


def fault(checkpoint: Path) -> str | None:
    """What became of a file of it since it was published; None if all are as they were."""
    if not is_listed(checkpoint):
        return None if (checkpoint / PROGRESS).is_file() else f"{PROGRESS} is missing"
    try:
        for name, digest in json.loads((checkpoint / LIST).read_text(encoding="utf-8")).items():
            if not (checkpoint / name).is_file():
                return f"{name} is missing"
            if content(checkpoint / name) != digest:
                return f"{name} is damaged"
    except (OSError, ValueError, AttributeError) as error:
        return f"{LIST} cannot be read: {' '.join(str(error).split())[:100]}"
    return None


def is_listed(checkpoint: Path) -> bool:
    """Whether `fault` knows what its files held; those of earlier versions came without."""
    return (checkpoint / LIST).is_file()


def set_aside(checkpoint: Path) -> Path:
    """Rename a damaged one, so that it is neither gone on from nor counted; where it is now."""
    aside = checkpoint.with_name(checkpoint.name + DAMAGED)
    remove(aside)
    os.replace(checkpoint, aside)
    return aside


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
    """Give the folder `part` its name, once all it holds is on the disk and listed with its content."""
    listed = {path.relative_to(part).as_posix(): content(path) for path in part.rglob("*") if path.is_file()}
    (part / LIST).write_text(json.dumps(listed, indent=1), encoding="utf-8")
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
