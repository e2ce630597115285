"""`crafters demo`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.whole import whole
from ..host.comfyui import comfyui_version, find_comfyui, pack_base
from ..host.prompt import read_prompt
from .run import execute
from .server import ComfyServer

if TYPE_CHECKING:
    from ..proof.demo import Demo


def register(commands) -> None:
    """Add `demo` to the sub-commands of `crafters`."""
    demo = commands.add_parser("demo", help="make both systems' videos of made-up scenes with small networks")
    demo.add_argument("--seed", type=int, default=1, help="of the scenes, which no network was trained on")
    demo.add_argument("--out", type=Path, default=Path("output"), metavar="DIR", help="default: %(default)s")
    demo.add_argument("--embedded", action="store_true", help="run the nodes' code here, without a ComfyUI")
    demo.set_defaults(command=_demo)


def _demo(args: argparse.Namespace) -> int:
    from ..proof.demo import WEIGHTS, directed, moving, presenting

    comfy_dir = None if args.embedded else find_comfyui()
    if comfy_dir is None:
        print("Without ComfyUI" + (":" if args.embedded else ", as none was found:"), "the calls that the nodes make.")
    else:
        print(f"ComfyUI {comfyui_version(comfy_dir)} in {comfy_dir}")
    args.out.mkdir(parents=True, exist_ok=True)
    lines = [f"# Demo, scene {args.seed}", ""]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crafters-demo-")))
        server = comfy_dir and stack.enter_context(ComfyServer(comfy_dir, pack_base(comfy_dir), models=WEIGHTS))
        graphs = {"AnchorCrafter": presenting, "AnchorCrafter directed": directed, "AniCrafter": moving}
        for workflow, make in graphs.items():
            prompt = read_prompt(Path(f"workflows/api/{workflow}.json"))
            demo = make(folder / workflow, prompt, args.seed)
            if server:
                paths = asyncio.run(execute(server.url, demo.prompt, demo.files, args.out))
            else:
                paths = [_embedded_video(demo, args.out)]
            lines += _judged(demo, paths, args.out)
            for path in paths:
                print(path)
    report = args.out / "demo.md"
    with whole(report) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines), report, sep="\n")
    return 0


def _embedded_video(demo: Demo, out: Path) -> Path:
    from ..media.clip import write_video
    from ..proof.demo import WEIGHTS
    from ..proof.embedded import run_embedded

    path = out / f"{demo.name}-embedded.mp4"
    write_video(path, *run_embedded(demo.prompt, WEIGHTS))
    return path


def _judged(demo: Demo, paths: list[Path], out: Path) -> list[str]:
    """Lines of a table of what the video is worth; a contact sheet beside it."""
    from PIL import Image

    from ..media.clip import read_clip

    (video,) = (path for path in paths if path.suffix == ".mp4")
    values, sheet = demo.judge(read_clip(video)[0].numpy())
    with whole(out / f"{demo.name}-sheet.png") as part:
        Image.fromarray(sheet).save(part, "PNG")
    print(out / f"{demo.name}-sheet.png")
    table = [f"| {name} | {value:.3g} |" for name, value in values.items()]
    return [f"## {demo.name}", "", "| | |", "|---|---|", *table, ""]
