"""Write workflows/NAME.json (the UI's format), workflows/api/NAME.json (the API's) and subgraphs/: their one source.

    python scripts/build_workflows.py [--server URL]

The node definitions come from a running ComfyUI that has the pack, or from one started for it.
"""

import argparse
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from crafters.cli.server import ComfyServer
from crafters.host.comfyui import find_comfyui
from crafters.host.weights import describe_size, needed_by, needed_by_hand
from graphs.anchorcrafter import (
    DRIVING,
    anchorcrafter,
    anchorcrafter_directed,
    anchorcrafter_fast,
    anchorcrafter_from_one_clip,
    mimicmotion,
)
from graphs.anicrafter import (
    anicrafter,
    anicrafter_fast,
    anicrafter_from_one_photo,
    anicrafter_long,
    anicrafter_replace_person,
    anicrafter_self_contained,
    anicrafter_with_a_product,
)
from graphs.placed import scail_placed, vace_placed, wan_animate_placed
from graphs.stages import Weights
from workflow_graph import Graph

ROOT = Path(__file__).resolve().parent.parent
HELP = "https://github.com/crafters-video/crafters/blob/main/docs/nodes.md"


def about(graph: Graph, text: str) -> str:
    """The note: what the graph does, where its weights come from, from the weights catalogue, and its help page.

    Its lines are headings, because the page writes plain text of a note too small to read at a glance.
    """
    needed, by_hand = needed_by(graph.api()), needed_by_hand(graph.api())
    lines = text.splitlines()
    if needed:
        names, size = " ".join(weights.name for weights in needed), sum(weights.size for weights in needed)
        lines.append(f"Weights: crafters download {names} ({describe_size(size)}), or the page's own downloads.")
    gates = [f"[{weights.purpose.partition(':')[0]}]({weights.page}), accept its licence"
             for weights in needed if weights.gated]
    gates += [f"[{weights.purpose.partition(',')[0]}]({weights.page}) into models/{weights.kind}/{weights.file}"
              for weights in by_hand]
    if gates:
        lines.append(f"Register first: {'; '.join(gates)}.")
    lines.append(f"Help: select a node and press its ?, or read [what each node does]({HELP}).")
    return "\n".join([f"# {graph.name}", *(f"## {line}" for line in lines)])


LONGER = "copy Next window; what came before goes on from the last one, and its video is saved."
CHARACTER = "A character's avatar (LHM's *_gaussian.pth), photo and motion (SMPL-X JSONs, AMASS .npz) move in a video."
# What each is made by, and its note's first lines.
GRAPHS: dict[str, tuple[Callable[[Graph, Weights], None], str]] = {
    "AnchorCrafter": (
        anchorcrafter,
        "A person's photo, a product's photos and a driving clip become a video of that person presenting it.\n"
        "Hand Mesh and Object Depth: videos of the driving clip, as long as it is.",
    ),
    "AnchorCrafter fast": (
        anchorcrafter_fast,
        "AnchorCrafter with a sixth of the work: 10 steps of Align Your Steps for 30, guidance in three of them.\n"
        "Hand Mesh and Object Depth: videos of the driving clip, as long as it is.",
    ),
    "AnchorCrafter from one clip": (
        anchorcrafter_from_one_clip,
        "A person's photo, a product's photos and a driving clip become a video of that person presenting it.\n"
        "Load SAM, Load HaMeR and Load Depth Network make better conditions. Clip names what is kept: one for each.",
    ),
    "AnchorCrafter directed": (
        anchorcrafter_directed,
        "A person's photo and a product's photos become a video of that person presenting it, without a driving clip.\n"
        "Say in Present Product what the person does with it, and its size; its preview shows that over the photo.",
    ),
    "MimicMotion baseline": (
        mimicmotion,
        "A photo of a person and a driving clip become a video of that person moving as in the clip.",
    ),
    "AniCrafter": (
        anicrafter,
        f"{CHARACTER}\n"
        "AniCrafter fast does it in 4 passes of the network instead of 100.",
    ),
    "AniCrafter fast": (
        anicrafter_fast,
        f"{CHARACTER}\n"
        "4 passes instead of 100: a step-distillation LoRA, 4 steps, guidance 1. EasyCache may leave one out.",
    ),
    "AniCrafter with a product": (
        anicrafter_with_a_product,
        "A character's avatar, photo and motion move in a video, with a product in the hand.\n"
        "Say in Hold Product what it is, its size, which hand holds it and how; chain another for the other hand.",
    ),
    "AniCrafter from one photo": (
        anicrafter_from_one_photo,
        "A character's photo, a motion (SMPL-X JSONs or AMASS .npz) and a video of as many frames: it moves there.\n"
        "Reconstruct Avatar with Load LHM makes a better avatar than Avatar from Photo; Anny serves as body too.",
    ),
    "AniCrafter replace person": (
        anicrafter_replace_person,
        "A photo of a character, whole and from the front, takes the place of the person in a video.\n"
        "Width and height: the video's shape. Clip names what is kept: one for each. LHM, SAM, ProPainter do better.",
    ),
    "AniCrafter long video": (
        anicrafter_long,
        f"{CHARACTER}\n"
        "Any length: the sampler sees overlapping windows of 81 frames.",
    ),
    "AniCrafter self-contained": (
        anicrafter_self_contained,
        f"{CHARACTER}\n"
        "Wan runs in the pack's own engine (diffusers) with the published settings.",
    ),
    "Wan-Animate placed": (
        wan_animate_placed,
        "The character of a photo moves and speaks as in the source video, where Stage Person puts it in the scene.\n"
        f"149 frames; for each 72 more, {LONGER}",
    ),
    "SCAIL-2 placed": (
        scail_placed,
        "The character of a photo does a motion, as large as Stage Person puts it in the scene and in that place.\n"
        f"157 frames; for each 76 more, {LONGER}",
    ),
    "VACE placed": (
        vace_placed,
        "The character of a photo is painted into the scene where Stage Person puts it, at any length.\n"
        "fill, in Control videos: what VACE sees in the person's place, a pose, the avatar (picture), or grey.",
    ),
}
# The stages that the page offers among its nodes: the graph that each is taken from, and what it does.
BLUEPRINTS = {
    "Person": ("AnchorCrafter", "Fits a person's photo and finds the person's pose."),
    "Product": ("AnchorCrafter", "Makes one picture of a product's views, and DINOv2's tokens of it."),
    DRIVING: (
        "AnchorCrafter from one clip",
        "Makes pose, hand mesh and object depth of a clip of somebody presenting a product, placed on another person.",
    ),
    "AniCrafter scene": ("AniCrafter", "Moves an avatar and draws it over a background video."),
    "Wan with AniCrafter": ("AniCrafter", "Wan 2.1 I2V with AniCrafter's weights and condition, ready for a sampler."),
}


def build(object_info: dict, weights: Weights | None = None) -> Iterator[Graph]:
    """Every shipped graph, against a server's node definitions; weights: None takes the published files."""
    for name, (describe, text) in GRAPHS.items():
        graph = Graph(object_info, name)
        describe(graph, weights or Weights())
        graph.note(about(graph, text))
        yield graph


def files(object_info: dict) -> dict[str, dict]:
    """All that is written, by its path."""
    graphs = {graph.name: graph for graph in build(object_info)}
    written = {f"subgraphs/{title.replace('→', 'to')}.json": graphs[name].blueprint(title, does)
               for title, (name, does) in BLUEPRINTS.items()}
    for name, graph in graphs.items():
        written |= {f"workflows/{name}.json": graph.ui(), f"workflows/api/{name}.json": graph.api()}
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", help="a running ComfyUI that has the pack, such as http://127.0.0.1:8188")
    url = parser.parse_args().server
    if url:
        return write(url)
    comfy_dir = find_comfyui()
    if comfy_dir is None:
        parser.error("no ComfyUI found: run `make setup`, set COMFYUI_DIR, or name one by --server.")
    with ComfyServer(comfy_dir, base_directory=ROOT / ".comfyui" / "base") as server:
        write(server.url)


def write(url: str) -> None:
    with urllib.request.urlopen(f"{url}/object_info") as answer:
        object_info = json.load(answer)
    for path, content in files(object_info).items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
