"""What a batch costs beside the videos, on servers that only pretend; and what its order spares.

    python benchmarks/batch.py [--jobs 10000] [--write]
"""

import argparse
import asyncio
import gc
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

from crafters.cli.batch_dispatch import Dispatch
from crafters.cli.batch_jobs import Row, ordered, read_jobs
from crafters.cli.batch_results import Results
from crafters.cli.batch_servers import Patience, Server
from crafters.cli.server import _free_port

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
import stub_comfy  # noqa: E402
from stub_comfy import GRAPH, Serving, StubComfy  # noqa: E402

RESULTS = HERE / "RESULTS.md"
LENGTH = 0.5  # s of the jobs with which two servers are compared
CLIPS, PRODUCTS, CONDITIONS, SAMPLING = 3, 20, 0.3, 0.05  # of the graph with shared conditions; s of its nodes


class Memory:
    """Listens to a batch, and notes how much memory it has at each tenth of it."""

    def __init__(self, total: int):
        self.made, self.total, self.mib = 0, total, []

    def tell(self, event: str, **_: object) -> None:
        if event == "made":
            self.made += 1
            if self.made * 10 % self.total == 0:
                gc.collect()  # what is held, not what is still to be cleared away
                pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
                self.mib.append(pages * resource.getpagesize() / 2**20)


@contextmanager
def processes(count: int):
    """Servers with a process each, as they take no time from the batch's."""
    ports = [_free_port() for _ in range(count)]
    with ExitStack() as stack:
        for port in ports:
            server = subprocess.Popen([sys.executable, stub_comfy.__file__, "--port", str(port)])
            stack.callback(server.wait)
            stack.callback(server.kill)
        for port in ports:
            while not _answers(port):
                time.sleep(0.1)
        yield [f"http://127.0.0.1:{port}" for port in ports]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(jobs: list, urls: list[str], out: Path) -> tuple[float, float, list[float]]:
    """Seconds, those of the processor, and MiB at each tenth."""
    workers = [Server(url, Patience(60, 60)) for url in urls]
    memory = Memory(len(jobs))
    dispatch = Dispatch(GRAPH, jobs, workers, Results(out), memory, 60)
    began, busy = time.perf_counter(), time.process_time()
    asyncio.run(dispatch.run())
    if any(state.state != "made" for state in dispatch.states.values()):
        raise SystemExit("a job was set aside")
    return time.perf_counter() - began, time.process_time() - busy, memory.mib


def table(home: Path, cells: list[dict[str, str]], **settings: float) -> list:
    (home / "photo.png").write_bytes(b"photo")
    rows = [Row(f"line {number}", {"name": f"job{number}", **cell}) for number, cell in enumerate(cells)]
    photos = [f"{number}.image={home / 'photo.png'}" for number in (1, 2)]
    return read_jobs(GRAPH, "jobs", rows, home, [*photos, *(f"{key}={value}" for key, value in settings.items())])


def overhead(home: Path, count: int) -> list[str]:
    began = time.perf_counter()
    jobs = ordered(table(home, [{"Sampler.seed": str(number)} for number in range(count)]), GRAPH)
    checked = time.perf_counter() - began
    with processes(1) as urls:
        run(jobs[:50], urls, home / "warm")
        seconds, busy, mib = run(jobs, urls, home / "many")
    began = time.perf_counter()
    results = Results(home / "many")
    if not all(results.made(job) for job in jobs):
        raise SystemExit("a record is not true")
    resumed = time.perf_counter() - began
    return [f"- {count} jobs that take no time, one server: {1000 * seconds / count:.1f} ms each, of which "
            f"{1000 * busy / count:.1f} ms are the batch's own processor time; memory {mib[0]:.0f} MiB after a tenth, "
            f"{mib[-1]:.0f} at the end; checked in {checked:.1f} s, looked through again in {resumed:.1f} s"]


def two_servers(home: Path) -> list[str]:
    jobs = table(home, [{"Sampler.seed": str(number)} for number in range(40)], **{"Sampler.seconds": LENGTH})
    with processes(2) as urls:
        one, *_ = run(jobs, urls[:1], home / "one")
        two, *_ = run(jobs, urls, home / "two")
    return [f"- {len(jobs)} jobs of {LENGTH} s: one server {one:.1f} s, two {two:.1f} s, ratio {one / two:.2f}"]


def order(home: Path) -> list[str]:
    cells = [{"Conditions.text": f"clip {clip}", "Sampler.seed": str(product)}
             for product in range(PRODUCTS) for clip in range(CLIPS)]
    jobs = table(home, cells, **{"Conditions.seconds": CONDITIONS, "Sampler.seconds": SAMPLING})
    told = []
    for name, queue in (("in the table's order", jobs), ("in the batch's", ordered(jobs, GRAPH))):
        with Serving(stub := StubComfy()) as url:
            seconds, *_ = run(queue, [url], home / name)
            told.append(f"{name} {seconds:.1f} s, conditions made {stub.ran['Work'] - len(jobs)} times")
    graph = f"{PRODUCTS} products × {CLIPS} clips, conditions {CONDITIONS} s, sampling {SAMPLING} s"
    return [f"- {graph}: {'; '.join(told)}"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--write", action="store_true", help=f"add to {RESULTS.name}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / name for name in ("overhead", "two", "order")]
        for home in homes:
            home.mkdir()
        lines = [*overhead(homes[0], args.jobs), *two_servers(homes[1]), *order(homes[2])]
    text = "\n".join(["## A batch on servers that only pretend (`benchmarks/batch.py`)", "",
                      f"{date.today()}, CPU, {os.cpu_count()} cores.", "", *lines])
    print(text)
    if args.write:
        RESULTS.write_text(RESULTS.read_text().rstrip() + f"\n\n{text}\n")


if __name__ == "__main__":
    main()
