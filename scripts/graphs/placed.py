"""Graphs of ComfyUI's own models, with the person placed."""


from crafters.models.anicrafter.prompt import NEGATIVE_PROMPT
from crafters.models.body.load import ANNY
from workflow_graph import Graph
from workflow_parts import Node, Output

from .stages import Weights, clip_vision, driving_pose, load_dwpose, save, wan_vae

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
