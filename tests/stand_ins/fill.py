"""The shipped workflows on drawn input and small networks with random weights."""

import copy
from pathlib import Path
from typing import Any

Prompt = dict[str, dict[str, Any]]

INPUTS = {  # title of a loader in the workflow: picture or clip of the scene
    "Person Photo": "person",
    "Driving Clip": "driving",
    "Hand Mesh": "hand_mesh",
    "Object Depth": "object_depth",
    "Product Left": "product_left",
    "Product Front": "product_front",
    "Product Right": "product_right",
}
SIZES = {  # small enough for seconds on a CPU
    "CraftersFitPerson": {"short_side": 192},
    "CraftersAnchorSampler": {"steps": 8, "window": 6, "overlap": 2},
}


def fill(prompt: Prompt, scene: dict[str, Path], names: dict[str, str]) -> tuple[Prompt, list[tuple[str, str]]]:
    """The workflow with the demo's files and sizes, and which inputs (node id, input) are files to upload.

    ComfyUI's loader of Stable Video Diffusion knows the real size only; the pack's own takes its place.
    """
    prompt = copy.deepcopy(prompt)
    files = []
    chosen = {
        "CraftersLoadDWPose": {"detector": names["detector"], "pose": names["pose"]},
        "CraftersLoadDINOv2": {"name": names["dinov2"]},
        "CraftersLoadAnchorCrafter": {"checkpoint": names["anchorcrafter"]},
        **SIZES,
    }
    for node_id, node in prompt.items():
        node["inputs"].update(chosen.get(node["class_type"], {}))
        if (use := INPUTS.get(node["_meta"]["title"])) is not None:
            key = "image" if node["class_type"] == "LoadImage" else "file"
            node["inputs"][key] = str(scene[use])
            files.append((node_id, key))
        if node["class_type"] == "ImageOnlyCheckpointLoader":
            node.update(class_type="CraftersLoadSVDFolder", inputs={"folder": names["svd"]})
            _redirect(prompt, node_id, {1: 1, 2: 0})  # its CLIP vision and VAE
        if node["class_type"] == "PreviewImage":  # kept beside the video
            node.update(class_type="SaveImage", inputs={**node["inputs"], "filename_prefix": "conditions"})
    return prompt, files


def fill_anicrafter(
    prompt: Prompt, performance: dict[str, Path], names: dict[str, str]
) -> tuple[Prompt, list[tuple[str, str]]]:
    """As `fill`, for an AniCrafter workflow; `performance` of `make_performance`, `names` of `write_small_wan`.

    The small VAE and image encoder come from diffusers folders, the prompt from its file.
    """
    prompt = copy.deepcopy(prompt)
    size = {"width": 160, "height": 96}
    chosen = {
        "CraftersLoadBodyModel": {"body": f"smplx/{performance['body'].name}"},
        "CraftersRenderAvatar": size,
        "CraftersRenderBodyMesh": size,
        "CraftersLoadAniCrafter": {"weights": names["anicrafter"], "second_shard": names["second_shard"]},
        "CraftersAniCrafterPrompt": {"file": names["prompt"]},
        "UNETLoader": {"unet_name": names["wan"]},
        "CraftersLoadWan": {"transformer": names["wan"]},
        "KSampler": {"steps": 3},
        "CraftersAniCrafterSampler": {"steps": 3},
        "WanContextWindowsManual": {"context_length": 17, "context_overlap": 5},
    }
    inputs = {"LoadImage": ("image", "character"), "LoadVideo": ("file", "background"),
              "CraftersLoadAvatar": ("avatar", "avatar"), "CraftersLoadMotion": ("motion", "motion")}
    files, unused = [], []
    for node_id, node in prompt.items():
        kind = node["class_type"]
        node["inputs"].update(chosen.get(kind, {}))
        if kind in inputs:
            key, use = inputs[kind]
            node["inputs"][key] = str(performance[use])
            files.append((node_id, key))
        if kind == "CraftersAniCrafterPrompt":
            node["inputs"].pop("clip")
        if kind == "VAELoader":
            node.update(class_type="CraftersLoadWanEncoders",
                        inputs={"vae": names["wan_vae"], "clip_vision": names["wan_clip"]})
            encoders = node_id
        if kind in ("CLIPLoader", "CLIPVisionLoader"):
            unused.append(node_id)
    for node_id in unused:
        del prompt[node_id]
        for node in prompt.values():
            for key, value in node["inputs"].items():
                if value == [node_id, 0]:
                    node["inputs"][key] = [encoders, 1]
    return prompt, files


def _redirect(prompt: Prompt, source: str, outputs: dict[int, int]) -> None:
    for node in prompt.values():
        for key, value in node["inputs"].items():
            if isinstance(value, list) and value[0] == source:
                node["inputs"][key] = [source, outputs[value[1]]]
