"""Help pages and translations: every node has them, nothing in them is stale, and they say what the schemas say."""

import json
import re

import pytest
import yaml
from build_help import DOCS, LANGUAGES, SHAPES, EachKeyOnce, build, languages, pages, recorded, table, written

LARGEST, ALL = 40_000, 1_000_000  # bytes of a picture, and of all
NAMED = re.compile(
    r"`crafters [^`]+`|(?<![\w*])[\w*.-]+\.(?:pth|pt|ckpt|onnx|npz|pkl|safetensors|json|mpg\.de)\b|models(?:/\w+)+"
    r"|(?<![\w.-])\d+(?:\.\d+)*(?!\w)"
)  # what no translation changes: commands, files, addresses, folders, numbers
QUOTED = {"zh": re.compile("“([^”]+)”"), "ja": re.compile("「([^」]+)」")}
# Nodes of ComfyUI's own that are named but are no neighbours: Get Video Components, Load CLIP Vision.
CORE = {"zh": {"获取视频元素", "加载CLIP视觉"}, "ja": {"ビデオコンポーネントの取得", "CLIPビジョンを読み込む"}}
SHAPE = re.compile(r"([\w.]+): (\S+)")


@pytest.fixture(scope="module")
def shapes():
    return json.loads(SHAPES.read_text("utf-8"))


@pytest.fixture(scope="module")
def built(shapes):
    """What scripts/build_help.py would write, and the words that it asked for."""
    words = languages()
    return dict(build(recorded(), shapes, pages(), words)), words


def test_every_node_has_texts_and_a_help_page(shapes):
    assert shapes.keys() == recorded()["nodeDefs"].keys()
    told = {name: node for name, node in pages()["nodes"].items() if "title" not in node}  # not ComfyUI's own
    assert told.keys() == shapes.keys()
    assert [name for name, node in told.items() if not {"when", "mistakes"} <= node.keys()] == []


def test_files_are_those_that_the_script_writes(built):
    files, _ = built
    assert written() == files.keys()
    stale = [path.name for path, text in files.items() if path.read_text("utf-8") != text]
    assert stale == [], "run scripts/build_help.py"


def test_no_translation_is_missing_or_left_over(built):
    _, words = built
    assert {language: words[language].missing for language in LANGUAGES} == dict.fromkeys(LANGUAGES, set())
    assert table().keys() - set().union(*(each.asked for each in words.values())) == set()
    assert [text for text, said in table().items() if said.keys() != set(LANGUAGES) or not all(said.values())] == []


def test_translations_keep_files_commands_and_numbers():
    lost = [
        (language, token, text)
        for text, said in table().items()
        for language in LANGUAGES
        for token in NAMED.findall(text)
        if token not in said[language]
    ]
    assert lost == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_name_nodes_and_inputs_as_the_page_does(language):
    names = {said[language] for text, said in table().items()} | CORE[language]
    strangers = [
        (quoted, said[language])
        for said in table().values()
        for quoted in QUOTED[language].findall(said[language])
        if quoted not in names
    ]
    assert strangers == []


def test_texts_hold_nothing_that_the_page_would_take_for_a_format():
    """The page's translator reads {name}, @:link and a|b in names and descriptions."""
    texts = [each for text, said in table().items() for each in (text, *said.values())]
    assert [text for text in texts if re.search(r"[{}@|]", text)] == []


def test_pictures_are_there_used_and_small():
    files = {file.stem: file.stat().st_size for file in (DOCS / "pictures").iterdir()}
    used = {node["picture"] for node in pages()["nodes"].values() if "picture" in node}
    assert files.keys() == used == pages()["pictures"].keys()
    assert max(files.values()) < LARGEST and sum(files.values()) < ALL


def test_neighbours_can_be_connected(shapes):
    """An output of the node has the type of an input of the next one; what core's nodes take is asked of a server."""
    told = pages()["nodes"]
    apart = [
        (name, after)
        for name, node in told.items()
        for after in node.get("next", [])
        if name in shapes and after in shapes and not made(shapes[name]) & taken(shapes[after])
    ]
    assert apart == []


def made(shape: dict) -> set[str]:
    return {line.rpartition(": ")[2] for line in shape["outputs"]}


def taken(shape: dict) -> set[str]:
    return {kind for line in shape["inputs"] for kind in SHAPE.match(line)[2].rstrip(",").split(",")}


def test_a_text_that_stands_twice_is_refused():
    with pytest.raises(yaml.YAMLError, match="next stands twice"):
        yaml.load("node:\n  next: [a]\n  next: [b]\n", EachKeyOnce)
