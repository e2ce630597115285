"""How far a batch is: a bar over all jobs and a line for each worker, nothing where there is no terminal, or JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from functools import partial

STEP_SECONDS = 1.0  # between two steps that are told of a worker as JSON


class Bars:
    """For people, on a terminal."""

    def __init__(self, total: int, made: int, workers: Sequence[str]):
        from tqdm import tqdm

        self._all = tqdm(total=total, initial=made, unit="video", desc="Batch", disable=None)
        line = partial(tqdm, bar_format="{desc}", leave=False, disable=None)
        self._lines = {name: line(desc=f"{name}: waiting", position=number) for number, name in enumerate(workers, 1)}

    def tell(self, event: str, **data: object) -> None:
        job, server, error = (data.get(key, "") for key in ("job", "server", "error"))
        if event == "step":
            steps = f" {data['value']:g}/{data['maximum']:g}" if data["maximum"] else ""
            self._say(server, f"{job}, {data['node']}{steps}")
            return
        self._say(server, job if event == "started" else "lost" if event == "lost" else "waiting")
        if event in ("made", "aside"):
            self._all.update()
        if event in ("again", "aside", "lost") and not self._all.disable:
            told = {"again": f"{job} is tried again", "aside": f"{job} is set aside", "lost": f"{server} is lost"}
            self._all.write(f"{told[event]}: {error}", file=sys.stderr)

    def close(self) -> None:
        for line in (*self._lines.values(), self._all):
            line.close()

    def _say(self, server: object, text: object) -> None:
        self._lines[server].set_description_str(f"{server}: {text}")


class Lines:
    """For machines: a JSON object on a line for each thing that happens."""

    def __init__(self, total: int, made: int, workers: Sequence[str]):
        self._stepped = dict.fromkeys(workers, 0.0)
        self.tell("begun", total=total, made=made, servers=list(workers))

    def tell(self, event: str, **data: object) -> None:
        now = time.monotonic()
        if event == "step":
            if now < self._stepped[data["server"]] + STEP_SECONDS:
                return
            self._stepped[data["server"]] = now
        print(json.dumps({"event": event, **data}), flush=True)

    def close(self) -> None:
        pass
