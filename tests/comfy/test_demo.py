"""The demo, and the graphs that make every condition of one clip, with the small trained networks."""

import asyncio
import math
from pathlib import Path

import pytest
from crafters.cli import main, read_prompt
from crafters.demo.run import FRAMES, LANDSCAPE, PORTRAIT, WEIGHTS, moving, presenting
from crafters.preprocessors.clip import read_clip
from crafters.runtime.client import ComfyClient, output_files
from crafters.runtime.server import ComfyServer, pack_base

pytestmark = [pytest.mark.comfy, pytest.mark.slow]


def measures(report: str) -> dict[str, float]:
    rows = (
        line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith("| ") and "-" not in line[:4]
    )
    return {row[0]: float(row[1]) for row in rows if len(row) == 2}


def test_demo_makes_both_videos(comfy_dir, tmp_path, monkeypatch):
    """Of scenes that no network was trained on; better than what goes in."""
    monkeypatch.setenv("COMFYUI_DIR", str(comfy_dir))
    assert main(["demo", "--out", str(tmp_path)]) == 0
    clips = sorted(path for path in tmp_path.rglob("*.mp4"))
    assert [path.name.split("_")[0] for path in clips] == ["AnchorCrafter", "AniCrafter"]
    for clip, size in zip(clips, (PORTRAIT, LANDSCAPE), strict=True):
        assert tuple(read_clip(clip)[0].shape) == (FRAMES, size[1], size[0], 3)
    assert len(list(tmp_path.glob("*-sheet.png"))) == 2
    found = measures((tmp_path / "demo.md").read_text())
    assert all(math.isfinite(value) for value in found.values())
    assert found["product PSNR, dB"] > found["product PSNR, person photo"]


@pytest.mark.parametrize(
    ("make", "graph"),
    [(presenting, "AnchorCrafter from one clip"), (moving, "AniCrafter replace person")],
)
def test_graphs_from_one_clip(comfy_dir, tmp_path, make, graph):
    demo = make(tmp_path, read_prompt(Path(f"workflows/api/{graph}.json")), 1)

    async def run(url: str) -> dict:
        async with ComfyClient(url) as client:
            for node_id, key in demo.files:
                node = demo.prompt[node_id]
                node["inputs"][key] = await client.upload(node["inputs"][key])
            return await client.queue(demo.prompt)

    with ComfyServer(comfy_dir, pack_base(comfy_dir), models=WEIGHTS) as server:
        outputs = asyncio.run(run(server.url))
    assert [file["filename"] for file in output_files(outputs) if file["filename"].endswith(".mp4")]
