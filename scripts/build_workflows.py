"""Write workflows/NAME.json (the UI's format) and workflows/api/NAME.json (the API's): the one source of both.

    python scripts/build_workflows.py [--server URL]

The node definitions come from a running ComfyUI that has the pack, or from one started for it.
"""

import argparse
import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crafters.cli.server import ComfyServer
from crafters.host.comfyui import find_comfyui
from crafters.host.weights import describe_size, needed_by
from crafters.models.anchorcrafter.schedule import FAST
from workflow_graph import Graph, Node, Output

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Weights:
    """The names chosen in the loaders; `svd` is a checkpoint, or a folder if it has no suffix."""

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


def anchorcrafter(graph: Graph, weights: Weights, *, one_clip: bool = False, fast: bool = False) -> None:
    """A person, a product and a driving clip; its hand-mesh and object-depth videos are given, or made of it."""
    person, driving = person_and_motion(graph)
    if not one_clip:
        graph.next_stack()
        hand = clip_frames(graph, "Hand Mesh", "hand_mesh.mp4", at_fps=driving["fps"])["frames"]
        graph.next_stack()
        depth = clip_frames(graph, "Object Depth", "object_depth.mp4", at_fps=driving["fps"])["frames"]
    graph.group("Product", 0)
    photos = {}
    for side in ("left", "front", "right"):
        photos[side] = graph.add("LoadImage", f"Product {side.title()}", image=f"product_{side}.png")
        graph.next_stack()

    find = "what the hands hold" if one_clip else ""
    kept, pose, person_pose, placement = poses(graph, weights, person, driving, find)
    if one_clip:
        graph.group("What the hands hold", 1)
        shown, mask = {"images": driving["frames"]}, kept["product_mask"]
        depth = graph.add("CraftersObjectDepth", **shown, mask=mask)["depth"]
        shown |= {"keypoints": kept["keypoints"], "fps": driving["fps"]}
        hand = graph.add("CraftersHandMesh", **shown, product=mask)["images"]
        kept = keep(graph, "Keep Depth and Hands", driving["fps"], object_depth=depth, hand=hand)
        depth, hand = kept["object_depth"], kept["hand"]
    hand = graph.add("CraftersPlaceVideo", "Place Hand Mesh", images=hand, placement=placement)
    depth = graph.add("CraftersPlaceVideo", "Place Object Depth", images=depth, placement=placement)
    graph.group("Product tokens", 1)
    views = graph.add(
        "CraftersProductViews",
        **{side: photo["IMAGE"] for side, photo in photos.items()},
        **{f"{side}_mask": photo["MASK"] for side, photo in photos.items()},
    )
    dinov2 = graph.add("CraftersLoadDINOv2", name=weights.dinov2)
    tokens = graph.add("CraftersEncodeProduct", product=views["product"], dinov2=dinov2["dinov2"])

    condition = encode(
        graph,
        weights.anchorcrafter,
        weights.svd,
        person_pose,
        views["product"],
        tokens["tokens"],
        person=person["image"],
        pose=pose,
        hand=hand["images"],
        object_depth=depth["images"],
    )
    sample(graph, *condition, driving["fps"], **(FAST if fast else {}))


def anchorcrafter_fast(graph: Graph, weights: Weights) -> None:
    anchorcrafter(graph, weights, fast=True)


def anchorcrafter_from_one_clip(graph: Graph, weights: Weights) -> None:
    anchorcrafter(graph, weights, one_clip=True)


def mimicmotion(graph: Graph, weights: Weights) -> None:
    """A person and a driving clip alone: the system AnchorCrafter builds on."""
    person, driving = person_and_motion(graph)
    _, pose, person_pose, _ = poses(graph, weights, person, driving)
    condition = encode(graph, weights.mimicmotion, weights.svd, person_pose, person=person["image"], pose=pose)
    sample(graph, *condition, driving["fps"], steps=25, guidance_min=2, guidance_max=2, window=16)  # as published


def anicrafter(
    graph: Graph,
    weights: Weights,
    *,
    window: int = 0,
    one_clip: bool = False,
    one_photo: bool = False,
    fast: bool = False,
) -> None:
    """A character in a filmed scene, on ComfyUI's own Wan model and sampler."""
    scene, clip_image, fps = moving_scene(graph, weights, one_clip, one_photo)
    vae, clip_vision, positive, negative = wan_parts(graph, weights, clip_image)
    conditioned = graph.add(
        "CraftersAniCrafterConditioning",
        positive=positive,
        negative=negative,
        vae=vae,
        scene=scene["scene"],
        clip_vision_output=clip_vision,
    )
    graph.group("Wan with AniCrafter", 3)
    model = graph.add("UNETLoader", "Load Wan 2.1 I2V 14B", unet_name=weights.wan)["MODEL"]
    if fast:
        few = {"lora_name": weights.steps_lora, "strength_model": 1.0}
        model = graph.add("LoraLoaderModelOnly", "LoRA for 4 steps", model=model, **few)["MODEL"]
    model = graph.add("ModelSamplingSD3", "Shift 5", model=model, shift=5.0)["MODEL"]
    if window:
        model = graph.add(
            "WanContextWindowsManual",
            "Context Windows",
            model=model,
            context_length=window,
            context_overlap=16,
            retain_first_frame=True,  # the character's still
        )["MODEL"]
    own = own_weights(graph, weights)
    model = graph.add("CraftersAniCrafterApply", model=model, anicrafter=own, scene=scene["scene"])["model"]
    if fast:
        model = graph.add("EasyCache", model=model)["MODEL"]
    graph.group("Video", 4)
    latent = graph.add(
        "KSampler",
        model=model,
        positive=conditioned["positive"],
        negative=conditioned["negative"],
        latent_image=conditioned["latent"],
        seed=0,
        steps=4 if fast else 50,
        cfg=1.0 if fast else 1.5,
        sampler_name="euler",
        scheduler="simple",
    )["LATENT"]
    finish(graph, latent, vae, fps)


def anicrafter_fast(graph: Graph, weights: Weights) -> None:
    anicrafter(graph, weights, fast=True)


def anicrafter_long(graph: Graph, weights: Weights) -> None:
    anicrafter(graph, weights, window=81)


def anicrafter_from_one_photo(graph: Graph, weights: Weights) -> None:
    anicrafter(graph, weights, one_photo=True)


def anicrafter_replace_person(graph: Graph, weights: Weights) -> None:
    anicrafter(graph, weights, one_clip=True, one_photo=True)


def anicrafter_self_contained(graph: Graph, weights: Weights) -> None:
    """The same with the pack's own engine, which needs none of ComfyUI's Wan."""
    scene, clip_image, fps = moving_scene(graph, weights)
    vae, clip_vision, positive, negative = wan_parts(graph, weights, clip_image)
    graph.group("Wan with AniCrafter", 3)
    own = own_weights(graph, weights)
    wan = graph.add("CraftersLoadWan", transformer=weights.wan, anicrafter=own)["wan"]
    graph.group("Video", 4)
    latent = graph.add(
        "CraftersAniCrafterSampler",
        wan=wan,
        anicrafter=own,
        scene=scene["scene"],
        positive=positive,
        negative=negative,
        vae=vae,
        clip_vision_output=clip_vision,
    )["samples"]
    finish(graph, latent, vae, fps)


def own_weights(graph: Graph, weights: Weights) -> Output:
    files = {"weights": weights.anicrafter, "second_shard": weights.second_shard}
    return graph.add("CraftersLoadAniCrafter", **files)["anicrafter"]


def moving_scene(
    graph: Graph, weights: Weights, one_clip: bool = False, one_photo: bool = False
) -> tuple[Node, Output, Output]:
    """The avatar over the background, both given or made of one clip; the still as CLIP sees it; the clip's rate.

    The avatar is given, or made of the photo.
    """
    graph.group("Character", 0)
    photo = graph.add("LoadImage", "Character Photo", image="character.png")
    still, detector = {"character": photo["IMAGE"]}, None
    if one_photo:
        files = {"detector": weights.detector, "pose": weights.pose}
        detector = graph.add("CraftersLoadDWPose", **files)["detector"]
        seen = graph.add("CraftersExtractPose", "Character Pose", detector=detector, images=photo["IMAGE"])
        graph.next_stack()
        made = graph.add("CraftersPrepareCharacter", image=photo["IMAGE"], keypoints=seen["keypoints"])
        still["character_mask"] = made["mask"]
        graph.next_stack()
        body = graph.add("CraftersLoadBodyModel", body=weights.body)["body"]
        avatar = graph.add("CraftersAvatarFromPhoto", character=made["character"], body=body)["avatar"]
        graph.add("CraftersPreviewAvatar", avatar=avatar)
        graph.next_stack()
    else:
        graph.next_stack()
        avatar = graph.add("CraftersLoadAvatar", avatar="actor_gaussian.pth")["avatar"]
        body = graph.add("CraftersLoadBodyModel", body=weights.body)["body"]
    rig = graph.add("CraftersRigAvatar", avatar=avatar, body=body)["rig"]
    graph.group("Motion and scene", 0)
    if one_clip:
        video = graph.add("LoadVideo", "Source Video", file="source.mp4")
        clip = graph.add("CraftersClipFrames", "Source Frames", video=video["VIDEO"], every=1, long_side=0)
        _, seen = driving_pose(graph, weights, clip, "person", detector)
        graph.next_stack()
        shown = {"images": clip["frames"], "keypoints": seen["keypoints"], "fps": clip["fps"]}
        motion = graph.add("CraftersBodyMotionFromVideo", **shown, body=body)["motion"]
        background = graph.add("CraftersRemovePerson", images=clip["frames"], mask=seen["person_mask"])["images"]
        graph.next_stack()
        kept = keep(graph, "Keep Motion and Background", clip["fps"], motion=motion, background=background)
        motion, background = kept["motion"], kept["background"]
    else:
        video = graph.add("LoadVideo", "Background Video", file="background.mp4")
        clip = graph.add("CraftersClipFrames", "Background Frames", video=video["VIDEO"], every=1, long_side=0)
        background = clip["frames"]
        graph.next_stack()
        # JSONs say no rate: they are the film's. An AMASS file has its own, and is retimed.
        rates = {"fps": clip["fps"], "film_fps": clip["fps"]}
        motion = graph.add("CraftersLoadMotion", motion="motion.npz", **rates)["motion"]
    graph.group("Avatar in the scene", 1)
    size = {"width": 1280, "height": 720}
    drawn = graph.add("CraftersRenderAvatar", avatar=avatar, rig=rig, motion=motion, **size)
    mesh = graph.add("CraftersRenderBodyMesh", body=body, motion=motion, **size)
    scene = graph.add(
        "CraftersComposeScene",
        avatar=drawn["image"],
        alpha=drawn["alpha"],
        background=background,
        **still,
        mesh=mesh["image"],
        mesh_mask=mesh["mask"],
    )
    graph.next_stack()
    graph.add("PreviewImage", "Preview Scene", images=scene["blend"])
    return scene, scene["clip_image"], clip["fps"]


def wan_parts(graph: Graph, weights: Weights, clip_image: Output) -> tuple[Output, Output, Output, Output]:
    """VAE, the still's CLIP output, and both texts."""
    graph.group("Condition", 2)
    if Path(weights.wan_clip).suffix != ".pth":  # in Wan's own layout, which the pack's loader reads
        vae = graph.add("VAELoader", "Load Wan VAE", vae_name=weights.wan_vae)["VAE"]
        clip = graph.add("CLIPVisionLoader", "Load CLIP Vision", clip_name=weights.wan_clip)["CLIP_VISION"]
    else:
        loaded = graph.add("CraftersLoadWanEncoders", vae=weights.wan_vae, clip_vision=weights.wan_clip)
        vae, clip = loaded["vae"], loaded["clip_vision"]
    seen = graph.add("CLIPVisionEncode", clip_vision=clip, image=clip_image, crop="none")["CLIP_VISION_OUTPUT"]
    text = {}
    if weights.text:
        text["clip"] = graph.add("CLIPLoader", "Load UMT5 (once)", clip_name=weights.text, type="wan")["CLIP"]
    prompt = graph.add("CraftersAniCrafterPrompt", file=weights.prompt, **text)
    return vae, seen, prompt["positive"], prompt["negative"]


def finish(graph: Graph, latent: Output, vae: Output, fps: Output) -> None:
    frames = graph.add("VAEDecode", samples=latent, vae=vae)["IMAGE"]
    frames = graph.add("CraftersAniCrafterTrim", images=frames)["images"]
    video = graph.add("CreateVideo", images=frames, fps=fps)
    graph.add("SaveVideo", video=video["VIDEO"], filename_prefix=f"crafters/{graph.name}")


def person_and_motion(graph: Graph) -> tuple[Node, Node]:
    graph.group("Person", 0)
    photo = graph.add("LoadImage", "Person Photo", image="person.png")
    graph.next_stack()
    person = graph.add("CraftersFitPerson", image=photo["IMAGE"])
    graph.group("Driving clip and what it shows", 0)
    return person, clip_frames(graph, "Driving Clip", "driving.mp4")


def clip_frames(graph: Graph, title: str, file: str, **rate: Output) -> Node:
    video = graph.add("LoadVideo", title, file=file)
    return graph.add("CraftersClipFrames", f"{title} Frames", video=video["VIDEO"], **rate)


def driving_pose(
    graph: Graph, weights: Weights, clip: Node, find: str = "", detector: Output | None = None
) -> tuple[Output, Node]:
    """The detector, and the node that gives a clip's keypoints; with something to `find`, also its mask, kept."""
    graph.group("Pose", 1)
    frames = clip["frames"]
    if detector is None:
        detector = graph.add("CraftersLoadDWPose", detector=weights.detector, pose=weights.pose)["detector"]
    pose = graph.add("CraftersExtractPose", "Driving Pose", detector=detector, images=frames)
    if not find:
        return detector, pose
    keypoints, mask = pose["keypoints"], "person_mask" if find == "person" else "product_mask"
    seen = graph.add("CraftersSegmentVideo", images=frames, find=find, keypoints=keypoints)["mask"]
    return detector, keep(graph, "Keep Pose and Mask", clip["fps"], keypoints=keypoints, **{mask: seen})


def keep(graph: Graph, title: str, fps: Output, **made: Output) -> Node:
    return graph.add("CraftersKeepConditions", title, fps=fps, **made)


def poses(
    graph: Graph, weights: Weights, person: Node, driving: Node, find: str = ""
) -> tuple[Node, Output, Output, Output]:
    """What gives the driving clip's keypoints; they, drawn on the person; the person's own, drawn; the placement."""
    detector, moving = driving_pose(graph, weights, driving, find)
    still = graph.add("CraftersExtractPose", "Person Pose", detector=detector, images=person["image"])
    graph.next_stack()
    placed = graph.add("CraftersPlacePose", driving=moving["keypoints"], reference=still["keypoints"])
    pose = graph.add("CraftersDrawPose", "Draw Driving Pose", keypoints=placed["keypoints"])
    person_pose = graph.add("CraftersDrawPose", "Draw Person Pose", keypoints=still["keypoints"])
    return moving, pose["image"], person_pose["image"], placed["placement"]


def encode(
    graph: Graph,
    checkpoint: str,
    svd: str,
    person_pose: Output,
    product: Output | None = None,
    tokens: Output | None = None,
    **shown: Output,
) -> tuple[Output, Output, Output]:
    """Model, VAE and condition; `shown`, what both the condition and its sheet take."""
    graph.group("Condition", 2)
    model = graph.add("CraftersLoadAnchorCrafter", checkpoint=checkpoint)["model"]
    if Path(svd).suffix:
        loaded = graph.add("ImageOnlyCheckpointLoader", "Load SVD", ckpt_name=svd)
        vae, clip_vision = loaded["VAE"], loaded["CLIP_VISION"]
    else:
        loaded = graph.add("CraftersLoadSVDFolder", folder=svd)
        vae, clip_vision = loaded["vae"], loaded["clip_vision"]
    networks = {"model": model, "vae": vae, "clip_vision": clip_vision}
    condition = graph.add("CraftersAnchorCondition", **networks, **shown, person_pose=person_pose, product=tokens)
    sheet = graph.add("CraftersConditionSheet", **shown, product=product)
    graph.add("PreviewImage", "Preview Conditions", images=sheet["image"])
    return model, vae, condition["condition"]


def sample(graph: Graph, model: Output, vae: Output, condition: Output, fps: Output, **settings: float | str) -> None:
    """Sampling, decoding and the saved video."""
    graph.group("Video", 3)
    latent = graph.add("CraftersAnchorSampler", model=model, condition=condition, **settings)
    frames = graph.add("CraftersAnchorDecode", samples=latent["samples"], vae=vae)
    video = graph.add("CreateVideo", images=frames["images"], fps=fps)
    graph.add("SaveVideo", video=video["VIDEO"], filename_prefix=f"crafters/{graph.name}")


def about_files(graph: Graph, inputs: str) -> str:
    """The note on what to load and where the weights go, from the weights catalogue."""
    lines = [f"# {graph.name}", inputs, "", "**Weights** (paths below ComfyUI's `models`)"]
    for weights in needed_by(graph.api()):
        terms = "accept its licence on the page first" if weights.gated else f"licence: {weights.licence}"
        where = f"`crafters download {weights.name}` or [by hand]({weights.page})"
        lines.append(f"- {weights.purpose}: {where}, {describe_size(weights.size)} ({terms})")
        lines += [f"  - `{file.kind}/{file.name}`" for file in weights.files]
    return "\n".join(lines)


GRAPHS: dict[str, tuple[Callable[[Graph, Weights], None], str]] = {
    "AnchorCrafter": (
        anchorcrafter,
        "A photo of a person, three photos of a product and a driving clip of somebody presenting a product, with its "
        "hand-mesh and object-depth videos (same length), become a video of that person presenting that product.",
    ),
    "AnchorCrafter fast": (
        anchorcrafter_fast,
        "AnchorCrafter with less than a fourth of the work: 10 steps of Align Your Steps in the place of 30, guidance "
        "in three of them. A photo of a person, three photos of a product and a driving clip of somebody presenting a "
        "product, with its hand-mesh and object-depth videos (same length), become a video of that person presenting "
        "that product.",
    ),
    "AnchorCrafter from one clip": (
        anchorcrafter_from_one_clip,
        "A photo of a person, three photos of a product and a driving clip become a video of that person presenting "
        "that product: hand meshes and object depth are made of the clip. Without weights they are fitted and drawn; "
        "Load SAM, Load HaMeR and Load Depth Network, connected, do it better. Keep Conditions writes them into "
        "ComfyUI's output folder, so that they are made once: give each clip a name of its own there.",
    ),
    "MimicMotion baseline": (
        mimicmotion,
        "A photo of a person and a driving clip become a video of that person moving as in the clip.",
    ),
    "AniCrafter": (
        anicrafter,
        "A character's avatar (LHM's *_gaussian.pth), its photo, a motion (SMPL-X JSONs or AMASS .npz in the input "
        "folder) and a background video of as many frames become a video of the character moving in that scene. "
        "SMPLX_NEUTRAL.npz is licence-gated: register at smpl-x.is.tue.mpg.de, put it into models/crafters/smplx. "
        "AniCrafter fast does it in 4 passes of the network instead of 100.",
    ),
    "AniCrafter fast": (
        anicrafter_fast,
        "AniCrafter in 4 passes of the network instead of 100: a step-distillation LoRA on Wan, 4 steps, guidance 1, "
        "which saves the negative pass. EasyCache leaves a pass out where it expects less than a fifth to change: "
        "bypass it for all 4. A character's avatar (LHM's *_gaussian.pth), its photo, a motion (SMPL-X JSONs or AMASS "
        ".npz in the input folder) and a background video of as many frames become a video of the character moving in "
        "that scene. SMPLX_NEUTRAL.npz is licence-gated: register at smpl-x.is.tue.mpg.de, put it into "
        "models/crafters/smplx.",
    ),
    "AniCrafter from one photo": (
        anicrafter_from_one_photo,
        "A photo of a character, a motion (SMPL-X JSONs or AMASS .npz in the input folder) and a background video of "
        "as many frames become a video of the character moving in that scene. The avatar is projected: a stand-in that "
        "needs no weights. LHM makes a better one: put Load LHM and Reconstruct Avatar in the place of Avatar from "
        "Photo, and choose LHM's file in Rig Avatar. SMPLX_NEUTRAL.npz is licence-gated (smpl-x.is.tue.mpg.de, into "
        "models/crafters/smplx); with Anny, which is always there, this graph works as well.",
    ),
    "AniCrafter replace person": (
        anicrafter_replace_person,
        "A photo of a character (whole, from the front) takes the place of the person in a video: avatar, motion and "
        "background are made on the way. Without weights the avatar is the photo laid on a body, the motion fitted to "
        "the pose, the hole filled from other frames; Load LHM with Reconstruct Avatar, Load Multi-HMR, Load SAM and "
        "Load ProPainter, connected, do it better. Width and height of both Render nodes must have the video's shape. "
        "Load Body Model's Anny needs no file. Keep Conditions writes motion and background into ComfyUI's output "
        "folder, so that they are made once: give each clip a name of its own there.",
    ),
    "AniCrafter long video": (
        anicrafter_long,
        "A character's avatar (LHM's *_gaussian.pth), its photo, a motion (SMPL-X JSONs or AMASS .npz in the input "
        "folder) and a background video of as many frames become a video of the character moving in that scene. "
        "SMPLX_NEUTRAL.npz is licence-gated: register at smpl-x.is.tue.mpg.de, put it into models/crafters/smplx. "
        "Any length: the sampler sees overlapping windows of 81 frames. Needs a ComfyUI of December 2025 or newer.",
    ),
    "AniCrafter self-contained": (
        anicrafter_self_contained,
        "A character's avatar (LHM's *_gaussian.pth), its photo, a motion (SMPL-X JSONs or AMASS .npz in the input "
        "folder) and a background video of as many frames become a video of the character moving in that scene. "
        "SMPLX_NEUTRAL.npz is licence-gated: register at smpl-x.is.tue.mpg.de, put it into models/crafters/smplx. "
        "Wan runs in the pack's own engine (diffusers) with the published settings.",
    ),
}


def build(object_info: dict, weights: Weights = Weights()) -> Iterator[Graph]:
    """Every shipped graph, against a server's node definitions."""
    for name, (describe, inputs) in GRAPHS.items():
        graph = Graph(object_info, name)
        describe(graph, weights)
        graph.group("About", -1)
        graph.note(about_files(graph, inputs), size=(460, 620))
        yield graph


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
    for graph in build(object_info):
        for path, content in ((f"{graph.name}.json", graph.ui()), (f"api/{graph.name}.json", graph.api())):
            (ROOT / "workflows" / path).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
