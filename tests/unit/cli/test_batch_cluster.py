"""A batch on a real Ray cluster of two nodes on this machine, with stand-ins for ComfyUI."""

import csv
import json
import threading
import time

import pytest
import stub_comfy
from crafters.cli import main
from stub_comfy import GRAPH

pytestmark = pytest.mark.slow
STORE = 80 << 20  # bytes of a node's object store, the least that Ray takes


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="no Ray: pip install 'crafters[cluster]'")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("COMFYUI_DIR", str(stub_comfy.write_comfy(tmp_path / "ComfyUI", tmp_path / "pids")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    head = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def run(cluster, tmp_path):
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    for name in ("anna", "mug"):
        (tmp_path / f"{name}.png").write_bytes(name.encode() * 100_000)

    def run(*lines):
        (tmp_path / "jobs.csv").write_text("\n".join(("name,1.image,2.image,4.seed,4.seconds,4.fault", *lines)))
        words = ["batch", str(tmp_path / "jobs.csv"), str(tmp_path / "graph.json"), "--out", str(tmp_path / "results")]
        code = main([*words, "--ray", cluster.address])
        with (tmp_path / "results" / "jobs.csv").open() as file:
            return code, {row["name"]: row for row in csv.DictReader(file)}

    return run


def test_a_node_is_lost_in_the_middle(cluster, run, tmp_path):
    node = cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=STORE)
    results, removed = tmp_path / "results", []

    def remove():
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if len([*results.glob("[!.]*/record.json")]) >= 4:
                cluster.remove_node(node)
                removed.append(len([*results.glob("[!.]*/record.json")]))
                return
            time.sleep(0.1)

    thread = threading.Thread(target=remove)
    thread.start()
    code, rows = run(*(f"job{number},anna.png,mug.png,{number},1," for number in range(16)))
    thread.join()
    assert code == 0 and {row["state"] for row in rows.values()} == {"made"} and removed[0] < 16
    assert {row["server"] for row in rows.values()} == {"ray 1", "ray 2"}
    contents = {next((results / name).glob("*.mp4")).read_text() for name in rows}
    assert len(contents) == len(rows) == 16


def test_a_job_that_kills_its_comfyui_is_set_aside(run, tmp_path):
    code, rows = run("first,anna.png,mug.png,1,,", "dies,anna.png,mug.png,2,,die", "fails,mug.png,anna.png,3,,no luck")
    assert code == 1
    assert {name: row["error"] for name, row in rows.items()} == {
        "first": "", "dies": "ComfyUI ended with code 137 during the run.",
        "fails": "node 4 (Sampler, Work): RuntimeError: no luck"}


def test_no_cluster(tmp_path, capsys):
    pytest.importorskip("ray", reason="no Ray: pip install 'crafters[cluster]'")
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    (tmp_path / "jobs.csv").write_text("name,4.seed\na,1\n")
    words = ["batch", str(tmp_path / "jobs.csv"), str(tmp_path / "graph.json"), "--out", str(tmp_path / "results")]
    assert main([*words, "--ray", "127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert "error: No Ray cluster is reached at 127.0.0.1:1: " in said
