"""The demo, with the small trained networks."""

import math

import pytest
from crafters.cli import main
from crafters.media.clip import read_clip
from crafters.proof.demo import FRAMES
from crafters.scenes import LANDSCAPE, PORTRAIT

pytestmark = [pytest.mark.comfy, pytest.mark.slow]


def measures(report: str) -> dict[str, float]:
    rows = (
        line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith("| ") and "-" not in line[:4]
    )
    return {row[0]: float(row[1]) for row in rows if len(row) == 2}


def test_demo_makes_its_videos(comfy_dir, tmp_path, monkeypatch):
    """Of scenes that no network was trained on; better than what goes in."""
    monkeypatch.setenv("COMFYUI_DIR", str(comfy_dir))
    assert main(["demo", "--out", str(tmp_path)]) == 0
    clips = sorted(path for path in tmp_path.rglob("*.mp4"))
    assert [path.name.split("_")[0] for path in clips] == ["AnchorCrafter directed", "AnchorCrafter", "AniCrafter"]
    for clip, size in zip(clips, (PORTRAIT, PORTRAIT, LANDSCAPE), strict=True):
        assert tuple(read_clip(clip)[0].shape) == (FRAMES, size[1], size[0], 3)
    assert len(list(tmp_path.glob("*-sheet.png"))) == 3
    found = measures((tmp_path / "demo.md").read_text())
    assert all(math.isfinite(value) for value in found.values())
    assert found["product PSNR, dB"] > found["product PSNR, person photo"] + 4
    assert found["PSNR, dB"] > found["PSNR, person photo"] and found["Obj-IoU"] > 0.6
    assert found["person PSNR, dB"] > found["person PSNR, composite"] + 0.4
    assert found["intended Obj-IoU"] > 0.4
    assert found["intended body LMD, %"] < found["intended body LMD, %, person photo"]
