"""A batch on a Ray cluster: an actor with a ComfyUI for each GPU. Files travel through Ray's object store."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..files.bounded import brief
from ..files.names import inside, plain
from ..files.whole import whole
from ..host.comfyui import ServerError
from ..host.prompt import UsageError
from .batch_jobs import Task
from .batch_servers import LOOK_SECONDS, Made, OwnServer, Patience, check_unchanged
from .client import ComfyError, LostError, OnProgress

HELD = 64  # files that this process keeps in the object store for the jobs to come


class Actor:
    """A worker on a node of the cluster. Ray starts it again, there or elsewhere, when its process or node is lost."""

    def __init__(self, patience: Patience):
        self._patience, self._server, self._step = patience, None, None
        self._scratch = tempfile.TemporaryDirectory(prefix="crafters-batch-", ignore_cleanup_errors=True)

    async def ready(self) -> None:
        if self._server is None:
            self._server = OwnServer(self._patience)
        await self._server.ready()

    async def make(self, task: Task, refs: dict[str, Any]) -> tuple[Made, list[bytes]]:
        """refs: by digest, what Ray holds of the task's files."""
        files = {place: (await self._fetched(path.name, digest, refs[digest]), digest)
                 for place, (path, digest) in task.files.items()}
        with tempfile.TemporaryDirectory(dir=self._scratch.name) as folder:
            made = await self._server.make(Task(task.name, task.prompt, files), Path(folder), self._on_step)
            return made, [(Path(folder) / file).read_bytes() for file in made.files]

    async def step(self) -> tuple[str, float, float] | None:
        """What it is at: `on_step`'s arguments."""
        return self._step

    def _on_step(self, *step: Any) -> None:
        self._step = step

    async def _fetched(self, name: str, digest: str, ref: Any) -> Path:
        path = Path(self._scratch.name) / digest / name
        if not path.exists():
            data = await ref
            with whole(path) as part:
                part.write_bytes(data)
        return path


class RayWorker:
    """An actor, as the batch sees it."""

    def __init__(self, cluster: Cluster, actor: Any, name: str):
        self.name, self._cluster, self._actor = name, cluster, actor

    async def ready(self) -> None:
        await self._answer(self._actor.ready.remote())

    async def make(self, task: Task, folder: Path, on_step: OnProgress) -> Made:
        refs = {file[1]: self._cluster.put(file) for file in task.files.values()}
        call = asyncio.create_task(self._answer(self._actor.make.remote(task, refs)))
        try:
            told = None
            while not (await asyncio.wait([call], timeout=LOOK_SECONDS))[0]:
                looking = asyncio.create_task(self._answer(self._actor.step.remote()))
                await asyncio.wait([call, looking], return_when=asyncio.FIRST_COMPLETED)
                if looking.done() and not looking.exception() and (step := looking.result()) not in (None, told):
                    on_step(*(told := step))
                looking.cancel()
            made, contents = call.result()
        finally:
            call.cancel()
        for file, data in zip(made.files, contents, strict=True):
            inside(folder, plain(file)).write_bytes(data)
        return made

    async def close(self) -> None:
        self._cluster.ray.kill(self._actor)

    async def _answer(self, ref: Any) -> Any:
        errors = self._cluster.ray.exceptions
        try:
            return await ref
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, (LostError, ServerError)):
                raise LostError(str(cause)) from error
            raise ComfyError(str(cause)) from error
        except errors.RayError as error:
            raise LostError(f"{self.name} is lost: {str(error).partition(chr(10))[0]}") from error


class Cluster:
    """A Ray cluster of which this machine is a part. Raises UsageError if Ray is not installed, or not reached.

    address: `auto`, `local` for one of this machine only, or HOST:PORT.
    """

    def __init__(self, address: str):
        try:
            import ray
        except ImportError as error:
            raise UsageError("--ray needs Ray: pip install 'crafters[cluster]'.") from error
        if "://" in address:
            raise UsageError("--ray is for a machine of the cluster: from outside, send it with `ray job submit`.")
        try:
            host, _, port = address.rpartition(":")
            if host:  # ray.init would try for minutes
                socket.create_connection((host, int(port)), 10).close()
            ray.init(address=address, log_to_driver=False, logging_level="WARNING")
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(f"No Ray cluster is reached at {address}: {brief(error)}.") from error
        self.ray = ray
        self._put = lru_cache(HELD)(lambda path, digest: ray.put(path.read_bytes()))

    def put(self, file: tuple[Path, str]) -> Any:
        """A file's content in the object store, once."""
        check_unchanged(file)
        return self._put(*file)

    def workers(self, count: int | None, patience: Patience) -> list[RayWorker]:
        """count: so many, each with a GPU, which an autoscaler may still have to bring; by default as many as there are
        GPUs, or nodes where there are none."""
        gpus = int(self.ray.cluster_resources().get("GPU", 0))
        nodes = [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        needs = {"num_gpus": 1} if gpus or count else {"num_cpus": 1}
        # No retries of a call: its job goes to another worker at once, where Ray would wait for this one's restart.
        actor = self.ray.remote(**needs, max_restarts=-1, scheduling_strategy="SPREAD")(Actor)
        numbers = range(1, (count or gpus or len(nodes)) + 1)
        return [RayWorker(self, actor.remote(patience), f"ray {number}") for number in numbers]

    def close(self) -> None:
        self.ray.shutdown()
