"""The ComfyUIs that a batch works with: each makes one job at a time."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..files.digest import content
from ..host.comfyui import ServerError, find_comfyui, pack_base
from .batch_jobs import File, Task
from .client import ComfyClient, ComfyError, LostError, OnProgress, output_files
from .run import at_node, title, upload_files
from .server import ComfyServer

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Patience:
    """Seconds: `silence` without any sign of life from a server, `stall` without a step of a job that has begun."""

    silence: float
    stall: float


@dataclass(frozen=True)
class Made:
    """What a job gave: names of files, and what its nodes said, by their titles."""

    files: list[str]
    notes: dict[str, str]


class Worker(Protocol):
    """Who makes jobs. Raises LostError where it cannot, for no fault of a job, and ComfyError where it is the job's."""

    name: str

    async def ready(self) -> None:
        """Raises LostError while it can make nothing."""

    async def make(self, task: Task, folder: Path, on_step: OnProgress) -> Made:
        """Write what the job gives into `folder`, which is empty. on_step(title of a node, step, steps)."""

    async def close(self) -> None: ...


class Server:
    """A ComfyUI that runs already."""

    def __init__(self, url: str, patience: Patience):
        self.name, self.patience = url, patience
        self._client: ComfyClient | None = None
        self._uploaded: dict[str, str] = {}  # name on the server by digest of the content

    async def ready(self) -> None:
        if self._client is None:
            self._client = await self._connect(self.name)
        await self._client.check()

    async def make(self, task: Task, folder: Path, on_step: OnProgress) -> Made:
        digests, notes = dict(task.files.values()), {}
        paths = {place: path for place, (path, _) in task.files.items()}

        async def upload(path: Path) -> str:
            digest = digests[path]
            if digest not in self._uploaded:
                check_unchanged((path, digest))
                self._uploaded[digest] = await self._client.upload(path, f"{path.stem}-{digest[:8]}{path.suffix}")
            return self._uploaded[digest]

        try:
            await upload_files(self._client, task.prompt, paths, upload)
            outputs = await self._run(task, on_step, notes)
            files = [(await self._client.download(file, folder)).name for file in output_files(outputs)]
        except ComfyError as error:
            self._uploaded.clear()  # its input folder may be another by now
            if isinstance(error, LostError):
                raise
            raise ComfyError(at_node(error, task.prompt)) from error
        if not files:
            raise ComfyError("The workflow gave no file: has it a node that saves?")
        return Made(files, {title(task.prompt, node_id): text for node_id, text in notes.items()})

    async def close(self) -> None:
        if self._client:
            await self._client.__aexit__()
            self._client = None

    async def _connect(self, url: str) -> ComfyClient:
        self._uploaded.clear()
        return await ComfyClient(url, self.patience.silence).__aenter__()

    async def _run(self, task: Task, on_step: OnProgress, notes: dict[str, str]) -> dict:
        clock = asyncio.get_running_loop().time
        heard = None  # of the job itself: before it begins it may wait for other people's

        def step(node_id: str, value: float, maximum: float) -> None:
            nonlocal heard
            heard = clock()
            on_step(title(task.prompt, node_id), value, maximum)

        run = asyncio.create_task(self._client.queue(task.prompt, step, on_note=notes.__setitem__))
        try:
            while not run.done():
                await asyncio.wait([run], timeout=LOOK_SECONDS)
                self._check()
                if heard is not None and clock() > heard + self.patience.stall and not run.done():
                    raise LostError(f"{self.name} has not made a step for {self.patience.stall:.0f} s.")
            return run.result()
        finally:
            run.cancel()  # which interrupts it there
            await asyncio.gather(run, return_exceptions=True)

    def _check(self) -> None:
        """Raises LostError where it is known at once that the server has ended."""


class OwnServer(Server):
    """A ComfyUI of this machine, started here, and again when it is lost. Raises ServerError if it does not start."""

    def __init__(self, patience: Patience, name: str = "this machine"):
        super().__init__(name, patience)
        self._running = contextlib.ExitStack()
        self._comfy: ComfyServer | None = None
        self.start()

    def start(self) -> None:
        from ..host.folders import models_root

        comfy_dir = find_comfyui()
        if comfy_dir is None:
            raise ServerError("no ComfyUI was found on this machine: set COMFYUI_DIR to its folder.")
        with contextlib.ExitStack() as stack:
            # A ComfyUI empties its temporary folder when it starts: one beside it needs another.
            temporary = tempfile.TemporaryDirectory(prefix="crafters-batch-", ignore_cleanup_errors=True)
            extra = ["--temp-directory", stack.enter_context(temporary)]
            self._comfy = stack.enter_context(ComfyServer(comfy_dir, pack_base(comfy_dir), extra, models=models_root()))
            self._running = stack.pop_all()

    def stop(self) -> None:
        self._comfy = None
        with contextlib.suppress(ServerError):  # it has ended before
            self._running.close()

    async def ready(self) -> None:
        if self._comfy is None:
            try:
                self.start()
            except ServerError as error:
                raise LostError(_first_line(error)) from error
        self._check()
        if self._client is None:
            self._client = await self._connect(self._comfy.url)
        await self._client.check()

    async def make(self, task: Task, folder: Path, on_step: OnProgress) -> Made:
        try:
            return await super().make(task, folder, on_step)
        except LostError:
            await self.close()
            raise

    async def close(self) -> None:
        await super().close()
        self.stop()

    def _check(self) -> None:
        try:
            self._comfy.check()
        except ServerError as error:
            self.stop()
            raise LostError(_first_line(error)) from error


def check_unchanged(file: File) -> None:
    """Raises ComfyError for a file that is not what the job's record will say it was made of."""
    path, digest = file
    try:
        if content(path) == digest:
            return
    except OSError as error:
        raise ComfyError(f"{path} cannot be read any more ({error.strerror}).") from error
    raise ComfyError(f"{path} has changed since the batch began: start it again.")


def _first_line(error: ServerError) -> str:
    return str(error).partition("\n")[0].rstrip(":") + "."
