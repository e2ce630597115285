"""What a batch shall make: the rows of a table, or people × products, checked before anything runs."""

from __future__ import annotations

import copy
import csv
import hashlib
import io
import itertools
import json
import mimetypes
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files.bounded import brief, parse_json, read_text
from ..files.digest import content
from ..files.names import plain
from ..host.prompt import Prompt, UsageError, check_finite, is_link
from .run import find_input, read_value

Place = tuple[str, str]  # node id and input
File = tuple[Path, str]  # where it lies here, and the digest of its content

NAME = "name"
TAKEN = ("jobs.csv", "index.html")  # what the batch itself writes beside the jobs' folders
MOST_TOLD = 100  # mistakes
MOST_BYTES = 1 << 28  # of a table
PERSON = ("Person Photo", "Character Photo")  # titles in the shipped graphs
VIEWS = {"Product Front": "front", "Product Left": "left", "Product Right": "right"}


@dataclass(frozen=True)
class Row:
    """Of a table: where a user finds it, and its cells by column, as text in the way of `--set`.

    None leaves the graph's own value. fault: what is wrong with the row as a whole.
    """

    where: str
    cells: dict[str, str | None]
    fault: str = ""


@dataclass(frozen=True)
class Task:
    """A job as a server gets it: its prompt, and the files of this machine that go into it."""

    name: str
    prompt: Prompt
    files: dict[Place, File]


@dataclass(frozen=True)
class Job:
    """One video to make. key: a digest of the graph, the settings and the files' content."""

    name: str
    values: dict[Place, Any]
    files: dict[Place, File]
    key: str

    def task(self, graph: Prompt) -> Task:
        prompt = copy.deepcopy(graph)
        for (node_id, key), value in self.values.items():
            prompt[node_id]["inputs"][key] = value
        for node in prompt.values():
            # Servers that share an output folder, as several on one machine do, number their files without a lock.
            if isinstance(prefix := node["inputs"].get("filename_prefix"), str):
                node["inputs"]["filename_prefix"] = f"batch/{self.name}-{self.key[:8]}/{prefix}"
        return Task(self.name, prompt, self.files)

    def seed(self, graph: Prompt) -> int | None:
        """The first one in the graph."""
        for node_id, node in graph.items():
            for key, value in node["inputs"].items():
                value = self.values.get((node_id, key), value)
                if key in ("seed", "noise_seed") and isinstance(value, int):
                    return value
        return None


def read_table(path: Path) -> list[Row]:
    """The rows of a CSV file or of JSON Lines. Raises UsageError for a file that is neither."""
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path} is no table of jobs: give a .csv or a .jsonl file.")
    try:
        text = read_text(path, MOST_BYTES).removeprefix("\ufeff")  # which spreadsheets begin with
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8: save it so.") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {brief(error)}.") from error
    return list(readers[path.suffix.lower()](text))


def cross(graph: Prompt, people: Path | None, products: Path | None) -> list[Row]:
    """Every person's photo with every product: a picture, or a folder with pictures called front, left and right."""
    persons = {path.stem: {_titled(graph, PERSON): str(path.resolve())} for path in _pictures(people)}
    things = {path.stem if path.is_file() else path.name: _views(graph, path) for path in _pictures(products, True)}
    for folder, found in ((people, persons), (products, things)):
        if folder and not found:
            raise UsageError(f"{folder} is no folder with pictures in it.")
    pairs = itertools.product((persons or {"": {}}).items(), (things or {"": {}}).items())
    return [Row(" × ".join(filter(None, (one, other))), {NAME: "_".join(filter(None, (one, other))), **first, **second})
            for (one, first), (other, second) in pairs]


def read_jobs(graph: Prompt, source: str, rows: list[Row], home: Path, settings: Iterable[str] = ()) -> list[Job]:
    """The jobs of rows in whose cells paths begin at `home`.

    settings: "NODE.INPUT=VALUE" for all of them, where a row has no cell; paths begin at the working directory.
    Raises UsageError with all mistakes at once.
    """
    mistakes: list[str] = []
    if not rows:
        raise UsageError(f"{source} has no jobs.")
    places = _places(graph, [column for row in rows for column in row.cells if column != NAME], mistakes)
    common, common_files = _read_settings(graph, settings, mistakes)
    graph_digest = _digest({node_id: [node["class_type"], node["inputs"]] for node_id, node in graph.items()})
    jobs, names, plain_cells = [], {}, []
    for row in rows:
        if row.fault:
            mistakes.append(f"{row.where}: {row.fault}")
            continue
        values, files = dict(common), dict(common_files)
        for column, text in row.cells.items():
            if text is not None and (place := places.get(column)):
                files.pop(place, None)
                try:
                    values[place], file = _read_cell(graph, place, text, home)
                except UsageError as error:
                    mistakes.append(f"{row.where}, {column}: {error}")
                    continue
                if file:
                    files[place] = file
                else:
                    plain_cells.append((row.where, column, place, text))
        name = row.cells.get(NAME) or ""
        try:
            _check_name(name, row.where, names)
        except ValueError as error:
            mistakes.append(f"{row.where}: {error}")
        made_of = sorted([*place, files[place][1] if place in files else value] for place, value in values.items()
                         if place in files or value != _held(graph, place))
        jobs.append(Job(name, values, files, _digest([graph_digest, made_of])))
    hold_files = {place for job in jobs for place in job.files}
    mistakes += [f"{where}, {column}: there is no file {text}." for where, column, place, text in plain_cells
                 if place in hold_files]
    _raise(source, mistakes)
    return jobs


def ordered(jobs: list[Job], graph: Prompt) -> list[Job]:
    """The jobs, those after each other that share most: a ComfyUI keeps what its last run has made.

    The columns by which they are sorted: first the one that spares most nodes if its like are together.
    """
    ranks: dict[Place, dict[str, int]] = {}
    for job in jobs:
        for place in job.values:
            ranked = ranks.setdefault(place, {})
            ranked.setdefault(_token(job, place), len(ranked))
    behind = {place: len(_behind(graph, place[0])) for place in ranks}
    places = sorted(ranks, key=lambda place: -behind[place] * (len(jobs) - len(ranks[place])))
    return sorted(jobs, key=lambda job: [ranks[place].get(_token(job, place), -1) for place in places])


def _token(job: Job, place: Place) -> str:
    return job.files[place][1] if place in job.files else json.dumps(job.values.get(place))


def _behind(graph: Prompt, node_id: str) -> set[str]:
    """A node and all that is made of it."""
    seen, waiting = set(), [node_id]
    while waiting:
        if (one := waiting.pop()) not in seen:
            seen.add(one)
            waiting += [other for other, node in graph.items()
                        if any(is_link(value) and value[0] == one for value in node["inputs"].values())]
    return seen


def _csv_rows(text: str) -> Iterator[Row]:
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    columns, line = None, 1
    try:
        for cells in reader:
            where, line = f"line {line}", reader.line_num + 1
            if not any(cells):
                continue
            if columns is None:
                columns = [cell.strip() for cell in cells]
                twice = [column for column, count in Counter(columns).items() if count > 1]
                if twice or NAME not in columns:
                    told = f"two columns are called {twice[0]!r}" if twice else f"there is no column {NAME!r}"
                    yield Row(where, {}, f"{told}.")
                    return
            elif len(cells) != len(columns):
                yield Row(where, {}, f"it has {len(cells)} cells where there are {len(columns)} columns.")
            else:
                yield Row(where, {column: cell or None for column, cell in zip(columns, cells, strict=True)})
    except csv.Error as error:
        yield Row(f"line {line}", {}, f"{error}.")


def _json_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            values = parse_json(line)
        except ValueError as error:
            yield Row(where, {}, f"it is not JSON ({brief(error)}).")
            continue
        if not isinstance(values, dict):
            yield Row(where, {}, "it is not {column: value, …}.")
            continue
        cells = {column: None if value is None else json.dumps(value) for column, value in values.items()}
        if isinstance(name := values.get(NAME), str):
            cells[NAME] = name
        yield Row(where, cells)


def _pictures(folder: Path | None, folders: bool = False) -> list[Path]:
    """The pictures in a folder, and the folders too if asked for."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")
                  and (_is_picture(path.name) if path.is_file() else folders))


def _views(graph: Prompt, path: Path) -> dict[str, str]:
    """A product's pictures by column; where one is not there, the front, or the first, is in its place."""
    found = {picture.stem.lower(): picture for picture in _pictures(path)} or {"front": path}
    titles = [title for title in VIEWS if _has(graph, title)] or [_titled(graph, VIEWS)]
    front = found.get("front", next(iter(found.values())))
    return {f"{title}.image": str(found.get(VIEWS[title], front).resolve()) for title in titles}


def _has(graph: Prompt, title: str) -> bool:
    try:
        find_input(graph, f"{title}.image", "")
    except UsageError:
        return False
    return True


def _titled(graph: Prompt, titles: Iterable[str]) -> str:
    for title in titles:
        if _has(graph, title):
            return f"{title}.image"
    raise UsageError(f"The workflow has no node {' or '.join(map(repr, titles))} with an image: give a table of jobs.")


def _places(graph: Prompt, columns: list[str], mistakes: list[str]) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for column in dict.fromkeys(columns):
        try:
            place = find_input(graph, column, f"The column {column!r}")
        except UsageError as error:
            mistakes.append(str(error))
            continue
        if same := next((other for other, taken in places.items() if taken == place), None):
            mistakes.append(f"The columns {same!r} and {column!r} are the same input.")
        places[column] = place
    return places


def _read_settings(
    graph: Prompt, settings: Iterable[str], mistakes: list[str]
) -> tuple[dict[Place, Any], dict[Place, File]]:
    values, files = {}, {}
    for setting in settings:
        target, equals, text = setting.partition("=")
        try:
            if not equals:
                raise UsageError("it is not NODE.INPUT=VALUE.")
            place = find_input(graph, target, repr(target))
            values[place], file = _read_cell(graph, place, text, Path.cwd())
        except UsageError as error:
            mistakes.append(f"--set {setting!r}: {error}")
        else:
            files.update({place: file} if file else {})
    return values, files


def _read_cell(graph: Prompt, place: Place, text: str, home: Path) -> tuple[Any, File | None]:
    """The value, and the file if it names one."""
    current = _held(graph, place)
    value = read_value(text, current)
    check_finite(value, repr(text))
    if isinstance(value, list | dict):
        if not is_link(value) or value[0] not in graph:
            raise UsageError(f"{text} is no link to a node of the workflow.")
    elif isinstance(current, bool) and not isinstance(value, bool):
        raise UsageError(f"{text!r} is neither true nor false.")
    elif isinstance(current, int | float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UsageError(f"{text!r} is no number.")
    if not isinstance(value, str) or not isinstance(current, str):
        return value, None
    path = home / value
    if not os.path.isfile(path):  # which any text may be asked
        if (mimetypes.guess_type(current)[0] or "").startswith(("image/", "video/", "audio/")):
            raise UsageError(f"there is no file {value}.")
        return value, None
    try:
        if not path.stat().st_size:
            raise UsageError(f"{value} is empty.")
        return value, (path.resolve(), content(path.resolve()))
    except OSError as error:
        raise UsageError(f"{value} cannot be read ({brief(error)}).") from error


def _check_name(name: str, where: str, names: dict[str, str]) -> None:
    """Raises ValueError. names: where each one that was seen is found; written to."""
    if not name:
        raise UsageError(f"it has no {NAME}.")
    plain(name)
    same = unicodedata.normalize("NFC", name).casefold()  # as file systems of Windows and Macs see it
    if name.startswith(".") or same in TAKEN:
        raise UsageError(f"a job cannot be called {name!r}.")
    if first := names.get(same):
        raise UsageError(f"the name {name!r} is that of {first} too.")
    names[same] = where


def _raise(source: str, mistakes: list[str]) -> None:
    if mistakes:
        more = [f"and {len(mistakes) - MOST_TOLD} more"] if len(mistakes) > MOST_TOLD else []
        count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
        raise UsageError("\n  ".join([f"{source} has {count}:", *mistakes[:MOST_TOLD], *more]))


def _is_picture(name: str) -> bool:
    return (mimetypes.guess_type(name)[0] or "").startswith("image/")


def _held(graph: Prompt, place: Place) -> Any:
    return graph[place[0]]["inputs"][place[1]]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
