"""`crafters run` against a real ComfyUI, with graphs of core nodes only."""

import json
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
from crafters.cli import main
from crafters.cli.server import ComfyServer
from PIL import Image

pytestmark = pytest.mark.comfy

INVERT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "absent.png"}, "_meta": {"title": "Photo"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
}


@pytest.fixture(scope="module")
def server(comfy_dir, tmp_path_factory):
    with ComfyServer(comfy_dir, base_directory=tmp_path_factory.mktemp("base")) as server:
        yield server


@pytest.fixture
def run(server, tmp_path, capsys):
    def run(graph, *settings):
        workflow = tmp_path / "graph.json"
        workflow.write_text(json.dumps(graph))
        sets = [word for setting in settings for word in ("--set", setting)]
        code = main(["run", str(workflow), "--server", server.url, "--out", str(tmp_path / "out"), *sets])
        said = capsys.readouterr()
        return code, said.out.split("\n")[:-1], said.err

    return run


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).choice(np.uint8([0, 255]), (32, 48, 3))
    path = tmp_path / "my photo.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


def test_upload_set_and_save(run, photo):
    path, pixels = photo
    code, files, err = run(INVERT, f"Photo.image={path}", "SaveImage.filename_prefix=2024")
    assert code == 0, err
    assert len(files) == 1 and files[0].rpartition("/")[2].startswith("2024_")
    assert np.array_equal(np.asarray(Image.open(files[0])), 255 - pixels)


def test_video_in_and_out(run, photo, tmp_path):
    path, _ = photo
    make = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "absent.png"}},
        "2": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": 1}},
        "3": {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "fps": 8.0}},
        "4": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["3", 0], "filename_prefix": "clip", "format": "mp4", "codec": "h264"},
        },
    }
    code, files, err = run(make, f"1.image={path}", "RepeatImageBatch.amount=5", "CreateVideo.fps=12")
    assert code == 0, err
    assert _frames(files[0]) == (5, 12)

    again = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "absent.mp4"}},
        "2": {**make["4"], "inputs": {**make["4"]["inputs"], "video": ["1", 0], "filename_prefix": "again"}},
    }
    code, copies, err = run(again, f"LoadVideo.file={files[0]}")
    assert code == 0, err
    assert _frames(copies[0]) == (5, 12)


def _frames(path):
    with av.open(path) as container:
        stream = container.streams.video[0]
        return sum(1 for _ in container.decode(stream)), stream.average_rate


def test_a_second_run_does_not_overwrite_the_first(run, photo):
    path, pixels = photo
    (first,), (second,) = (
        run(INVERT, f"1.image={path}", f"SaveImage.filename_prefix={folder}/same")[1] for folder in ("one", "two")
    )
    assert first != second and first.rpartition("/")[2] == "same_00001_.png"
    assert all(np.array_equal(np.asarray(Image.open(file)), 255 - pixels) for file in (first, second))


def test_validation_error_names_the_node(run):
    code, files, err = run(INVERT)
    assert code == 1 and not files
    assert err.startswith("error: node 1 (Photo, LoadImage): ") and "absent.png" in err and "Traceback" not in err


def test_unknown_node_class(run):
    code, _, err = run({**INVERT, "2": {"class_type": "NoSuchNode", "inputs": {}, "_meta": {"title": "Mystery"}}})
    assert code == 1
    assert "Mystery" in err and "NoSuchNode" in err


def test_an_output_that_is_invalid_is_never_left_out_silently(run, photo):
    path, _ = photo
    bad = {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}, "_meta": {"title": "No prefix"}}
    code, files, err = run({**INVERT, "4": bad}, f"1.image={path}")
    assert code == 1 and not files
    assert "node 4 (No prefix, SaveImage)" in err and "filename_prefix" in err


def test_execution_error_names_the_node(run):
    outside = {"samples": ["1", 0], "filename_prefix": "../../outside"}
    graph = {
        "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "2": {"class_type": "SaveLatent", "inputs": outside, "_meta": {"title": "Save outside"}},
    }
    code, files, err = run(graph)
    assert code == 1 and not files
    assert err.startswith("error: node 2 (Save outside, SaveLatent): Exception: ")
    assert "Traceback" not in err


def test_no_server(tmp_path, capsys):
    (tmp_path / "graph.json").write_text(json.dumps(INVERT))
    code = main(["run", str(tmp_path / "graph.json"), "--server", "http://127.0.0.1:9", "--out", str(tmp_path / "out")])
    assert code == 1
    assert "No ComfyUI answers at http://127.0.0.1:9" in capsys.readouterr().err


SLOW = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 2048, "height": 2048, "batch_size": 2, "color": 0}},
    "2": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": 31, "sigma": 10.0}},
}
for number in range(3, 40):
    SLOW[str(number)] = {**SLOW["2"], "inputs": {**SLOW["2"]["inputs"], "image": [str(number - 1), 0]}}
SLOW["99"] = {"class_type": "PreviewImage", "inputs": {"images": [str(number), 0]}}


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent to one process on Windows")
@pytest.mark.parametrize(("sent", "code", "told"), [("SIGINT", 130, "error: interrupted"), ("SIGTERM", 143, "")])
def test_ctrl_c_or_the_systems_end_interrupt_the_servers_run(server, tmp_path, sent, code, told):
    import urllib.request

    def queue():
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{server.url}/queue") as answer:
            return json.load(answer)["queue_running"]

    (tmp_path / "slow.json").write_text(json.dumps(SLOW))
    command = [sys.executable, "-m", "crafters", "run", tmp_path / "slow.json", "--server", server.url]
    client = subprocess.Popen([*command, "--out", tmp_path / "out"], stderr=subprocess.PIPE, text=True)
    try:
        _wait(queue)
        client.send_signal(getattr(signal, sent))
        assert client.wait(120) == code
        said = client.stderr.read()
        assert said.rstrip().endswith(told) and "Traceback" not in said
        _wait(lambda: not queue())
    finally:
        client.kill()
        client.stderr.close()


def _wait(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
