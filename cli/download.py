"""`crafters download`: weights from the Hugging Face hub, resumed, checked, never half a file in place."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ..files.bounded import brief
from ..host.folders import folders
from ..host.prompt import UsageError
from ..host.weights import CATALOGUE, WeightFile, WeightSet, describe_size, named

_ANSWERS = {  # of the hub, by their status
    401: "{repo} is private or gone, or HF_TOKEN is wrong (401): look at {page}.",
    403: "{repo} asks for permission (403): accept its licence at {page}, make a read token in the settings of your "
    "account there, and run again with HF_TOKEN=… set.",
    404: "{file} is not in {repo} (404): it may have been moved, look at {page}.",
}


class DownloadError(RuntimeError):
    """A file that could not be fetched; the message says what to do."""


def register(commands) -> None:
    """Add `download` to the sub-commands of `crafters`."""
    names = ", ".join(f"{weights.name} ({describe_size(weights.size)})" for weights in CATALOGUE)
    fetch = commands.add_parser("download", help="fetch weights", description=f"Weights: {names}.")
    fetch.add_argument("names", nargs="+", metavar="NAME")
    fetch.add_argument("--models", type=Path, metavar="DIR", help="model folder; default: ComfyUI's")
    fetch.set_defaults(command=_named)


def _named(args: argparse.Namespace) -> int:
    if unknown := [name for name in args.names if named(name) is None]:
        known = ", ".join(weights.name for weights in CATALOGUE)
        raise UsageError(f"no weights are called {unknown[0]!r}; there are {known}.")
    for name in args.names:
        download(named(name), print, args.models)
    return 0


def download(weights: WeightSet, report: Callable[[str], None], root: Path | None = None) -> None:
    """Fetch the files of a set into the model folders under `root` (default: ComfyUI's, see `folders.models_root`).

    `report` gets one line per file. A file already there is checked and kept; what an earlier call left of one is gone
    on from. Raises DownloadError, or OSError of the disk.
    """
    for file in weights.files:
        report(_fetch(file, root))


def _fetch(file: WeightFile, root: Path | None) -> str:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get  # resumes, where hf_hub_download begins each call anew
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(file.repo, file.file)
    with _explained(file):
        stated = get_hf_file_metadata(url)
    if stated.size is None or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", stated.etag or ""):
        raise DownloadError(f"{constants.ENDPOINT} states no size and checksum for {file.file} of {file.repo}.")
    places = [folder / file.name for folder in folders(file.kind, root)]
    if place := next((place for place in places if place.exists()), None):
        if fault := _difference(place, stated.size, stated.etag):
            raise DownloadError(f"{place} {fault}: move it away or delete it, then run the command again.")
        return f"{place}: already there, verified"
    target = places[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Named after the content, so that parts of another version are never joined to it.
    partial = target.with_name(f"{target.name}.{stated.etag[:12]}.partial")
    free, needed = shutil.disk_usage(target.parent).free, stated.size - (partial.exists() and partial.stat().st_size)
    if free < needed:
        raise DownloadError(f"{target.parent} has {describe_size(free)} free, {describe_size(needed)} are needed.")
    with _explained(file), partial.open("ab") as out:
        if out.tell() > stated.size:  # of a server that sent more than it states
            out.truncate(out.seek(0))
        http_get(url, out, resume_size=out.tell(), headers=build_hf_headers(), expected_size=stated.size)
    if fault := _difference(partial, stated.size, stated.etag):
        partial.unlink()
        raise DownloadError(f"{file.file} arrived corrupted (it {fault}) and was removed: run the command again.")
    partial.replace(target)
    return f"{target}: {describe_size(stated.size)}, verified"


def _difference(path: Path, size: int, stated: str) -> str | None:
    """How a file is not the hub's; stated: its SHA-256, or git's SHA-1 for small text files."""
    from ..files.digest import checksum

    if path.stat().st_size != size:
        return f"has {path.stat().st_size} bytes, the hub states {size}"
    kind, start = ("sha256", b"") if len(stated) == 64 else ("sha1", b"blob %d\0" % size)
    words = {"total": size, "desc": f"checking {path.name}", "leave": False, "disable": None}
    with path.open("rb") as file, tqdm.wrapattr(file, "read", **words) as watched:
        found = checksum(watched, kind, start)
    return None if found == stated else f"has {kind.upper()} {found[:12]}…, the hub states {stated[:12]}…"


@contextmanager
def _explained(file: WeightFile) -> Iterator[None]:
    """What goes wrong with the hub is a DownloadError that says what to do; errors of the disk stay what they are."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    hub = constants.ENDPOINT
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise DownloadError("HF_HUB_OFFLINE is set: unset it to download weights.") from error
    except HfHubHTTPError as error:
        status = 403 if isinstance(error, GatedRepoError) else error.response.status_code
        answer = _ANSWERS.get(status, "{hub} answered {status} for {file}: run the command again later.")
        words = {"repo": file.repo, "file": file.file, "page": f"{hub}/{file.repo}", "hub": hub, "status": status}
        raise DownloadError(answer.format(**words)) from error
    except (HTTPError, OSError) as error:  # a lost connection is one of the two, by the library's version
        if getattr(error, "errno", None):
            raise
        raise DownloadError(
            f"{file.file} did not arrive from {hub} ({brief(error)}): check the network, or set HF_ENDPOINT to a "
            "mirror that you can reach, and run the command again; what has arrived is kept and resumed."
        ) from error
