"""`crafters batch`: many videos, by a table of jobs, with one ComfyUI, several, or a Ray cluster."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..host.prompt import UsageError, read_prompt
from .batch_cluster import Cluster
from .batch_dispatch import Dispatch
from .batch_jobs import cross, ordered, read_jobs, read_table
from .batch_page import PAGE, write_page
from .batch_progress import Bars, Lines
from .batch_results import Results, State
from .batch_servers import OwnServer, Patience, Server, Worker
from .client import TIMEOUT
from .numbers import number
from .run import until_stopped

REPORT_SECONDS = 10.0  # between two writings of table and page, and not more often than each hundredth of the time


def register(commands) -> None:
    """Add `batch` to the sub-commands of `crafters`."""
    batch = commands.add_parser(
        "batch",
        help="run a workflow for every row of a table, on one server or many",
        description="Makes a video for every row of a table. It may be stopped, even killed, at any time: the same "
        "command goes on, and makes nothing again but what has changed.",
    )
    batch.add_argument(
        "files", nargs="+", type=Path, metavar="[JOBS] WORKFLOW",
        help="a .csv or .jsonl file whose columns are `name` and what --set takes (Anchor Sampler.seed); then an "
        "API-format workflow, e.g. workflows/api/AnchorCrafter.json",
    )
    batch.add_argument("--person-dir", type=Path, metavar="DIR", help="in place of a table: every photo in it,")
    batch.add_argument("--product-dir", type=Path, metavar="DIR", help="with each product in it, a photo or a folder")
    batch.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="NODE.INPUT=VALUE", help="for all jobs"
    )
    where = batch.add_mutually_exclusive_group()
    where.add_argument(
        "--server", dest="servers", action="append", default=[], metavar="URL",
        help="a ComfyUI that runs already, and another; default: one is started here",
    )
    where.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster, with a ComfyUI for each GPU: auto, local, …")
    batch.add_argument("--workers", type=int, metavar="N", help="with --ray: so many GPUs, as they come")
    batch.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: %(default)s")
    batch.add_argument(
        "--timeout", type=number, default=TIMEOUT, metavar="SECONDS",
        help="give up a server without any sign of life for so long; default: %(default).0f",
    )
    batch.add_argument(
        "--stall", type=number, default=3600.0, metavar="SECONDS",
        help="give up a server whose job has not made a step for so long; default: %(default).0f",
    )
    batch.add_argument("--json", action="store_true", help="tell progress as lines of JSON on the standard output")
    batch.set_defaults(command=_batch)


def _batch(args: argparse.Namespace) -> int:
    *tables, workflow = args.files
    folders = args.person_dir or args.product_dir
    if len(tables) + bool(folders) != 1:
        raise UsageError("give either a table of jobs before the workflow, or --person-dir, --product-dir or both.")
    if args.workers is not None and (args.workers < 1 or not args.ray):
        raise UsageError("--workers goes with --ray, and is one or more.")
    graph = read_prompt(workflow)
    rows = read_table(tables[0]) if tables else cross(graph, args.person_dir, args.product_dir)
    source, home = (tables[0].name, tables[0].parent) if tables else ("The folder", Path())
    jobs = read_jobs(graph, source, rows, home, args.settings)
    results = Results(args.out)
    with results.alone():
        results.check(jobs)
        made = {job.name: state for job in jobs if (state := results.made(job))}
        to_do = ordered([job for job in jobs if job.name not in made], graph)
        with _workers(args, bool(to_do)) as workers:
            show = (Lines if args.json else Bars)(len(jobs), len(made), [worker.name for worker in workers])
            dispatch = Dispatch(graph, to_do, workers, results, show, args.timeout)

            def states() -> list[State]:
                return [made.get(job.name) or dispatch.states[job.name] for job in jobs]

            try:
                until_stopped(_run(dispatch, results, states))
            finally:
                show.close()
                _report(results, states())
    aside = [state for state in states() if state.state == "set aside"]
    if args.json:
        print(json.dumps({"event": "ended", "made": len(jobs) - len(aside), "aside": len(aside)}))
    else:
        print(args.out / PAGE)
    if aside:
        told = "\n".join(f"  {state.name}: {state.error}" for state in aside)
        print(f"error: {len(aside)} of {len(jobs)} jobs are set aside:\n{told}", file=sys.stderr)
    return 1 if aside else 0


async def _run(dispatch: Dispatch, results: Results, states: Callable[[], list[State]]) -> None:
    reporting = asyncio.create_task(_keep_reporting(results, states))
    try:
        await dispatch.run()
    finally:
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)


async def _keep_reporting(results: Results, states: Callable[[], list[State]]) -> None:
    wait = 0.0
    while True:
        await asyncio.sleep(wait)
        begun = time.monotonic()
        _report(results, states())
        wait = max(REPORT_SECONDS, 100 * (time.monotonic() - begun))


def _report(results: Results, states: list[State]) -> None:
    results.table(states)
    write_page(results.out, states)


@contextlib.contextmanager
def _workers(args: argparse.Namespace, needed: bool) -> Iterator[list[Worker]]:
    patience = Patience(args.timeout, args.stall)
    if not needed:
        yield []
    elif args.servers:
        yield [Server(url, patience) for url in dict.fromkeys(url.rstrip("/") for url in args.servers)]
    elif args.ray:
        cluster = Cluster(args.ray)
        try:
            yield cluster.workers(args.workers, patience)
        finally:
            cluster.close()
    else:
        # Ended before the jobs begin: the server must not stay behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        own = OwnServer(patience)
        try:
            yield [own]
        finally:
            own.stop()
