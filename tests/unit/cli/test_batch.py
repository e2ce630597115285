"""A batch against servers that only pretend, and fail in every way."""

import asyncio
import contextlib
import csv
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import stub_comfy
from crafters.cli import batch_dispatch, batch_servers, client, main
from crafters.files.digest import content
from crafters.files.whole import alone
from stub_comfy import GRAPH, Serving, StubComfy

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="no such signals on Windows")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(client, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(batch_servers, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(batch_dispatch, "BACKOFF", (0.05, 0.2))


class Shop:
    """A folder with photos, a table of jobs and the graph."""

    def __init__(self, home):
        self.home, self.out = home, home / "results"
        (home / "graph.json").write_text(json.dumps(GRAPH))
        for name in ("anna", "ben", "mug", "lamp"):
            (home / f"{name}.png").write_bytes(name.encode())
        self.table("name,Person Photo.image,Product Front.image,Sampler.seed",
                   *(f"{person}_{product},{person}.png,{product}.png,{seed}" for seed, (person, product) in
                     enumerate([("anna", "mug"), ("ben", "mug"), ("anna", "lamp"), ("ben", "lamp")])))

    def table(self, *lines):
        (self.home / "jobs.csv").write_text("\n".join(lines) + "\n")

    def words(self, *servers, options=()):
        asked = [word for url in servers for word in ("--server", url)]
        files = self.home / "jobs.csv", self.home / "graph.json"
        return ["batch", *map(str, files), "--out", str(self.out), *asked, *options]

    def run(self, *servers, options=()):
        return main(self.words(*servers, options=options))

    def rows(self):
        with (self.out / "jobs.csv").open(newline="") as file:
            return {row["name"]: row for row in csv.DictReader(file)}

    def made(self):
        """By job, what its only video holds; every record is true, and nothing half is left."""
        assert not [path for path in self.out.iterdir() if path.name.startswith(".") and path.name != ".lock"]
        found = {}
        for folder in (path for path in self.out.iterdir() if path.is_dir()):
            record = json.loads((folder / "record.json").read_text())
            assert {path.name for path in folder.iterdir()} == {"record.json", *record["files"]}
            assert all(content(folder / file) == digest for file, digest in record["files"].items())
            (video,) = record["files"]
            found[folder.name] = (folder / video).read_text()
        return found


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:
        yield lambda stub: stack.enter_context(Serving(stub))


def states(shop):
    return {name: row["state"] for name, row in shop.rows().items()}


ALL = ("anna_mug", "ben_mug", "anna_lamp", "ben_lamp")


def test_a_batch(shop, serve, capsys):
    stub = StubComfy()
    assert shop.run(url := serve(stub)) == 0
    assert capsys.readouterr().out == f"{shop.out / 'index.html'}\n"
    assert shop.made().keys() == {*ALL} and len(set(shop.made().values())) == 4
    assert [*shop.rows()] == [*ALL]  # as in the table
    row = shop.rows()["anna_lamp"]
    assert (row["state"], row["server"], row["seed"], row["error"]) == ("made", url, "2", "")
    assert float(row["seconds"]) > 0 and row["files"] == "anna_lamp/result_00001_.mp4"
    assert stub.uploads == 4  # each content once
    assert sorted(file.partition("-")[0] for file in stub.files) == ["anna", "ben", "lamp", "mug"]
    assert stub.ran["Work"] == 2 + 4  # conditions of each person once
    page = (shop.out / "index.html").read_text()
    assert "results: 4 of 4 made" in page and page.count("<video") == 4 and "anna_mug/result_00001_.mp4" in page


def test_going_on_makes_only_what_has_changed(shop, serve):
    stub = StubComfy()
    url = serve(stub)
    shop.run(url)
    before, ran = shop.made(), sum(stub.jobs.values())
    assert shop.run(url) == 0 and sum(stub.jobs.values()) == ran
    (shop.home / "lamp.png").write_bytes(b"another lamp")
    assert shop.run(url) == 0 and sum(stub.jobs.values()) == ran + 2
    now = shop.made()
    assert {name for name in ALL if now[name] != before[name]} == {"anna_lamp", "ben_lamp"}
    (shop.out / "anna_mug" / "result_00001_.mp4").unlink()  # as is made again what is no longer whole
    (shop.out / "ben_mug" / "record.json").write_text("{")
    assert shop.run(url) == 0 and sum(stub.jobs.values()) == ran + 4 and shop.made() == now
    graph = json.loads((shop.home / "graph.json").read_text())
    graph["3"]["inputs"]["text"] = "x"
    (shop.home / "graph.json").write_text(json.dumps(graph))
    assert shop.run(url) == 0 and sum(stub.jobs.values()) == ran + 8
    assert shop.run(url, options=["--set", "Sampler.seconds=0.001"]) == 0 and sum(stub.jobs.values()) == ran + 12


def test_people_and_products_without_a_table(shop, serve):
    for folder, names in (("people", ("anna", "ben")), ("things", ("mug", "lamp"))):
        (shop.home / folder).mkdir()
        for name in names:
            (shop.home / f"{name}.png").rename(shop.home / folder / f"{name}.png")
    words = ["--person-dir", str(shop.home / "people"), "--product-dir", str(shop.home / "things")]
    words += ["--out", str(shop.out), str(shop.home / "graph.json"), "--server", serve(stub := StubComfy())]
    assert main(["batch", *words, "--set", "4.seed=5"]) == 0
    assert shop.made().keys() == {*ALL} and {row["seed"] for row in shop.rows().values()} == {"5"}
    assert stub.uploads == 4


def test_two_servers_share_the_work(shop, serve):
    stubs = StubComfy(), StubComfy()
    shop.table("name,Sampler.seed,Person Photo.image", *(f"job{number},{number},anna.png" for number in range(20)))
    assert shop.run(*map(serve, stubs), options=["--set", "Product Front.image=" + str(shop.home / "mug.png"),
                                                 "--set", "Sampler.seconds=0.02"]) == 0
    assert len(shop.made()) == 20 and min(sum(stub.jobs.values()) for stub in stubs) >= 7
    assert [stub.ran["LoadImage"] for stub in stubs] == [2, 2]


def test_a_job_that_fails_is_set_aside_with_the_nodes_sentence(shop, serve, capsys):
    stub = StubComfy()
    (shop.home / "lamp.png").write_bytes(b"broken")
    assert shop.run(serve(stub)) == 1
    assert shop.made().keys() == {"anna_mug", "ben_mug"}
    sentence = "node 2 (Product Front, LoadImage): RuntimeError: cannot identify lamp-"
    assert shop.rows()["ben_lamp"]["state"] == "set aside" and sentence in shop.rows()["ben_lamp"]["error"]
    said = capsys.readouterr().err
    assert said.startswith("error: 2 of 4 jobs are set aside:\n  anna_lamp: node 2") and "\n  ben_lamp: node 2" in said
    assert "cannot identify" in (shop.out / "index.html").read_text()
    (shop.home / "lamp.png").write_bytes(b"lamp")
    assert shop.run(serve(StubComfy())) == 0 and shop.made().keys() == {*ALL}


@pytest.mark.parametrize("failing", ["CUDA out of memory", "die", "stall"])
def test_a_poisoned_job_does_not_take_the_batch_down(shop, failing):
    shop.table("name,Person Photo.image,Product Front.image,Conditions.fault",
               f"poison,anna.png,mug.png,{failing}", *(f"job{number},ben.png,mug.png," for number in range(6)))
    stall = "0.3" if failing == "stall" else "60"
    with contextlib.ExitStack() as stack:
        # The third to be lost by one job is the last it gets.
        servings = [Serving(StubComfy()) for _ in range(4)]
        for serving in servings:
            serving.stub.deadly = serving.stop
        urls = [stack.enter_context(serving) for serving in servings]
        assert shop.run(*urls, options=["--timeout", "1", "--stall", stall]) == 1
    assert len(shop.made()) == 6
    assert {name for name, state in states(shop).items() if state == "set aside"} == {"poison"}
    error = shop.rows()["poison"]["error"]
    assert {"die": "No ComfyUI answers", "stall": "has not made a step for 0 s"}.get(failing, failing) in error


def test_a_server_that_dies_in_the_middle_of_a_job(shop, serve):
    dying = Serving(StubComfy(deadly=lambda: dying.stop()))
    shop.table("name,Sampler.seed,Sampler.fault,Sampler.seconds", "dies,1,,", *(f"job{n},{n},,0.02" for n in range(20)))
    with dying as lost:
        stub = dying.stub
        run, count = stub._node, iter(range(1000))

        async def node(node_id, kind, inputs, seen):
            if kind == "SaveVideo" and next(count) == 3:
                inputs = {"fault": "die", "seconds": 0}
                kind = "Work"
            return await run(node_id, kind, inputs, seen)

        stub._node = node
        options = photos(shop)
        assert shop.run(lost, serve(other := StubComfy()), options=[*options, "--timeout", "2"]) == 0
    assert len(shop.made()) == 21 and sum(stub.jobs.values()) == 3 and sum(other.jobs.values()) == 18


def photos(shop):
    return ["--set", f"1.image={shop.home / 'anna.png'}", "--set", f"2.image={shop.home / 'mug.png'}"]


def test_a_server_that_falls_silent(shop, serve):
    silent = StubComfy()

    class Falls(StubComfy):
        async def _prompt(self, request):
            answer = await super()._prompt(request)
            self.silent = True
            return answer

    silent = Falls()
    assert shop.run(serve(silent), serve(other := StubComfy()), options=["--timeout", "0.5"]) == 0
    assert len(shop.made()) == 4 and sum(other.jobs.values()) == 4


def test_servers_that_cannot_be_reached(shop, serve, capsys):
    assert shop.run("http://127.0.0.1:9", serve(StubComfy()), "nonsense") == 0
    assert len(shop.made()) == 4
    for folder in shop.out.iterdir():
        if folder.is_dir():
            (folder / "record.json").unlink()
            (folder / "result_00001_.mp4").unlink()
            folder.rmdir()
    capsys.readouterr()
    assert shop.run("http://127.0.0.1:9", options=["--timeout", "0.3"]) == 1
    assert capsys.readouterr().err == "error: No ComfyUI answers at http://127.0.0.1:9: is it running?\n"
    assert set(states(shop).values()) == {"waiting"}


def test_a_server_that_comes_back_is_used_again(shop):
    shop.table("name,Sampler.seed,Sampler.seconds", *(f"job{n},{n},0.05" for n in range(30)))
    first = Serving(StubComfy())
    other = Serving(StubComfy())
    with other as url:
        first.__enter__()
        again = Serving(StubComfy(), first.port)

        def restart():
            time.sleep(0.4)
            first.stop()
            time.sleep(0.3)
            again.__enter__()

        threading.Thread(target=restart).start()
        try:
            assert shop.run(f"http://127.0.0.1:{again.port}", url, options=[*photos(shop), "--timeout", "2"]) == 0
        finally:
            again.stop()
    assert len(shop.made()) == 30
    assert sum(first.stub.jobs.values()) and sum(again.stub.jobs.values()) and again.stub.uploads == 2


def test_a_server_without_the_weights_sets_nothing_aside(shop, serve):
    """It fails at once, and would have spent all attempts of all jobs before the other has made one."""
    lacks = StubComfy(lacks=True)
    shop.table("name,Sampler.seed,Sampler.seconds", *(f"job{n},{n},0.02" for n in range(12)))
    assert shop.run(serve(lacks), serve(StubComfy()), options=photos(shop)) == 0
    assert len(shop.made()) == 12


@pytest.mark.parametrize("odd", ["../../outside.mp4", "/tmp/outside.mp4", "a\nb.mp4", "C:\\outside.mp4", " "])
def test_a_servers_names_lead_nowhere(shop, serve, odd):
    before = {path for path in shop.home.parent.rglob("*")}
    assert shop.run(serve(StubComfy(odd=odd))) == 1 and not shop.made()
    assert "calls a file what is not written here" in shop.rows()["anna_mug"]["error"]
    fresh = {path for path in shop.home.parent.rglob("*")} - before
    assert {path.name for path in fresh} == {"results", "jobs.csv", "index.html", ".lock"}


def test_a_server_that_says_anything_is_text_in_table_and_page(shop, serve):
    shop.table("name,Conditions.fault", "a,=HYPERLINK()<script>alert(1)</script>\n")
    assert shop.run(serve(StubComfy()), options=photos(shop)) == 1
    assert "<script>" not in (shop.out / "index.html").read_text()
    assert shop.rows()["a"]["error"].startswith("node 3 (Conditions, Work)")


def test_a_run_that_gives_no_file(shop, serve):
    graph = {key: node for key, node in GRAPH.items() if key != "5"}
    (shop.home / "graph.json").write_text(json.dumps(graph))
    assert shop.run(serve(StubComfy())) == 1
    assert "gave no file" in shop.rows()["anna_mug"]["error"]


def test_a_file_that_changes_meanwhile_is_no_part_of_a_record(shop, serve):
    stub = StubComfy()
    upload = stub._upload

    async def change(request):
        (shop.home / "lamp.png").write_bytes(b"changed in the meantime")
        return await upload(request)

    stub._upload = change
    assert shop.run(serve(stub)) == 1
    assert states(shop) == {"anna_mug": "made", "ben_mug": "made", "anna_lamp": "set aside", "ben_lamp": "set aside"}
    assert "lamp.png has changed since the batch began" in shop.rows()["ben_lamp"]["error"]


def test_one_batch_at_a_time(shop, serve, capsys):
    url = serve(StubComfy())
    with alone(shop.out / ".lock"):
        assert shop.run(url) == 2
    assert "Another batch is at work in" in capsys.readouterr().err
    assert shop.run(url) == 0


def test_what_no_batch_has_made_is_left_alone(shop, serve, capsys):
    (shop.out / "ben_mug").mkdir(parents=True)
    (shop.out / "ben_mug" / "mine.txt").write_text("mine")
    assert shop.run(serve(StubComfy())) == 2
    assert "holds something else called ben_mug" in capsys.readouterr().err
    assert (shop.out / "ben_mug" / "mine.txt").read_text() == "mine"


def test_a_full_disk_ends_the_batch_and_sets_nothing_aside(shop, serve, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crafters.cli.batch_results.Results.keep", full)
    assert shop.run(serve(StubComfy())) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert set(states(shop).values()) == {"waiting"}


def test_mistakes_come_before_everything(shop, capsys):
    shop.table("name,Person Photo.image", "../x,anna.png", "a,lost.png")
    assert shop.run("http://127.0.0.1:9") == 2
    assert capsys.readouterr().err.count("\n  line ") == 2 and not shop.out.exists()


@pytest.mark.parametrize("words", ["{graph}", "{table} {graph} --product-dir .", "a b c", "{table} {graph} --workers 2",
                                   "{table} {graph} --workers 0 --ray auto"])
def test_wrong_calls(shop, words, capsys):
    words = words.format(table=shop.home / "jobs.csv", graph=shop.home / "graph.json")
    assert main(["batch", *words.split()]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_json_lines(shop, serve, capsys):
    shop.table("name,Sampler.seed,Conditions.fault", "good,1,", "bad,2,no luck")
    assert shop.run(url := serve(StubComfy()), options=["--json", *photos(shop)]) == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0] == {"event": "begun", "total": 2, "made": 0, "servers": [url]}
    assert events[-1] == {"event": "ended", "made": 1, "aside": 1}
    assert {event["event"] for event in events} >= {"started", "step", "made", "again", "aside"}
    aside = next(event for event in events if event["event"] == "aside")
    assert aside["job"] == "bad" and "no luck" in aside["error"] and aside["server"] == url


def test_a_terminal_shows_a_bar_and_a_line_for_each_worker(monkeypatch):
    import io

    from crafters.cli.batch_progress import Bars

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    bars = Bars(10, 2, ["a", "b"])
    bars.tell("started", job="anna", server="a")
    bars.tell("step", job="anna", server="a", node="Sampler", value=3, maximum=20)
    bars.tell("aside", job="ben", server="b", error="no luck")
    bars.tell("lost", server="b", error="gone")
    bars.close()
    said = sys.stderr.getvalue()
    for part in ("a: anna, Sampler 3/20", "b: lost", "3/10", "ben is set aside: no luck", "b is lost: gone"):
        assert part in said, said


def test_a_poster_of_a_video(tmp_path):
    import numpy as np
    from crafters.cli.batch_page import write_page, write_poster
    from crafters.cli.batch_results import State
    from crafters.media.clip import write_video
    from PIL import Image

    folder = tmp_path / "a b"
    folder.mkdir()
    write_video(folder / "a#1.mp4", np.full((3, 64, 1000, 3), 200, np.uint8), 8)
    write_poster(folder, ["still.png", "a#1.mp4"])
    assert Image.open(folder / "poster.jpg").size == (480, 31)
    write_page(tmp_path, [State("a b", "made", 1.5, "here", 7, files=("a#1.mp4", "still.png", "notes.txt"))])
    page = (tmp_path / "index.html").read_text()
    assert 'poster="a%20b/poster.jpg" src="a%20b/a%231.mp4"' in page and '<img loading="lazy"' in page
    assert "made, 2 s, here, seed 7" in page and '<a href="a%20b/notes.txt">' in page


@POSIX
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_interrupts_the_servers_job(shop, serve, sent, code):
    stub = StubComfy()
    words = shop.words(serve(stub), options=[*photos(shop), "--set", "Sampler.seconds=60"])
    batch = multiprocessing.get_context("fork").Process(target=run_and_exit, args=(words,))
    batch.start()
    wait(lambda: stub.ran["Work"] == 2)
    os.kill(batch.pid, sent)
    batch.join(30)
    assert batch.exitcode == code
    wait(lambda: stub.interrupted == 1)
    assert not shop.made() and set(states(shop).values()) == {"waiting"}


def run_and_exit(words):
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    os._exit(code)


def wait(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@POSIX
@pytest.mark.slow
def test_killed_at_ten_random_moments(shop, tmp_path):
    """Two servers, whose process knows nothing of the batch's end."""
    jobs = [f"job{number}" for number in range(100)]
    shop.table("name,Sampler.seed,Sampler.seconds", *(f"{job},{number},0.03" for number, job in enumerate(jobs)))
    chance, kept = random.Random(3), {}
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(a_process()) for _ in range(2)]
        words = shop.words(*urls, options=[*photos(shop), "--timeout", "5"])
        for _ in range(10):
            batch = multiprocessing.get_context("fork").Process(target=run_and_exit, args=(words,))
            batch.start()
            goal = len(kept) + chance.randrange(5)
            wait(lambda goal=goal: len(records(shop)) >= goal)
            time.sleep(0.2 * chance.random())
            batch.kill()
            batch.join()
            assert kept.items() <= records(shop).items()  # nothing is made again
            kept = records(shop)
        assert 10 < len(kept) < len(jobs)
        assert shop.run(*urls, options=[*photos(shop)]) == 0
    assert shop.made().keys() == {*jobs} and len(set(shop.made().values())) == len(jobs)
    assert {row["state"] for row in shop.rows().values()} == {"made"} and shop.rows().keys() == {*jobs}
    assert kept.items() <= records(shop).items()


def records(shop):
    return {path.parent.name: path.stat().st_mtime_ns for path in shop.out.glob("[!.]*/record.json")}


@contextlib.contextmanager
def a_process():
    from crafters.cli.server import _free_port

    port = _free_port()
    with subprocess.Popen([sys.executable, stub_comfy.__file__, "--port", str(port)]) as process:
        try:
            wait(lambda: answers(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def answers(port):
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def own_comfy(tmp_path, monkeypatch):
    """A ComfyUI of this machine that is a stand-in; the file in which it writes its process number."""
    monkeypatch.setenv("COMFYUI_DIR", str(stub_comfy.write_comfy(tmp_path / "ComfyUI", tmp_path / "pid")))
    monkeypatch.setattr("crafters.cli.server._has_gpu", lambda: False)
    return tmp_path / "pid"


def test_a_server_started_here(shop, own_comfy):
    assert shop.run() == 0 and shop.made().keys() == {*ALL}
    assert shop.rows()["ben_mug"]["server"] == "this machine"
    assert not is_alive(int(own_comfy.read_text()))


def test_a_server_started_here_is_started_again(shop, own_comfy):
    shop.table("name,Sampler.seed,Sampler.fault", "first,1,", "dies,2,die", "last,3,")
    assert shop.run(options=photos(shop)) == 1
    assert shop.made().keys() == {"first", "last"} and len(own_comfy.read_text().split()) == 3
    assert shop.rows()["dies"]["error"] == "ComfyUI ended with code 137 during the run."


def test_no_comfyui_here(shop, monkeypatch, capsys):
    monkeypatch.setattr("crafters.cli.batch_servers.find_comfyui", lambda: None)
    assert shop.run() == 1 and "no ComfyUI was found" in capsys.readouterr().err


@POSIX
def test_a_killed_batch_leaves_no_server_behind(shop, own_comfy):
    words = shop.words(options=[*photos(shop), "--set", "Sampler.seconds=60"])
    batch = multiprocessing.get_context("fork").Process(target=run_and_exit, args=(words,))
    batch.start()
    wait(lambda: own_comfy.exists() and own_comfy.read_text().endswith("\n"))
    server = int(own_comfy.read_text())
    time.sleep(0.5)
    assert is_alive(server)
    batch.kill()
    batch.join()
    wait(lambda: not is_alive(server))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_queue_gives_each_worker_a_stretch_of_its_own():
    queue = batch_dispatch.Queue([*range(8)])
    taken = {"a": [queue.take("a", set())], "b": []}
    for _ in range(3):
        taken["b"].append(queue.take("b", set()))
        taken["a"].append(queue.take("a", set()))
    rest = [queue.take("a", set()) for _ in range(3)]
    assert taken == {"a": [0, 1, 2, 3], "b": [4, 5, 6]} and rest == [7, None, None]


def test_a_job_that_failed_is_left_to_another_worker():
    class Job:
        name = "x"

    queue = batch_dispatch.Queue([job := Job()])
    assert queue.take("a", {"a", "b"}) is job
    queue.put_back(job, "a")
    assert queue.take("a", {"a", "b"}) is None and queue.take("a", {"a"}) is job
    queue.put_back(job, "a")
    assert queue.take("b", {"a", "b"}) is job


def test_workers_that_never_start_hold_no_job(shop):
    """As an actor for which a cluster has no GPU: nobody waits for it."""

    class Never:
        name = "never"

        async def ready(self):
            await asyncio.sleep(3600)

        async def close(self):
            pass

    from crafters.cli.batch_jobs import read_jobs, read_table
    from crafters.cli.batch_progress import Lines
    from crafters.cli.batch_results import Results
    from crafters.cli.batch_servers import Patience, Server

    shop.table("name,Conditions.fault", "bad,no luck")
    jobs = read_jobs(GRAPH, "", read_table(shop.home / "jobs.csv"), shop.home, photos(shop)[1::2])
    with Serving(StubComfy()) as url:
        workers = [Never(), Server(url, Patience(5, 5))]
        dispatch = batch_dispatch.Dispatch(GRAPH, jobs, workers, Results(shop.out), Lines(1, 0, ["never", url]), 5)
        asyncio.run(asyncio.wait_for(dispatch.run(), 10))
    assert dispatch.states["bad"].state == "set aside"
