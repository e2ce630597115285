"""A ComfyUI started headless for the length of a `with` block."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..host.comfyui import ServerError

# However this process ends, also killed, its end of the server's stdin closes, and the server with it.
_GUARDED = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
sys.argv = sys.argv[1:]
sys.path[0] = os.getcwd()
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class ComfyServer:
    """A ComfyUI on a free port of 127.0.0.1 while the `with` block runs.

    base_directory: where its custom_nodes, models, input and output lie; `comfy_dir` itself when None.
    models: a further model folder in ComfyUI's layout.
    Attributes: `url`; `pid`, its process; `log`, the file with all the server has said (removed after a clean exit).
    Raises ServerError with the end of the log when the server dies or does not answer within `timeout` seconds.
    """

    def __init__(
        self,
        comfy_dir: Path,
        base_directory: Path | None = None,
        extra_args: Sequence[str] = (),
        models: Path | None = None,
        timeout: float = 300,
    ):
        self.comfy_dir = Path(comfy_dir)
        self.base_directory = base_directory
        self.extra_args = list(extra_args)
        self.models = models
        self.timeout = timeout

    def __enter__(self) -> ComfyServer:
        self._scratch = tempfile.TemporaryDirectory(prefix="crafters-comfyui-", ignore_cleanup_errors=True)
        self.log = Path(self._scratch.name) / "comfyui.log"
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(port),
                cwd=self.comfy_dir,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C belongs to us: the run is interrupted first, then the server is ended.
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self._wait(port)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.check()
        finally:
            self._stop()

    def check(self) -> None:
        """Raises ServerError if it has ended."""
        if (code := self._process.poll()) is not None:
            raise ServerError(f"ComfyUI ended with code {code} during the run:\n{self._tail()}")

    def _command(self, port: int) -> list[str]:
        command = [sys.executable, "-c", _GUARDED, "main.py"]
        command += ["--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch"]
        options = (self.comfy_dir / "comfy" / "cli_args.py").read_text(encoding="utf-8")
        if "--database-url" in options:
            command += ["--database-url", "sqlite:///:memory:"]
        if self.base_directory:
            (Path(self.base_directory) / "custom_nodes").mkdir(parents=True, exist_ok=True)  # ComfyUI wants it there
            command += ["--base-directory", str(Path(self.base_directory).resolve())]
        if self.models:
            config = Path(self._scratch.name) / "models.yaml"  # JSON is YAML
            config.write_text(json.dumps({"crafters": _layout(Path(self.models).resolve())}), encoding="utf-8")
            command += ["--extra-model-paths-config", str(config)]
        if "--cpu" not in self.extra_args and not _has_gpu():
            command.append("--cpu")
        return command + self.extra_args

    def _wait(self, port: int) -> None:
        end = time.monotonic() + self.timeout
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise ServerError(f"ComfyUI ended with code {self._process.returncode} at its start:\n{self._tail()}")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/system_stats")
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)  # not listening yet
            finally:
                connection.close()
        raise ServerError(f"ComfyUI did not answer within {self.timeout:.0f} s:\n{self._tail()}")

    def _tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdin.close()
        self._scratch.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()


def _layout(models: Path) -> dict[str, str]:
    """An `extra_model_paths.yaml` entry for `models`, a folder of model folders."""
    kinds = {folder.name for folder in models.iterdir() if folder.is_dir()} if models.is_dir() else set()
    return {"base_path": str(models), **{kind: kind for kind in sorted(kinds - {"configs"})}}
