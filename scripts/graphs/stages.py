"""Stages that several graphs have, and the weights that all are written for."""

from dataclasses import dataclass
from pathlib import Path

from workflow_graph import Graph
from workflow_parts import Node, Output


@dataclass(frozen=True)
class Weights:
    """The names chosen in the loaders; `svd` is a checkpoint or a folder."""

    anchorcrafter: str = "AnchorCrafter-notune.pth"
    mimicmotion: str = "MimicMotion_1-1.pth"
    svd: str = "svd_xt_1_1.safetensors"
    dinov2: str = "dinov2-large"
    detector: str = "yolox_l.onnx"
    pose: str = "dw-ll_ucoco_384.onnx"
    body: str = "smplx/SMPLX_NEUTRAL.npz"
    anicrafter: str = "model-00010-of-00011.safetensors"
    second_shard: str = "model-00011-of-00011.safetensors"
    prompt: str = "anicrafter_prompt.safetensors"
    text: str = "umt5_xxl_fp16.safetensors"
    wan: str = "wan2.1_i2v_720p_14B_fp16.safetensors"
    wan_vae: str = "wan_2.1_vae.safetensors"
    wan_clip: str = "clip_vision_h.safetensors"
    steps_lora: str = "Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors"
    animate: str = "wan2.2_animate_14B_bf16.safetensors"
    scail: str = "wan2.1_14B_SCAIL_2_fp16.safetensors"
    vace: str = "wan2.1_vace_14B_fp16.safetensors"


def load_dwpose(graph: Graph, weights: Weights) -> Output:
    files = {"detector": weights.detector, "pose": weights.pose}
    return graph.add("CraftersLoadDWPose", **files).show(*files)["detector"]


def person_stage(graph: Graph, weights: Weights, photo: Node) -> tuple[Output, Output, Output, Output]:
    """What finds people; the fitted photo; the person's keypoints, and these drawn."""
    graph.group("Preparation", 1)
    graph.group("Person", 1, fold=True)
    person = graph.add("CraftersFitPerson", image=photo["IMAGE"]).show("short_side")["image"]
    detector = load_dwpose(graph, weights)
    still = graph.add("CraftersExtractPose", "Person Pose", detector=detector, images=person)["keypoints"]
    drawn = graph.add("CraftersDrawPose", "Draw Person Pose", keypoints=still)["image"]
    return detector, person, still, drawn


def product_photos(graph: Graph) -> dict[str, Node]:
    """The nodes that load them, by what they show."""
    return {side: graph.add("LoadImage", f"Product {side.title()}", image=f"product_{side}.png")
            for side in ("left", "front", "right")}


def product_views(graph: Graph, photos: dict[str, Node]) -> Node:
    return graph.add(
        "CraftersProductViews",
        **{side: photo["IMAGE"] for side, photo in photos.items()},
        **{f"{side}_mask": photo["MASK"] for side, photo in photos.items()},
    )


def clip_frames(graph: Graph, title: str, video: Node, **rate: Output) -> Node:
    return graph.add("CraftersClipFrames", f"{title} Frames", video=video["VIDEO"], **rate)


def driving_pose(graph: Graph, detector: Output, clip: Node, find: str = "") -> Node:
    """The node that gives a clip's keypoints; with something to `find`, also its mask, kept."""
    frames = clip["frames"]
    pose = graph.add("CraftersExtractPose", "Driving Pose", detector=detector, images=frames)
    if not find:
        return pose
    keypoints, mask = pose["keypoints"], "person_mask" if find == "person" else "product_mask"
    seen = graph.add("CraftersSegmentVideo", images=frames, find=find, keypoints=keypoints)["mask"]
    return keep(graph, "Keep Pose and Mask", clip["fps"], keypoints=keypoints, **{mask: seen})


def keep(graph: Graph, title: str, fps: Output, **made: Output) -> Node:
    return graph.add("CraftersKeepConditions", title, fps=fps, **made).show("clip")


def wan_vae(graph: Graph, weights: Weights) -> Output:
    return graph.add("VAELoader", "Load Wan VAE", vae_name=weights.wan_vae).show(vae="vae_name")["VAE"]


def clip_vision(graph: Graph, weights: Weights, image: Output) -> Output:
    """What CLIP sees in an image."""
    if Path(weights.wan_clip).suffix != ".pth":  # in Wan's own layout, which the pack's loader reads
        clip = graph.add("CLIPVisionLoader", "Load CLIP Vision", clip_name=weights.wan_clip)
        clip = clip.show(clip_vision="clip_name")["CLIP_VISION"]
    else:
        loaded = graph.add("CraftersLoadWanEncoders", vae=weights.wan_vae, clip_vision=weights.wan_clip)
        clip = loaded["clip_vision"]
    return graph.add("CLIPVisionEncode", clip_vision=clip, image=image, crop="none")["CLIP_VISION_OUTPUT"]


def save(graph: Graph, frames: Output, fps: Output) -> Node:
    """The frames as a video, made in the open stage and saved beside it."""
    video = graph.add("CreateVideo", images=frames, fps=fps)
    graph.group("Result", 5)
    return graph.add("SaveVideo", video=video["VIDEO"], filename_prefix=f"crafters/{graph.name}")
