"""A folder of prepared clips that remembers what each file was made of.

Its manifest.json notes of each file made here what it was made of, the digest of its content, and of which clip it is.
A file whose content is not what the manifest notes, or that it does not know, is the user's own: it is used as it is,
for the clip it was made for and for no other, and never overwritten, and what is made of it is made again.
"""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ..files.digest import content
from ..files.whole import alone, whole, writing

MANIFEST, UNFINISHED, LOCK = "manifest.json", ".part", "lock"


class Prepared:
    """The folder. `file` is a path in it with forward slashes; `made_of` anything that JSON can say.

    A process that is killed at any time leaves no file that is taken for whole: files are written elsewhere, and noted
    before they get their name.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, file: str) -> Path:
        """Where it lies."""
        return self.folder / file

    def noted(self, file: str) -> Any:
        """What it was made of; None if it was not made here, or is not there any more."""
        entry = self._manifest().get(file)
        return entry["made_of"] if entry and self.path(file).is_file() else None

    def is_own(self, file: str) -> bool:
        """Whether it is there and the user's own."""
        path, entry = self.path(file), self._manifest().get(file)
        while path.is_file():
            try:
                own = entry is None or entry["content"] != content(path)
            except FileNotFoundError:
                continue
            before, entry = entry, self._manifest().get(file)
            if not own or entry == before:  # else another process has put it meanwhile
                return own
        return False

    def holds(self, file: str, made_of: Any) -> bool:
        """Whether nothing is to be done for it."""
        return self.path(file).is_file() and (self.is_own(file) or self.noted(file) == made_of)

    def put(self, file: str, made_of: Any, write: Callable[[Path], None], sources: Iterable[str] = ()) -> None:
        """`write` it, unless it is held. sources: what tells the clip it is of, see `claim`. One process at a time."""
        if self.holds(file, made_of):
            return
        path, part = self.path(file), self.path(UNFINISHED) / file.replace("/", "-")
        with writing(path, part), self._alone():
            if self.holds(file, made_of):
                return
            write(part)
            path.parent.mkdir(parents=True, exist_ok=True)
            # In this order: an old file beside the new note would be taken for the user's own.
            path.unlink(missing_ok=True)
            entry = {"made_of": made_of, "content": content(part)}
            self._note({file: entry | ({"sources": sorted(sources)} if sources else {})})
            os.replace(part, path)

    def claim(self, files: dict[str, Iterable[str]]) -> None:
        """Note for which clip the user's own among `files`, all of one clip's name, were made: of each its sources.

        A clip is told by its sources, any words, of which two files of it have one or more in common. An own file that
        is new belongs to the clip that is there, by what is noted of its neighbours, or else to this one.
        """
        entries = self._manifest()
        noted = {file: entries.get(file, {}).get("sources") for file in files if self.path(file).is_file()}
        there = {word for words in noted.values() for word in words or ()}
        there = sorted(there or {word for words in files.values() for word in words})
        new = [file for file, words in noted.items() if not words and self.is_own(file)]
        if new and there:
            unknown = {"made_of": None, "content": None}
            with self._alone():
                entries = self._manifest()
                self._note({file: {**entries.get(file, unknown), "sources": there} for file in new})

    def question(self, file: str, sources: Iterable[str]) -> str | None:
        """What to ask the user who has made `file` for another clip than that of these sources; None if not so."""
        noted = self._manifest().get(file, {}).get("sources")
        if not noted or not sources or not set(noted).isdisjoint(sources) or not self.is_own(file):
            return None
        return (
            f"{self.path(file)} is your own, made for another clip or cut: give this clip another name (and copy the "
            "file to that, if it is this clip's), or delete the file."
        )

    def _alone(self) -> AbstractContextManager:
        return alone(self.path(UNFINISHED) / LOCK)

    def _note(self, entries: dict[str, dict]) -> None:
        entries = dict(sorted({**self._manifest(), **entries}.items()))
        with whole(self.path(MANIFEST)) as part:
            part.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")

    def _manifest(self) -> dict[str, dict]:
        path = self.path(MANIFEST)
        try:
            entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            if all({"made_of", "content"} <= entry.keys() for entry in entries.values()):
                return entries
        except (ValueError, AttributeError):
            pass
        raise ValueError(f"{path} is damaged: delete it together with what was made in {self.folder}.")
