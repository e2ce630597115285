"""A real ComfyUI with the pack in it, for tests."""

import asyncio
import json
import os
import re
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from crafters.cli.client import ComfyClient, InterruptError, OnProgress, output_files
from crafters.cli.server import ComfyServer
from crafters.media.clip import read_clip

ROOT = Path(__file__).resolve().parents[2]


def find(prompt: dict, kind: str) -> str:
    """The id of a node of that type."""
    return next(node_id for node_id, node in prompt.items() if node["class_type"] == kind)


@dataclass(frozen=True)
class Comfy:
    """A running ComfyUI. `base` holds its custom_nodes, models, input and output folders; `log` is what it printed."""

    url: str
    base: Path
    log: Path

    def get(self, path: str) -> dict:
        """The JSON answer to a GET of `path`, such as "/object_info"."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def run(self, prompt: dict, on_progress: OnProgress | None = None, on_preview=None) -> dict:
        """Run an API-format prompt; the outputs by node id. Raises ComfyError for one that is refused or fails."""

        async def run() -> dict:
            async with ComfyClient(self.url) as client:
                return await client.queue(prompt, on_progress, on_preview)

        # A thread of its own: while a browser is driven, this one has a running event loop.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, run()).result()

    def cancel(self, prompt: dict, node: str) -> None:
        """Run it and press Cancel at the third step of a node: it ends soon and leaves no file."""
        seen = []

        def on_progress(at: str, value: float, maximum: float) -> None:
            if at == node:
                seen.append((value, maximum))
                if len(seen) == 3:
                    threading.Thread(target=self.interrupt).start()

        before = set((self.base / "output").rglob("*"))
        with pytest.raises(InterruptError):
            self.run(prompt, on_progress)
        assert set((self.base / "output").rglob("*")) == before
        value, maximum = seen[-1]
        assert value < maximum / 4, "went on sampling long after the cancel"

    def upload(self, prompt: dict, files: list[tuple[str, str]]) -> None:
        """Send the files that stand in those inputs (node id, input) of a prompt, and name them as the server does."""

        async def upload() -> None:
            async with ComfyClient(self.url) as client:
                for node_id, key in files:
                    inputs = prompt[node_id]["inputs"]
                    inputs[key] = await client.upload(Path(inputs[key]))

        asyncio.run(upload())

    def video(self, outputs: dict) -> np.ndarray:
        """The only clip among the outputs, uint8 [F, H, W, 3]."""
        (video,) = (file for file in output_files(outputs) if file["filename"].endswith(".mp4"))
        return read_clip(self.output_path(video))[0].numpy()

    def interrupt(self) -> None:
        """What the page's Cancel button does."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/interrupt", b"{}", method="POST"), timeout=30)

    def models(self, kind: str) -> Path:
        """The base directory's own folder for a kind of models."""
        folder = self.base / "models" / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def output_path(self, file: dict) -> Path:
        """Where a file that an output names lies on the disk."""
        return self.base / file["type"] / file["subfolder"] / file["filename"]

    def pack_nodes(self) -> dict:
        """The pack's nodes in /object_info."""
        return {name: info for name, info in self.get("/object_info").items() if name.startswith("Crafters")}

    def complaints(self) -> list[str]:
        """Log lines of a failed import, and warnings and errors that name the pack."""
        lines = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(encoding="utf-8", errors="replace")).splitlines()
        failed = [line for line in lines if "IMPORT FAILED" in line]
        return failed + [line for line in lines if re.search("WARN|ERROR|Error", line) and "crafters" in line.lower()]


@contextmanager
def start_comfy(
    comfy_dir: Path, base: Path, pack: str = "crafters", models: Path | None = None, frontend: Path | None = None
) -> Iterator[Comfy]:
    """ComfyUI with the base directory `base` and the pack, under the folder name `pack`, as its only custom nodes.

    models: a folder of them beside the base directory's own. frontend: a page in the place of the one that it pins.
    """
    (base / "custom_nodes").mkdir(parents=True, exist_ok=True)
    if not (base / "custom_nodes" / pack).exists():  # the base directory may outlive its server
        os.symlink(ROOT, base / "custom_nodes" / pack, target_is_directory=True)
    args = ["--preview-method", "latent2rgb"]  # previews are off unless a user asks for them
    if frontend:
        args += ["--front-end-root", str(frontend)]
    with ComfyServer(comfy_dir, base, args, models) as server:
        yield Comfy(server.url, base, server.log)
