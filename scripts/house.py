"""The rooms of the pack: how large each is, which imports which, and what breaks the rules.

    python scripts/house.py

An arrow is an import, inside functions too. Rooms stand in the order of ROOMS: one imports those before it only, so
there is no circle, and nothing imports `nodes` or `cli`. Folders inside a room may import each other, but not in
a circle.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# From the ground up, with what each room is for.
ROOMS = {
    "files": "what lies on a disk, written whole and read within bounds",
    "media": "clips and photos",
    "models": "networks, bodies, avatars, drawing",
    "host": "ComfyUI: folders, memory, progress, notes, weights' catalogue",
    "preprocessors": "conditions of a clip, with networks or without",
    "metrics": "what a clip is worth",
    "training": "the loop, a task for each system, layouts of training sets",
    "prepared": "a folder of conditions, and the stages that fill it",
    "scenes": "made-up people, products, rooms",
    "proof": "demo, small networks, judges",
    "nodes": "what a ComfyUI user sees",
    "cli": "what a terminal user sees",
}
BESIDE = ("benchmarks", "scripts", "tests")  # import all, and are no part of the package

Arrow = tuple[str, str, int]  # importing module, imported module, line


@cache
def modules() -> dict[str, Path]:
    """Every module of the rooms by its dotted name, as `models.body.motion`."""
    found = {}
    for file in (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = file
    return found


def arrows() -> list[Arrow]:
    """Every import of one module of the pack by another."""
    known = modules()
    return [(name, target, line) for name, file in known.items() for target, line in _imports(name, file, known)]


def _imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) + 1 - node.level], *(node.module or "").split(".")]
            base = ".".join(part for part in base if part)
            for alias in node.names:
                target = f"{base}.{alias.name}".strip(".")
                yield (target if target in known else base), node.lineno


def room(module: str) -> str:
    return module.partition(".")[0]


def upward(found: Iterable[Arrow]) -> list[Arrow]:
    """Arrows to a room that stands above, or that nothing may import."""
    order = [*ROOMS]
    return [arrow for arrow in found if order.index(room(arrow[0])) < order.index(room(arrow[1]))
            or room(arrow[0]) != room(arrow[1]) in ("nodes", "cli")]


def circles(found: Iterable[Arrow], place: Callable[[str], str] = str) -> list[Arrow]:
    """Arrows that are part of a circle of modules, or of what `place` says of each, such as its `folder`."""
    after: dict[str, set[str]] = {}
    for one, other, _ in found:
        after.setdefault(place(one), set()).add(place(other))

    @cache
    def reached(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            fresh = after.get(waiting.pop(), set()) - seen
            seen |= fresh
            waiting += fresh
        return seen

    return [(one, other, line) for one, other, line in found
            if place(one) != place(other) and place(one) in reached(place(other))]


def folder(module: str) -> str:
    """Where a module lies: `models/body` of `models.body.motion`."""
    return str(modules()[module].parent.relative_to(ROOT))


def told(arrow: Arrow) -> str:
    return f"{modules()[arrow[0]].relative_to(ROOT)}:{arrow[2]} imports {arrow[1]}"


def _lines(files: Iterable[Path]) -> int:
    return sum(len(file.read_text("utf-8").splitlines()) for file in files)


def main() -> None:
    known, found = modules(), arrows()
    total = 0
    for name, purpose in ROOMS.items():
        files = [file for module, file in known.items() if room(module) == name]
        total += _lines(files)
        reaches = Counter(room(target) for source, target, _ in found if room(source) == name and room(target) != name)
        print(f"{name:14}{len(files):4} files {_lines(files):6} lines   {purpose}")
        print(f"{'':14}imports {', '.join(f'{other} {count}' for other, count in reaches.most_common()) or 'nothing'}")
    for name in BESIDE:
        files = sorted((ROOT / name).rglob("*.py"))
        total += _lines(files) if name != "tests" else 0
        print(f"{name:14}{len(files):4} files {_lines(files):6} lines")
    print(f"outside tests: {total} lines")
    for rule, broken in (("upward", upward(found)), ("in a circle of folders", circles(found, folder)),
                         ("in a circle of modules", circles(found))):
        print(f"{rule}:", *(map(told, broken) if broken else ["none"]), sep="\n  ")


if __name__ == "__main__":
    main()
