"""What the conditions of a graph are made of, as its prompt tells: nodes, settings, and the content of files."""

import mimetypes
from pathlib import Path

from ..files import names
from ..files.digest import content, digest_value
from ..host import folders
from ..host.prompt import is_link
from .conditions import CONDITIONS
from .folder import Prepared

Link = list  # [number of a node, number of its output]


def open_folder(folder: str, clip: str) -> Prepared:
    """That folder below ComfyUI's output folder. Raises ValueError for a clip that would be a hidden file."""
    if names.plain(clip).startswith("."):
        raise ValueError(f"{clip!r} would be a hidden file: give the clip a plain name, as in anna_mug.")
    return Prepared(folders.output_folder(folder))


def connected(
    prompt: dict, keeper: str, kept: list[str], prepared: Prepared, clip: str
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Of every condition that a Keep Conditions has connected its recipe, and what tells its clip.

    prompt: ComfyUI's, nodes by number; keeper: the number of that node; kept: its outputs. Raises ValueError where a
    file of another clip that the user has made would be used.
    """
    inputs = prompt[keeper]["inputs"]
    graph = Graph(prompt, prompt[keeper]["class_type"], kept)
    links = {what: inputs[what] for what in kept if is_link(inputs.get(what))}
    sources = {what: graph.sources(link) for what, link in links.items()}
    prepared.claim({CONDITIONS[what].of(clip): sources.get(what, ()) for what in kept})
    for what, words in sources.items():
        if question := prepared.question(CONDITIONS[what].of(clip), words):
            raise ValueError(question)
    return {what: digest_value(graph.recipe(link)) for what, link in links.items()}, sources


class Graph:
    """prompt: ComfyUI's, of every node by its number `class_type` and `inputs`; keeper: the class of Keep Conditions,
    kept: its outputs."""

    def __init__(self, prompt: dict, keeper: str, kept: list[str]):
        self.prompt, self.keeper, self.kept = prompt, keeper, kept
        self._recipes: dict[str, str] = {}
        self._readers: dict[str, dict[str, bool]] = {}

    def recipe(self, link: Link) -> str:
        """A digest of all that an output is made of; of the user's own file that a Keep Conditions passes on, its."""
        node_id, slot = link
        node = self.prompt[node_id]
        if node["class_type"] == self.keeper and slot < len(self.kept):
            clip = node["inputs"]["clip"]
            prepared, file = open_folder(node["inputs"]["folder"], clip), CONDITIONS[self.kept[slot]].of(clip)
            if prepared.is_own(file):
                return content(prepared.path(file))
        return digest_value(f"{self._node_recipe(node_id)} {slot}")

    def sources(self, link: Link) -> list[str]:
        """What tells the clip that a condition is of: digests of the nodes that read its video and of their settings.

        Where no video is behind it, those that read pictures tell it, and without any file all that the graph begins
        with, but for networks.
        """
        behind = self._parents(link[0])
        found = self._readers_behind(behind) if behind else self._readers_at(link[0])
        if not found:
            return [digest_value(sorted(self._node_recipe(node_id) for node_id in self._roots(link[0])))]
        return sorted(reader for reader, video in found.items() if video or not any(found.values()))

    def _node_recipe(self, node_id: str) -> str:
        if node_id not in self._recipes:
            node = self.prompt[node_id]
            made_of = {
                name: self.recipe(value) if is_link(value) else _named_content(value) or [value]
                for name, value in sorted(node["inputs"].items())
            }
            self._recipes[node_id] = digest_value([node["class_type"], made_of])
        return self._recipes[node_id]

    def _parents(self, node_id: str) -> list[str]:
        return sorted({value[0] for value in self.prompt[node_id]["inputs"].values() if is_link(value)})

    def _readers_behind(self, node_ids: list[str]) -> dict[str, bool]:
        return {reader: video for node_id in node_ids for reader, video in self._readers_at(node_id).items()}

    def _readers_at(self, node_id: str) -> dict[str, bool]:
        """By digest, the readers behind a node, itself included, and whether they read a video."""
        if node_id not in self._readers:
            parents = self._parents(node_id)
            found = self._readers_behind(parents)
            if not parents:
                given = [path for value in self._settings(node_id) if (path := _named_input(value))]
                found = {self._node_recipe(node_id): any(map(_is_video, given))} if given else {}
            elif self._only_reads(node_id):
                found = {self._node_recipe(node_id): any(found.values())}
            self._readers[node_id] = found
        return self._readers[node_id]

    def _roots(self, node_id: str) -> set[str]:
        """The nodes behind one, itself included, into which no other goes, and that load no network."""
        seen, waiting = set(), [node_id]
        while waiting:
            if (one := waiting.pop()) not in seen:
                seen.add(one)
                waiting += self._parents(one)
        return {one for one in seen if not (self._parents(one) or self._names_content(one))}

    def _only_reads(self, node_id: str) -> bool:
        """Whether nothing but one reader goes into a node, and numbers: it chooses frames, or their size."""
        readers = [parent for parent in self._parents(node_id) if self._readers_at(parent)]
        others = [parent for parent in self._parents(node_id) if parent not in readers]
        chain = len(readers) == 1 and (not self._parents(readers[0]) or self._only_reads(readers[0]))
        return chain and not any(self._parents(other) or self._names_content(other) for other in others)

    def _names_content(self, node_id: str) -> bool:
        return any(map(_named_content, self._settings(node_id)))

    def _settings(self, node_id: str) -> list:
        return [value for value in self.prompt[node_id]["inputs"].values() if not is_link(value)]


def _named_content(value: object) -> str | None:
    """The content of the file or folder that a widget's value names, if it does."""
    path = folders.named(value) if isinstance(value, str) else None
    return content(path) if path else None


def _named_input(value: object) -> Path | None:
    return folders.given(value) if isinstance(value, str) else None


def _is_video(path: Path) -> bool:
    return not (mimetypes.guess_type(path.name)[0] or "").startswith("image/")
