"""The folder of prepared clips: what is kept, what is made again, what is the user's, and a kill at any moment."""

import json
import os
import signal
from pathlib import Path

import pytest
from crafters.files.digest import content
from crafters.prepared.folder import LOCK, UNFINISHED, Prepared

FILE = "clips/a_b/words.txt"


class Writer:
    def __init__(self, words):
        self.words, self.calls = words, 0

    def __call__(self, path):
        self.calls += 1
        path.write_text(self.words)


@pytest.fixture
def prepared(tmp_path):
    return Prepared(tmp_path / "out")


def test_made_once(prepared):
    write = Writer("one")
    assert not prepared.holds(FILE, {"a": 1})
    for _ in range(2):
        prepared.put(FILE, {"a": 1}, write)
    assert write.calls == 1
    again = Prepared(prepared.folder)
    assert again.holds(FILE, {"a": 1}) and not again.is_own(FILE) and again.noted(FILE) == {"a": 1}


def test_made_again_of_something_else(prepared):
    prepared.put(FILE, [1], Writer("one"))
    assert not prepared.holds(FILE, [2])
    prepared.put(FILE, [2], Writer("two"))
    assert prepared.path(FILE).read_text() == "two" and prepared.holds(FILE, [2]) and not prepared.holds(FILE, [1])


def test_made_again_when_deleted(prepared):
    prepared.put(FILE, 1, Writer("one"))
    prepared.path(FILE).unlink()
    assert not prepared.holds(FILE, 1) and prepared.noted(FILE) is None and not prepared.is_own(FILE)
    prepared.put(FILE, 1, Writer("two"))
    assert prepared.path(FILE).read_text() == "two"


@pytest.mark.parametrize("before", [True, False], ids=["changed", "put there"])
def test_the_users_own_is_never_overwritten(prepared, before):
    if before:
        prepared.put(FILE, 1, Writer("one"))
    prepared.path(FILE).parent.mkdir(parents=True, exist_ok=True)
    prepared.path(FILE).write_text("mine")
    assert prepared.is_own(FILE)
    write = Writer("two")
    prepared.put(FILE, 2, write)
    assert prepared.path(FILE).read_text() == "mine" and not write.calls


def test_a_writer_that_fails_leaves_what_was_there(prepared):
    def fail(path):
        path.write_text("ha")
        raise OSError("disk full")

    prepared.put(FILE, 1, Writer("one"))
    with pytest.raises(OSError, match="disk full"):
        prepared.put(FILE, 2, fail)
    assert prepared.path(FILE).read_text() == "one" and prepared.holds(FILE, 1)


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def killed(folder, moment):
    """A process that writes FILE anew and is killed at that moment; this one goes on."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    real, write = os.replace, Writer("half and half")
    if moment == "writing":
        write = lambda path: (path.write_text("ha"), die())  # noqa: E731
    if moment == "unlinking":
        Path.unlink = die
    if moment == "noting":
        Prepared._note = die
    if moment == "writing the manifest":
        json.dumps = die
    if moment == "noted":
        os.replace = lambda old, new: real(old, new) if Path(new).name == "manifest.json" else die()
    Prepared(folder).put(FILE, "new", write)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("before", [True, False], ids=["replacing", "new"])
@pytest.mark.parametrize("moment", ["writing", "unlinking", "noting", "writing the manifest", "noted"])
def test_killed_at_any_moment(prepared, moment, before):
    if before:
        prepared.put(FILE, "old", Writer("one"))
    assert killed(prepared.folder, moment) == -signal.SIGKILL
    assert not prepared.holds(FILE, "new") and not prepared.is_own(FILE)
    left = [path for path in prepared.folder.rglob("*") if path.is_file() and UNFINISHED not in path.parts]
    assert all(path.read_text() == "one" for path in left if path.name != "manifest.json")
    prepared.put(FILE, "new", Writer("two"))
    assert prepared.path(FILE).read_text() == "two" and prepared.holds(FILE, "new") and not prepared.is_own(FILE)


def processes(*works):
    """Each in a process of its own, at once; how they end."""
    children = []
    for work in works:
        process = os.fork()
        if not process:
            work()
            os._exit(0)
        children.append(process)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in children]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_two_processes_lose_no_note(prepared):
    """Each with files of its own and with some that the other makes too, and looking at all of them."""
    files = [f"{who}/{number}.txt" for who in ("one", "two", "both") for number in range(15)]

    def work(who):
        mine = Prepared(prepared.folder)
        for number in range(15):
            for name in (who, "both"):
                mine.put(f"{name}/{number}.txt", who, Writer(f"{name} {number}"))
            if any(mine.is_own(file) for file in files):
                os._exit(3)

    assert processes(lambda: work("one"), lambda: work("two")) == [0, 0]
    assert not [file for file in files if prepared.noted(file) is None or prepared.is_own(file)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_dead_hold_no_lock(prepared):
    assert processes(lambda: prepared.put(FILE, 1, die)) == [-signal.SIGKILL]
    prepared.put(FILE, 1, Writer("one"))
    assert prepared.holds(FILE, 1)


OTHER = "clips/a_b/more.txt"


def own(prepared, file):
    prepared.path(file).parent.mkdir(parents=True, exist_ok=True)
    prepared.path(file).write_text("mine")


def test_an_own_file_is_of_the_clip_it_was_made_of(prepared):
    prepared.put(FILE, 1, Writer("one"), ["A"])
    own(prepared, FILE)
    prepared.claim({FILE: ["B"]})
    assert "is your own, made for another clip" in prepared.question(FILE, ["B"])
    assert prepared.question(FILE, ["A", "C"]) is None and prepared.is_own(FILE)


def test_a_file_put_among_others_is_of_their_clip(prepared):
    prepared.put(OTHER, 1, Writer("one"), ["A"])
    own(prepared, FILE)
    prepared.claim({FILE: ["B"], OTHER: ["B"]})
    assert prepared.question(FILE, ["B"]) and not prepared.question(OTHER, ["B"])
    prepared.put(OTHER, 2, Writer("two"), ["B"])  # the place is taken, but not by the user's file
    assert prepared.question(FILE, ["B"]) and not prepared.question(FILE, ["A"])


def test_a_file_put_into_a_fresh_folder_is_of_the_first_clip(prepared):
    own(prepared, FILE)
    prepared.claim({FILE: ["A"]})
    assert not prepared.question(FILE, ["A"]) and prepared.question(FILE, ["B"]) and prepared.is_own(FILE)
    prepared.path(FILE).unlink()
    prepared.put(FILE, 1, Writer("one"), ["B"])
    assert not prepared.is_own(FILE) and not prepared.question(FILE, ["C"])


def test_a_folder_is_what_its_files_hold(tmp_path):
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / "1.json").write_text("{}")
    before = content(tmp_path / "walk")
    (tmp_path / "walk" / "1.json").rename(tmp_path / "walk" / "2.json")
    assert content(tmp_path / "walk") != before
    (tmp_path / "walk" / "2.json").rename(tmp_path / "walk" / "1.json")
    assert content(tmp_path / "walk") == before
    (tmp_path / "walk" / "1.json").write_text("[]")
    assert content(tmp_path / "walk") != before


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"made_of": 1}}'])
def test_a_damaged_manifest_is_told(prepared, text):
    prepared.folder.mkdir()
    (prepared.folder / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        prepared.noted(FILE)


def test_the_manifest_reads_well(prepared):
    prepared.put(FILE, {"film": "ab"}, Writer("one"))
    prepared.put("a.txt", {}, Writer("two"))
    entries = json.loads((prepared.folder / "manifest.json").read_text())
    assert list(entries) == ["a.txt", FILE] and entries[FILE]["made_of"] == {"film": "ab"}
    assert os.listdir(prepared.folder / UNFINISHED) == [LOCK]
