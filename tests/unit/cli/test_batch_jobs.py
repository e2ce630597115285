"""What a batch is told to make: tables, folders, mistakes, and the order."""

import copy
import json

import pytest
from crafters.cli.batch_jobs import cross, ordered, read_jobs, read_table
from crafters.host.prompt import UsageError
from stub_comfy import GRAPH


@pytest.fixture
def home(tmp_path):
    for name in ("anna", "ben", "mug"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    return tmp_path


def jobs(home, text, settings=(), name="jobs.csv", graph=GRAPH):
    table = home / name
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_jobs(graph, name, read_table(table), home, settings)


def mistakes(home, text, **options):
    with pytest.raises(UsageError) as error:
        jobs(home, text, **options)
    return str(error.value)


def inputs(job, node_id):
    return job.task(GRAPH).prompt[node_id]["inputs"]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table(home, mark):
    text = """\ufeffname,Person Photo.image,Sampler.seed,3.text

first,anna.png,7,2024
"sec ond",,8,"two
lines"
third,ben.png,,
"""
    first, second, third = jobs(home, text.replace(",", mark))
    assert [job.name for job in (first, second, third)] == ["first", "sec ond", "third"]
    assert first.files.keys() == {("1", "image")} and first.files["1", "image"][0] == home / "anna.png"
    assert inputs(first, "4")["seed"] == first.seed(GRAPH) == 7 and inputs(first, "3")["text"] == "2024"
    assert not second.files and inputs(second, "3")["text"] == "two\nlines"
    assert inputs(third, "4")["seed"] == third.seed(GRAPH) == 1 and inputs(third, "3")["text"] == ""


def test_json_lines(home):
    lines = [{"name": "first", "1.image": "anna.png", "4.seed": 7, "3.text": 2024},
             {"name": 2, "3.text": '"x"', "4.seed": None}]
    first, second = jobs(home, "\n".join(map(json.dumps, lines)), name="jobs.jsonl")
    assert inputs(first, "4")["seed"] == 7 and inputs(first, "3")["text"] == "2024" and first.files
    assert second.name == "2" and inputs(second, "3")["text"] == '"x"' and "seed" in inputs(second, "4")


def test_settings_are_for_all_and_cells_count_more(home, monkeypatch):
    monkeypatch.chdir(home)
    first, second = jobs(home, "name,4.seed\na,7\nb,\n", ["4.seed=9", "1.image=anna.png"])
    assert (first.seed(GRAPH), second.seed(GRAPH)) == (7, 9)
    assert first.files == second.files and first.files["1", "image"][0] == home / "anna.png"


def test_a_servers_own_files_are_named_apart(home):
    first, second = jobs(home, "name,4.seed\na,7\nb,8\n")
    prefixes = {inputs(job, "5")["filename_prefix"] for job in (first, second)}
    assert len(prefixes) == 2 and all(prefix.endswith("/video/result") for prefix in prefixes)
    assert GRAPH["5"]["inputs"]["filename_prefix"] == "video/result"


def test_all_mistakes_are_told_at_once_with_their_lines(home):
    (home / "empty.png").touch()
    told = mistakes(home, """name,Person Photo.image,Nobody.x,Sampler.seed,4.seed,3.seconds
good,anna.png,,1,,
../x,anna.png,,1,,
/abs,anna.png,,1,,
"two
lines",anna.png,,1,,
good,lost.png,,many,,
Good,empty.png,,,,NaN
,anna.png,,"[""9"", 0]",,
short,anna.png
con,anna.png,,,true,
jobs.csv,.,,,,
.hidden,,,,,"{""a"": 1}"
""")
    assert told.startswith("jobs.csv has 20 mistakes:\n")
    for part in (
        "The column 'Nobody.x' names no node of the workflow; there are 1 (Person Photo), 2",
        "The columns 'Sampler.seed' and '4.seed' are the same input.",
        "line 3: '../x' names folders",
        "line 4: '/abs' names folders",
        "line 5: 'two\\nlines' has signs that names of files cannot have",
        "line 7: the name 'good' is that of line 2 too.",
        "line 7, Person Photo.image: there is no file lost.png.",
        "line 7, Sampler.seed: 'many' is no number.",
        "line 8: the name 'Good' is that of line 2 too.",
        "line 8, Person Photo.image: empty.png is empty.",
        "line 8, 3.seconds: 'NaN' is nan: give a finite number.",
        "line 9: it has no name.",
        'line 9, Sampler.seed: ["9", 0] is no link to a node',
        "line 10: it has 2 cells where there are 6 columns.",
        "line 11: 'con' is no name on Windows",
        "line 11, 4.seed: 'true' is no number.",
        "line 12: a job cannot be called 'jobs.csv'.",
        "line 12, Person Photo.image: there is no file .",
        "line 13: a job cannot be called '.hidden'.",
        'line 13, 3.seconds: {"a": 1} is no link',
    ):
        assert part in told, told


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("", "jobs.csv", "jobs.csv has no jobs."),
        ("name\n", "jobs.csv", "jobs.csv has no jobs."),
        ("nom\nx\n", "jobs.csv", "line 1: there is no column 'name'."),
        ("name,a,a\nx,,\n", "jobs.csv", "line 1: two columns are called 'a'."),
        ('name\n"x\n', "jobs.csv", "line 2: unexpected end of data."),
        (b"name\n\xff\n", "jobs.csv", "is not text in UTF-8"),
        ("name\nx\n", "jobs.txt", "give a .csv or a .jsonl file"),
        ("[]\n7\n{\n", "jobs.jsonl", "jobs.jsonl has 3 mistakes:\n  line 1: it is not {column: value, …}."),
        ('{"name": [1]}', "jobs.jsonl", "line 1: '[1]'"),
    ],
)
def test_a_wrong_table(home, text, name, told):
    if told.startswith("line 1: '[1]'"):
        assert jobs(home, text, name=name)[0].name == "[1]"  # a name as another
        return
    assert told in mistakes(home, text, name=name)


def test_an_absent_table(home):
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(home / "lost.csv")


def test_a_column_with_files_has_nothing_else(home):
    graph = copy.deepcopy(GRAPH)
    graph["3"]["inputs"]["text"] = "avatar.ply"
    assert "line 3, 3.text: there is no file nobody.ply." in mistakes(
        home, "name,3.text\na,anna.png\nb,nobody.ply\n", graph=graph)
    assert not jobs(home, "name,3.text\na,one.ply\nb,other.ply\n", graph=graph)[0].files


def test_many_mistakes_are_cut(home):
    told = mistakes(home, "name\n" + "../x\n" * 150)
    assert told.startswith("jobs.csv has 150 mistakes:") and told.endswith("and 50 more") and told.count("\n") == 101


def test_keys_are_of_graph_settings_and_content(home):
    def key(text="name,1.image,4.seed\na,anna.png,1\n", graph=GRAPH, settings=()):
        return jobs(home, text, settings, graph=graph)[0].key

    first = key()
    assert key("name,4.seed,1.image\nb,1,anna.png\n") == first  # neither name nor order
    assert key("name,1.image\na,anna.png\n") == first  # 1 is the graph's own seed
    assert key("name,1.image,4.seed\na,anna.png,2\n") != first
    assert key(settings=["3.text=x"]) != first
    other = copy.deepcopy(GRAPH)
    other["1"]["_meta"]["title"] = "Somebody"
    assert key(graph=other) == first
    other["5"]["inputs"]["filename_prefix"] = "x"
    assert key(graph=other) != first
    (home / "again.png").write_bytes(b"anna")
    assert key("name,1.image\na,again.png\n") == first
    (home / "anna.png").write_bytes(b"Anna")
    assert key() != first


def test_every_person_with_every_product(home):
    people, products = home / "people", home / "products"
    (products / "lamp").mkdir(parents=True)
    people.mkdir()
    for path in (people / "anna.png", people / "ben.jpg", people / ".hidden.png", people / "notes.txt",
                 products / "mug.png", products / "lamp" / "left.png", products / "lamp" / "Front.png"):
        path.write_bytes(path.name.encode())
    graph = copy.deepcopy(GRAPH)
    graph["6"] = {**GRAPH["2"], "_meta": {"title": "Product Left"}}
    found = read_jobs(graph, "folders", cross(graph, people, products), home)
    assert [job.name for job in found] == ["anna_lamp", "anna_mug", "ben_lamp", "ben_mug"]
    assert {place: path.name for place, (path, _) in found[2].files.items()} == {
        ("1", "image"): "ben.jpg", ("2", "image"): "Front.png", ("6", "image"): "left.png"}
    assert {path.name for path, _ in found[1].files.values()} == {"anna.png", "mug.png"}
    assert [job.name for job in read_jobs(graph, "folder", cross(graph, None, products), home)] == ["lamp", "mug"]
    with pytest.raises(UsageError, match="lost is no folder with pictures"):
        cross(graph, home / "lost", products)
    with pytest.raises(UsageError, match="no node 'Person Photo' or 'Character Photo'"):
        cross({"3": GRAPH["3"]}, people, None)


def test_the_order_keeps_together_what_spares_most(home):
    """Persons go through all nodes, products and seeds through the last only."""
    rows = [f"{person}{product}{seed},{person}.png,{product}.png,{seed}"
            for seed in (1, 2) for product in ("anna", "mug") for person in ("ben", "anna")]
    table = jobs(home, "\n".join(["name,1.image,2.image,4.seed", *rows]))
    names = [job.name for job in ordered(table, GRAPH)]
    assert names == ["benanna1", "benanna2", "benmug1", "benmug2", "annaanna1", "annaanna2", "annamug1", "annamug2"]
    assert ordered(table[:1], GRAPH) == table[:1] and ordered([], GRAPH) == []


def test_a_column_that_differs_everywhere_orders_nothing(home):
    rows = [f"{number},text {number},{'anna' if number % 2 else 'mug'}.png" for number in range(6)]
    table = jobs(home, "\n".join(["name,3.text,2.image", *rows]))
    assert [job.name for job in ordered(table, GRAPH)] == ["0", "2", "4", "1", "3", "5"]
