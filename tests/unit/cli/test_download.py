"""`crafters download` against a small server that speaks the hub's protocol."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from crafters.cli import download as module
from crafters.cli import main
from crafters.host import weights

CONTENT = bytes(range(256)) * (3 << 14)  # 12 MiB, and 10 are written at once
CUT = 11 << 20  # bytes after which a broken connection ends
SMALL = b'{"model_type": "dinov2"}\n'
NAME = "some weights.safetensors"


class Hub(ThreadingHTTPServer):
    """Serves `files`; `fault` changes its behaviour; `asked` counts requests, `ranges` lists the ranges asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {"owner/big/some weights.safetensors": CONTENT, "owner/small/config.json": SMALL}
        self.fault, self.asked, self.ranges, self.tokens = None, Counter(), [], set()
        self.front, self.storage = self, None  # large files are stored at another host, which serves those of its front

    def handle_error(self, *_):
        """A cut connection is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Quiet."""

    def answer(self, status, headers=None, body=b""):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        self.resolve()

    def do_GET(self):
        if self.server.front is not self.server:
            self.send_bytes()
        else:
            self.resolve()

    def resolve(self):
        hub = self.server
        hub.asked[self.command] += 1
        hub.tokens.add(self.headers.get("Authorization"))
        repo, _, file = self.path.lstrip("/").partition("/resolve/main/")
        key = f"{repo}/{file.replace('%20', ' ')}"
        if hub.fault == "gated":
            self.answer(401 if not self.headers.get("Authorization") else 403, {"X-Error-Code": "GatedRepo"})
        elif hub.fault == "no hub":
            self.answer(200, {"ETag": f'"../../../../{"a" * 28}"', "X-Repo-Commit": "c" * 40}, b"hello")
        elif isinstance(hub.fault, int):
            self.answer(hub.fault)
        elif key not in hub.files:
            self.answer(404, {"X-Error-Code": "EntryNotFound"})
        elif key.endswith(".json"):  # in git itself
            body = hub.files[key]
            sha1 = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
            self.answer(200, {"ETag": f'"{sha1}"', "X-Repo-Commit": "c" * 40}, body)
        else:  # in large file storage
            body = hub.files[key]
            stated = {"X-Linked-Size": str(len(body)), "X-Linked-Etag": f'"{hashlib.sha256(body).hexdigest()}"'}
            place = f"{hub.storage.url}/{key.replace(' ', '%20')}"
            self.answer(302, {**stated, "X-Repo-Commit": "c" * 40, "Location": place})

    def send_bytes(self):
        hub = self.server.front
        body = hub.files[self.path.lstrip("/").replace("%20", " ")]
        asked = self.headers.get("Range")
        hub.ranges.append(asked)
        self.server.tokens.add(self.headers.get("Authorization"))
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if hub.fault == "broken" and start:
            self.close_connection = True
            return
        part = body[start:]
        if hub.fault == "corrupt":
            part = part[:-1] + b"?"
        if hub.fault == "more":
            part *= 2
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        self.wfile.write(part[:CUT] if hub.fault in ("cut", "broken", "hangs") else part)
        self.close_connection = hub.fault in ("cut", "broken")
        if hub.fault == "hangs":
            time.sleep(60)


@contextmanager
def serving():
    hub = Hub()
    threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True).start()
    yield hub
    hub.shutdown()
    hub.server_close()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    files = (
        weights.WeightFile("owner/big", NAME, "checkpoints", f"sub/{NAME}", 4e6),
        weights.WeightFile("owner/small", "config.json", "clip_vision", "net/config.json", 25),
    )
    sets = (weights.WeightSet("toy", "a toy", "none", files),)
    monkeypatch.setattr(weights, "CATALOGUE", sets)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving() as server, serving() as server.storage:
        server.storage.front = server
        name_hub(monkeypatch, server.url)
        yield server


def name_hub(monkeypatch, url):
    """As HF_ENDPOINT does, which is read once in a process."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for place in ("constants", "file_download"):  # by the library's version
        monkeypatch.setattr(f"huggingface_hub.{place}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)


@pytest.fixture
def fetch(hub, tmp_path, capsys):
    def fetch():
        code = main(["download", "toy", "--models", str(tmp_path / "models")])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return fetch


@pytest.fixture
def big(tmp_path):
    return tmp_path / "models" / "checkpoints" / "sub" / NAME


def leftovers(tmp_path):
    return [path.name for path in (tmp_path / "models").rglob("*") if path.suffix == ".partial"]


def test_fetches_and_verifies_then_knows_it(hub, fetch, big, tmp_path):
    code, out, _ = fetch()
    assert code == 0 and out.count(", verified") == 2
    assert big.read_bytes() == CONTENT
    assert (tmp_path / "models" / "clip_vision" / "net" / "config.json").read_bytes() == SMALL
    assert not leftovers(tmp_path)

    gets = hub.asked["GET"]
    code, out, _ = fetch()
    assert code == 0 and out.count("already there, verified") == 2
    assert hub.asked["GET"] == gets


@pytest.mark.parametrize("damaged", [CONTENT[:-1] + b"?", CONTENT[:1000]])
def test_a_different_file_in_place_is_reported_and_left_alone(fetch, big, damaged):
    big.parent.mkdir(parents=True)
    big.write_bytes(damaged)
    code, _, err = fetch()
    assert code == 1 and err.count("\n") == 1 and str(big) in err and "delete it" in err
    assert big.read_bytes() == damaged


def test_a_cut_connection_is_resumed_within_the_call(hub, fetch, big):
    hub.fault = "cut"
    assert fetch()[0] == 0
    assert big.read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=10485760-"]


def test_an_interrupted_call_is_resumed_by_the_next(hub, fetch, big, tmp_path):
    hub.fault = "broken"
    code, _, err = fetch()
    assert code == 1 and "kept and resumed" in err
    assert not big.exists() and len(leftovers(tmp_path)) == 1

    hub.fault, hub.ranges = None, []
    assert fetch()[0] == 0
    assert hub.ranges == ["bytes=10485760-"]
    assert big.read_bytes() == CONTENT and not leftovers(tmp_path)


KILLED = """
import sys
from crafters.cli import main
from crafters.host import weights
file = weights.WeightFile("owner/big", sys.argv[1], "checkpoints", f"sub/{sys.argv[1]}", 4e6)
weights.CATALOGUE = (weights.WeightSet("toy", "a toy", "none", (file,)),)
main(["download", "toy", "--models", sys.argv[2]])
"""


def test_a_killed_call_is_resumed_by_the_next(hub, fetch, big, tmp_path):
    """In a process of its own, which HF_ENDPOINT leads to the hub."""
    hub.fault = "hangs"
    call = [sys.executable, "-c", KILLED, NAME, str(tmp_path / "models")]
    process = subprocess.Popen(call, env={**os.environ, "HF_ENDPOINT": hub.url}, stderr=subprocess.DEVNULL)
    while not any(path.stat().st_size for path in (tmp_path / "models").rglob("*.partial")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (part,) = big.parent.iterdir()
    kept = part.stat().st_size
    hub.fault, hub.ranges = None, []
    assert fetch()[0] == 0
    assert hub.ranges == [f"bytes={kept}-"] and big.read_bytes() == CONTENT and not leftovers(tmp_path)


def test_a_corrupted_transfer_is_refused_and_removed(hub, fetch, big, tmp_path):
    hub.fault = "corrupt"
    code, _, err = fetch()
    assert code == 1 and "corrupted" in err and "SHA256" in err
    assert not big.exists() and not leftovers(tmp_path)
    hub.fault = None
    assert fetch()[0] == 0


def test_a_server_that_sends_more_than_it_states(hub, fetch, big):
    hub.fault = "more"
    code, _, err = fetch()
    assert code == 1 and "some weights.safetensors did not arrive" in err and str(len(CONTENT)) in err
    assert not big.exists()
    hub.fault = None
    assert fetch()[0] == 0 and big.read_bytes() == CONTENT


def test_a_file_that_is_gone(hub, fetch, big):
    del hub.files["owner/small/config.json"]
    code, _, err = fetch()
    assert big.read_bytes() == CONTENT
    assert code == 1 and "config.json is not in owner/small (404)" in err


def test_a_checksum_is_no_part_of_a_path(hub, fetch, tmp_path):
    """It names the partial file."""
    hub.fault = "no hub"
    code, _, err = fetch()
    assert code == 1 and f"{hub.url} states no size and checksum for {NAME}" in err and not leftovers(tmp_path)


def test_gated_with_and_without_a_token(hub, fetch, monkeypatch):
    hub.fault = "gated"
    code, _, err = fetch()
    assert code == 1 and err.count("\n") == 1
    assert f"accept its licence at {hub.url}/owner/big" in err and "HF_TOKEN" in err
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    code, _, err = fetch()
    assert code == 1 and "(403)" in err and "accept its licence" in err
    assert hub.tokens == {None, "Bearer hf_test"}


def test_the_token_goes_to_no_other_host(hub, fetch, big, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    assert fetch()[0] == 0
    assert big.read_bytes() == CONTENT
    assert hub.tokens == {"Bearer hf_test"} and hub.storage.tokens == {None}


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "HF_TOKEN is wrong"), (404, "may have been moved"), (503, "again later")]
)
def test_error_status(hub, fetch, status, advice):
    hub.fault = status
    code, _, err = fetch()
    assert code == 1 and err.count("\n") == 1 and str(status) in err and advice in err


def test_no_network(hub, fetch, monkeypatch):
    name_hub(monkeypatch, "http://127.0.0.1:9")
    code, _, err = fetch()
    assert code == 1 and err.count("\n") == 1 and "did not arrive from http://127.0.0.1:9" in err
    assert "HF_ENDPOINT" in err


def test_offline_by_wish(hub, tmp_path):
    call = [sys.executable, "-c", KILLED, NAME, str(tmp_path / "models")]
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "1"}
    told = subprocess.run(call, env=env, capture_output=True, text=True).stderr
    assert told == "error: HF_HUB_OFFLINE is set: unset it to download weights.\n" and not hub.asked


def test_full_disk(hub, fetch, big, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    code, _, err = fetch()
    assert code == 1 and "13 MB are needed" in err and not big.exists()
