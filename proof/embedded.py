"""The demo's workflows without ComfyUI, for machines where none can be had."""

from pathlib import Path

import torch

from ..host.memory import Managed, network_dtype, vae_dtype
from ..host.progress import Progress
from ..host.prompt import Prompt
from ..media.clip import read_clip
from ..media.photo import read_photo
from ..models.anchorcrafter import encoders, sampling
from ..models.anchorcrafter.conditions import ProductTokens, anchor_condition
from ..models.anchorcrafter.system import AnchorCrafter
from ..models.clip_vision import ClipVision
from ..preprocessors.person.size import fit_person
from ..preprocessors.pose.draw_pose import draw_pose
from ..preprocessors.pose.dwpose import DWPose
from ..preprocessors.pose.extract import extract_poses
from ..preprocessors.pose.placement import fit_placement, place_pose, place_video
from ..preprocessors.product.views import product_views


def animate_arguments(prompt: Prompt, models: Path, out: Path) -> list[str]:
    """`crafters animate` with the values of a filled AniCrafter workflow."""
    nodes = {node["class_type"]: node["inputs"] for node in prompt.values()}
    encoders, render, sampler = nodes["CraftersLoadWanEncoders"], nodes["CraftersRenderAvatar"], nodes["KSampler"]
    values = {
        "avatar": nodes["CraftersLoadAvatar"]["avatar"],
        "motion": nodes["CraftersLoadMotion"]["motion"],
        "background": nodes["LoadVideo"]["file"],
        "character": nodes["LoadImage"]["image"],
        "size": f"{render['width']}x{render['height']}",
        "body": nodes["CraftersLoadBodyModel"]["body"],
        "anicrafter": models / "crafters" / nodes["CraftersLoadAniCrafter"]["weights"],
        "wan": models / "diffusion_models" / nodes["UNETLoader"]["unet_name"],
        "vae": models / "vae" / encoders["vae"],
        "clip-vision": models / "clip_vision" / encoders["clip_vision"],
        "prompt": models / "crafters" / nodes["CraftersAniCrafterPrompt"]["file"],
        "steps": sampler["steps"],
        "cfg": sampler["cfg"],
        "seed": sampler["seed"],
        "out": out,
    }
    return ["animate", *(str(part) for name, value in values.items() for part in (f"--{name}", value))]


@torch.inference_mode()
def run_embedded(prompt: Prompt, models: Path) -> torch.Tensor:
    """Frames [F, H, W, 3] in 0…1 of a filled AnchorCrafter workflow, by the same classes that the nodes call.

    The values are the workflow's; what is connected to what is restated here.
    """
    titled = {node["_meta"]["title"]: node["inputs"] for node in prompt.values()}
    own = models / "crafters"

    def clip(title: str, fps: float = 0) -> tuple[torch.Tensor, float]:
        take = {name: titled[f"{title} Frames"][name] for name in ("every", "frames", "long_side")}
        frames, fps = read_clip(titled[title]["file"], titled[f"{title} Frames"]["first_frame"], fps=fps, **take)
        return frames.float() / 255, fps

    def drawn(poses: list) -> torch.Tensor:
        size = person.shape[2], person.shape[1]
        pictures = [draw_pose(pose, *size, titled["Draw Driving Pose"]["antialias"]) for pose in poses]
        return torch.stack([torch.from_numpy(picture) for picture in pictures]).float() / 255

    person = fit_person(read_photo(Path(titled["Person Photo"]["image"]))[0], titled["Fit Person Photo"]["short_side"])
    driving, fps = clip("Driving Clip")
    dwpose = DWPose(own / titled["Load DWPose"]["detector"], own / titled["Load DWPose"]["pose"])
    poses = extract_poses(dwpose, driving, on_step=Progress("Driving Pose"))
    person_pose = extract_poses(dwpose, person)
    sizes = [(frames.shape[2], frames.shape[1]) for frames in (driving, person)]
    placement = fit_placement(poses, person_pose[0], *sizes)

    photos = {side: read_photo(Path(titled[f"Product {side.title()}"]["image"])) for side in ("front", "left", "right")}
    views, _ = product_views(
        **{side: photo[0] for side, (photo, _) in photos.items()},
        **{f"{side}_mask": None if opacity is None else opacity[0] for side, (_, opacity) in photos.items()},
    )
    dinov2 = encoders.DINOv2(Managed(encoders.load_dinov2(own / titled["Load DINOv2"]["name"], network_dtype())))
    svd = models / "diffusers" / titled["Load SVD"]["folder"]
    vae = encoders.FrameVAE(Managed(encoders.load_vae(svd, vae_dtype())))
    clip_vision = ClipVision(Managed(encoders.load_image_encoder(svd, network_dtype())))
    checkpoint = own / titled["Load AnchorCrafter"]["checkpoint"]
    model = Managed(AnchorCrafter.from_file(checkpoint, network_dtype()))
    condition = anchor_condition(
        model,
        vae,
        clip_vision,
        person,
        drawn(person_pose),
        drawn([place_pose(pose, placement) for pose in poses]),
        ProductTokens(views, dinov2.tokens(views)),
        place_video(clip("Object Depth", fps)[0], placement),
        place_video(clip("Hand Mesh", fps)[0], placement),
    )
    settings = titled["Anchor Sampler"]
    latents = sampling.sample(
        model,
        condition,
        sampling.initial_noise(condition, settings["window"], settings["seed"]),
        settings["steps"],
        (settings["guidance_min"], settings["guidance_max"]),
        settings["window"],
        on_call=Progress("Anchor Sampler"),
    )
    return sampling.decode(sampling.unscale(latents).cpu(), vae, titled["Anchor Decode"]["chunk"])
