"""AniCrafter without ComfyUI's own Wan model: the self-contained loaders and sampler."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import DTYPE_CHOICES, Managed, compute_device, to_output, vae_dtype
from ..host.progress import Previewer, Progress
from .anicrafter import CATEGORY, scene_tokens
from .choices import files, model
from .types import AniCrafterWeights, Scene, WanModel

WAN_FOLDERS = ("diffusion_models", "diffusers")


class CraftersLoadWan(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadWan",
            display_name="Load Wan (self-contained)",
            category=CATEGORY,
            search_aliases=["wan", "wan 2.1", "i2v", "diffusers", "unet loader"],
            description="Wan 2.1 I2V for AniCrafter Sampler, with AniCrafter's LoRA merged in: ComfyUI's single file "
            "(fp16, bf16, fp8) or a diffusers folder. The main road is ComfyUI's own loader and AniCrafter Apply.",
            inputs=[
                io.Combo.Input("transformer",
                               options=folders.names("diffusion_models") + folders.folder_names("diffusers"),
                               tooltip="Wan 2.1 I2V 14B (720P)."),
                AniCrafterWeights.Input("anicrafter", tooltip="From Load AniCrafter; its LoRA is merged in fp32."),
                io.Float.Input("lora_strength", default=1.0, min=-5.0, max=5.0, step=0.05, optional=True,
                               tooltip="Strength of the LoRA. Published: 1."),
                io.Combo.Input("dtype", options=DTYPE_CHOICES, default="auto", optional=True, advanced=True,
                               tooltip="Number type of the weights. auto: bf16 on a GPU, as published, fp32 on a CPU."),
                io.Boolean.Input("offload_blocks", default=False, optional=True,
                                 tooltip="Keep the blocks in main memory and bring them one after another: for GPUs "
                                 "that the model does not fit in. Slower."),
            ],
            outputs=[WanModel.Output("wan", display_name="wan")],
        )

    validate_inputs = files(transformer=model(*WAN_FOLDERS))

    @classmethod
    def execute(cls, transformer, anicrafter, lora_strength=1.0, dtype="auto", offload_blocks=False):
        from ..models.anicrafter.transformer import GroupOffloaded, load_transformer, merge_lora

        network = load_transformer(folders.path(transformer, *WAN_FOLDERS), vae_dtype(dtype))
        if lora_strength:
            merge_lora(network, anicrafter, lora_strength)
        loaded = GroupOffloaded(network, compute_device()) if offload_blocks else Managed(network)
        notes.show(f"Wan: {loaded}; AniCrafter's LoRA at {lora_strength:g}.")
        return io.NodeOutput(loaded)


class CraftersLoadWanEncoders(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadWanEncoders",
            display_name="Load Wan Encoders (self-contained)",
            category=CATEGORY,
            search_aliases=["wan", "wan vae", "clip vision", "encoders"],
            description="Wan's VAE and CLIP image encoder through diffusers and transformers, of any size. With the "
            "released files core's Load VAE and Load CLIP Vision do as well.",
            inputs=[
                io.Combo.Input("vae", options=folders.names("vae") + folders.folder_names("diffusers"),
                               tooltip="Wan 2.1's VAE: file or diffusers folder."),
                io.Combo.Input("clip_vision", options=folders.names("clip_vision") + folders.folder_names("diffusers"),
                               tooltip="CLIP ViT-H: file or diffusers folder."),
            ],
            outputs=[
                io.Vae.Output("vae_out", display_name="vae"),
                io.ClipVision.Output("clip_vision_out", display_name="clip_vision"),
            ],
        )

    validate_inputs = files(vae=model("vae", "diffusers"), clip_vision=model("clip_vision", "diffusers"))

    @classmethod
    def execute(cls, vae, clip_vision):
        from ..models.anicrafter.encoders import WanVAE, load_clip_vision, load_vae
        from ..models.clip_vision import ClipVision

        loaded = Managed(load_vae(folders.path(vae, "vae", "diffusers"), vae_dtype()))
        clip = Managed(load_clip_vision(folders.path(clip_vision, "clip_vision", "diffusers")))
        notes.show(f"VAE: {loaded}.", f"CLIP: {clip}.")
        return io.NodeOutput(WanVAE(loaded), ClipVision(clip))


class CraftersAniCrafterSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAniCrafterSampler",
            display_name="AniCrafter Sampler (self-contained)",
            category=CATEGORY,
            search_aliases=["wan sampler", "ksampler", "wan", "replace person"],
            description="Samples with diffusers' Wan model and the published settings, without ComfyUI's own sampler.",
            inputs=[
                WanModel.Input("wan", tooltip="From Load Wan."),
                AniCrafterWeights.Input("anicrafter", tooltip="From Load AniCrafter."),
                Scene.Input("scene", tooltip="From Compose Scene."),
                io.Conditioning.Input("positive", tooltip="From AniCrafter Prompt."),
                io.Conditioning.Input("negative", tooltip="From AniCrafter Prompt."),
                io.Vae.Input("vae", tooltip="Wan 2.1's VAE."),
                io.ClipVisionOutput.Input("clip_vision_output",
                                          tooltip="From CLIP Vision Encode (crop none) of Compose Scene's clip_image."),
                io.Int.Input("seed", default=0, min=0, max=2**64 - 1, control_after_generate=True,
                             tooltip="Seed of the initial noise."),
                io.Int.Input("steps", default=50, min=1, max=200, tooltip="Denoising steps. Published: 50."),
                io.Float.Input("cfg", default=1.5, min=1.0, max=20.0, step=0.1,
                               tooltip="Guidance. 1 halves the time. Published: 1.5."),
                io.Float.Input("shift", default=5.0, min=0.1, max=20.0, step=0.1, optional=True, advanced=True,
                               tooltip="Shift of the schedule towards noise. Published: 5."),
                io.Float.Input("strength", default=1.0, min=0.0, max=5.0, step=0.05, optional=True,
                               tooltip="How strongly the avatar and the body mesh are followed."),
                io.Boolean.Input("published_rounding", default=True, optional=True, advanced=True,
                                 tooltip="Keep latents and timesteps in bf16, as in training."),
                io.Int.Input("window", default=81, min=9, max=1001, step=4, optional=True,
                             tooltip="Frames seen at once; a longer video is made in windows of so many, each with the "
                             "still in front. Memory and the time per frame follow it. In training: 81."),
                io.Int.Input("overlap", default=16, min=0, max=996, step=4, optional=True,
                             tooltip="Frames that neighbouring windows share and blend; without, seams are seen."),
            ],
            outputs=[io.Latent.Output("samples", display_name="samples")],
        )

    @classmethod
    def execute(cls, wan, anicrafter, scene, positive, negative, vae, clip_vision_output, seed, steps, cfg, shift=5.0,
                strength=1.0, published_rounding=True, window=81, overlap=16):
        from ..models.anicrafter.encoders import denormalise
        from ..models.anicrafter.wan import denoise, initial_noise, wan_condition

        texts = positive[0][0], negative[0][0]
        condition = wan_condition(scene, scene_tokens(anicrafter, scene, "fp32"), vae, clip_vision_output, *texts)
        progress, previewer = Progress("AniCrafter Sampler"), Previewer(compute_device(), "Wan21")
        samples = denoise(
            wan,
            condition,
            initial_noise(condition, seed),
            steps,
            cfg,
            shift,
            strength,
            published_rounding,
            window,
            overlap,
            on_call=progress,
            on_step=lambda step, latents, clean: progress.preview(previewer(clean.transpose(1, 2))),
        )
        return io.NodeOutput({"samples": to_output(denormalise(samples))})


NODES = [CraftersLoadWan, CraftersLoadWanEncoders, CraftersAniCrafterSampler]
