"""Write workflows/NAME.json (the UI's format), workflows/api/NAME.json (the API's) and subgraphs/: their one source.

    python scripts/build_workflows.py [--server URL]

The node definitions come from a running ComfyUI that has the pack, or from one started for it.
"""

import argparse
import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from crafters.cli.server import ComfyServer
from crafters.host.comfyui import find_comfyui
from crafters.host.weights import describe_size, needed_by, needed_by_hand
from crafters.models.anchorcrafter.schedule import FAST
from crafters.models.anicrafter.prompt import NEGATIVE_PROMPT
from crafters.models.body.load import ANNY
from workflow_graph import Graph, Node, Output

ROOT = Path(__file__).resolve().parent.parent
DRIVING = "Driving clip → conditions"
CONDITION = "AnchorCrafter condition"
HOLDING = "Motion with a product"
HELP = "https://github.com/crafters-video/crafters/blob/main/docs/nodes.md"


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


def anchorcrafter(graph: Graph, weights: Weights, *, one_clip: bool = False, fast: bool = False) -> None:
    """A person, a product and a driving clip; its hand-mesh and object-depth videos are given, or made of it."""
    graph.group("Inputs", 0)
    clip = graph.add("LoadVideo", "Driving Clip", file="driving.mp4")
    if not one_clip:
        filmed = [graph.add("LoadVideo", title, file=f"{title.lower().replace(' ', '_')}.mp4")
                  for title in ("Hand Mesh", "Object Depth")]
    photo = graph.add("LoadImage", "Person Photo", image="person.png")
    photos = product_photos(graph)

    detector, person, still, person_pose = person_stage(graph, weights, photo)
    product, tokens = product_stage(graph, weights, photos)

    graph.group(DRIVING, 1, fold=True)
    driving = clip_frames(graph, "Driving Clip", clip).show("frames", "every")
    if one_clip:
        kept = driving_pose(graph, detector, driving, "what the hands hold")
        shown, mask = {"images": driving["frames"]}, kept["product_mask"]
        depth = graph.add("CraftersObjectDepth", **shown, mask=mask)["depth"]
        shown |= {"keypoints": kept["keypoints"], "fps": driving["fps"]}
        hand = graph.add("CraftersHandMesh", **shown, product=mask)["images"]
        made = keep(graph, "Keep Depth and Hands", driving["fps"], object_depth=depth, hand=hand)
        hand, depth = made["hand"], made["object_depth"]
    else:
        kept = driving_pose(graph, detector, driving)
        hand, depth = (clip_frames(graph, video.title, video, at_fps=driving["fps"])["frames"] for video in filmed)
    pose, placement = placed_pose(graph, kept, still)
    hand = graph.add("CraftersPlaceVideo", "Place Hand Mesh", images=hand, placement=placement)
    depth = graph.add("CraftersPlaceVideo", "Place Object Depth", images=depth, placement=placement)

    shown = {"person": person, "pose": pose, "hand": hand["images"], "object_depth": depth["images"]}
    condition = encode(graph, weights.anchorcrafter, weights.svd, person_pose, product, tokens, **shown)
    video = sample(graph, *condition, driving["fps"], **(FAST if fast else {}))
    if one_clip:
        chosen = [(photo, "image"), *((photo, "image") for photo in photos.values()), (clip, "file")]
        graph.app([*chosen, (driving, "frames")], video)


def anchorcrafter_fast(graph: Graph, weights: Weights) -> None:
    anchorcrafter(graph, weights, fast=True)


def anchorcrafter_from_one_clip(graph: Graph, weights: Weights) -> None:
    anchorcrafter(graph, weights, one_clip=True)


def anchorcrafter_directed(graph: Graph, weights: Weights) -> None:
    """A person and a product, told what to do: no driving clip."""
    graph.group("Inputs", 0)
    photo = graph.add("LoadImage", "Person Photo", image="person.png")
    photos = product_photos(graph)
    _, person, still, person_pose = person_stage(graph, weights, photo)
    product, tokens = product_stage(graph, weights, photos)
    graph.group("Preparation", 1)
    body = graph.add("CraftersLoadBodyModel", body=ANNY)["body"]
    graph.group("What the person does", 2)
    made = graph.add("CraftersPresentProduct", person=person, keypoints=still, body=body, product=product)
    graph.group(CONDITION, 3, fold=True)
    pose = graph.add("CraftersDrawPose", "Draw Pose", keypoints=made["keypoints"])["image"]
    shown = {"person": person, "pose": pose, "hand": made["hand_mesh"], "object_depth": made["object_depth"]}
    condition = encode(graph, weights.anchorcrafter, weights.svd, person_pose, product, tokens, **shown)
    video = sample(graph, *condition, made["fps"])
    told = [(made, name) for name in ("gestures", "hand", "kind", "seconds")]
    graph.app([(photo, "image"), *((photo, "image") for photo in photos.values()), *told], video)


def mimicmotion(graph: Graph, weights: Weights) -> None:
    """A person and a driving clip alone: the system AnchorCrafter builds on."""
    graph.group("Inputs", 0)
    photo = graph.add("LoadImage", "Person Photo", image="person.png")
    clip = graph.add("LoadVideo", "Driving Clip", file="driving.mp4")
    detector, person, still, person_pose = person_stage(graph, weights, photo)
    graph.group(DRIVING, 1, fold=True)
    driving = clip_frames(graph, "Driving Clip", clip).show("frames", "every")
    pose, _ = placed_pose(graph, driving_pose(graph, detector, driving), still)
    condition = encode(graph, weights.mimicmotion, weights.svd, person_pose, person=person, pose=pose)
    sample(graph, *condition, driving["fps"], steps=25, guidance_min=2, guidance_max=2, window=16)  # as published


def anicrafter(
    graph: Graph,
    weights: Weights,
    *,
    window: int = 0,
    one_clip: bool = False,
    one_photo: bool = False,
    fast: bool = False,
    product: bool = False,
) -> None:
    """A character in a filmed scene, on ComfyUI's own Wan model and sampler."""
    inputs = scene_inputs(graph, weights, one_clip, one_photo, product)
    held = {}
    if product:
        inputs, held["held_product"] = hold_product(graph, inputs)
    scene = moving_scene(graph, weights, inputs, **held)
    vae, clip_vision, positive, negative = wan_parts(graph, weights, scene["clip_image"])
    conditioned = graph.add(
        "CraftersAniCrafterConditioning",
        positive=positive,
        negative=negative,
        vae=vae,
        scene=scene["scene"],
        clip_vision_output=clip_vision,
    )
    model = graph.add("UNETLoader", "Load Wan 2.1 I2V 14B", unet_name=weights.wan).show("unet_name")["MODEL"]
    if fast:
        few = {"lora_name": weights.steps_lora, "strength_model": 1.0}
        model = graph.add("LoraLoaderModelOnly", "LoRA for 4 steps", model=model, **few).show("lora_name")["MODEL"]
    model = graph.add("ModelSamplingSD3", "Shift 5", model=model, shift=5.0).show("shift")["MODEL"]
    if window:
        windows = graph.add(
            "WanContextWindowsManual",
            "Context Windows",
            model=model,
            context_length=window,
            context_overlap=16,
            retain_first_frame=True,  # the character's still
        )
        model = windows.show("context_length", "context_overlap")["MODEL"]
    own = own_weights(graph, weights)
    applied = graph.add("CraftersAniCrafterApply", model=model, anicrafter=own, scene=scene["scene"])
    model = applied.show("strength")["model"]
    if fast:
        model = graph.add("EasyCache", model=model)["MODEL"]
    graph.group("Sampling", 4)
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
    steady = {"scene": scene["scene"]} if window else {}
    video = finish(graph, latent, vae, inputs.clip["fps"], **steady)
    if one_clip:
        chosen = [(inputs.photo, "image"), (inputs.video, "file"), (inputs.clip, "frames")]
        graph.app(chosen, video)


def anicrafter_fast(graph: Graph, weights: Weights) -> None:
    anicrafter(graph, weights, fast=True)


def anicrafter_long(graph: Graph, weights: Weights) -> None:
    anicrafter(graph, weights, window=81)


def anicrafter_with_a_product(graph: Graph, weights: Weights) -> None:
    anicrafter(graph, weights, product=True)


def anicrafter_from_one_photo(graph: Graph, weights: Weights) -> None:
    anicrafter(graph, weights, one_photo=True)


def anicrafter_replace_person(graph: Graph, weights: Weights) -> None:
    anicrafter(graph, weights, one_clip=True, one_photo=True)


def anicrafter_self_contained(graph: Graph, weights: Weights) -> None:
    """The same with the pack's own engine, which needs none of ComfyUI's Wan."""
    inputs = scene_inputs(graph, weights)
    scene = moving_scene(graph, weights, inputs)
    vae, clip_vision, positive, negative = wan_parts(graph, weights, scene["clip_image"])
    own = own_weights(graph, weights)
    wan = graph.add("CraftersLoadWan", transformer=weights.wan, anicrafter=own).show("transformer")["wan"]
    graph.group("Sampling", 4)
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
    finish(graph, latent, vae, inputs.clip["fps"])


BLUE = 0x0000FF  # the first person's colour in SCAIL-2's masks
BORDER = 16  # px that a hole is wider than the mesh, for hair and clothes


def wan_animate_placed(graph: Graph, weights: Weights) -> None:
    """A character moves as in one clip, where the user puts it in another, by ComfyUI's own Wan-Animate."""
    photo, video = placed_inputs(graph)
    source = graph.add("LoadVideo", "Source Video", file="source.mp4")
    graph.group("Scene, motion and face", 1, fold=True)
    scene, body = scene_frames(graph, video, 16), graph.add("CraftersLoadBodyModel", body=ANNY)["body"]
    rate = {"every": 1, "long_side": 0, "at_fps": scene["fps"]}
    clip = graph.add("CraftersClipFrames", "Source Frames", video=source["VIDEO"], **rate)
    shown = {"images": clip["frames"]}
    shown |= {"keypoints": driving_pose(graph, load_dwpose(graph, weights), clip)["keypoints"]}
    motion = graph.add("CraftersBodyMotionFromVideo", **shown, fps=clip["fps"], body=body)["motion"]
    face = graph.add("CraftersFaceClip", **shown)["images"]
    stage = staged(graph, motion, body, scene)

    motion, frames = control_videos(graph, stage, scene)
    pose = drawn_pose(graph, motion, body, faces=False)
    hole = {"mask": body_mesh(graph, motion, body, stage)["mask"], "dilation": BORDER, "scale": 1.0}
    hole |= {"fill": "black", "blocks": 32, "window": 77}
    cut = graph.add("CraftersCutHole", images=scene["frames"], **hole).show("dilation", "blocks", "window")
    size = {side: cut[side] for side in ("width", "height", "length")}
    reference = whole_photo(graph, photo, size, "black")
    preview(graph, cut)

    model, given = wan_model(graph, weights, "Wan 2.2 Animate 14B", weights.animate, 5.0)
    given |= {"clip_vision_output": clip_vision(graph, weights, reference), "reference_image": reference, **size}
    given |= {"face_video": face, "pose_video": pose}
    given |= {"background_video": cut["images"], "character_mask": cut["mask"]}

    def window(title: str, **before: Output) -> tuple[Node, Output]:
        conditioned = graph.add("WanAnimateToVideo", title, **given, **before)
        latent = sampled(graph, model, conditioned, steps=20, cfg=1.0)
        latent = graph.add("TrimVideoLatent", samples=latent, trim_amount=conditioned["trim_latent"])["LATENT"]
        return conditioned, graph.add("VAEDecode", samples=latent, vae=given["vae"])["IMAGE"]

    done, first = window("First Window")
    graph.group("Next window", 5, fold=True)
    going_on = {"continue_motion": first, "video_frame_offset": done["video_frame_offset"]}
    done, more = window("Next Window", **going_on)
    done.offer("video_frame_offset")
    joined(graph, first, more, done["trim_image"], frames, scene["fps"])


def scail_placed(graph: Graph, weights: Weights) -> None:
    """A character takes the place of a body mesh that stands where the user puts it, by ComfyUI's own SCAIL-2."""
    photo, video = placed_inputs(graph)
    graph.group("Scene and character", 1, fold=True)
    scene, body = scene_frames(graph, video, 32), graph.add("CraftersLoadBodyModel", body=ANNY)["body"]
    detector = load_dwpose(graph, weights)
    still = graph.add("CraftersExtractPose", "Character Pose", detector=detector, images=photo["IMAGE"])["keypoints"]
    cutout = graph.add("CraftersPrepareCharacter", image=photo["IMAGE"], keypoints=still)["mask"]
    stage = staged(graph, loaded_motion(graph, scene), body, scene)

    motion, frames = control_videos(graph, stage, scene)
    mesh = body_mesh(graph, motion, body, stage)
    hole = {"mask": mesh["mask"], "dilation": 0, "scale": 1.0, "fill": "picture", "picture": mesh["image"]}
    cut = graph.add("CraftersCutHole", "Mesh in Scene", images=scene["frames"], **hole, window=81).show("window")
    around = graph.add("InvertMask", mask=cut["mask"])["MASK"]
    around = graph.add("MaskToImage", "White around the Person", mask=around)["IMAGE"]
    identity = in_blue(graph, "Pose Mask", around, cut["mask"])
    preview(graph, cut)

    # The photo's person as large as the staged one, in the same place: SCAIL-2 takes the size from there too.
    graph.group("Reference in place", 3, fold=True)
    there = graph.add("CraftersPoseFromMotion", motion=stage["motion"], body=body)["keypoints"]
    place = graph.add("CraftersPlacePose", "Where the Person Stands", driving=still, reference=there)["placement"]
    reference = graph.add("CraftersPlaceVideo", "Place Photo", images=photo["IMAGE"], placement=place)["images"]
    silhouette = graph.add("MaskToImage", "Silhouette", mask=cutout)["IMAGE"]
    silhouette = graph.add("CraftersPlaceVideo", "Place Silhouette", images=silhouette, placement=place)["images"]
    only = graph.add("ImageToMask", image=silhouette, channel="red")["MASK"]
    known = in_blue(graph, "Reference Mask", silhouette, only)

    model, given = wan_model(graph, weights, "SCAIL-2 14B", weights.scail, 5.0)
    given |= {"clip_vision_output": clip_vision(graph, weights, reference), "reference_image": reference}
    given |= {"reference_image_mask": known, "replacement_mode": True}
    given |= {"pose_video": cut["images"], "pose_video_mask": identity}
    given |= {side: cut[side] for side in ("width", "height", "length")}

    def window(title: str, **before: Output) -> tuple[Node, Output]:
        conditioned = graph.add("WanSCAILToVideo", title, **given, **before)
        latent = sampled(graph, model, conditioned, steps=40, cfg=5.0)
        return conditioned, graph.add("VAEDecode", samples=latent, vae=given["vae"])["IMAGE"]

    done, first = window("First Window")
    graph.group("Next window", 5, fold=True)
    going_on = {"previous_frames": first, "video_frame_offset": done["video_frame_offset"]}
    done, more = window("Next Window", **going_on)
    done.offer("video_frame_offset")
    joined(graph, first, more, 5, frames, scene["fps"])


def vace_placed(graph: Graph, weights: Weights) -> None:
    """A character is painted into a hole of the scene where the user puts it, by ComfyUI's own Wan VACE."""
    photo, video = placed_inputs(graph)
    avatar = graph.add("CraftersLoadAvatar", avatar="actor_gaussian.pth")["avatar"]
    graph.group("Scene and character", 1, fold=True)
    scene, body = scene_frames(graph, video, 16), graph.add("CraftersLoadBodyModel", body=ANNY)["body"]
    who = {"avatar": avatar, "rig": graph.add("CraftersRigAvatar", avatar=avatar, body=body)["rig"]}
    stage = staged(graph, loaded_motion(graph, scene), body, scene, **who)

    motion, frames = control_videos(graph, stage, scene)
    pose = drawn_pose(graph, motion, body)
    drawn = {"width": stage["width"], "height": stage["height"], "with_depth": False}
    drawn = graph.add("CraftersRenderAvatar", **who, motion=motion, **drawn)
    over = {"destination": scene["frames"], "source": drawn["image"], "mask": drawn["alpha"]}
    over = graph.add("ImageCompositeMasked", "Avatar in Scene", **over)["IMAGE"]
    hole = {"mask": body_mesh(graph, motion, body, stage)["mask"], "dilation": BORDER, "scale": 1.0}
    hole |= {"fill": "pose", "picture": over, "pose": pose}
    cut = graph.add("CraftersCutHole", images=scene["frames"], **hole).show("fill", "dilation")
    size = {side: cut[side] for side in ("width", "height", "length")}
    reference = whole_photo(graph, photo, size, "white")
    preview(graph, cut)

    model, given = wan_model(graph, weights, "Wan 2.1 VACE 14B", weights.vace, 8.0)
    windows = {"context_length": 81, "context_overlap": 16, "retain_first_frame": True}  # the reference
    model = graph.add("WanContextWindowsManual", "Context Windows", model=model, **windows)
    model = model.show("context_length", "context_overlap")["MODEL"]
    given |= {"reference_image": reference, "control_video": cut["images"], "control_masks": cut["mask"], **size}
    conditioned = graph.add("WanVaceToVideo", **given).show("strength")
    latent = sampled(graph, model, conditioned, steps=20, cfg=6.0, sampler_name="uni_pc")
    graph.group("Latent → video", 5, fold=True)
    latent = graph.add("TrimVideoLatent", samples=latent, trim_amount=conditioned["trim_latent"])["LATENT"]
    decoded = graph.add("VAEDecode", samples=latent, vae=given["vae"])["IMAGE"]
    decoded = graph.add("ImageFromBatch", "As Long as the Scene", image=decoded, length=frames)["IMAGE"]
    save(graph, decoded, scene["fps"])


def own_weights(graph: Graph, weights: Weights) -> Output:
    files = {"weights": weights.anicrafter, "second_shard": weights.second_shard}
    return graph.add("CraftersLoadAniCrafter", **files).show(*files)["anicrafter"]


@dataclass(frozen=True)
class SceneInputs:
    """The character and its stage: the nodes of its photo, of the filmed video and of its frames, and what they give.

    still: what Compose Scene takes of the character, by name.
    """

    photo: Node
    video: Node
    clip: Node
    avatar: Output
    body: Output
    motion: Output
    background: Output
    still: dict[str, Output]


def scene_inputs(
    graph: Graph, weights: Weights, one_clip: bool = False, one_photo: bool = False, product: bool = False
) -> SceneInputs:
    """Avatar, motion and background: each given, or made of the photo and of one clip. A product's stage has the
    given ones in it."""
    graph.group("Inputs", 0)
    photo = graph.add("LoadImage", "Character Photo", image="character.png")
    title, file = ("Source", "source.mp4") if one_clip else ("Background", "background.mp4")
    video = graph.add("LoadVideo", f"{title} Video", file=file)
    if not one_photo:
        avatar = graph.add("CraftersLoadAvatar", avatar="actor_gaussian.pth")["avatar"]
    body = graph.add("CraftersLoadBodyModel", body=weights.body)["body"]
    still, detector = {"character": photo["IMAGE"]}, None
    if one_photo:
        graph.group("Preparation", 1)
        graph.group("Character", 1, fold=True)
        detector = load_dwpose(graph, weights)
        seen = graph.add("CraftersExtractPose", "Character Pose", detector=detector, images=photo["IMAGE"])
        made = graph.add("CraftersPrepareCharacter", image=photo["IMAGE"], keypoints=seen["keypoints"])
        still["character_mask"] = made["mask"]
        cut = made["character"]
        avatar = graph.add("CraftersAvatarFromPhoto", character=cut, body=body).show("gaussians")["avatar"]
    rate = {"every": 1, "long_side": 0}
    if one_clip:
        graph.group("Source clip → motion", 1, fold=True)
        clip = graph.add("CraftersClipFrames", "Source Frames", video=video["VIDEO"], **rate).show("frames")
        seen = driving_pose(graph, detector, clip, "person")
        shown = {"images": clip["frames"], "keypoints": seen["keypoints"], "fps": clip["fps"]}
        motion = graph.add("CraftersBodyMotionFromVideo", **shown, body=body)["motion"]
        background = graph.add("CraftersRemovePerson", images=clip["frames"], mask=seen["person_mask"])["images"]
        kept = keep(graph, "Keep Motion and Background", clip["fps"], motion=motion, background=background)
        motion, background = kept["motion"], kept["background"]
    else:
        graph.group("Preparation", 1)
        if product:
            graph.group(HOLDING, 1, fold=True)
        clip = graph.add("CraftersClipFrames", "Background Frames", video=video["VIDEO"], **rate)
        background = clip["frames"]
        # JSONs say no rate: they are the film's. An AMASS file has its own, and is retimed.
        rates = {"fps": clip["fps"], "film_fps": clip["fps"]}
        loaded = graph.add("CraftersLoadMotion", motion="motion.npz", **rates)
        motion = (loaded.show("motion") if product else loaded)["motion"]
    return SceneInputs(photo, video, clip, avatar, body, motion, background, still)


def hold_product(graph: Graph, given: SceneInputs) -> tuple[SceneInputs, Output]:
    """The scene's motion with a product in the hand, and the product."""
    graph.group("Inputs", 0)
    photos = product_photos(graph)
    graph.group(HOLDING, 1, fold=True)
    product = product_views(graph, photos)["product"]
    made = graph.add("CraftersHoldProduct", motion=given.motion, body=given.body, product=product)
    made.show("kind", "width", "height", "depth", "hand", "grip", "offset", "turn")
    return replace(given, motion=made["motion"]), made["held_product"]


def moving_scene(graph: Graph, weights: Weights, given: SceneInputs, **held: Output) -> Node:
    """The avatar, moved, over the background."""
    graph.group("AniCrafter scene", 2, fold=True)
    rig = graph.add("CraftersRigAvatar", avatar=given.avatar, body=given.body).show("lhm")["rig"]
    size = {"width": 1280, "height": 720}
    moved = {"motion": given.motion, **size}
    drawn = graph.add("CraftersRenderAvatar", avatar=given.avatar, rig=rig, **moved, with_depth=False, **held)
    mesh = graph.add("CraftersRenderBodyMesh", body=given.body, **moved, **held)
    scene = graph.add(
        "CraftersComposeScene",
        avatar=drawn.show(*size)["image"],
        alpha=drawn["alpha"],
        background=given.background,
        **given.still,
        mesh=mesh.show(*size)["image"],
        mesh_mask=mesh["mask"],
    ).show("length")
    graph.group("Scene", 2)
    if "character_mask" in given.still:
        graph.add("CraftersPreviewAvatar", avatar=given.avatar)
    graph.group("Condition", 3)
    graph.add("PreviewImage", "Preview Scene", images=scene["blend"])
    return scene


def wan_parts(graph: Graph, weights: Weights, clip_image: Output) -> tuple[Output, Output, Output, Output]:
    """VAE, the still's CLIP output, and both texts, in the stage of Wan, which stays open."""
    graph.group("Wan with AniCrafter", 3, fold=True)
    vae, seen = wan_vae(graph, weights), clip_vision(graph, weights, clip_image)
    text = {}
    if weights.text:
        loader = graph.add("CLIPLoader", "Load UMT5 (once)", clip_name=weights.text, type="wan")
        text["clip"] = loader.show(text_encoder="clip_name")["CLIP"]
    prompt = graph.add("CraftersAniCrafterPrompt", file=weights.prompt, **text).show(prompt="file")
    return vae, seen, prompt["positive"], prompt["negative"]


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


def placed_inputs(graph: Graph) -> tuple[Node, Node]:
    """Who, and where."""
    graph.group("Inputs", 0)
    photo = graph.add("LoadImage", "Character Photo", image="character.png")
    return photo, graph.add("LoadVideo", "Background Video", file="background.mp4")


def scene_frames(graph: Graph, video: Node, multiple: int) -> Node:
    """The frames of the background, with sides that the model can make."""
    rate = {"every": 1, "long_side": 1280, "multiple": multiple}
    frames = graph.add("CraftersClipFrames", "Background Frames", video=video["VIDEO"], **rate)
    return frames.show("frames", "long_side")


def loaded_motion(graph: Graph, scene: Node) -> Output:
    graph.group("Motion", 1)
    rates = {"fps": scene["fps"], "film_fps": scene["fps"]}
    return graph.add("CraftersLoadMotion", motion="motion.npz", **rates)["motion"]


def staged(graph: Graph, motion: Output, body: Output, scene: Node, **drawn: Output) -> Node:
    """Stage Person: what the user says of the place holds for a picture of any size."""
    graph.group("Where the person stands", 2)
    place = {"place": "at a point", "place.size": "metres, camera height and horizon"}
    seen = {"motion": motion, "body": body, "background": scene["frames"]}
    return graph.add("CraftersStagePerson", **seen, **place, **drawn)


def control_videos(graph: Graph, stage: Node, scene: Node) -> tuple[Output, Output]:
    """The stage in which they are made, which stays open: the motion, as long as the scene, and the scene's frames."""
    graph.group("Control videos", 3, fold=True)
    frames = graph.add("GetImageSize", "Size of the Scene", image=scene["frames"])["batch_size"]
    motion = graph.add("CraftersEditMotion", "As Long as the Scene", motion=stage["motion"], frames=frames)
    return motion["motion"], frames


def body_mesh(graph: Graph, motion: Output, body: Output, stage: Node) -> Node:
    size = {side: stage[side] for side in ("width", "height")}
    return graph.add("CraftersRenderBodyMesh", motion=motion, body=body, **size)


def drawn_pose(graph: Graph, motion: Output, body: Output, **how: bool) -> Output:
    keypoints = graph.add("CraftersPoseFromMotion", motion=motion, body=body)["keypoints"]
    return graph.add("CraftersDrawPose", "Draw Pose", keypoints=keypoints, **how)["image"]


def whole_photo(graph: Graph, photo: Node, size: dict[str, Output], padding: str) -> Output:
    """The photo in the video's shape, which the model's node would cut it to."""
    shape = {"target_width": size["width"], "target_height": size["height"], "padding_color": padding}
    return graph.add("ResizeAndPadImage", "Whole Photo", image=photo["IMAGE"], **shape)["IMAGE"]


def in_blue(graph: Graph, title: str, picture: Output, mask: Output) -> Output:
    """The picture with the first person's colour of SCAIL-2 where the mask is."""
    blue = graph.add("EmptyImage", f"Blue of {title}", width=64, height=64, color=BLUE)["IMAGE"]
    painted = {"destination": picture, "source": blue, "resize_source": True, "mask": mask}
    return graph.add("ImageCompositeMasked", title, **painted)["IMAGE"]


def preview(graph: Graph, cut: Node) -> None:
    graph.group("Model", 4)
    graph.add("PreviewImage", "Preview Control Video", images=cut["images"])


def wan_model(
    graph: Graph, weights: Weights, name: str, file: str, shift: float
) -> tuple[Output, dict[str, Output]]:
    """A model of Wan's family, and by inputs' names its VAE and what is written for it, in a stage that stays open."""
    graph.group(name, 4, fold=True)
    model = graph.add("UNETLoader", f"Load {name}", unet_name=file).show(model="unet_name")["MODEL"]
    model = graph.add("ModelSamplingSD3", f"Shift {shift:g}", model=model, shift=shift).show("shift")["MODEL"]
    given = {"vae": wan_vae(graph, weights)}
    if not weights.text:
        kept = graph.add("CraftersAniCrafterPrompt", file=weights.prompt)
        return model, given | {name: kept[name] for name in ("positive", "negative")}
    clip = graph.add("CLIPLoader", "Load UMT5", clip_name=weights.text, type="wan").show(text_encoder="clip_name")
    prompt = graph.add("CLIPTextEncode", "Prompt", text="A person in the scene.", clip=clip["CLIP"]).show(prompt="text")
    against = graph.add("CLIPTextEncode", "Negative Prompt", text=NEGATIVE_PROMPT, clip=clip["CLIP"])
    return model, given | {"positive": prompt["CONDITIONING"], "negative": against["CONDITIONING"]}


def sampled(
    graph: Graph, model: Output, conditioned: Node, steps: int, cfg: float, sampler_name: str = "euler"
) -> Output:
    conditions = {name: conditioned[name] for name in ("positive", "negative")}
    settings = {"seed": 0, "steps": steps, "cfg": cfg, "sampler_name": sampler_name, "scheduler": "simple"}
    title = f"KSampler, {conditioned.title}"
    sampler = graph.add("KSampler", title, model=model, **conditions, latent_image=conditioned["latent"], **settings)
    return sampler.show("seed", "steps", "cfg")["LATENT"]


def joined(
    graph: Graph, frames: Output, more: Output, overlap: Output | int, length: Output, fps: Output
) -> None:
    """The next window behind the first, as a video that is saved; its frames are offered to a further one."""
    windows = {"frames": frames, "next": more, "overlap": overlap, "length": length}
    whole = graph.add("CraftersJoinWindows", **windows).offer("frames")
    save(graph, whole["frames"], fps)


def finish(graph: Graph, latent: Output, vae: Output, fps: Output, **steady: Output) -> Node:
    """steady: the scene, where the background's colours are to be held to it."""
    graph.group("Latent → video", 5, fold=True)
    frames = graph.add("VAEDecode", samples=latent, vae=vae)["IMAGE"]
    frames = graph.add("CraftersAniCrafterTrim", images=frames, **steady)["images"]
    return save(graph, frames, fps)


def save(graph: Graph, frames: Output, fps: Output) -> Node:
    """The frames as a video, made in the open stage and saved beside it."""
    video = graph.add("CreateVideo", images=frames, fps=fps)
    graph.group("Result", 5)
    return graph.add("SaveVideo", video=video["VIDEO"], filename_prefix=f"crafters/{graph.name}")


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


def product_stage(graph: Graph, weights: Weights, photos: dict[str, Node]) -> tuple[Output, Output]:
    """The product's views side by side, and as tokens."""
    graph.group("Product", 1, fold=True)
    product = product_views(graph, photos).show("masks_show")["product"]
    dinov2 = graph.add("CraftersLoadDINOv2", name=weights.dinov2).show(dinov2="name")
    tokens = graph.add("CraftersEncodeProduct", product=product, dinov2=dinov2["dinov2"])
    return product, tokens["tokens"]


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


def placed_pose(graph: Graph, moving: Node, still: Output) -> tuple[Output, Output]:
    """The driving clip's pose, drawn on the person, and where that is."""
    placed = graph.add("CraftersPlacePose", driving=moving["keypoints"], reference=still)
    pose = graph.add("CraftersDrawPose", "Draw Driving Pose", keypoints=placed["keypoints"])
    return pose["image"], placed["placement"]


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
    graph.group("Condition", 3)
    graph.group(CONDITION, 3, fold=True)
    model = graph.add("CraftersLoadAnchorCrafter", checkpoint=checkpoint).show("checkpoint")["model"]
    loaded = graph.add("CraftersLoadSVDFolder", folder=svd).show(svd="folder")
    vae = loaded["vae"]
    networks = {"model": model, "vae": vae, "clip_vision": loaded["clip_vision"]}
    condition = graph.add("CraftersAnchorCondition", **networks, **shown, person_pose=person_pose, product=tokens)
    sheet = graph.add("CraftersConditionSheet", **shown, product=product)
    graph.group("Sampling", 4)
    graph.add("PreviewImage", "Preview Conditions", images=sheet["image"])
    return model, vae, condition.show("noise_augmentation")["condition"]


def sample(graph: Graph, model: Output, vae: Output, condition: Output, fps: Output, **settings: float | str) -> Node:
    """Sampling, decoding and the saved video."""
    latent = graph.add("CraftersAnchorSampler", model=model, condition=condition, **settings)
    graph.group("Latent → video", 5, fold=True)
    frames = graph.add("CraftersAnchorDecode", samples=latent["samples"], vae=vae)
    return save(graph, frames["images"], fps)


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


def build(object_info: dict, weights: Weights = Weights()) -> Iterator[Graph]:
    """Every shipped graph, against a server's node definitions."""
    for name, (describe, text) in GRAPHS.items():
        graph = Graph(object_info, name)
        describe(graph, weights)
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
