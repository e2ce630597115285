"""A batch on two real ComfyUIs with the demo's networks, short and small; and a client that is not ours."""

import asyncio
import contextlib
import csv
import json
import multiprocessing
import os
import random
import sys
import threading
import time
import urllib.request

import pytest
from crafters.cli import main
from crafters.cli.server import ComfyServer
from crafters.files.digest import content
from crafters.host.comfyui import ServerError
from crafters.host.prompt import read_prompt
from crafters.media.clip import read_clip
from crafters.proof.demo import WEIGHTS, presenting
from crafters.scenes import PORTRAIT
from helpers.comfy_harness import ROOT

pytestmark = [
    pytest.mark.comfy, pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are killed as Windows cannot"),
]
FRAMES, JOBS = 4, [f"seed {number}" for number in range(12)]


@pytest.fixture(scope="module")
def servers(comfy_dir, tmp_path_factory):
    """Two, each with folders of its own. The last test kills one."""
    with contextlib.ExitStack() as stack:
        running = []
        for base in (tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("base")):
            (base / "custom_nodes").mkdir()
            os.symlink(ROOT, base / "custom_nodes" / "crafters", target_is_directory=True)
            stack.enter_context(contextlib.suppress(ServerError))
            running.append(stack.enter_context(ComfyServer(comfy_dir, base, models=WEIGHTS)))
        yield running


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The shipped graph with the demo's networks, of few frames and steps."""
    graph = read_prompt(ROOT / "workflows" / "api" / "AnchorCrafter.json")
    demo = presenting(tmp_path_factory.mktemp("demo"), graph, 1)
    for node in demo.prompt.values():
        node["inputs"].update({"CraftersClipFrames": {"frames": FRAMES}, "CraftersAnchorSampler": {"steps": 1},
                               "CraftersFitPerson": {"short_side": PORTRAIT[0]}}.get(node["class_type"], {}))
    return demo


@pytest.fixture
def words(demo, servers, tmp_path):
    """The command, with a table of twelve jobs."""
    (tmp_path / "graph.json").write_text(json.dumps(demo.prompt))
    write_table(tmp_path)
    sets = [f"{node_id}.{key}={demo.prompt[node_id]['inputs'][key]}" for node_id, key in demo.files]
    return ["batch", str(tmp_path / "jobs.csv"), str(tmp_path / "graph.json"), "--out", str(tmp_path / "results"),
            *(word for setting in sets for word in ("--set", setting)),
            *(word for server in servers for word in ("--server", server.url))]


def write_table(folder, *more):
    lines = ["name,Anchor Sampler.seed,Person Photo.image", *(f"{job},{job[5:]}," for job in JOBS), *more]
    (folder / "jobs.csv").write_text("\n".join(lines) + "\n")


def check(results, names=tuple(JOBS)):
    """Every job has its one video and its record, which is true; and nothing else is there."""
    assert {path.name for path in results.iterdir()} == {*names, ".lock", "index.html", "jobs.csv"}
    for name in names:
        record = json.loads((results / name / "record.json").read_text())
        (video,) = record["files"]
        assert {path.name for path in (results / name).iterdir()} == {video, "poster.jpg", "record.json"}
        assert record["files"][video] == content(results / name / video) and str(record["seed"]) == name[5:]
        assert tuple(read_clip(results / name / video)[0].shape) == (FRAMES, PORTRAIT[1], PORTRAIT[0], 3)
    videos = {content(next((results / name).glob("*.mp4"))) for name in names}
    assert len(videos) == len(names)
    with (results / "jobs.csv").open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def running(server):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{server.url}/queue") as answer:
        return json.load(answer)["queue_running"]


def test_a_client_that_is_not_ours(demo, servers, tmp_path):
    """comfy-api-simplified uploads, sets inputs by title, waits and fetches."""
    wrappers = pytest.importorskip("comfy_api_simplified", reason="pip install comfy-api-simplified")
    (tmp_path / "graph.json").write_text(json.dumps(demo.prompt))
    workflow = wrappers.ComfyWorkflowWrapper(str(tmp_path / "graph.json"))
    client = wrappers.ComfyApiWrapper(servers[0].url)
    for node_id, key in demo.files:
        sent = client.upload_image(demo.prompt[node_id]["inputs"][key])
        workflow.set_node_param(demo.prompt[node_id]["_meta"]["title"], key, f"{sent['subfolder']}/{sent['name']}")
    workflow.set_node_param("Anchor Sampler", "seed", 7)
    prompt_id, _ = asyncio.run(client.queue_prompt_and_wait(workflow))
    (file,) = client.get_history(prompt_id)[prompt_id]["outputs"][workflow.get_node_id("Save Video")]["images"]
    video = tmp_path / file["filename"]
    video.write_bytes(client.get_image(file["filename"], file["subfolder"], file["type"]))
    assert tuple(read_clip(video)[0].shape) == (FRAMES, PORTRAIT[1], PORTRAIT[0], 3)


def test_the_batch_is_killed_at_ten_random_moments(words, tmp_path):
    results, chance, kept = tmp_path / "results", random.Random(1), {}
    for _ in range(10):
        batch = multiprocessing.get_context("fork").Process(target=lambda: os._exit(main(words)))
        batch.start()
        time.sleep(4 * chance.random())
        batch.kill()
        batch.join()
        made = {path.parent.name: path.stat().st_mtime_ns for path in results.glob("[!.]*/record.json")}
        assert kept.items() <= made.items()
        kept = made
    assert main(words) == 0
    rows = check(results)
    assert {row["state"] for row in rows.values()} == {"made"}
    assert kept.items() <= {path.parent.name: path.stat().st_mtime_ns for path in results.glob("*/record.json")}.items()


def test_a_server_is_killed_in_the_middle_of_a_job(words, servers, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    write_table(tmp_path, "broken,99,broken.png")
    results, lost = tmp_path / "results", []

    def kill():
        end = time.monotonic() + 600
        while time.monotonic() < end and not lost:
            if len([*results.glob("[!.]*/record.json")]) >= 2 and running(servers[0]):
                os.kill(servers[0].pid, 9)
                lost.append(len([*results.glob("[!.]*/record.json")]))
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    assert main([*words, "--timeout", "20"]) == 1
    killer.join()
    rows = check(results)
    assert lost[0] < 12 and {rows[job]["state"] for job in JOBS} == {"made"}
    assert rows["broken"]["state"] == "set aside" and "(Person Photo, LoadImage): " in rows["broken"]["error"]
