"""How far does the colour of the background drift over a long AniCrafter video, made in windows?

    python benchmarks/drift.py [--graph "AniCrafter long video"] [--frames 400] [--size 128x96] [--window 81] [--write]

A shipped workflow in a real ComfyUI, with the demo's small networks, on a made-up scene whose background is known:
once as the VAE decodes it, and once with AniCrafter Trim given the scene. Of each frame the mean colour of what nobody
touches, in CIELAB, less that of the scene: how far this is from its mean over the first window is the drift, in ΔE of
1976. A chart of it, and frames of both, are written to OUT/drift.png.
"""

import argparse
import asyncio
import datetime
import tempfile
from pathlib import Path

import cv2
import numpy as np
from crafters.cli.run import execute
from crafters.cli.server import ComfyServer
from crafters.host.comfyui import find_comfyui, pack_base
from crafters.host.prompt import Prompt, read_prompt
from crafters.media.clip import read_clip
from crafters.metrics.catalogue import Score
from crafters.metrics.plot import plot
from crafters.metrics.report import Report, Row
from crafters.proof.demo import FPS, WEIGHTS, acted
from crafters.scenes.anicrafter_data import AvatarScene, make_avatar_scene
from PIL import Image
from results import RESULTS, note

ROOT = Path(__file__).parent.parent
AROUND = 1 / 8  # of the shorter side: what is so near to the person is touched
HEADING = """
## Colour drift of a long AniCrafter video (`benchmarks/drift.py`)

Mean colour of the untouched background, in ΔE (CIE 1976) from that over the first window; mean and largest over the
frames. The demo's small networks, so the numbers say what is held, not how a large network drifts.

| date | graph | frames | window, overlap | as decoded | with AniCrafter Trim's scene |
|---|---|---|---|---|---|
"""


def drift(video: np.ndarray, shown: AvatarScene, window: int) -> np.ndarray:
    """ΔE of each frame of uint8 [F, H, W, 3]."""
    touched = (shown.scene.person_mask | shown.mask).astype(np.uint8)
    reach = 2 * round(AROUND * min(video.shape[1:3])) + 1
    offsets = []
    for frame, background, mask in zip(video, shown.scene.background, touched, strict=True):
        free = cv2.dilate(mask, np.ones((reach, reach), np.uint8)) == 0
        offsets.append((_lab(frame) - _lab(background))[free].mean(0))
    return np.linalg.norm(np.array(offsets) - np.mean(offsets[:window], axis=0), axis=1)


def _lab(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)


def settle(prompt: Prompt, size: tuple[int, int], window: int, overlap: int) -> str:
    """Set what the small run needs; the id of AniCrafter Trim."""
    width, height = size
    settings = {
        "CraftersRenderAvatar": {"width": width, "height": height},
        "CraftersRenderBodyMesh": {"width": width, "height": height},
        "WanContextWindowsManual": {"context_length": window, "context_overlap": overlap},
        "CraftersAniCrafterSampler": {"window": window, "overlap": overlap},
    }
    for node in prompt.values():
        node["inputs"].update(settings.get(node["class_type"], {}))
    return next(node_id for node_id, node in prompt.items() if node["class_type"] == "CraftersAniCrafterTrim")


def picture(clips: dict[str, np.ndarray], drifts: dict[str, np.ndarray], about: str) -> np.ndarray:
    """The chart, and eight frames of each clip below each other."""
    score = Score(max(values.max() for values in drifts.values()), frames=drifts)
    row = Row("drift", "background, colour difference from the first window (CIE 1976), at most", "lower", about, score)
    chart = plot(Report([row]))
    chart = chart[:, : chart.shape[1] // 2]
    rows = []
    for clip in clips.values():
        picked = np.linspace(0, len(clip) - 1, 8).round().astype(int)
        rows.append(np.concatenate(list(clip[picked]), axis=1))
    frames = np.concatenate(rows)
    width = max(chart.shape[1], frames.shape[1])
    return np.concatenate(
        [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in (chart, frames)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", default="AniCrafter long video")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--size", default="128x96")
    parser.add_argument("--window", type=int, default=81)
    parser.add_argument("--overlap", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("output"))
    parser.add_argument("--write", action="store_true", help=f"add the line to {RESULTS.name}")
    args = parser.parse_args()
    size = tuple(int(side) for side in args.size.split("x"))
    args.out.mkdir(parents=True, exist_ok=True)
    comfy_dir = find_comfyui() or parser.error("no ComfyUI: `make setup` gets one, COMFYUI_DIR names one.")
    shown = make_avatar_scene(args.seed, "test", size, args.frames, FPS, strength=1.0)
    clips, drifts = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        shipped = read_prompt(ROOT / f"workflows/api/{args.graph}.json")
        demo = acted(Path(folder), shipped, shown)
        trim = settle(demo.prompt, size, args.window, args.overlap)
        composed = next(i for i, node in demo.prompt.items() if node["class_type"] == "CraftersComposeScene")
        with ComfyServer(comfy_dir, pack_base(comfy_dir), models=WEIGHTS) as server:
            for name, scene in (("as decoded", {}), ("with the scene", {"scene": [composed, 0]})):
                demo.prompt[trim]["inputs"].pop("scene", None)
                demo.prompt[trim]["inputs"].update(scene)
                paths = asyncio.run(execute(server.url, demo.prompt, demo.files, Path(folder)))
                (video,) = (path for path in paths if path.suffix == ".mp4")
                clips[name] = read_clip(video)[0].numpy()
                drifts[name] = drift(clips[name], shown, args.window)
    told = [f"{values.mean():.2f}, {values.max():.2f}" for values in drifts.values()]
    print(*(f"{name}: {value}" for name, value in zip(drifts, told, strict=True)), sep="\n")
    Image.fromarray(picture(clips, drifts, args.graph)).save(args.out / "drift.png")
    np.savez(args.out / "drift.npz", **drifts)
    if args.write:
        cells = datetime.date.today(), args.graph, args.frames, f"{args.window}, {args.overlap}", *told
        note(HEADING, f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
