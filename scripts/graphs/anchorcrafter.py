"""AnchorCrafter's graphs, and MimicMotion's."""


from crafters.models.anchorcrafter.schedule import FAST
from crafters.models.body.load import ANNY
from workflow_graph import Graph
from workflow_parts import Node, Output

from .stages import Weights, clip_frames, driving_pose, keep, person_stage, product_photos, product_views, save

DRIVING = "Driving clip → conditions"
CONDITION = "AnchorCrafter condition"


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


def product_stage(graph: Graph, weights: Weights, photos: dict[str, Node]) -> tuple[Output, Output]:
    """The product's views side by side, and as tokens."""
    graph.group("Product", 1, fold=True)
    product = product_views(graph, photos).show("masks_show")["product"]
    dinov2 = graph.add("CraftersLoadDINOv2", name=weights.dinov2).show(dinov2="name")
    tokens = graph.add("CraftersEncodeProduct", product=product, dinov2=dinov2["dinov2"])
    return product, tokens["tokens"]


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
