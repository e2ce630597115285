"""Files and folders that get their names when they are whole, so that neither a kill nor a full disk leaves half."""

import errno
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if os.name == "nt":
    import msvcrt
else:
    import fcntl

PART = ".part"  # ends the name of what is not whole yet
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_PROBE = 1 << 20  # bytes; a disk is called full when it does not take so many more


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Where to write the file or folder that shall be `path`: it gets that name when the block ends without an error.

    The folder above is made. A file takes the place of one that is there; a folder must be new, or empty. Raises
    OSError, a sentence, where there is no room or nothing may be written; other errors of the block are passed on.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PART}")
    with writing(path, part):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            if part.is_dir() and path.is_dir():
                path.rmdir()  # Windows replaces no folder, others none that holds anything
            os.replace(part, path)
        except BaseException as error:
            if not isinstance(error, OSError):
                _unhide(error, part)
            raise
        finally:
            remove(part)


@contextmanager
def alone(lock: Path, patient: bool = True) -> Iterator[None]:
    """Waits until no other process or thread is in a block of the same lock file; the dead hold none.

    patient: if not, raises BlockingIOError instead of waiting.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        _lock(file, patient)
        yield


@contextmanager
def if_possible(otherwise: str) -> Iterator[None]:
    """Keep something for later; where it cannot be written, as in a container's read-only folder, a warning says what
    follows, and the work goes on."""
    try:
        yield
    except OSError as error:
        logging.getLogger(__name__).warning("%s: %s", otherwise, error)


@contextmanager
def writing(path: Path, part: Path) -> Iterator[None]:
    """Says in a sentence why `path`, which is written as `part`, cannot be."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OSError(f"{path} was not written: there is no room left for it in {path.parent}.") from error
        named = Path(error.filename or part)  # of what the block reads, the error says enough
        if error.errno in _CLOSED and (part in (named, *named.parents) or named in path.parents):
            raise OSError(f"{path} was not written: {path.parent} may not be written to.") from error
        raise


def remove(path: Path) -> None:
    """A file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _lock(file: BinaryIO, patient: bool) -> None:
    """Lock a file until it is closed."""
    if os.name != "nt":
        fcntl.flock(file, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        return
    while True:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if patient else msvcrt.LK_NBLCK, 1)
            return
        except OSError as error:  # after ten seconds; others may be at work for longer
            if not patient:
                raise BlockingIOError(str(error)) from error


def _unhide(error: BaseException, part: Path) -> None:
    """Raise the system's error where a library has put its own in its place: safetensors names it, torch does not."""
    if told := re.search(r"\(os error (\d+)\)", str(error)):
        raise OSError(int(told[1]), str(error)) from error
    if part.is_file():
        with part.open("ab") as file:
            file.write(bytes(_PROBE))
