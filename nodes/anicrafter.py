"""AniCrafter on ComfyUI's own Wan model: the scene, the weights, the patch, and what goes round its sampler."""

import copy
from weakref import WeakKeyDictionary

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import Managed, free_memory, to_output
from ..host.progress import Progress
from ..models.checkpoint import DTYPES
from ..models.finite import PICTURES, check_finite
from .choices import files, holding, model
from .previews import stills
from .types import AniCrafterWeights, Scene

CATEGORY = "Crafters/AniCrafter"
WEIGHT_FOLDERS = (folders.OWN, "model_patches", "loras", "diffusion_models")
MARKS = ("blend_embedding.", "smplx_embedding.", "dit.blocks.")  # of its tensors; the last in the published shards


class CraftersComposeScene(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersComposeScene",
            display_name="Compose Scene",
            category=CATEGORY,
            search_aliases=["composite", "replace person", "avatar over background"],
            description="Puts the rendered avatar over the background and the character's still in front: everything "
            "AniCrafter is shown. The video has as many frames as the scene: the still, then the driving frames.",
            inputs=[
                io.Image.Input("avatar", tooltip="From Render Avatar, on black."),
                io.Mask.Input("alpha", tooltip="The avatar's alpha, from Render Avatar."),
                io.Image.Input("background", tooltip="The scene without its person, in the avatar's shape; it is "
                               "resized to the avatar's size. Where it goes on after the motion, nobody is in it."),
                io.Image.Input("character", tooltip="Photo of the character; shown whole, on white."),
                io.Image.Input("mesh", tooltip="From Render Body Mesh."),
                io.Mask.Input("mesh_mask", optional=True,
                              tooltip="Exact mask of the mesh, 1 on the body. Without it the mesh's black is taken."),
                io.Mask.Input("character_mask", optional=True,
                              tooltip="Which part of the photo is the person: all else becomes white, and the photo "
                              "is cut to the person. From Prepare Character or Load Image; see mask_shows."),
                io.Combo.Input("length", options=["trim", "pad"], default="trim", optional=True,
                               tooltip="The number of driving frames must be a multiple of 4: trim cuts the rest off, "
                               "pad repeats the last frame (AniCrafter Trim takes it off again)."),
                io.Boolean.Input("alpha_twice", default=True, optional=True, advanced=True,
                                 tooltip="Multiply the avatar by its alpha twice, which darkens soft edges: what the "
                                 "weights were trained on. Off gives the true composite."),
                io.Combo.Input("mask_shows", options=["auto", "person", "background"], default="auto", optional=True,
                               tooltip="What character_mask is 1 on: the person, as segmentation gives; or the "
                               "background, as Load Image gives for a transparent photo. auto looks at its border."),
            ],
            outputs=[
                Scene.Output("scene", display_name="scene"),
                io.Image.Output("blend", display_name="blend", tooltip="Avatar over background, to look at."),
                io.Image.Output("clip_image", display_name="clip_image",
                                tooltip="The still as CLIP must see it: for CLIP Vision Encode."),
            ],
        )

    @classmethod
    def execute(cls, avatar, alpha, background, character, mesh, mesh_mask=None, character_mask=None, length="trim",
                alpha_twice=True, mask_shows="auto"):
        from ..media.photo import mask_of
        from ..models.anicrafter import conditions

        on_person = mask_of("person", character_mask, mask_shows, "character_mask")
        reference = conditions.fit_reference(character, *avatar.shape[1:3], on_person)
        of_person, progress = (avatar, alpha, background, mesh, mesh_mask), Progress("Compose Scene")
        scene, blend = conditions.compose_scene(reference, *of_person, length, alpha_twice, progress)
        shown = to_output(blend)
        return io.NodeOutput(scene, shown, to_output(conditions.clip_image(reference)), ui=stills(shown))


class CraftersLoadAniCrafter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        likely = folders.likeliest_first("anicrafter", *WEIGHT_FOLDERS)
        return io.Schema(
            node_id="CraftersLoadAniCrafter",
            display_name="Load AniCrafter",
            category=CATEGORY,
            search_aliases=["wan", "wan lora", "character animation", "avatar"],
            description="AniCrafter's two embedders and its LoRA: one file made by `crafters convert anicrafter`, or "
            "the two published shards (model-00010-of-00011 and model-00011-of-00011).",
            inputs=[
                io.Combo.Input("weights", options=holding(likely, WEIGHT_FOLDERS, *MARKS),
                               tooltip="The converted file, or the first shard."),
                io.Combo.Input("second_shard", options=["none", *likely], default="none", optional=True,
                               tooltip="The second shard; none with a converted file."),
            ],
            outputs=[AniCrafterWeights.Output("anicrafter", display_name="anicrafter")],
        )

    validate_inputs = files(weights=model(*WEIGHT_FOLDERS), second_shard=model(*WEIGHT_FOLDERS))

    @classmethod
    def execute(cls, weights, second_shard="none"):
        from ..models.anicrafter.checkpoint import AniCrafter

        names = [name for name in (weights, second_shard) if name != "none"]
        loaded = AniCrafter.from_files(folders.path(name, *WEIGHT_FOLDERS) for name in names)
        notes.show(f"Two embedders, {loaded.embedders.dim} wide, and a LoRA for {loaded.blocks} blocks of Wan.")
        return io.NodeOutput(loaded)


class CraftersAniCrafterApply(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAniCrafterApply",
            display_name="AniCrafter Apply",
            category=CATEGORY,
            search_aliases=["wan", "wan lora", "patch model", "character animation", "replace person"],
            description="Adds AniCrafter to ComfyUI's own Wan 2.1 I2V 14B model, in fp16, fp8 or GGUF. Works with "
            "other LoRAs, cache nodes, context windows and any sampler.",
            inputs=[
                io.Model.Input("model", tooltip="Wan 2.1 I2V 14B. A shift node (ModelSamplingSD3, 5 as published) "
                               "belongs before this one."),
                AniCrafterWeights.Input("anicrafter", tooltip="From Load AniCrafter."),
                Scene.Input("scene", tooltip="From Compose Scene."),
                io.Float.Input("strength", default=1.0, min=0.0, max=5.0, step=0.05,
                               tooltip="How strongly the avatar and the body mesh are followed. 0 switches them off."),
                io.Float.Input("lora_strength", default=1.0, min=-5.0, max=5.0, step=0.05, optional=True,
                               tooltip="Strength of AniCrafter's LoRA. Published: 1."),
                io.Float.Input("start_percent", default=0.0, min=0.0, max=1.0, step=0.01, optional=True, advanced=True,
                               tooltip="From which part of the sampling on the condition acts."),
                io.Float.Input("end_percent", default=1.0, min=0.0, max=1.0, step=0.01, optional=True, advanced=True,
                               tooltip="Until which part of the sampling the condition acts."),
                io.Boolean.Input("rounded_timesteps", default=True, optional=True, advanced=True,
                                 tooltip="Tell the model its noise level rounded to bf16, as in training."),
                io.Combo.Input("dtype", options=["fp32", "bf16"], default="fp32", optional=True, advanced=True,
                               tooltip="Number type of the two embedders: fp32 as published; bf16 is quicker."),
            ],
            outputs=[io.Model.Output("patched", display_name="model")],
        )

    @classmethod
    def execute(cls, model, anicrafter, scene, strength, lora_strength=1.0, start_percent=0.0, end_percent=1.0,
                rounded_timesteps=True, dtype="fp32"):
        from comfy.sd import load_lora_for_models

        from ..models.anicrafter import patch

        tokens = scene_tokens(anicrafter, scene, dtype)
        if lora_strength:
            model = patch.apply_lora(model, anicrafter, lora_strength, load_lora_for_models)
        part = strength, start_percent, end_percent, rounded_timesteps
        patched = patch.apply(model, tokens, *part, free_memory)
        notes.show(f"{_told(scene)}, followed at {strength:g}; LoRA at {lora_strength:g}.")
        return io.NodeOutput(patched)


def _told(scene) -> str:
    frames, height, width = scene.free.shape
    return f"{frames} frames of {width}×{height}, the still among them"


# What the tokens of a scene were made with, and they, as long as there is the scene: another strength needs no others.
_tokens = WeakKeyDictionary()


def scene_tokens(anicrafter, scene, dtype: str):
    """What both embedders see in the scene, as `embed` answers it; made once for a scene, weights and dtype."""
    from ..models.anicrafter.embedders import embed

    made_with = anicrafter.identity, dtype
    if _tokens.get(scene, (None,))[0] != made_with:
        # A copy: the loaded weights are other nodes' too and keep their own precision.
        embedders = copy.deepcopy(anicrafter.embedders).to(DTYPES[dtype])
        _tokens[scene] = made_with, embed(Managed(embedders), scene, on_step=Progress("AniCrafter embedders"))
    return _tokens[scene][1]


class CraftersAniCrafterConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAniCrafterConditioning",
            display_name="AniCrafter Conditioning",
            category=CATEGORY,
            search_aliases=["wan", "wan image to video", "i2v conditioning"],
            description="Gives the scene to the sampler: its latents and mask on both conditionings, and an empty "
            "latent of its size.",
            inputs=[
                io.Conditioning.Input("positive", tooltip="From AniCrafter Prompt, or any text."),
                io.Conditioning.Input("negative", tooltip="From AniCrafter Prompt, or any text."),
                io.Vae.Input("vae", tooltip="Wan 2.1's VAE."),
                Scene.Input("scene", tooltip="From Compose Scene."),
                io.ClipVisionOutput.Input("clip_vision_output", optional=True,
                                          tooltip="From CLIP Vision Encode (crop none) of Compose Scene's clip_image."),
                io.Int.Input("batch_size", default=1, min=1, max=64, optional=True, advanced=True,
                             tooltip="Videos made at once; each costs as much memory as one."),
            ],
            outputs=[
                io.Conditioning.Output("positive_out", display_name="positive"),
                io.Conditioning.Output("negative_out", display_name="negative"),
                io.Latent.Output("latent", display_name="latent"),
            ],
        )

    @classmethod
    def execute(cls, positive, negative, vae, scene, clip_vision_output=None, batch_size=1):
        import node_helpers

        latents = vae.encode(scene.blend)
        frames, height, width = scene.latent_size
        if tuple(latents.shape) != (1, 16, frames, height, width):
            raise ValueError(f"This VAE makes latents of shape {tuple(latents.shape)}: connect Wan 2.1's VAE.")
        # The model turns the mask round before it uses it.
        values = {"concat_latent_image": latents, "concat_mask": 1 - scene.concat_mask()}
        if clip_vision_output is not None:
            values["clip_vision_output"] = clip_vision_output
        empty = to_output(latents.new_zeros(batch_size, *latents.shape[1:]))
        both = (node_helpers.conditioning_set_values(c, values) for c in (positive, negative))
        seen = "with" if clip_vision_output is not None else "without"
        notes.show(f"{_told(scene)}; {seen} what CLIP sees.")
        return io.NodeOutput(*both, {"samples": empty})


class CraftersAniCrafterPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAniCrafterPrompt",
            display_name="AniCrafter Prompt",
            category=CATEGORY,
            search_aliases=["wan", "umt5", "text encode", "prompt cache"],
            description="The published prompt, which never changes. The first run asks the text encoder and keeps the "
            "answer in a small file; after that the 10 GB encoder is never loaded again and may be removed.",
            inputs=[
                io.String.Input("file", default="anicrafter_prompt.safetensors",
                                tooltip="Small .safetensors file in models/crafters; read if it is there (`crafters "
                                "cache-prompt` makes it too), else made from clip."),
                io.Clip.Input("clip", optional=True, lazy=True,
                              tooltip="UMT5 (Load CLIP, type wan). Only used while there is no file."),
            ],
            outputs=[
                io.Conditioning.Output("positive", display_name="positive"),
                io.Conditioning.Output("negative", display_name="negative"),
            ],
        )

    @classmethod
    def check_lazy_status(cls, file, **linked):
        # An input that is connected but not made yet comes as None; one that is not connected does not come.
        wanted = "clip" in linked and linked["clip"] is None and not folders.exists(file, folders.OWN)
        if wanted:
            folders.new_model(file, folders.OWN)  # a name that cannot be is said before the encoder is loaded
        return ["clip"] if wanted else []

    @classmethod
    def execute(cls, file, clip=None):
        from ..models.anicrafter.prompt import NEGATIVE_PROMPT, PROMPT, keep_prompts, load_prompts

        if folders.exists(file, folders.OWN):
            texts = load_prompts(folders.path(file, folders.OWN))
        elif clip is not None:
            path = folders.new_model(file, folders.OWN)
            texts = [clip.encode_from_tokens(clip.tokenize(text)).float().cpu() for text in (PROMPT, NEGATIVE_PROMPT)]
            keep_prompts(path, *texts)
        else:
            raise ValueError(f"There is no {file} in models/crafters: connect the text encoder once (Load CLIP, wan).")
        notes.show(f"The published prompt, kept in {file}.")
        return io.NodeOutput(*([[text, {}]] for text in texts))


class CraftersAniCrafterTrim(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAniCrafterTrim",
            display_name="AniCrafter Trim",
            category=CATEGORY,
            search_aliases=["trim frames", "drop first frame", "cut video"],
            description="Takes the character's still off the video's beginning, so that frame 1 is driving frame 1.",
            inputs=[
                io.Image.Input("images", tooltip="Decoded frames."),
                io.Int.Input("frames", default=0, min=0, max=100_000, optional=True,
                             tooltip="Keep so many frames, where Compose Scene had to pad; 0 keeps all."),
                Scene.Input("scene", optional=True,
                            tooltip="From Compose Scene: each frame is shifted in colour, as a whole, until the "
                            "background has the scene's. For long videos, whose windows may drift apart."),
            ],
            outputs=[io.Image.Output("trimmed", display_name="images")],
        )

    @classmethod
    def execute(cls, images, frames=0, scene=None):
        if len(images) < 2:
            raise ValueError("There is nothing but the still: the sampler's latent was one frame long.")
        check_finite(images, PICTURES)
        trimmed = images[1:][: frames or None]
        if scene is not None:
            from ..models.anicrafter.steady import steadied

            trimmed = to_output(steadied(trimmed, scene, Progress("AniCrafter Trim")))
        return io.NodeOutput(trimmed, ui=stills(trimmed))


NODES = [
    CraftersComposeScene,
    CraftersLoadAniCrafter,
    CraftersAniCrafterApply,
    CraftersAniCrafterConditioning,
    CraftersAniCrafterPrompt,
    CraftersAniCrafterTrim,
]
