"""What a batch has made: a folder for each job, whole and with a record of what it is made of, or not there."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..files.bounded import parse_json, read_text
from ..files.digest import content
from ..files.names import inside
from ..files.whole import PART, alone, remove, whole
from ..host.prompt import UsageError
from .batch_jobs import Job

RECORD, LOCK = "record.json", ".lock"
MOST_BYTES = 1 << 24  # of a record


@dataclass
class State:
    """A row of the batch's `jobs.csv`. state: waiting, made, or set aside, which `error` explains."""

    name: str
    state: str = "waiting"
    seconds: float | None = None
    server: str = ""
    seed: int | None = None
    error: str = ""
    files: tuple[str, ...] = ()


class Results:
    """The folder `--out`. A job's folder `NAME` is written aside and renamed with its record in it: whichever way the
    batch or the machine ends, a job is made or it is not."""

    def __init__(self, out: Path):
        self.out = Path(out)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other batch writes there meanwhile: raises UsageError if one does. Clears what a killed one left."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(alone(self.out / LOCK, patient=False))
            except BlockingIOError as error:
                told = f"Another batch is at work in {self.out}: wait for it, or choose another --out."
                raise UsageError(told) from error
            for left in self.out.glob(f".*{PART}"):
                remove(left)
            yield

    def check(self, jobs: Iterable[Job]) -> None:
        """Raises UsageError where a job's name is that of something which no batch has made."""
        strangers = [job.name for job in jobs
                     if os.path.lexists(folder := self.out / job.name) and not (folder / RECORD).is_file()]
        if strangers:
            raise UsageError(f"{self.out} holds something else called {', '.join(strangers)}: move it, or choose "
                             "another --out.")

    def made(self, job: Job) -> State | None:
        """What `keep` has written, if the job is still the same and its files are as they were."""
        folder = self.out / job.name
        try:
            record = parse_json(read_text(folder / RECORD, MOST_BYTES))
            files = record["files"].items()
            if record["key"] == job.key and all(content(inside(folder, file)) == digest for file, digest in files):
                facts = {name: record[name] for name in ("seconds", "server", "seed")}
                return State(job.name, "made", **facts, files=(*record["files"],))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # a record that is none
            pass
        return None

    def aside(self, job: Job) -> Path:
        """A folder for what a job gives, until `keep`."""
        folder = self._hidden(job)
        folder.mkdir(parents=True)
        return folder

    def keep(self, job: Job, folder: Path, state: State, notes: dict[str, str]) -> None:
        """The job is made of the state's files in `folder`: from here on it is there, also after a loss of power."""
        record = {
            "key": job.key,
            "seconds": state.seconds,
            "server": state.server,
            "seed": state.seed,
            "notes": notes,
            "files": {file: content(folder / file) for file in state.files},
        }
        (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        for file in folder.iterdir():
            _settle(file)
        _settle(folder)
        target = self.out / job.name
        if target.exists():  # of other inputs, or no longer whole
            os.replace(target, old := self._hidden(job))
            remove(old)
        os.replace(folder, target)
        _settle(self.out)

    def _hidden(self, job: Job) -> Path:
        return self.out / f".{job.name}.{uuid.uuid4().hex[:8]}{PART}"

    def table(self, states: Iterable[State]) -> None:
        """`jobs.csv`, whole at any moment."""
        columns = [field.name for field in fields(State)]
        with whole(self.out / "jobs.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for state in states:
                row = {**asdict(state), "files": "; ".join(f"{state.name}/{file}" for file in state.files)}
                writer.writerow([_cell(value) for value in row.values()])


def _cell(value: object) -> object:
    """What a spreadsheet would take for a formula is text: servers' sentences may be anything."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _settle(path: Path) -> None:
    """On the disk, not only on its way there."""
    if os.name == "nt":  # knows no such thing of folders
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
