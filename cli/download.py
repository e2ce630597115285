"""`crafters download`: weights from the Hugging Face hub, resumed, checked, never half a file in place."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from tqdm import tqdm
from yarl import URL

from ..host.folders import folders
from ..host.prompt import UsageError
from ..host.weights import CATALOGUE, WeightFile, WeightSet, describe_size, named

RETRIES = 5
RETRY_SECONDS = 2.0
_CHUNK = 1 << 20


class DownloadError(RuntimeError):
    """A file that could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class _Stated:
    """What the hub states of a file: its size, its checksum (SHA-256, or git's SHA-1 for small text files)."""

    size: int
    checksum: str

    def check(self, path: Path) -> str | None:
        """None when the file at `path` is the hub's, else how it differs."""
        size = path.stat().st_size
        if size != self.size:
            return f"has {size} bytes, the hub states {self.size}"
        name, start = ("sha256", b"") if len(self.checksum) == 64 else ("sha1", b"blob %d\0" % size)
        found = hashlib.new(name, start, usedforsecurity=False)
        with path.open("rb") as file, _bar(path.name, size, "checking") as bar:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
                bar.update(len(chunk))
        if found.hexdigest() != self.checksum:
            return f"has {name.upper()} {found.hexdigest()[:12]}…, the hub states {self.checksum[:12]}…"
        return None


def register(commands) -> None:
    """Add `download` to the sub-commands of `crafters`."""
    names = ", ".join(f"{weights.name} ({describe_size(weights.size)})" for weights in CATALOGUE)
    fetch = commands.add_parser("download", help="fetch weights", description=f"Weights: {names}.")
    fetch.add_argument("names", nargs="+", metavar="NAME")
    fetch.add_argument("--models", type=Path, metavar="DIR", help="model folder; default: ComfyUI's")
    fetch.set_defaults(command=_named)


def _named(args: argparse.Namespace) -> int:
    unknown = [name for name in args.names if named(name) is None]
    if unknown:
        known = ", ".join(weights.name for weights in CATALOGUE)
        raise UsageError(f"no weights are called {unknown[0]!r}; there are {known}.")
    for name in args.names:
        download(named(name), print, args.models)
    return 0


def download(weights: WeightSet, report: Callable[[str], None], root: Path | None = None) -> None:
    """Fetch the files of a set into the model folders under `root` (default: ComfyUI's, see `files.models_root`).

    `report` gets one line per file. A file already there is checked and kept. A partial file of an earlier call is
    resumed. `HF_ENDPOINT` and `HF_TOKEN` are read now, not at import. Raises DownloadError.
    """
    asyncio.run(_download(weights, report, root))


async def _download(weights: WeightSet, report: Callable[[str], None], root: Path | None) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() not in ("", "0", "false", "no"):
        raise DownloadError("HF_HUB_OFFLINE is set: unset it to download weights.")
    headers = {"User-Agent": "crafters", "Accept-Encoding": "identity"}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, trust_env=True) as session:
        for file in weights.files:
            report(await _fetch(session, file, root))


async def _fetch(session: aiohttp.ClientSession, file: WeightFile, root: Path | None) -> str:
    stated = await _ask(session, file)
    places = [folder / file.name for folder in folders(file.kind, root)]
    for place in places:
        if place.exists():
            difference = stated.check(place)
            if difference:
                raise DownloadError(f"{place} {difference}: move it away or delete it, then run the command again.")
            return f"{place}: already there, verified"
    target = places[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Named after the content, so that parts of another version are never joined to it.
    partial = target.with_name(f"{target.name}.{stated.checksum[:12]}.partial")
    _check_space(target.parent, stated.size - (partial.stat().st_size if partial.exists() else 0))
    try:
        await _transfer(session, file, partial, stated.size)
    except DownloadError:
        if not partial.stat().st_size:  # nothing to go on from
            partial.unlink()
        raise
    difference = stated.check(partial)
    if difference:
        partial.unlink()
        raise DownloadError(f"{file.file} arrived corrupted (it {difference}) and was removed: run the command again.")
    os.replace(partial, target)
    return f"{target}: {describe_size(stated.size)}, verified"


async def _ask(session: aiohttp.ClientSession, file: WeightFile) -> _Stated:
    url = _url(file)
    try:
        for _ in range(5):
            async with session.head(url, headers=_token(url), allow_redirects=False) as response:
                _refuse(response, file)
                etag = response.headers.get("X-Linked-Etag") or response.headers.get("ETag") or ""
                size = response.headers.get("X-Linked-Size")
                if response.status < 300:
                    size = size or response.headers.get("Content-Length")
                checksum = etag.removeprefix("W/").strip('"')
                if (size or "").isdecimal() and re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", checksum):
                    return _Stated(int(size), checksum)
                if response.status < 300 or "Location" not in response.headers:
                    break
                url = str(response.url.join(URL(response.headers["Location"])))
    except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError) as error:
        raise _unreachable(error) from error
    raise DownloadError(f"{_endpoint()} states no size and checksum for {file.file} of {file.repo}: is it a hub?")


async def _transfer(session: aiohttp.ClientSession, file: WeightFile, partial: Path, size: int) -> None:
    """Fill `partial` up to `size` bytes, from where it ends; goes on after a broken connection."""
    tries = 0
    with _bar(file.file, size) as bar, partial.open("ab") as out:
        if out.tell() > size:
            out.truncate(0)
            out.seek(0)
        bar.update(out.tell())
        while out.tell() < size:
            start = out.tell()
            try:
                headers = {**_token(_url(file)), **({"Range": f"bytes={start}-"} if start else {})}
                async with session.get(_url(file), headers=headers) as response:
                    _refuse(response, file)
                    if start and response.status != 206:  # the server sends it all again
                        out.truncate(0)
                        out.seek(0)
                        bar.reset()
                    async for chunk in response.content.iter_chunked(_CHUNK):
                        if out.tell() + len(chunk) > size:
                            out.truncate(0)
                            raise DownloadError(
                                f"{_endpoint()} sends more of {file.file} than the {size} bytes it states: what came "
                                "was removed; run the command again, or look at what HF_ENDPOINT names."
                            )
                        out.write(chunk)
                        bar.update(len(chunk))
            except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError) as error:
                tries = tries + 1 if out.tell() <= start else 1
                if tries > RETRIES:
                    raise _unreachable(error) from error
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if out.tell() <= start:
                    raise DownloadError(f"{_endpoint()} ends {file.file} after {start} of {size} bytes.")


def _refuse(response: aiohttp.ClientResponse, file: WeightFile) -> None:
    """Raise the sentence for an error status."""
    status, code = response.status, response.headers.get("X-Error-Code", "")
    if status < 400:
        return
    page = f"{_endpoint()}/{file.repo}"
    if code == "GatedRepo" or status == 403:
        raise DownloadError(
            f"{file.repo} asks for permission ({status}): accept its licence at {page}, make a read token in the "
            "settings of your account there, and run again with HF_TOKEN=… set."
        )
    if status == 401:
        raise DownloadError(f"{file.repo} is private or gone, or HF_TOKEN is wrong (401): look at {page}.")
    if status == 404:
        raise DownloadError(f"{file.file} is not in {file.repo} (404): it may have been moved, look at {page}.")
    raise DownloadError(f"{_endpoint()} answered {status} for {file.file}: run the command again later.")


def _unreachable(error: Exception) -> DownloadError:
    reason = str(error) or type(error).__name__
    return DownloadError(
        f"No connection to {_endpoint()} ({reason}): check the network, or set HF_ENDPOINT to a mirror you can reach; "
        "what has arrived is kept and resumed."
    )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(f"{folder} has {describe_size(free)} free, {describe_size(needed)} are needed.")


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _url(file: WeightFile) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(file.repo, file.file, endpoint=_endpoint())


def _token(url: str) -> dict[str, str]:
    """The header with the user's token, for the hub itself and for no host it points to."""
    from huggingface_hub import get_token

    token = get_token() if URL(url).origin() == URL(_endpoint()).origin() else None
    return {"Authorization": f"Bearer {token}"} if token else {}


def _bar(name: str, size: int, action: str = "") -> tqdm:
    return tqdm(total=size, unit="B", unit_scale=True, desc=f"{action} {name}".strip(), leave=False, disable=None)
