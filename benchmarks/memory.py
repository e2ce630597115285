"""How much memory does a node hold beyond its inputs and its result, and does a long clip take more time per frame?

    python benchmarks/memory.py [--frames 48 240 960] [--size 256x448] [--only NAME ...] [--graphs] [--write]

Every node of the pack that takes or makes clips runs in a process of its own, as ComfyUI calls it, on clips of so many
small frames, with small networks, after a short clip that loads what it needs. Measured are the peak of the process's
resident set (Linux tells it) and its processor time. One clip is float32 RGB of that size and length: the numbers in
clips hold for any size; black parts of a result take no memory, and more of it is whole pages on large frames. What a
node holds that does not grow with the clip (networks, a chunk's activations) is in the MB, not in the growth.

--graphs: what all results of the shipped graphs up to the sampler hold together, which ComfyUI keeps, at full size.
"""

import argparse
import atexit
import ctypes
import gc
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from crafters.host.comfyui import find_comfyui
from results import RESULTS, note

FRAMES, SIZE, WARM, LOOP = (48, 240, 960), (256, 448), 9, 8
MB, CHANNELS = 1e6, 3


@cache
def the_scene(width: int, height: int):
    from crafters.scenes.scene import make_scene

    return make_scene(0, "test", (width, height), LOOP, 15.0)


class Material:
    """What nodes take, of one length and size, made when it is asked for; the scene goes back and forth."""

    def __init__(self, frames: int, width: int, height: int, folder: Path):
        self.frames, self.width, self.height, self.folder = frames, width, height, folder

    def clip(self, pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
        """The scene's pictures or masks, as IMAGE or MASK of the wanted length."""
        pictures = torch.as_tensor(np.ascontiguousarray(pictures))
        clip = torch.empty(self.frames, *pictures.shape[1:])
        for into, at in zip(clip, self._order(), strict=True):
            into.copy_(pictures[at] / 255 if pictures.dtype == torch.uint8 else pictures[at])
        return clip

    def _order(self) -> list[int]:
        there = [*range(LOOP), *range(LOOP - 2, 0, -1)]
        return [there[frame % len(there)] for frame in range(self.frames)]

    @property
    def scene(self):
        return the_scene(self.width, self.height)

    @property
    def size(self) -> dict[str, int]:
        return {"width": self.width, "height": self.height}

    @property
    def images(self) -> torch.Tensor:
        return self.clip(self.scene.frames)

    @property
    def person_mask(self) -> torch.Tensor:
        return self.clip(self.scene.person_mask)

    @property
    def product_mask(self) -> torch.Tensor:
        return self.clip(self.scene.product_mask)

    @property
    def depth(self) -> torch.Tensor:
        return self.clip(self.scene.object_depth)

    @property
    def hand(self) -> torch.Tensor:
        return self.clip(self.scene.hand_mesh)

    @property
    def pose(self) -> torch.Tensor:
        return self.clip(self.scene.pose_frames)

    @property
    def keypoints(self) -> list[dict]:
        from crafters.preprocessors.pose.keypoints import to_openpose

        return to_openpose([self.scene.poses[at] for at in self._order()], self.width, self.height)

    @property
    def photo(self) -> torch.Tensor:
        return torch.from_numpy(self.scene.person_photo)[None] / 255

    @property
    def product(self):
        from crafters.preprocessors.product.views import on_black

        return on_black([torch.from_numpy(view)[None] / 255 for view in self.scene.product_views])

    @property
    def placement(self):
        from crafters.preprocessors.pose.placement import Placement

        return Placement((0.8, 0.8), (0.1, 0.1), (self.width, self.height), (self.width, self.height))

    @property
    def video(self):
        return self.video_of("images")

    def video_of(self, what: str):
        """A property that is a clip, as a VIDEO read from a file."""
        from comfy_api.latest import InputImpl
        from crafters.media.clip import write_video
        from crafters.media.frames import Levels

        path = self.folder / f"{what}_{self.frames}.mp4"
        write_video(path, Levels(getattr(self, what)), 15.0)
        return InputImpl.VideoFromFile(str(path))

    @property
    def motion(self):
        from crafters.scenes.motion import make_motion

        motion = make_motion(1, "test", self.person, None, self.frames, 15.0, "wave")
        return motion.body_motion(self.person, (self.width, self.height))

    @cached_property
    def person(self):
        from crafters.scenes.person import make_person

        return make_person(1, "test")

    @cached_property
    def body(self):
        from crafters.models.body.anny import anny_body

        return anny_body()

    @cached_property
    def avatar(self):
        from crafters.scenes.avatar import avatar_rig, scene_avatar

        avatar = scene_avatar(self.person, 2000, 1)
        return avatar, avatar_rig(avatar)

    @property
    def anchor(self):
        """AnchorCrafter, narrow but for its condition maps, which are as wide as the released one's."""
        from crafters.host.memory import Managed
        from crafters.models.anchorcrafter.system import AnchorConfig, AnchorCrafter

        sizes = AnchorConfig(block_out_channels=(320, 32, 32, 32), num_attention_heads=(1,) * 4, layers_per_block=1,
                             cross_attention_dim=96, addition_time_embed_dim=32, view_dim=32, view_heads=1,
                             class_inner=32)
        return Managed(AnchorCrafter(sizes))

    @property
    def encoders(self):
        """SVD's VAE and CLIP, of the demo."""
        from crafters.host.memory import Managed
        from crafters.models.anchorcrafter.encoders import FrameVAE, load_image_encoder, load_vae
        from crafters.models.clip_vision import ClipVision
        from crafters.proof.demo import WEIGHTS

        folder = WEIGHTS / "diffusers" / "svd-small"
        return FrameVAE(Managed(load_vae(folder))), ClipVision(Managed(load_image_encoder(folder)))

    @property
    def condition(self):
        from crafters.models.anchorcrafter.conditions import AnchorCondition

        h, w = self.height // 8, self.width // 8
        latent = torch.randn(1, 4, h, w)
        return AnchorCondition(torch.randn(self.frames + 1, 320, h, w), torch.randn(1, 20, 96), latent, latent,
                               (6, 127, 0.0))

    @property
    def conditions(self) -> dict:
        from crafters.models.anchorcrafter.conditions import ProductTokens

        vae, clip_vision = self.encoders
        tokens = ProductTokens(self.product.views, torch.randn(1, 3 * 1370, 32))
        return {"model": self.anchor, "vae": vae, "clip_vision": clip_vision, "person": self.photo,
                "person_pose": self.photo, "pose": self.pose, "product": tokens, "object_depth": self.depth,
                "hand": self.hand}

    @property
    def cast(self) -> dict:
        """What Compose Scene puts together; the background has another size."""
        mask, images = self.person_mask, self.images
        return {"avatar": images * mask[..., None], "alpha": mask, "background": images[:, ::2, ::2].contiguous(),
                "character": self.photo, "mesh": self.hand, "mesh_mask": self.person_mask}

    @property
    def film(self):
        """A scene as Compose Scene makes it."""
        from crafters.nodes.anicrafter import CraftersComposeScene

        return CraftersComposeScene.execute(**self.cast).result[0]

    @property
    def wan(self) -> dict:
        from crafters.models.anicrafter.checkpoint import AniCrafter
        from crafters.proof.demo import WEIGHTS

        return {"anicrafter": AniCrafter.from_files([WEIGHTS / "crafters" / "anicrafter_small.safetensors"])}

    def kept(self, whats: dict) -> dict:
        """Keep Conditions' inputs with what is connected."""
        prompt = {"2": {"class_type": "CraftersDemoScene", "inputs": {"seed": self.frames}}}
        links = {what: ["2", place] for place, what in enumerate(whats)}
        prompt["1"] = {"class_type": "CraftersKeepConditions", "inputs": {"clip": f"a_{self.frames}", **links}}
        return {"hidden": SimpleNamespace(prompt=prompt, unique_id="1"), "folder": "kept", "clip": f"a_{self.frames}",
                **whats}


def depth_network(frame: np.ndarray) -> torch.Tensor:
    """In the place of one: the brightness."""
    grey = torch.from_numpy(frame).float().mean(-1)[None, None]
    return torch.nn.functional.interpolate(grey, (259, 147))[0, 0]


WHOLE = {"first_frame": 0, "every": 1, "frames": 0, "long_side": 0}  # of a clip

# By its name in the table: the class, and its inputs from the material.
NODES = {
    "Clip Frames": ("clips.CraftersClipFrames", lambda m: {"video": m.video, **WHOLE}),
    "Extract Pose": ("pose.CraftersExtractPose", lambda m: {"detector": small_dwpose(), "images": m.images}),
    "Draw Pose": ("pose.CraftersDrawPose", lambda m: {"keypoints": m.keypoints}),
    "Place Condition Video": ("pose.CraftersPlaceVideo", lambda m: {"images": m.hand, "placement": m.placement}),
    "Segment Video, a person": ("segment.CraftersSegmentVideo",
                                lambda m: {"images": m.images, "find": "person", "keypoints": m.keypoints}),
    "Segment Video, held": ("segment.CraftersSegmentVideo",
                            lambda m: {"images": m.images, "find": "what the hands hold", "keypoints": m.keypoints}),
    "Object Depth": ("object_depth.CraftersObjectDepth", lambda m: {"images": m.images, "mask": m.product_mask}),
    "Object Depth, a network": ("object_depth.CraftersObjectDepth",
                                lambda m: {"images": m.images, "mask": m.product_mask, "network": depth_network}),
    "Fit Stand-in": ("object_depth.CraftersFitStandIn",
                     lambda m: {"depth": m.depth, "mask": m.product_mask, "product": m.product, "scale": 1.0}),
    "Product Views from Clip": ("object_depth.CraftersProductViewsFromClip",
                                lambda m: {"images": m.images, "mask": m.product_mask}),
    "Hand Mesh": ("motion_capture.CraftersHandMesh",
                  lambda m: {"images": m.images, "keypoints": m.keypoints, "product": m.product_mask}),
    "Body Motion from Video": ("motion_capture.CraftersBodyMotionFromVideo",
                               lambda m: {"images": m.images, "keypoints": m.keypoints, "body": m.body}),
    "Cut Hole": ("background.CraftersCutHole", lambda m: {"images": m.images, "mask": m.person_mask}),
    "Remove Person": ("background.CraftersRemovePerson", lambda m: {"images": m.images, "mask": m.person_mask}),
    "Condition Sheet": ("anchorcrafter.CraftersConditionSheet",
                        lambda m: {"person": m.photo, "pose": m.pose, "hand": m.hand, "object_depth": m.depth,
                                   "product": m.product}),
    "Anchor Condition": ("anchorcrafter.CraftersAnchorCondition", lambda m: m.conditions),
    "Anchor Sampler": ("anchorcrafter.CraftersAnchorSampler",
                       lambda m: {"model": m.anchor, "condition": m.condition, "seed": 0, "steps": 1, "window": 11,
                                  "guidance_min": 1.0, "guidance_max": 1.0, "batch": 1}),
    "Anchor Decode": ("anchorcrafter.CraftersAnchorDecode",
                      lambda m: {"samples": {"samples": torch.randn(m.frames + 1, 4, m.height // 8, m.width // 8)},
                                 "vae": m.encoders[0]}),
    "Render Avatar": ("avatar.CraftersRenderAvatar",
                      lambda m: {"avatar": m.avatar[0], "rig": m.avatar[1], "motion": m.motion, **m.size,
                                 "with_depth": False}),
    "Render Body Mesh": ("avatar.CraftersRenderBodyMesh",
                         lambda m: {"body": m.body, "motion": m.motion, **m.size}),
    "Compose Scene": ("anicrafter.CraftersComposeScene", lambda m: m.cast),
    "AniCrafter Conditioning": ("anicrafter.CraftersAniCrafterConditioning",
                                lambda m: {"positive": [], "negative": [], "vae": ThinVAE(), "scene": m.film}),
    "AniCrafter Trim": ("anicrafter.CraftersAniCrafterTrim", lambda m: {"images": m.images}),
    "Preview Avatar": ("lhm.CraftersPreviewAvatar",
                       lambda m: {"avatar": m.avatar[0], "frames": m.frames, **m.size}),
    "Keep Conditions": ("keep.CraftersKeepConditions",
                        lambda m: m.kept({"hand": m.hand, "product_mask": m.product_mask})),
    "Evaluate Clips": ("evaluate.CraftersEvaluateClips",
                       lambda m: {"truth": m.images, "result": m.depth, "metrics": "psnr"}),
}


class ThinVAE:
    """In the place of Wan's: the first pixels."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        frames, height, width = images.shape[:3]
        return torch.zeros(1, 16, (frames + 3) // 4, height // 8, width // 8)


def small_dwpose():
    from crafters.proof.demo import small_dwpose

    return small_dwpose()


def storages(value, seen: dict | None = None) -> dict[int, int]:
    """Bytes by address of all that tensors and arrays in a value hold."""
    seen = {} if seen is None else seen
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
    elif isinstance(value, np.ndarray):
        seen[value.__array_interface__["data"][0]] = value.nbytes
    elif isinstance(value, dict):
        for part in value.values():
            storages(part, seen)
    elif isinstance(value, list | tuple):
        for part in value:
            storages(part, seen)
    elif is_dataclass(value):
        storages([getattr(value, field.name) for field in fields(value)], seen)
    elif type(value).__name__ == "Behind":
        storages(vars(value), seen)
    return seen


def resident(what: str) -> int:
    """Bytes of this process: VmRSS now, but for what is free to be given back, or VmHWM at the peak."""
    if what == "VmRSS":
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def called(name: str, inputs: dict) -> tuple:
    """The outputs of a node."""
    import importlib

    module, class_name = NODES[name][0].split(".")
    node = getattr(importlib.import_module(f"crafters.nodes.{module}"), class_name)
    hidden = inputs.pop("hidden", None)
    return (node if hidden is None else type("Run", (node,), {"hidden": hidden})).execute(**inputs).result


@torch.inference_mode()
def measure(name: str, width: int, height: int, *counts: int) -> list[dict[str, float]]:
    """In this process, for each count of frames: MB held beyond inputs and result, seconds, and the clips of both."""
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (WARM, *counts):
            inputs = NODES[name][1](Material(count, width, height, Path(folder)))
            given = storages(inputs)
            before = resident("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            start = time.process_time()
            result = called(name, inputs)
            seconds = time.process_time() - start
            peak, after = resident("VmHWM"), resident("VmRSS")
            clip = count * width * height * CHANNELS * 4
            measured.append({"beyond": (peak - after) / MB, "ms": 1000 * seconds / count,
                             "inputs": sum(given.values()) / clip, "result": (after - before) / clip})
            del inputs, result, given
    return measured[1:]


def anchorcrafter(m: Material) -> Iterator[tuple[str, tuple]]:
    """The graph's nodes that make clips, each with its outputs."""
    films = []
    for what in ("images", "hand", "depth"):
        films += called("Clip Frames", {"video": m.video_of(what), **WHOLE})[:1]
        yield f"Clip Frames, {what}", films[-1]
    pose = called("Draw Pose", {"keypoints": m.keypoints})[0]
    yield "Draw Pose", pose
    placed = []
    for what, film in zip(("hand", "depth"), films[1:], strict=True):
        placed += called("Place Condition Video", {"images": film, "placement": m.placement})[:1]
        yield f"Place Condition Video, {what}", placed[-1]
    seen = {"pose": pose, "hand": placed[0], "object_depth": placed[1]}
    yield "Condition Sheet", called("Condition Sheet", {"person": m.photo, "product": m.product, **seen})
    yield "Anchor Condition", called("Anchor Condition", {**m.conditions, **seen})


def anicrafter(m: Material) -> Iterator[tuple[str, tuple]]:
    film = called("Clip Frames", {"video": m.video, **WHOLE})[0]
    yield "Clip Frames", film
    avatar = called("Render Avatar", NODES["Render Avatar"][1](m))
    yield "Render Avatar", avatar
    mesh = called("Render Body Mesh", NODES["Render Body Mesh"][1](m))
    yield "Render Body Mesh", mesh
    cast = {"avatar": avatar[0], "alpha": avatar[1], "background": film, "character": m.photo, "mesh": mesh[0],
            "mesh_mask": mesh[1]}
    yield "Compose Scene", called("Compose Scene", cast)


GRAPHS = {"AnchorCrafter": (anchorcrafter, 576, 1024), "AniCrafter": (anicrafter, 1280, 704)}
GRAPH_FRAMES = 9, 24


@torch.inference_mode()
def measure_graph(name: str) -> list[tuple[str, float]]:
    """In this process: by node, how many clips all results so far hold, without what does not grow with the clip."""
    graph, width, height = GRAPHS[name]
    frame, held = width * height * CHANNELS * 4, []
    with tempfile.TemporaryDirectory() as folder:
        for count in (GRAPH_FRAMES[0], *GRAPH_FRAMES):  # the first loads what is needed
            before, kept = resident("VmRSS"), []
            held.append([])
            for node, outputs in graph(Material(count, width, height, Path(folder))):
                kept.append(outputs)
                held[-1].append((node, resident("VmRSS") - before))
            del kept, outputs
    few, many = GRAPH_FRAMES
    return [(node, (long - short) / (frame * (many - few))) for (_, short), (node, long) in zip(*held[1:], strict=True)]


def ask(measuring: Callable, *arguments) -> list:
    """What it answers in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(measuring, arguments)


def start_comfyui() -> None:
    """Its modules, in this process, and all heavy ones that a node imports, which its processes then have."""
    sys.path.insert(0, str(find_comfyui()))
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    import comfy.model_management
    import folder_paths

    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    folder_paths.set_output_directory(folder)
    folder_paths.set_temp_directory(folder)
    torch.set_num_threads(1)  # threads do not survive a fork
    cv2.setNumThreads(1)


def graphs(write: bool) -> None:
    heading = (
        "\n## What the graphs' results hold (`benchmarks/memory.py --graphs`)\n\n"
        f"From {GRAPH_FRAMES[0]} to {GRAPH_FRAMES[1]} frames, float32, made-up people; held once each node is done.\n\n"
        "| graph | node | clips held |\n|---|---|---|\n"
    )
    print(heading, end="")
    rows = []
    for name, (_, width, height) in GRAPHS.items():
        the_scene(width, height)
        held = ask(measure_graph, name)
        rows += [f"| {name}, {width}×{height} | {node} | {clips:.2f} |" for node, clips in held]
        print("\n".join(rows[-len(held) :]), flush=True)
    if write:
        note(heading, *rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=FRAMES)
    parser.add_argument("--size", default="x".join(map(str, SIZE)), help="width x height, multiples of 64")
    parser.add_argument("--only", nargs="+", choices=NODES, default=[*NODES], metavar="NAME")
    parser.add_argument("--write", action="store_true", help=f"add the table to {RESULTS.name}")
    parser.add_argument("--graphs", action="store_true", help="what the graphs' results hold, in place of the nodes")
    args = parser.parse_args()
    if args.graphs:
        start_comfyui()
        return graphs(args.write)
    size = [int(side) for side in args.size.split("x")]
    start_comfyui()
    the_scene(*size)
    few, *_, most = counts = sorted(args.frames)
    clip = size[0] * size[1] * CHANNELS * 4 / MB
    heads = [f"MB beyond, {count}" for count in counts] + [f"ms a frame, {count}" for count in counts]
    heading = (
        f"\n## Memory and time of the nodes, {size[0]}×{size[1]} (`benchmarks/memory.py`)\n\n"
        f"| node | inputs, clips | result, clips | clips beyond, growing | {' | '.join(heads)} | time ratio |\n"
        + "|---" * (5 + len(heads)) + "|\n"
    )
    print(heading, end="")
    rows = []
    for name in args.only:
        found = ask(measure, name, *size, *counts)
        grows = (found[-1]["beyond"] - found[0]["beyond"]) / (clip * max(1, most - few))
        numbers = chain((f"{one['beyond']:.0f}" for one in found), (f"{one['ms']:.1f}" for one in found))
        rows.append(f"| {name} | {found[-1]['inputs']:.2f} | {found[-1]['result']:.2f} | {grows:.2f} | "
                    f"{' | '.join(numbers)} | {found[-1]['ms'] / found[0]['ms']:.2f} |")
        print(rows[-1], flush=True)
    if args.write:
        note(heading, *rows)


if __name__ == "__main__":
    main()
