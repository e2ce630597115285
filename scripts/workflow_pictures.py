"""Draw the cards of the template browser: run the graphs on the demo's networks, show what went in and what came out.

    python scripts/workflow_pictures.py [NAME ...]

Of a pack's graph ComfyUI shows workflows/NAME.jpg, on a square card, and no other kind of picture. Each graph gets a
scene of its own, so that the cards can be told apart. Where the demo has no network of a graph's kind, the card shows
what that network would be shown.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import numpy as np
from crafters.cli.run import execute
from crafters.cli.server import ComfyServer
from crafters.host.comfyui import find_comfyui, pack_base
from crafters.host.prompt import Prompt, is_link, read_prompt
from crafters.media.clip import read_clip
from crafters.models.avatar.render import render_body
from crafters.models.body.anny import anny_body
from crafters.models.body.motion_files import read_motion
from crafters.proof.demo import WEIGHTS, moving, presenting
from crafters.scenes import LANDSCAPE
from PIL import Image, ImageDraw, ImageFont, ImageOps

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"
CARD, SIDE, MARGIN, LABEL = 512, 196, 8, 22  # px: the card, the inputs' part of it, around each, and for its name
PAPER, GREY = (247, 247, 248), (110, 113, 120)
QUALITY = 85
FRAME = 8  # of sixteen
INPUTS = {  # what is shown of them, by the titles of the nodes that load them
    "Person Photo": "person", "Product Front": "product", "Driving Clip": "clip",
    "Character Photo": "character", "Load Motion": "motion", "Background Video": "scene", "Source Video": "clip",
}


def run(url: str, name: str, seed: int, folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Frames that go into a graph, by what they are, and the one that comes out; uint8 [h, w, 3]."""
    prompt = read_prompt(WORKFLOWS / "api" / f"{name}.json")
    titles = {node["_meta"]["title"]: node_id for node_id, node in prompt.items()}
    demo = (presenting if "Person Photo" in titles else moving)(folder, prompt, seed)
    shown = {}
    for title, label in INPUTS.items():
        if title in titles:
            values = demo.prompt[titles[title]]["inputs"]
            (file,) = (values[key] for node_id, key in demo.files if node_id == titles[title])
            shown[label] = _frame(Path(file))
    if "MimicMotion" in name:  # the demo has no network of its kind: the pose that it would follow
        _instead(demo.prompt, [titles["Draw Driving Pose"], 0])
    if name.endswith("placed"):  # nor of these: what they would be shown of the person and the scene
        ((hole, cut),) = ((node_id, node["inputs"]) for node_id, node in demo.prompt.items()
                          if node["class_type"] == "CraftersCutHole")
        if "Draw Pose" in titles:
            cut |= {"fill": "pose", "pose": [titles["Draw Pose"], 0]}
        cut |= {key: cut[key] // 4 for key in ("dilation", "blocks")}  # the picture is that much smaller
        _instead(demo.prompt, [hole, 0])
    _without_lora(demo.prompt)
    (video,) = (file for file in asyncio.run(execute(url, demo.prompt, demo.files, folder)) if file.suffix == ".mp4")
    return shown, _frame(video)


def _without_lora(prompt: Prompt) -> None:
    """The demo's network needs few steps as it is, and no LoRA fits it."""
    loaders = {node_id: node["inputs"]["model"] for node_id, node in prompt.items()
               if node["class_type"] == "LoraLoaderModelOnly"}
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if is_link(value) and value[0] in loaders:
                node["inputs"][name] = loaders[value[0]]
    for node_id in loaders:
        del prompt[node_id]


def _instead(prompt: Prompt, images: list) -> None:
    for node in prompt.values():
        if node["class_type"] == "CreateVideo":
            node["inputs"]["images"] = images


def _frame(file: Path) -> np.ndarray:
    if file.suffix == ".npz":
        return (255 * render_body(anny_body(), read_motion(file).since(FRAME), *LANDSCAPE)[0][0]).byte().numpy()
    if file.suffix == ".mp4":
        clip = read_clip(file)[0].numpy()
        return clip[min(FRAME, len(clip) - 1)]
    return np.asarray(Image.open(file).convert("RGB"))


def card(inputs: dict[str, np.ndarray], result: np.ndarray) -> Image.Image:
    """What is made fills the card as far as it can; the inputs stand above it, or beside it if it is upright."""
    picture = Image.new("RGB", (CARD, CARD), PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(17)
    upright = result.shape[0] > result.shape[1]
    across, down = (1, len(inputs)) if upright else (len(inputs), 1)
    wide, tall = (SIDE if upright else CARD) // across, (CARD if upright else SIDE) // down
    for number, (label, pixels) in enumerate(inputs.items()):
        left, top = number % across * wide, number // across * tall
        _paste(picture, pixels, (left + MARGIN, top + MARGIN, wide - 2 * MARGIN, tall - 2 * MARGIN - LABEL))
        draw.text((left + wide // 2, top + tall - LABEL - MARGIN // 2), label, GREY, font, "ma")
    _paste(picture, result, (SIDE, 0, CARD - SIDE, CARD) if upright else (0, SIDE, CARD, CARD - SIDE))
    return picture


def _paste(picture: Image.Image, pixels: np.ndarray, box: tuple[int, int, int, int]) -> None:
    """As large as it goes into the box (left, top, width, height), in its middle."""
    left, top, width, height = box
    shown = ImageOps.contain(Image.fromarray(pixels), (width, height), Image.Resampling.LANCZOS)
    picture.paste(shown, (left + (width - shown.width) // 2, top + (height - shown.height) // 2))


def main() -> None:
    names = sorted(file.stem for file in WORKFLOWS.glob("*.json"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=names, help="default: all")
    parser.add_argument("--seed", type=int, help="of the scene; default: the graph's place among all")
    args, comfy_dir = parser.parse_args(), find_comfyui()
    if comfy_dir is None:
        parser.error("no ComfyUI found: run `make setup`, or set COMFYUI_DIR.")
    with (
        tempfile.TemporaryDirectory(prefix="crafters-cards-") as folder,
        ComfyServer(comfy_dir, pack_base(comfy_dir), models=WEIGHTS) as server,
    ):
        for name in args.names:
            seed = names.index(name) + 1 if args.seed is None else args.seed
            made = card(*run(server.url, name, seed, Path(folder) / name))
            made.save(WORKFLOWS / f"{name}.jpg", quality=QUALITY, optimize=True)
            print(name, flush=True)


if __name__ == "__main__":
    main()
