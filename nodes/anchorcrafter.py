"""AnchorCrafter and MimicMotion: load, condition, look, sample, decode."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import DTYPE_CHOICES, Managed, compute_device, network_dtype, to_output, vae_dtype
from ..host.progress import Previewer, Progress
from ..models.anchorcrafter.schedule import PUBLISHED, SCHEDULES
from ..preprocessors.condition_sheet import condition_sheet
from .choices import files, holding, model
from .types import AnchorCondition, AnchorModel, Product, ProductTokens

CATEGORY = "Crafters/AnchorCrafter"
CHECKPOINT_FOLDERS = ("diffusion_models", folders.OWN)


def _checkpoints() -> list[str]:
    return holding(folders.likeliest_first("anchorcrafter", *CHECKPOINT_FOLDERS), CHECKPOINT_FOLDERS, "pose_net.")


def _svd_folders() -> list[str]:
    parts = "vae", "image_encoder"
    return [name for name in folders.folder_names("diffusers")
            if all((folders.path(name, "diffusers") / part).is_dir() for part in parts)]


def _svd_files() -> list[str]:
    return holding(folders.likeliest_first("svd", "checkpoints"), ("checkpoints",), "open_clip.model.visual.")


def _dtype_input(which: str):
    return io.Combo.Input("dtype", options=DTYPE_CHOICES, default="auto", optional=True, advanced=True,
                          tooltip=f"Number type of {which}; auto chooses by hardware (fp16 on most GPUs, fp32 "
                          "on a CPU). fp32 doubles memory and time.")


class CraftersLoadAnchorCrafter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadAnchorCrafter",
            display_name="Load AnchorCrafter",
            category=CATEGORY,
            search_aliases=["mimicmotion", "svd", "checkpoint", "presenter", "product"],
            description="AnchorCrafter's checkpoint, or MimicMotion's (no product), from models/diffusion_models or "
            "models/crafters.",
            inputs=[
                io.Combo.Input("checkpoint", options=_checkpoints(),
                               tooltip="AnchorCrafter-notune.pth, AnchorCrafter_1.pth or your own; MimicMotion_1-1.pth "
                               "for a video without a product."),
                _dtype_input("its weights"),
            ],
            outputs=[AnchorModel.Output("model", display_name="model")],
        )

    validate_inputs = files(checkpoint=model(*CHECKPOINT_FOLDERS))

    @classmethod
    def execute(cls, checkpoint, dtype="auto"):
        from ..models.anchorcrafter.system import AnchorCrafter

        path = folders.path(checkpoint, *CHECKPOINT_FOLDERS)
        loaded = Managed(AnchorCrafter.from_file(path, network_dtype(dtype)))
        system = "AnchorCrafter" if loaded.module.config.product else "MimicMotion, without a product"
        notes.show(f"{system}: {loaded}.")
        return io.NodeOutput(loaded)


class CraftersLoadSVDFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadSVDFolder",
            display_name="Load SVD",
            category=CATEGORY,
            search_aliases=["svd", "stable video diffusion", "img2vid", "checkpoint", "diffusers", "vae",
                            "clip vision"],
            description="VAE and CLIP image encoder of Stable Video Diffusion, without its UNet: from the single file "
            "svd_xt_1_1.safetensors in models/checkpoints, or from its diffusers folder in models/diffusers.",
            inputs=[
                io.Combo.Input("folder", display_name="file or folder",
                               options=[*_svd_folders(), *_svd_files()],
                               tooltip="svd_xt_1_1.safetensors, or a folder with the sub-folders vae and "
                               "image_encoder."),
                _dtype_input("the VAE's weights, from a folder also of CLIP's"),
            ],
            outputs=[
                io.Vae.Output("vae", display_name="vae"),
                io.ClipVision.Output("clip_vision", display_name="clip_vision"),
            ],
        )

    validate_inputs = files(folder=model("diffusers", "checkpoints"))

    @classmethod
    def execute(cls, folder, dtype="auto"):
        from ..models.anchorcrafter.encoders import FrameVAE, load_image_encoder, load_vae
        from ..models.clip_vision import ClipVision

        path = folders.path(folder, "diffusers", "checkpoints")
        if path.is_file():
            from ..host.svd import load_svd_file

            return io.NodeOutput(*load_svd_file(path, None if dtype == "auto" else network_dtype(dtype)))
        vae = FrameVAE(Managed(load_vae(path, vae_dtype(dtype))))
        clip_vision = ClipVision(Managed(load_image_encoder(path, network_dtype(dtype))))
        notes.show(f"VAE: {vae.loaded}.", f"CLIP: {clip_vision.loaded}.")
        return io.NodeOutput(vae, clip_vision)


class CraftersAnchorCondition(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAnchorCondition",
            display_name="Anchor Condition",
            category=CATEGORY,
            search_aliases=["mimicmotion", "pose condition", "presenter", "product"],
            description="Encodes everything the sampler needs once. All clips must have the same number of frames and "
            "the size of the person photo.",
            inputs=[
                AnchorModel.Input("model", tooltip="From Load AnchorCrafter."),
                io.Vae.Input("vae", tooltip="Stable Video Diffusion's VAE."),
                io.ClipVision.Input("clip_vision", tooltip="Stable Video Diffusion's CLIP image encoder."),
                io.Image.Input("person", tooltip="The fitted person photo; its size is the video's."),
                io.Image.Input("person_pose", tooltip="The photo's own pose, drawn (one image)."),
                io.Image.Input("pose", tooltip="The driving pose, placed on the person and drawn."),
                ProductTokens.Input("product", optional=True,
                                    tooltip="From Encode Product. Leave empty with MimicMotion."),
                io.Image.Input("object_depth", optional=True,
                               tooltip="Object depth video, placed on the person; where the product is and how near."),
                io.Image.Input("hand", optional=True,
                               tooltip="Hand mesh video, placed on the person. Without it the hands follow the drawn "
                               "pose alone."),
                io.Float.Input("noise_augmentation", default=0.0, min=0.0, max=1.0, step=0.01, optional=True,
                               advanced=True,
                               tooltip="Strength of noise on person and product photo before encoding. 0 keeps them "
                               "sharpest, as published; more frees the result from the photos."),
                io.Int.Input("augmentation_seed", default=0, min=0, max=2**32 - 1, optional=True, advanced=True,
                             tooltip="Seed of that noise. Without noise it changes nothing."),
                io.Boolean.Input("published_exposure", default=False, optional=True, advanced=True,
                                 tooltip="Show the product to the VAE 255 times too bright, as the published inference "
                                 "code does by mistake. Only for comparing with its results."),
            ],
            outputs=[AnchorCondition.Output("condition", display_name="condition")],
        )

    @classmethod
    def execute(cls, model, vae, clip_vision, person, person_pose, pose, **options):
        from ..models.anchorcrafter.conditions import anchor_condition

        progress = Progress("Anchor Condition")
        condition = anchor_condition(model, vae, clip_vision, person, person_pose, pose, on_step=progress, **options)
        given = ["pose", *(name for name in ("product", "object_depth", "hand") if options.get(name) is not None)]
        size = f"{len(pose)} frames of {person.shape[2]}×{person.shape[1]}"
        notes.show(f"{size} by {', '.join(given).replace('_', ' ')}.")
        return io.NodeOutput(condition)


class CraftersConditionSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersConditionSheet",
            display_name="Condition Sheet",
            category=CATEGORY,
            search_aliases=["preview conditions", "contact sheet", "overlay", "debug"],
            description="All conditions laid over the person, frame by frame: look at it before sampling for minutes.",
            inputs=[
                io.Image.Input("person", tooltip="The fitted person photo."),
                io.Image.Input("pose", tooltip="The placed and drawn driving pose."),
                io.Image.Input("hand", optional=True, tooltip="The placed hand mesh video."),
                io.Image.Input("object_depth", optional=True, tooltip="The placed object depth video."),
                Product.Input("product", optional=True, tooltip="From Product Views; shown along the lower edge."),
            ],
            outputs=[io.Image.Output("image", display_name="image")],
        )

    @classmethod
    def execute(cls, person, pose, hand=None, object_depth=None, product=None):
        views = None if product is None else product.views
        return io.NodeOutput(to_output(condition_sheet(person[:1], pose, hand, object_depth, views)))


class CraftersAnchorSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAnchorSampler",
            display_name="Anchor Sampler",
            category=CATEGORY,
            search_aliases=["mimicmotion", "svd sampler", "ksampler", "presenter", "product"],
            description="Denoises the whole clip, window by window. AnchorCrafter's windows run round a ring of "
            "frames; MimicMotion's overlap in a line.",
            inputs=[
                AnchorModel.Input("model", tooltip="From Load AnchorCrafter."),
                AnchorCondition.Input("condition", tooltip="From Anchor Condition."),
                io.Int.Input("seed", default=42, min=0, max=2**64 - 1, control_after_generate=True,
                             tooltip="Seed of the initial noise; another seed gives another take."),
                io.Int.Input("steps", default=30, min=1, max=200,
                             tooltip="Denoising steps. Time grows with it; below 15 the picture gets soft with the "
                             "published schedule, 10 are enough with align your steps. Published: 30 (MimicMotion "
                             "25)."),
                io.Float.Input("guidance_min", default=3.0, min=1.0, max=20.0, step=0.1,
                               tooltip="Guidance of the first frame. Higher follows photos and conditions more, too "
                               "high burns colours; 1 for both halves the time. Published: 3 to 4 (MimicMotion 2)."),
                io.Float.Input("guidance_max", default=3.0, min=1.0, max=20.0, step=0.1,
                               tooltip="Guidance of the last frame; frames between get values between."),
                io.Int.Input("window", default=11, min=2, max=200,
                             tooltip="Frames the network sees together, the reference included. More is smoother and "
                             "needs more memory. Published: 11 (MimicMotion 72 or 16)."),
                io.Int.Input("overlap", default=6, min=1, max=199, optional=True,
                             tooltip="Frames that neighbouring windows share; MimicMotion only."),
                io.Int.Input("batch", default=0, min=0, max=64, optional=True, advanced=True,
                             tooltip="Network passes done at once. 0 as memory allows; 1 needs least memory. The "
                             "result is the same."),
                io.Combo.Input("schedule", options=list(SCHEDULES), default=PUBLISHED, optional=True,
                               tooltip="Noise levels of the steps. align your steps needs only 10 steps for nearly "
                               "the picture that 30 published ones make."),
                io.Sigmas.Input("sigmas", optional=True,
                                tooltip="Noise levels from a scheduler node, such as AlignYourStepsScheduler with SVD, "
                                "in the place of schedule and steps."),
                io.Float.Input("guidance_from", default=0.0, min=0.0, max=1.0, step=0.01, optional=True,
                               tooltip="Share of the steps before which there is no guidance, which halves their "
                               "time. Published: 0."),
                io.Float.Input("guidance_until", default=1.0, min=0.0, max=1.0, step=0.01, optional=True,
                               tooltip="Share of the steps after which there is no guidance, which halves their time. "
                               "Published: 1."),
                io.Int.Input("cache_interval", default=1, min=1, max=20, optional=True, advanced=True,
                             tooltip="Computes the deep part of the network in every so many steps only and keeps it "
                             "for those between (DeepCache): 2 saves three eighths of the work, at a small loss. "
                             "Published: 1, the whole network always."),
                io.Float.Input("shared_noise", default=0.0, min=0.0, max=1.0, step=0.05, optional=True, advanced=True,
                               tooltip="How much of the initial noise all frames share. More flickers less, and the "
                               "product keeps its shape and colours a little less. Published: 0."),
            ],
            outputs=[io.Latent.Output("samples", display_name="samples")],
        )

    @classmethod
    def execute(
        cls, model, condition, seed, steps, guidance_min, guidance_max, window, overlap=6, batch=0, **schedule
    ):
        from ..models.anchorcrafter.generate import generate_latents

        progress, previewer = Progress("Anchor Sampler"), Previewer(compute_device())
        latents = generate_latents(
            model,
            condition,
            seed,
            window,
            steps=steps,
            guidance=(guidance_min, guidance_max),
            overlap=overlap,
            rows=batch,
            on_call=progress,
            on_step=lambda step, latents, clean: progress.preview(previewer(clean)),
            **schedule,
        )
        return io.NodeOutput({"samples": to_output(latents)})


class CraftersAnchorDecode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAnchorDecode",
            display_name="Anchor Decode",
            category=CATEGORY,
            search_aliases=["vae decode", "svd decode", "mimicmotion"],
            description="Latents to frames, a few at a time; the reference frame is dropped.",
            inputs=[
                io.Latent.Input("samples", tooltip="From Anchor Sampler."),
                io.Vae.Input("vae", tooltip="Stable Video Diffusion's VAE."),
                io.Int.Input("chunk", default=8, min=1, max=64, optional=True, advanced=True,
                             tooltip="Frames decoded together. More is smoother in time and needs more memory; when "
                             "memory runs out it is halved by itself. Published: 8."),
            ],
            outputs=[io.Image.Output("images", display_name="images")],
        )

    @classmethod
    def execute(cls, samples, vae, chunk=8):
        from ..models.anchorcrafter.generate import decode

        return io.NodeOutput(to_output(decode(samples["samples"], vae, chunk, Progress("Anchor Decode"))))


NODES = [
    CraftersLoadAnchorCrafter,
    CraftersLoadSVDFolder,
    CraftersAnchorCondition,
    CraftersConditionSheet,
    CraftersAnchorSampler,
    CraftersAnchorDecode,
]
