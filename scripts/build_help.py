"""Write the help pages (web/docs) and the texts in other languages (locales): the one source of both.

    python scripts/build_help.py [--server URL | --recorded]

What the schemas say comes from a running ComfyUI that has the pack, or from one started for it; it is recorded in
locales/en. help/pages.yaml says in English what schemas do not, and help/words.yaml says all of it in other languages.
The pictures are those of help_pictures.py.
"""

import argparse
import json
import re
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml
from crafters.cli.server import ComfyServer
from crafters.host.comfyui import find_comfyui
from workflow_schema import GROWING, input_options, input_specs

ROOT = Path(__file__).resolve().parent.parent
HELP = ROOT / "scripts" / "help"
DOCS = ROOT / "web" / "docs"
LOCALES = ROOT / "locales"
SHAPES = ROOT / "tests" / "comfy" / "schemas.json"
LANGUAGES = ("zh", "ja")
ENDLESS = 10**6  # a larger maximum is none that a user meets
COMMA = {"en": ", ", "zh": "、", "ja": "、"}
COLON = {"en": ": ", "zh": "：", "ja": "："}


class EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        known = set()
        for key, _ in node.value:
            if key.value in known:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            known.add(key.value)
        return super().construct_mapping(node, deep)


class Words:
    """The texts of one language by the English ones; those that were asked for are remembered.

    A name may have another meaning in one node: what stands in the table as NODE.name comes first.
    """

    def __init__(self, language: str, table: dict[str, dict[str, str]]):
        self.language, self.asked, self.missing = language, set(), set()
        self._table = table

    def __call__(self, text: str, node: str = "") -> str:
        key = f"{node}.{text}" if f"{node}.{text}" in self._table else text
        self.asked.add(key)
        if self.language == "en":
            return text
        if key not in self._table:
            self.missing.add(text)
        return self._table.get(key, {}).get(self.language, text)


@cache
def pages() -> dict:
    """What the help pages say beyond the schemas, in English: {"pictures": …, "nodes": …}."""
    return yaml.load((HELP / "pages.yaml").read_text("utf-8"), EachKeyOnce)


@cache
def table() -> dict[str, dict[str, str]]:
    """{English text: {language: text}}."""
    return yaml.load((HELP / "words.yaml").read_text("utf-8"), EachKeyOnce)


def english(object_info: dict) -> dict[str, dict]:
    """What the schemas of the pack's nodes say, as locales/en has it: {"main": …, "nodeDefs": …}."""
    nodes = {name: info for name, info in sorted(object_info.items()) if name.startswith("Crafters")}
    categories = sorted({part for info in nodes.values() for part in info["category"].split("/")})
    return {
        "main": {"nodeCategories": {category: category for category in categories}},
        "nodeDefs": {name: _english_node(info) for name, info in nodes.items()},
    }


def _english_node(info: dict) -> dict:
    given = [(name, input_options(spec)) for _, name, spec in input_specs(info)]
    made = zip(info["output_name"], info["output_tooltips"], strict=True)
    return {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": {
            _key(name): _entry(told.get("display_name") or name.rpartition(".")[2], told.get("tooltip"))
            for name, told in given
        },
        "outputs": {str(slot): _entry(name, tip) for slot, (name, tip) in enumerate(made)},
    }


def _key(name: str) -> str:
    """An input's name as the page looks up its texts: that of a choice's own has dots."""
    return name.replace(".", "_")


def _entry(name: str, tooltip: str | None) -> dict:
    return {"name": name, "tooltip": tooltip} if tooltip else {"name": name}


def recorded() -> dict[str, dict]:
    """What `english` gave when it was last written."""
    return {name: json.loads((LOCALES / "en" / f"{name}.json").read_text("utf-8")) for name in ("main", "nodeDefs")}


def locale(said: dict[str, dict], words: Words) -> dict[str, dict]:
    """`said` (of `english`) in another language."""

    def node(name: str, texts: dict) -> dict:
        slots = {
            side: {
                key: {what: words(text, name if what == "name" else "") for what, text in entry.items()}
                for key, entry in texts[side].items()
            }
            for side in ("inputs", "outputs")
        }
        return {key: words(texts[key]) for key in ("display_name", "description")} | slots

    categories = said["main"]["nodeCategories"]
    return {
        "main": {"nodeCategories": {category: words(category) for category in categories}},
        "nodeDefs": {name: node(name, texts) for name, texts in said["nodeDefs"].items()},
    }


def page(node: str, texts: dict, shape: dict, told: dict, words: Words) -> str:
    """The Markdown of a node's help page.

    texts: of the node, in the page's language, as in nodeDefs.json. shape: its inputs and outputs, as the tests record
    them. told: of `pages`, with a title for every node.
    """
    own = told["nodes"].get(node, {})
    parts = [f"# {texts['display_name']}", _escape(texts["description"])]
    if picture := own.get("picture"):
        caption = words(told["pictures"][picture])
        parts.append(f"![{caption}](pictures/{picture}.webp)\n\n*{caption}*")
    if when := own.get("when"):
        parts.append(_section(words("When to use it"), [_escape(words(when))]))
    inputs = [(texts["inputs"][_key(name)], name, _type(words, *rest)) for name, *rest in map(_parse, shape["inputs"])]
    outputs = [line.rpartition(": ") for line in shape["outputs"]]
    outputs = [(texts["outputs"][str(slot)], name, kind) for slot, (name, _, kind) in enumerate(outputs)]
    parts += [_slots(words("Inputs"), inputs), _slots(words("Outputs"), outputs)]
    parts.append(_section(words("Typical mistakes"), [f"- {_escape(words(text))}" for text in own.get("mistakes", [])]))
    around = {"Before it": before(node, told), "After it": own.get("next", [])}
    titles = {side: [words(told["nodes"][name]["title"]) for name in names] for side, names in around.items()}
    lines = [f"- **{words(side)}**{COLON[words.language]}{COMMA[words.language].join(names)}"
             for side, names in titles.items() if names]
    parts.append(_section(words("Before and after"), lines))
    return "\n\n".join(filter(None, parts)) + "\n"


def before(node: str, told: dict) -> list[str]:
    """The nodes whose outputs go to `node`."""
    return [name for name, other in told["nodes"].items() if node in other.get("next", [])]


def _section(heading: str, lines: list[str]) -> str:
    return "\n".join([f"## {heading}\n", *lines]) if lines else ""


def _slots(heading: str, slots: list[tuple[dict, str, str]]) -> str:
    """The list of inputs or outputs, as the panel is too narrow for a table; slots: texts, name and type of each."""
    lines = []
    for texts, name, kind in slots:
        label = f"`{name}`" if texts["name"] == name else f"**{texts['name']}** `{name}`"
        tooltip = f"  \n  {_escape(texts['tooltip'])}" if "tooltip" in texts else ""
        lines.append(f"- {label} {kind}{tooltip}")
    return _section(heading, lines)


def _parse(line: str) -> tuple[str, str, bool, dict]:
    """Name, type, whether it is optional, and options of an input as the tests record it."""
    name, kind, need, options = re.fullmatch(r"([\w.]+): (\S+), (required|optional) (\{.*\})", line).groups()
    return name, kind, need == "optional", json.loads(options)


def _type(words: Words, kind: str, optional: bool, options: dict) -> str:
    """The type of an input, and which values it takes, the default in bold."""
    if kind == GROWING:
        return words("(any number)")
    default, low, high = (options.get(key) for key in ("default", "min", "max"))
    if choices := options.get("options"):
        values = COMMA[words.language].join(f"**{each}**" if each == default else each for each in choices)
    elif isinstance(default, bool):
        values = f"**{words('on' if default else 'off')}**"
    elif isinstance(default, str):
        values = f"**{default}**" if default else ""
    elif default is not None:
        values = f"**{default:g}** " + (f"({low:g} – {high:g})" if high < ENDLESS else f"(≥ {low:g})")
    else:
        return f"{kind} {words('(optional)')}" if optional and kind != "COMBO" else kind
    return f"{kind}{COLON[words.language]}{values}" if values else kind


def _escape(text: str) -> str:
    """As Markdown that shows the text as it is, code spans as such."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([*|])", r"\\\1", piece).replace("<", "&lt;") for piece in pieces
    )


def build(said: dict[str, dict], shapes: dict, told: dict, every: dict[str, Words]) -> Iterator[tuple[Path, str]]:
    """Every file and its text. said: of `english`; shapes: the recorded schemas; told: of `pages`."""
    titles = {name: {"title": texts["display_name"]} for name, texts in said["nodeDefs"].items()}
    told = told | {"nodes": {name: titles.get(name, {}) | own for name, own in told["nodes"].items()}}
    for language, words in every.items():
        texts = said if language == "en" else locale(said, words)
        for name, content in texts.items():
            yield LOCALES / language / f"{name}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        for node, shape in shapes.items():
            path = DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"
            yield path, page(node, texts["nodeDefs"][node], shape, told, words)


def written() -> set[Path]:
    """The pages and texts that are there."""
    return {*DOCS.rglob("*.md"), *LOCALES.rglob("*.json")}


def languages() -> dict[str, Words]:
    every = table()
    return {language: Words(language, every) for language in ("en", *LANGUAGES)}


def ask(url: str) -> dict[str, dict]:
    """`english` of the ComfyUI at `url`."""
    with urllib.request.urlopen(f"{url}/object_info") as answer:
        return english(json.load(answer))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--server", help="a running ComfyUI that has the pack, such as http://127.0.0.1:8188")
    where.add_argument("--recorded", action="store_true", help="no ComfyUI: the schemas as they were recorded")
    options = parser.parse_args()
    if options.recorded:
        said = recorded()
    elif options.server:
        said = ask(options.server)
    else:
        comfy_dir = find_comfyui()
        if comfy_dir is None:
            parser.error("no ComfyUI found: run `make setup`, set COMFYUI_DIR, or name one by --server.")
        with ComfyServer(comfy_dir, base_directory=ROOT / ".comfyui" / "base") as server:
            said = ask(server.url)
    every = languages()
    files = dict(build(said, json.loads(SHAPES.read_text("utf-8")), pages(), every))
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for path in written() - files.keys():
        path.unlink()
    for words in every.values():
        for text in sorted(words.missing):
            print(f"{words.language} lacks: {text}")
    for text in sorted(table().keys() - set().union(*(words.asked for words in every.values()))):
        print(f"nobody says any more: {text}")


if __name__ == "__main__":
    main()
