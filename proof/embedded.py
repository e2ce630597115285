"""The demo's workflows without ComfyUI, for machines where none can be had: the API workflow itself, node by node."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..host.memory import Managed, compute_device, network_dtype, vae_dtype
from ..host.progress import Progress
from ..host.prompt import Prompt, UsageError
from ..media.clip import read_clip
from ..media.frames import as_image, to_image
from ..media.photo import mask_of, read_photo
from ..models.anchorcrafter import encoders as svd
from ..models.anchorcrafter.conditions import ProductTokens, anchor_condition
from ..models.anchorcrafter.generate import decode, generate_latents
from ..models.anchorcrafter.system import AnchorCrafter
from ..models.anicrafter import conditions, wan
from ..models.anicrafter import encoders as wan_encoders
from ..models.anicrafter.checkpoint import AniCrafter
from ..models.anicrafter.embedders import embed
from ..models.anicrafter.prompt import load_prompts
from ..models.anicrafter.transformer import load_transformer, merge_lora
from ..models.avatar.files import load_avatar
from ..models.avatar.render import render_avatar, render_body
from ..models.avatar.rig import rig_from_body
from ..models.avatar.standing import unposed
from ..models.body.load import ANNY, load_body_model
from ..models.body.motion_files import read_motion
from ..models.clip_vision import ClipVision
from ..preprocessors.directed.present import direct
from ..preprocessors.person.size import fit_person
from ..preprocessors.pose.draw_pose import pose_pictures
from ..preprocessors.pose.dwpose import DWPose
from ..preprocessors.pose.extract import extract_poses
from ..preprocessors.pose.keypoints import from_openpose, to_openpose
from ..preprocessors.pose.placement import fit_placement, place_pose, place_video
from ..preprocessors.product.views import product_views
from ..preprocessors.segment.prompts import read_points

FIXED = {  # what the plain calls have no choice of
    "CLIPVisionEncode": {"crop": "none"},
    "CraftersClipFrames": {"multiple": 1},
    "CraftersDrawPose": {"faces": True},
    "CraftersRigAvatar": {"lhm": "none", "constraint": "none"},
    "CraftersAniCrafterApply": {"start_percent": 0, "end_percent": 1, "dtype": "fp32"},
    "CraftersAniCrafterConditioning": {"batch_size": 1},
    "UNETLoader": {"weight_dtype": "default"},
    "KSampler": {"sampler_name": "euler", "scheduler": "simple", "denoise": 1},
    "CreateVideo": {"bit_depth": 8},
}


@torch.inference_mode()
def run_embedded(prompt: Prompt, models: Path) -> tuple[np.ndarray, float]:
    """The video that a workflow saves, uint8 [F, H, W, 3], and its frames per second.

    From SaveVideo back along the links, each node is called once, by what its class calls, with its inputs as the
    workflow has them. prompt: names its files by their paths; models: folder of the weights, laid out as ComfyUI's.

    Raises UsageError for a node, or a setting of it, that there is no plain call for, and what the calls raise.
    """
    calls, made = plain_calls(models), {}

    def outputs(node_id: str) -> tuple:
        if node_id not in made:
            kind, inputs = prompt[node_id]["class_type"], dict(prompt[node_id]["inputs"])
            if kind not in calls:
                raise UsageError(f"node {node_id} is of class {kind}, which runs in a ComfyUI only.")
            for name, only in FIXED.get(kind, {}).items():
                if (given := inputs.pop(name, only)) != only:
                    raise UsageError(f"node {node_id}: {kind}'s {name} is {given}, but without ComfyUI only {only}.")
            answer = calls[kind](**{name: value(given) for name, given in inputs.items()})
            made[node_id] = answer if isinstance(answer, tuple) else (answer,)
        return made[node_id]

    def value(given: Any) -> Any:
        return outputs(given[0])[given[1]] if isinstance(given, list) else given  # [node id, which output] is a link

    saved = next(node["inputs"]["video"] for node in prompt.values() if node["class_type"] == "SaveVideo")
    frames, fps = value(saved)
    return (frames * 255).round().byte().numpy(), fps


def plain_calls(models: Path) -> dict[str, Callable]:
    """What each class of nodes calls, by its name: from its inputs, under their names, to its outputs.

    In place of ComfyUI's own Wan model, which nodes patch, stands the pack's: a MODEL is the transformer and what
    `wan.denoise` is told beside it, a LATENT to be sampled the condition.
    """
    own = models / "crafters"
    return {
        "LoadImage": _load_image,
        "LoadVideo": lambda file: file,
        "CraftersClipFrames": _clip_frames,
        "CreateVideo": lambda images, fps: ((images, fps),),
        # AnchorCrafter
        "CraftersFitPerson": fit_person,
        "CraftersLoadDWPose": lambda detector, pose, provider: DWPose(own / detector, own / pose, provider),
        "CraftersExtractPose": _extract_pose,
        "CraftersPlacePose": _place_pose,
        "CraftersDrawPose": _draw_pose,
        "CraftersPlaceVideo": lambda images, placement: place_video(images, placement),
        "CraftersProductViews": _product_views,
        "CraftersLoadDINOv2": lambda name, dtype: svd.DINOv2(
            Managed(svd.load_dinov2(own / name, network_dtype(dtype)))
        ),
        "CraftersEncodeProduct": lambda product, dinov2: ProductTokens(product.views, dinov2.tokens(product.views)),
        "CraftersPresentProduct": _present_product,
        "CraftersLoadAnchorCrafter": lambda checkpoint, dtype: Managed(
            AnchorCrafter.from_file(own / checkpoint, network_dtype(dtype))
        ),
        "CraftersLoadSVDFolder": lambda folder, dtype: (
            svd.FrameVAE(Managed(svd.load_vae(models / "diffusers" / folder, vae_dtype(dtype)))),
            ClipVision(Managed(svd.load_image_encoder(models / "diffusers" / folder, network_dtype(dtype)))),
        ),
        "CraftersAnchorCondition": anchor_condition,
        "CraftersAnchorSampler": _anchor_sampler,
        "CraftersAnchorDecode": lambda samples, vae, chunk: decode(samples, vae, chunk),
        # AniCrafter
        "CraftersLoadAvatar": lambda avatar: load_avatar(Path(avatar)),
        "CraftersLoadBodyModel": lambda body: load_body_model(body if body == ANNY else own / body),
        "CraftersRigAvatar": lambda avatar, body, pose: rig_from_body(
            body, avatar.points, unposed(avatar, body.skeleton, pose)
        ),
        "CraftersLoadMotion": _load_motion,
        "CraftersRenderAvatar": lambda avatar, rig, motion, width, height, backend, with_depth: tuple(
            render_avatar(avatar, rig, motion, width, height, compute_device(), backend, with_depth=with_depth)
        ),
        "CraftersRenderBodyMesh": render_body,
        "CraftersComposeScene": _compose_scene,
        "VAELoader": lambda vae_name: _wan_vae(models / "vae" / vae_name),
        "CraftersLoadWanEncoders": lambda vae, clip_vision: (
            _wan_vae(models / "vae" / vae),
            ClipVision(Managed(wan_encoders.load_clip_vision(models / "clip_vision" / clip_vision))),
        ),
        "CLIPVisionEncode": lambda clip_vision, image: clip_vision.encode_image(image),
        "CraftersAniCrafterPrompt": lambda file: load_prompts(own / file),
        "CraftersAniCrafterConditioning": _anicrafter_conditioning,
        "UNETLoader": lambda unet_name: {
            "transformer": load_transformer(models / "diffusion_models" / unet_name, vae_dtype())
        },
        "ModelSamplingSD3": lambda model, shift: {**model, "shift": shift},
        "CraftersLoadAniCrafter": lambda weights, second_shard: AniCrafter.from_files(
            own / name for name in (weights, second_shard) if name != "none"
        ),
        "CraftersAniCrafterApply": _anicrafter_apply,
        "KSampler": _k_sampler,
        "VAEDecode": lambda samples, vae: vae.decode(samples)[0],
        "CraftersAniCrafterTrim": lambda images, frames: images[1:][: frames or None],
    }


def _load_image(image):
    photo, opacity = read_photo(Path(image))
    return photo, torch.zeros(photo.shape[:3]) if opacity is None else 1 - opacity


def _clip_frames(video, first_frame, every, frames, long_side, at_fps):
    return read_clip(video, first_frame, every, frames, long_side, fps=at_fps, keep=as_image)


def _extract_pose(detector, images, person, click, detect_every):
    clicked = next(iter(read_points(click)), None)
    poses = extract_poses(detector, images, person, Progress("Extract Pose"), clicked, detect_every)
    return to_openpose(poses, images.shape[2], images.shape[1])


def _place_pose(driving, reference, fit):
    (poses, size), (photo, photo_size) = from_openpose(driving), from_openpose(reference)
    placement = fit_placement(poses, photo[0], size, photo_size, fit)
    return to_openpose([place_pose(pose, placement) for pose in poses], *photo_size), placement


def _draw_pose(keypoints, antialias):
    poses, size = from_openpose(keypoints)
    return to_image(pose_pictures(poses, *size, antialias), len(poses))


def _product_views(masks_show, **photos):
    for name in [name for name in photos if name.endswith("mask")]:
        photos[name] = mask_of("product", photos[name], masks_show, name)
    views = product_views(**{name: None if photo is None else photo[0] for name, photo in photos.items()})
    return (views,)


def _present_product(person, keypoints, body, product, fps, **script):
    height, width = person.shape[1:3]
    done = direct(body, from_openpose(keypoints)[0][0], (width, height), product, fps=fps, **script)
    poses, hand_mesh, object_depth, mask = done.conditions
    drawn = hand_mesh / 255, object_depth / 255, mask.float()
    return to_openpose(poses, width, height), *drawn, done.motion, (done.product,), fps, done.report


def _anchor_sampler(
    model, condition, seed, steps, guidance_min, guidance_max, window, overlap, batch, schedule, guidance_from,
    guidance_until, cache_interval, shared_noise,
):
    return generate_latents(
        model, condition, seed, window, steps=steps, guidance=(guidance_min, guidance_max), overlap=overlap,
        rows=batch, schedule=schedule, guidance_from=guidance_from, guidance_until=guidance_until,
        cache_interval=cache_interval, shared_noise=shared_noise, on_call=Progress("Anchor Sampler"),
    )


def _load_motion(motion, fps, fill_gaps, width, height, film_fps, first_frame):
    read = read_motion(Path(motion), fps, (width, height))
    read = (read.filled() if fill_gaps and read.missing else read).since(first_frame)
    return read.for_film(film_fps) if film_fps else read


def _compose_scene(avatar, alpha, background, character, mesh, mesh_mask, length, alpha_twice, mask_shows):
    reference = conditions.fit_reference(character, *avatar.shape[1:3])
    of_person = avatar, alpha, background, mesh, mesh_mask
    return *conditions.compose_scene(reference, *of_person, length, alpha_twice), conditions.clip_image(reference)


def _wan_vae(path):
    return wan_encoders.WanVAE(Managed(wan_encoders.load_vae(path, vae_dtype())))


def _anicrafter_conditioning(positive, negative, vae, scene, clip_vision_output):
    return positive, negative, wan.wan_condition(scene, None, vae, clip_vision_output, positive, negative)


def _anicrafter_apply(model, anicrafter, scene, strength, lora_strength, rounded_timesteps):
    merge_lora(model["transformer"], anicrafter, lora_strength)
    tokens = embed(Managed(anicrafter.embedders), scene)
    return {**model, "tokens": tokens, "strength": strength, "published_rounding": rounded_timesteps}


def _k_sampler(model, seed, steps, cfg, positive, negative, latent_image):
    settings = dict(model)
    transformer, tokens = Managed(settings.pop("transformer")), settings.pop("tokens")
    condition = replace(latent_image, tokens=tokens, positive=positive, negative=negative)
    noise = wan.initial_noise(condition, seed)
    latents = wan.denoise(transformer, condition, noise, steps, cfg, on_call=Progress("KSampler"), **settings)
    return wan_encoders.denormalise(latents)
