"""What the conditions of a graph are made of, as its prompt tells: nodes, settings, and the content of files."""

import mimetypes
from collections.abc import Callable
from pathlib import Path

from ..files.digest import content, digest_value
from ..host import folders

Link = list  # [number of a node, number of its output]


class Graph:
    """own(inputs, slot): in place of a recipe, the content of what a Keep Conditions passes on that is the user's."""

    def __init__(self, prompt: dict, keeper: str, own: Callable[[dict, int], str | None]):
        self.prompt, self.keeper, self.own = prompt, keeper, own
        self._recipes: dict[str, str] = {}
        self._readers: dict[str, dict[str, bool]] = {}

    def recipe(self, link: Link) -> str:
        """A digest of all that an output is made of."""
        node_id, slot = link
        node = self.prompt[node_id]
        if node["class_type"] == self.keeper and (own := self.own(node["inputs"], slot)) is not None:
            return own
        return digest_value(f"{self._of_node(node_id)} {slot}")

    def sources(self, link: Link) -> list[str]:
        """What tells the clip that a condition is of: digests of the nodes that read its video and of their settings.

        Where no video is behind it, those that read pictures tell it, and without any file all that the graph begins
        with, but for networks.
        """
        behind = self._parents(link[0])
        found = self._behind(behind) if behind else self._read_by(link[0])
        if not found:
            return [digest_value(sorted(self._of_node(node_id) for node_id in self._begins(link[0])))]
        return sorted(reader for reader, video in found.items() if video or not any(found.values()))

    def _of_node(self, node_id: str) -> str:
        if node_id not in self._recipes:
            node = self.prompt[node_id]
            made_of = {
                name: self.recipe(value) if is_link(value) else _held(value) or [value]
                for name, value in sorted(node["inputs"].items())
            }
            self._recipes[node_id] = digest_value([node["class_type"], made_of])
        return self._recipes[node_id]

    def _parents(self, node_id: str) -> list[str]:
        return sorted({value[0] for value in self.prompt[node_id]["inputs"].values() if is_link(value)})

    def _behind(self, node_ids: list[str]) -> dict[str, bool]:
        return {reader: video for node_id in node_ids for reader, video in self._read_by(node_id).items()}

    def _read_by(self, node_id: str) -> dict[str, bool]:
        """By digest, the readers behind a node, itself included, and whether they read a video."""
        if node_id not in self._readers:
            parents = self._parents(node_id)
            found = self._behind(parents)
            if not parents:
                given = [path for value in self._settings(node_id) if (path := _given(value))]
                found = {self._of_node(node_id): any(map(_is_video, given))} if given else {}
            elif self._only_reads(node_id):
                found = {self._of_node(node_id): any(found.values())}
            self._readers[node_id] = found
        return self._readers[node_id]

    def _begins(self, node_id: str) -> set[str]:
        """The nodes behind one, itself included, into which no other goes, and that load no network."""
        seen, waiting = set(), [node_id]
        while waiting:
            if (one := waiting.pop()) not in seen:
                seen.add(one)
                waiting += self._parents(one)
        return {one for one in seen if not (self._parents(one) or any(map(_held, self._settings(one))))}

    def _only_reads(self, node_id: str) -> bool:
        """Whether nothing but one reader goes into a node, and numbers: it chooses frames, or their size."""
        readers = [parent for parent in self._parents(node_id) if self._read_by(parent)]
        others = [parent for parent in self._parents(node_id) if parent not in readers]
        chain = len(readers) == 1 and (not self._parents(readers[0]) or self._only_reads(readers[0]))
        return chain and not any(self._parents(other) or any(map(_held, self._settings(other))) for other in others)

    def _settings(self, node_id: str) -> list:
        return [value for value in self.prompt[node_id]["inputs"].values() if not is_link(value)]


def is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _held(value: object) -> str | None:
    """The content of the file or folder that a widget's value names, if it does."""
    path = folders.named(value) if isinstance(value, str) else None
    return content(path) if path else None


def _given(value: object) -> Path | None:
    return folders.given(value) if isinstance(value, str) else None


def _is_video(path: Path) -> bool:
    return not (mimetypes.guess_type(path.name)[0] or "").startswith("image/")
