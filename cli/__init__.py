"""The command line: `crafters run | batch | prepare | animate | train | evaluate | …`, one file for each command."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from ..host.comfyui import ServerError
from . import animate, batch, convert, demo, demo_data, doctor, download, evaluate, prepare, run, train
from .client import ComfyError
from .download import DownloadError

_PACKAGE = __package__.rpartition(".")[0]
NO_PROOF = (
    "the demo and the trainers of its small networks are not in the package of ComfyUI's registry, for their weights: "
    "get the repository, https://github.com/crafters-video/crafters"
)
COMMANDS = (run, batch, doctor, download, convert, prepare, animate, demo_data, train, evaluate, demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """The `crafters` command. Returns 0, 1 for a failed run, 2 for a mistake in the call; argparse exits with 2."""
    args = _parser().parse_args(arguments)
    try:
        return args.command(args)
    except ValueError as error:  # of settings, data, weights; UsageError is one
        if os.environ.get("CRAFTERS_TRACEBACK"):
            raise
        return _fail(error, 2)
    except ModuleNotFoundError as error:
        if error.name != f"{_PACKAGE}.proof":
            raise
        return _fail(NO_PROOF, 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Exception as error:
        from ..models.chunks import OUT_OF_MEMORY, out_of_memory

        if _disk_is_full(error):
            return _fail(f"the disk is full ({error}): free some space and run the command again.", 1)
        if out_of_memory(error):
            return _fail(OUT_OF_MEMORY, 1)
        if isinstance(error, (ComfyError, DownloadError, ServerError, OSError)):
            return _fail(error, 1)
        raise


def _disk_is_full(error: Exception) -> bool:
    """torch and safetensors raise their own, in which the system's words are found."""
    told = getattr(error, "errno", None) in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
    return told or any(words in str(error) for words in (os.strerror(errno.ENOSPC), "file write failed"))


def _fail(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="crafters", description="AnchorCrafter and AniCrafter for ComfyUI.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.register(commands)
    return parser
