"""Finding and starting a ComfyUI, with a stand-in for it."""

import json
import time

import pytest
from crafters.cli import server as module
from crafters.cli.server import ComfyServer
from crafters.host import comfyui
from crafters.host.comfyui import ServerError, comfyui_version, find_comfyui

MAIN = """
import http.server, json, sys
json.dump(sys.argv[1:], open("arguments.json", "w"))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def comfy_dir(tmp_path):
    """A folder that looks like ComfyUI and starts a server that only answers."""
    folder = tmp_path / "ComfyUI"
    (folder / "comfy").mkdir(parents=True)
    (folder / "comfy" / "cli_args.py").write_text("")
    (folder / "comfyui_version.py").write_text('__version__ = "0.3.64"\n')
    (folder / "main.py").write_text(MAIN)
    return folder


def arguments(comfy_dir):
    return json.loads((comfy_dir / "arguments.json").read_text())


def test_starts_and_ends(comfy_dir):
    with ComfyServer(comfy_dir) as server:
        process = server._process
        assert server.log.is_file() and process.poll() is None
    assert process.poll() is not None and not server.log.exists()
    said = arguments(comfy_dir)
    assert "--disable-auto-launch" in said and said[said.index("--listen") + 1] == "127.0.0.1"
    assert "--database-url" not in said and "--base-directory" not in said


def test_options(comfy_dir, tmp_path, monkeypatch):
    (comfy_dir / "comfy" / "cli_args.py").write_text('parser.add_argument("--database-url")')
    (tmp_path / "models" / "vae").mkdir(parents=True)
    monkeypatch.setattr(module, "_has_gpu", lambda: False)
    with ComfyServer(comfy_dir, tmp_path / "base", ["--verbose"], models=tmp_path / "models") as server:
        said = arguments(comfy_dir)
        config = json.loads((server.log.parent / "models.yaml").read_text())
    assert said[said.index("--database-url") + 1] == "sqlite:///:memory:"
    assert said[said.index("--base-directory") + 1] == str(tmp_path / "base")
    assert said[-2:] == ["--cpu", "--verbose"]
    assert config == {"crafters": {"base_path": str(tmp_path / "models"), "vae": "vae"}}


def test_a_server_that_dies_shows_its_last_words(comfy_dir):
    (comfy_dir / "main.py").write_text("raise SystemExit('no such module: left-pad')")
    with pytest.raises(ServerError, match="code 1 at its start:\nno such module: left-pad"), ComfyServer(comfy_dir):
        pass


def test_a_server_that_dies_during_the_run(comfy_dir):
    with pytest.raises(ServerError, match="during the run"), ComfyServer(comfy_dir) as server:
        server._process.kill()
        server._process.wait()


def test_a_server_that_never_answers_is_ended(comfy_dir):
    (comfy_dir / "main.py").write_text("import time\nprint('thinking', flush=True)\ntime.sleep(60)")
    server = ComfyServer(comfy_dir, timeout=1)
    start = time.monotonic()
    with pytest.raises(ServerError, match="did not answer within 1 s:\nthinking"), server:
        pass
    assert server._process.poll() is not None and time.monotonic() - start < 10


def test_find_comfyui(comfy_dir, monkeypatch):
    monkeypatch.setenv("COMFYUI_DIR", str(comfy_dir))
    assert find_comfyui() == comfy_dir
    assert comfyui_version(comfy_dir) == "0.3.64"
    monkeypatch.setenv("COMFYUI_DIR", str(comfy_dir.parent))
    with pytest.raises(ServerError, match="COMFYUI_DIR names"):
        find_comfyui()


def test_the_comfyui_around_the_pack(comfy_dir, monkeypatch):
    pack = comfy_dir / "custom_nodes" / "crafters"
    pack.mkdir(parents=True)
    monkeypatch.delenv("COMFYUI_DIR", raising=False)
    monkeypatch.setattr(comfyui, "PACK", pack)
    assert find_comfyui() == comfy_dir
    (pack / ".comfyui" / "base").mkdir(parents=True)
    assert comfyui.pack_base(comfy_dir) is None
    assert comfyui.pack_base(comfy_dir.parent) == pack / ".comfyui" / "base"
