"""The demo: shipped workflows of both systems, on scenes that no small network was trained on."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..host.prompt import Prompt
from ..media.clip import write_video
from ..models.avatar.files import save_avatar
from ..models.body.anny import anny_body
from ..models.body.motion_files import save_motion
from ..preprocessors.directed.present import direct
from ..preprocessors.pose.dwpose import DWPose
from ..preprocessors.pose.extract import extract_poses
from ..preprocessors.pose.placement import Placement, fit_placement
from ..preprocessors.product.views import on_black
from ..scenes import LANDSCAPE, PORTRAIT
from ..scenes.anicrafter_data import AvatarScene, make_avatar_scene
from ..scenes.placed import place_scene
from ..scenes.product import Product, make_product, views
from ..scenes.scene import PRODUCT, Scene, make_scene
from .judge import (
    Judgement,
    judge_directed,
    judge_moving,
    judge_presenting,
    sheet_moving,
    sheet_presenting,
)

WEIGHTS = Path(__file__).parent / "weights"  # as a ComfyUI's models folder
FRAMES, FPS = 16, 15.0
SMALL = {  # by node type, the small networks and what goes with their size
    "CraftersLoadDWPose": {"detector": "yolox_small.onnx", "pose": "dwpose_small.onnx"},
    "CraftersLoadDINOv2": {"name": "dinov2-small"},
    "CraftersLoadAnchorCrafter": {"checkpoint": "anchorcrafter_small.safetensors"},
    "CraftersLoadSVDFolder": {"folder": "svd-small"},
    "CraftersClipFrames": {"every": 1},
    "CraftersFitPerson": {"short_side": PORTRAIT[0]},
    "CraftersDrawPose": {"antialias": True},
    "CraftersPresentProduct": {"gestures": "raise", "seconds": 2.1, "fps": 7.5},  # FRAMES of them
    # So briefly trained, they paint best what they are surest of: in few steps, without guidance.
    "CraftersAnchorSampler": {"steps": 4, "window": 8, "overlap": 3, "guidance_min": 1.0, "guidance_max": 1.0},
    "CraftersLoadBodyModel": {"body": "Anny"},
    "CraftersRenderAvatar": {"width": LANDSCAPE[0], "height": LANDSCAPE[1]},
    "CraftersRenderBodyMesh": {"width": LANDSCAPE[0], "height": LANDSCAPE[1]},
    "CraftersLoadAniCrafter": {"weights": "anicrafter_small.safetensors", "second_shard": "none"},
    "CraftersAniCrafterPrompt": {"file": "anicrafter_prompt_small.safetensors"},
    "UNETLoader": {"unet_name": "wan_small.safetensors"},
    "VAELoader": {"vae_name": "wan_small_vae.safetensors"},
    "KSampler": {"steps": 2, "cfg": 1.0},
    "CraftersLoadWan": {"transformer": "wan_small.safetensors"},
    "CraftersAniCrafterSampler": {"steps": 2, "cfg": 1.0},
}
# Where ComfyUI's loader knows the real size only, the pack's own: its settings, and its outputs by the other's.
INSTEAD = {
    # In graphs of the first versions.
    "ImageOnlyCheckpointLoader": ("CraftersLoadSVDFolder", {"folder": "svd-small"}, {1: 1, 2: 0}),
    "CLIPVisionLoader": (
        "CraftersLoadWanEncoders",
        {"vae": "wan_small_vae.safetensors", "clip_vision": "wan_small_clip.pth"},
        {0: 1},
    ),
}
KINDS = {"pouch": "bag", "jar": "can", "spray": "bottle"}  # of Present Product; the others are called alike
UNUSED = ("CLIPLoader",)  # the prompt comes from its file


@dataclass(frozen=True)
class Demo:
    """A shipped workflow on a scene. files: (node id, input) of `prompt` that hold files to upload.

    judge: what the video, uint8 [F, H, W, 3], is worth.
    """

    name: str
    judge: Callable[[np.ndarray], Judgement]
    prompt: Prompt
    files: list[tuple[str, str]]


def presenting(folder: Path, prompt: Prompt, seed: int) -> Demo:
    """AnchorCrafter: a scene of `scenes.scene`, its inputs written into `folder`."""
    scene = make_scene(seed, "test", PORTRAIT, FRAMES, FPS)
    left, front, right = scene.product_views
    inputs = {
        "Person Photo": scene.person_photo,
        "Product Left": left,
        "Product Front": front,
        "Product Right": right,
        "Driving Clip": scene.frames,
        "Hand Mesh": scene.hand_mesh,
        "Object Depth": scene.object_depth,
    }

    def judge(result: np.ndarray) -> Judgement:
        dwpose = small_dwpose()
        shown = place_scene(scene, _placement(scene, dwpose))
        return judge_presenting(shown, result, dwpose), sheet_presenting(shown, result)

    return Demo("AnchorCrafter", judge, *fill(prompt, _write(folder, inputs)))


def directed(folder: Path, prompt: Prompt, seed: int) -> Demo:
    """AnchorCrafter without a driving clip: person and product of a scene of `scenes.scene`, but not its motion."""
    scene = make_scene(seed, "test", PORTRAIT, 1)
    left, front, right = scene.product_views
    photos = {
        "Person Photo": scene.person_photo, "Product Left": left, "Product Front": front, "Product Right": right
    }
    filled, files = fill(prompt, _write(folder, photos))
    script = _tell_size(filled, "CraftersPresentProduct", scene.product)

    def judge(result: np.ndarray) -> Judgement:
        dwpose = small_dwpose()
        told = {name: value for name, value in script.items() if not isinstance(value, list)}  # what is no link
        shown = _intended(scene, dwpose, told)
        return judge_directed(shown, result, dwpose), sheet_presenting(shown, result, truth=False)

    return Demo("AnchorCrafter directed", judge, filled, files)


def _tell_size(prompt: Prompt, kind: str, product: Product) -> dict[str, Any]:
    """Set kind and size of a product in the node of `kind`, whose inputs come back."""
    (told,) = (node["inputs"] for node in prompt.values() if node["class_type"] == kind)
    told["kind"] = KINDS.get(product.kind, product.kind)
    sides = zip(("width", "height", "depth"), product.size, strict=True)
    told.update({side: round(100 * length, 1) for side, length in sides})
    return told


def _intended(scene: Scene, dwpose: DWPose, script: dict[str, Any]) -> Scene:
    """What the workflow is told to show, as a scene. Nobody has filmed it: its frames are the photo."""
    photo = torch.from_numpy(scene.person_photo)[None] / 255
    pose = extract_poses(dwpose, photo)[0]
    product = on_black([torch.from_numpy(view)[None] / 255 for view in scene.product_views])
    poses, hand_mesh, object_depth, mask = direct(anny_body(), pose, scene.size, product, **script).conditions
    still = np.broadcast_to(scene.person_photo, (len(poses), *scene.person_photo.shape))
    objects = PRODUCT * mask.numpy().astype(np.uint8)
    shown = replace(scene, frames=still, background=still, objects=objects, poses=poses)
    vars(shown).update(without_product=still, object_depth=object_depth.numpy(), hand_mesh=hand_mesh.numpy())
    return shown


def _placement(scene: Scene, dwpose: DWPose) -> Placement:
    """As the workflow finds it, which places the clip's movement on the photo's person."""
    clip, photo = (torch.from_numpy(pictures).float() / 255 for pictures in (scene.frames, scene.person_photo[None]))
    return fit_placement(extract_poses(dwpose, clip), extract_poses(dwpose, photo)[0], scene.size, scene.size)


def moving(folder: Path, prompt: Prompt, seed: int) -> Demo:
    """AniCrafter: a scene of `scenes.anicrafter_data`, its inputs written into `folder`, and a product if the prompt
    holds one."""
    return acted(folder, prompt, make_avatar_scene(seed, "test", LANDSCAPE, FRAMES, FPS, strength=1.0), seed)


def acted(folder: Path, prompt: Prompt, shown: AvatarScene, seed: int = 0) -> Demo:
    """AniCrafter on that scene; seed: of the product."""
    inputs = {
        "Character Photo": shown.photo,
        "Background Video": shown.scene.background,
        "Source Video": shown.scene.frames,
    }
    held = any(node["class_type"] == "CraftersHoldProduct" for node in prompt.values())
    if held:
        product = make_product(seed, "test")
        inputs |= dict(zip(("Product Left", "Product Front", "Product Right"), views(product), strict=True))
    paths = _write(folder, inputs)
    paths |= {"Load Avatar": folder / "character_gaussian.pth", "Load Motion": folder / "motion.npz"}
    save_avatar(shown.avatar, paths["Load Avatar"])
    save_motion(shown.motion, paths["Load Motion"])
    filled, files = fill(prompt, paths)
    if held:
        _tell_size(filled, "CraftersHoldProduct", product)

    def judge(result: np.ndarray) -> Judgement:
        return judge_moving(shown, result), sheet_moving(shown, result)

    return Demo("AniCrafter", judge, filled, files)


def small_dwpose() -> DWPose:
    """The small pose networks, as the workflow loads them."""
    return DWPose(*(WEIGHTS / "crafters" / SMALL["CraftersLoadDWPose"][part] for part in ("detector", "pose")))


def fill(prompt: Prompt, inputs: dict[str, Path]) -> tuple[Prompt, list[tuple[str, str]]]:
    """A workflow with small networks and, by the titles of the nodes that load them, other inputs."""
    prompt = copy.deepcopy(prompt)
    keys = {"LoadImage": "image", "LoadVideo": "file", "CraftersLoadAvatar": "avatar", "CraftersLoadMotion": "motion"}
    files = []
    for node_id, node in list(prompt.items()):
        kind, values = node["class_type"], node["inputs"]
        values.update({name: value for name, value in SMALL.get(kind, {}).items() if name in values})
        if kind in keys:
            values[keys[kind]] = str(inputs[node["_meta"]["title"]])
            files.append((node_id, keys[kind]))
        if kind in INSTEAD:
            other, settings, outputs = INSTEAD[kind]
            node.update(class_type=other, inputs=dict(settings))
            _redirect(prompt, node_id, outputs)
        if kind in UNUSED:
            del prompt[node_id]
            _redirect(prompt, node_id, {})
    return prompt, files


def _redirect(prompt: Prompt, source: str, outputs: dict[int, int]) -> None:
    """Links to outputs of `source` go to others of it, or away where there is none."""
    for node in prompt.values():
        for key, value in list(node["inputs"].items()):
            if isinstance(value, list) and value[0] == source:
                if value[1] in outputs:
                    node["inputs"][key] = [source, outputs[value[1]]]
                else:
                    del node["inputs"][key]


def _write(folder: Path, inputs: dict[str, np.ndarray]) -> dict[str, Path]:
    """Files in `folder` of pictures [H, W, 3] and clips [F, H, W, 3], uint8, under the same names."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, pixels in inputs.items():
        if pixels.ndim == 4:
            paths[name] = folder / f"{name}.mp4"
            write_video(paths[name], pixels, FPS)
        else:
            paths[name] = folder / f"{name}.png"
            Image.fromarray(pixels).save(paths[name])
    return paths
