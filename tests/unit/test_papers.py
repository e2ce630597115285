"""The papers say what is there: links lead somewhere, commands, files and weights that they name exist."""

import argparse
import re
from urllib.parse import unquote

import pytest
from crafters.cli import COMMANDS, _parser
from crafters.host.weights import CATALOGUE, describe_size
from house import ROOMS, ROOT
from PIL import Image

PAPERS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
LINK = re.compile(r'\]\(([^)\s]+)\)|src="([^"]+)"')
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```\n(.*?)^```", re.M | re.S)
FOLDERS = [*ROOMS, "tests", "scripts", "docs", "workflows", "benchmarks", "web"]
PLACE = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*")
COMFYUI = ("models/crafters", "models/diffusers")  # its folders
TITLE = re.compile(r'display_name="([A-Z][^"(]*?) ?(?:\(.*\))?",\n +category')  # of a node, without what is in brackets
by_name = pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)


def anchors(text: str) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


def options() -> dict[str, set[str]]:
    """Of every command of `crafters`."""
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return {name: set(parser._option_string_actions) for name, parser in commands.choices.items()}


@by_name
def test_links_lead_somewhere(paper):
    for link in filter(None, sum(LINK.findall(paper.read_text("utf-8")), ())):
        if not link.startswith(("http://", "https://")):
            path, _, part = unquote(link).partition("#")
            file = (paper.parent / path) if path else paper
            assert file.exists(), link
            assert not part or part in anchors(file.read_text("utf-8")), link


@by_name
def test_commands_and_their_options_exist(paper):
    """`crafters …`, wherever it stands in the text."""
    known, text = options(), paper.read_text("utf-8").replace("\\\n", " ")
    calls = [code for code in CODE.findall(BLOCK.sub("", text))] + "\n".join(BLOCK.findall(text)).splitlines()
    for call in calls:
        call = call.partition("#")[0]
        if found := re.search(r"(?:^|[ /])crafters ([a-z-]+)\b(.*)", call):
            command, rest = found.groups()
            assert command in known, call
            assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) <= known[command], call


@by_name
def test_files_that_are_named_exist(paper):
    text = paper.read_text("utf-8")
    if paper.name == "CHANGELOG.md":  # the first column of its table says what was
        text = re.sub(r"^\| [^|]*\|", "", text, flags=re.M)
    for place in (place for code in CODE.findall(text) + BLOCK.findall(text) for place in PLACE.findall(code)):
        assert "NAME" in place or place.startswith(COMFYUI) or (ROOT / place).exists(), place
    for module in re.findall(r"python -m crafters\.([\w.]+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_readme_is_short_and_complete():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 200
    for weights in CATALOGUE:
        (row,) = (line for line in text.splitlines() if line.startswith("| `") and f"`{weights.name}`" in line)
        assert describe_size(weights.size).split()[0] in row, weights.name
    graphs = [*ROOT.glob("workflows/*.json")]
    assert graphs and [graph.stem for graph in graphs if f"**{graph.stem}**" not in text] == []
    assert [graph.stem for graph in graphs if not graph.with_suffix(".jpg").is_file()] == []


def test_every_command_is_described():
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert COMMANDS and [name for name in options() if f"| `crafters {name}` |" not in text] == []


def test_every_node_is_described():
    text = (ROOT / "docs" / "nodes.md").read_text("utf-8")
    titles = {title for file in ROOT.glob("nodes/*.py") for title in TITLE.findall(file.read_text("utf-8"))}
    assert len(titles) > 40 and sorted(title for title in titles if f"*{title}*" not in text) == []


def test_the_moving_picture_moves_and_is_small():
    file = ROOT / "docs" / "images" / "demo.webp"
    with Image.open(file) as picture:
        assert picture.n_frames > 10 and picture.info["loop"] == 0 and picture.width >= 800
    assert file.stat().st_size < 3e6


def test_every_room_is_in_the_papers():
    for paper in ("CONTRIBUTING.md", "docs/design.md"):
        text = (ROOT / paper).read_text("utf-8")
        assert [room for room in ROOMS if f"`{room}" not in text] == []
