"""AniCrafter's graphs."""

from dataclasses import dataclass, replace

from workflow_graph import Graph
from workflow_parts import Node, Output

from .stages import (
    Weights,
    clip_vision,
    driving_pose,
    keep,
    load_dwpose,
    product_photos,
    product_views,
    save,
    wan_vae,
)

HOLDING = "Motion with a product"


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


def finish(graph: Graph, latent: Output, vae: Output, fps: Output, **steady: Output) -> Node:
    """steady: the scene, where the background's colours are to be held to it."""
    graph.group("Latent → video", 5, fold=True)
    frames = graph.add("VAEDecode", samples=latent, vae=vae)["IMAGE"]
    frames = graph.add("CraftersAniCrafterTrim", images=frames, **steady)["images"]
    return save(graph, frames, fps)
