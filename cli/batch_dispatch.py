"""Which job goes to which worker, and what becomes of jobs that fail and of workers that are lost."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ..files.whole import remove
from ..host.prompt import Prompt
from .batch_jobs import Job
from .batch_page import write_poster
from .batch_results import Results, State
from .batch_servers import Worker
from .client import ComfyError, LostError

FAILURES = 2  # of a job, by its own error, after which it is set aside
LOSSES = 3  # of workers in the middle of a job, after which it is held to be the cause
BACKOFF = (1.0, 30.0)  # s between two attempts to reach a worker: the first, and at most


class NoWorkerError(ComfyError):
    """None of the servers can be reached any more."""


class Listener(Protocol):
    def tell(self, event: str, **data: object) -> None:
        """What happens: started, step, made, again, aside (of a job), lost and back (of a worker)."""


class Queue:
    """Jobs in an order in which neighbours share most, so that each worker gets one after the other.

    Who has none left takes the second half of the longest stretch of another.
    """

    def __init__(self, jobs: Sequence[Job]):
        self._untouched = deque(jobs)
        self._stretches: dict[str, deque[Job]] = {}  # by worker
        self._again: list[Job] = []
        self._tried: dict[str, set[str]] = {}  # workers by job

    def put_back(self, job: Job, worker: str) -> None:
        """To be made by another worker, if there is one."""
        self._tried.setdefault(job.name, set()).add(worker)
        self._again.append(job)

    def take(self, worker: str, others: set[str]) -> Job | None:
        """The next job for a worker; None where there is none for it now.

        others: workers that can be reached, to whom a job that failed here is left.
        """
        for job in self._again:
            if worker not in self._tried[job.name] or others <= self._tried[job.name]:
                self._again.remove(job)
                return job
        own = self._stretches.get(worker)
        if not own:
            if self._untouched:
                own, self._untouched = self._untouched, deque()
            else:
                longest = max(self._stretches.values(), key=len, default=deque())
                own = deque([longest.pop() for _ in range((len(longest) + 1) // 2)][::-1])
            self._stretches[worker] = own
        return own.popleft() if own else None


class Dispatch:
    """Makes jobs with workers. `states` says at any moment how far each one is."""

    def __init__(
        self, graph: Prompt, jobs: Sequence[Job], workers: Sequence[Worker], results: Results, listener: Listener,
        silence: float,
    ):
        """silence: seconds after which the batch ends if no worker can be reached."""
        self.graph, self.workers, self.results, self.listener, self.silence = graph, workers, results, listener, silence
        self.states = {job.name: State(job.name, seed=job.seed(graph)) for job in jobs}
        self._queue, self._left = Queue(jobs), len(jobs)
        self._failures: Counter[str] = Counter()
        self._losses: Counter[str] = Counter()
        self._reached: set[str] = set()
        self._lost: dict[str, str] = {}  # why, by worker
        self._all_lost: float | None = None  # when
        self._keeping: dict[str, asyncio.Task] = {}  # what is being written, by worker
        self._error: OSError | None = None  # from there

    async def run(self) -> None:
        """Until every job is made or set aside. Raises NoWorkerError, and OSError if nothing can be written here."""
        self._changed, self._over = asyncio.Condition(), asyncio.Event()
        tasks = [asyncio.create_task(self._serve(worker)) for worker in self.workers]
        tasks.append(asyncio.create_task(self._over.wait()))
        try:
            if self._left:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                if self._error:
                    raise self._error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, *self._keeping.values(), return_exceptions=True)
            await asyncio.gather(*(worker.close() for worker in self.workers), return_exceptions=True)

    async def _serve(self, worker: Worker) -> None:
        wait = BACKOFF[0]
        while True:
            try:
                if worker.name not in self._reached:
                    await worker.ready()
                    self._is_reached(worker)
                await self._make(worker, await self._next(worker))
                wait = BACKOFF[0]
            except LostError as error:
                await self._is_lost(worker, error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, BACKOFF[1], self.silence / 4)

    async def _next(self, worker: Worker) -> Job:
        async with self._changed:
            while (job := self._queue.take(worker.name, self._reached)) is None:
                await self._changed.wait()
            return job

    async def _make(self, worker: Worker, job: Job) -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        self.listener.tell("started", job=job.name, server=worker.name)

        def on_step(node: str, value: float, maximum: float) -> None:
            self.listener.tell("step", job=job.name, server=worker.name, node=node, value=value, maximum=maximum)

        folder = self.results.aside(job)
        try:
            made = await worker.make(job.task(self.graph), folder, on_step)
        except BaseException as error:
            remove(folder)
            if not isinstance(error, ComfyError):
                raise
            lost = isinstance(error, LostError)
            counts = self._losses if lost else self._failures
            counts[job.name] += 1
            await self._has_failed(worker, job, error, counts[job.name] == (LOSSES if lost else FAILURES))
            if lost:
                raise
            return
        state = replace(self.states[job.name], state="made", seconds=round(clock() - begun, 3), server=worker.name,
                        files=(*made.files,))
        if before := self._keeping.get(worker.name):
            await before  # disks may be slower than servers
        self._keeping[worker.name] = asyncio.create_task(self._keep(job, folder, state, made.notes))

    async def _keep(self, job: Job, folder: Path, state: State, notes: dict[str, str]) -> None:
        """Beside the worker, which need not wait for the disk."""
        try:
            await asyncio.to_thread(write_poster, folder, state.files)
            await asyncio.to_thread(self.results.keep, job, folder, state, notes)
        except OSError as error:
            self._error = error
            self._over.set()
        else:
            self._settle(state)
            self.listener.tell("made", job=job.name, server=state.server, seconds=state.seconds)

    async def _has_failed(self, worker: Worker, job: Job, error: ComfyError, for_good: bool) -> None:
        told = " ".join(error.message.split())
        self.listener.tell("aside" if for_good else "again", job=job.name, server=worker.name, error=told)
        if for_good:
            self._settle(replace(self.states[job.name], state="set aside", server=worker.name, error=told))
            return
        self._queue.put_back(job, worker.name)
        await self._tell_all()

    def _settle(self, state: State) -> None:
        self.states[state.name] = state
        self._left -= 1
        if not self._left:
            self._over.set()

    def _is_reached(self, worker: Worker) -> None:
        self._reached.add(worker.name)
        self._all_lost = None
        if self._lost.pop(worker.name, None):
            self.listener.tell("back", server=worker.name)

    async def _is_lost(self, worker: Worker, error: LostError) -> None:
        if worker.name not in self._lost:
            self.listener.tell("lost", server=worker.name, error=error.message)
        self._reached.discard(worker.name)
        self._lost[worker.name] = error.message
        if len(self._lost) == len(self.workers):
            now = asyncio.get_running_loop().time()
            self._all_lost = self._all_lost or now
            if now > self._all_lost + self.silence:
                raise NoWorkerError(" ".join(dict.fromkeys(self._lost.values())))
        await self._tell_all()

    async def _tell_all(self) -> None:
        """Those who wait for a job look again: it may be for them."""
        async with self._changed:
            self._changed.notify_all()
