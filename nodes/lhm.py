"""One photo → an avatar: by LHM, or without any weights by projection."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import Managed
from ..host.progress import Progress
from ..models.avatar.lhm.precision import CHOICES
from .choices import files, model
from .previews import stills
from .types import Avatar, BodyModel, BodyMotion, Character, LHMModel, PoseKeypoint

CATEGORY = "Crafters/Avatar"
FOLDERS = (folders.OWN, "diffusion_models")
SPREAD = "spread anew"
KEPT = "crafters/avatars"  # below the output folder


class CraftersLoadLHM(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        weights = folders.names(*FOLDERS, suffixes={".safetensors"})
        return io.Schema(
            node_id="CraftersLoadLHM",
            display_name="Load LHM",
            category=CATEGORY,
            search_aliases=["lhm", "sapiens", "image to 3d", "large human model"],
            description="LHM makes an avatar from one photo. Needed: its model.safetensors (`crafters download lhm` or "
            "`lhm-500m`) and Sapiens-1B (`crafters download sapiens`), made a plain file by `crafters convert "
            "sapiens`. Both are for non-commercial use.",
            inputs=[
                io.Combo.Input("lhm", options=weights, tooltip="LHM's model.safetensors, in models/crafters."),
                io.Combo.Input("sapiens", options=weights,
                               tooltip="Of `crafters convert sapiens`, in models/crafters."),
                io.Combo.Input("points", default=SPREAD, optional=True, advanced=True,
                               options=[SPREAD, *folders.names(folders.OWN, suffixes={".pth", ".safetensors"})],
                               tooltip="An avatar that LHM made, in models/crafters: its points are LHM's own, which "
                               "model.safetensors does not hold. Without one they are spread anew, near the old ones."),
                io.Combo.Input("dtype", options=list(CHOICES), default="fp32", optional=True, advanced=True,
                               tooltip="Of the transformer: fp32 is as published; bf16 halves its memory. Sapiens is "
                               "always in bf16, as published."),
            ],
            outputs=[LHMModel.Output("lhm_out", display_name="lhm")],
        )

    validate_inputs = files(lhm=model(*FOLDERS), sapiens=model(*FOLDERS), points=model(folders.OWN))

    @classmethod
    def execute(cls, lhm, sapiens, points=SPREAD, dtype="fp32"):
        from ..models.avatar.lhm.system import load_lhm

        own = None if points == SPREAD else folders.path(points, folders.OWN)
        paths = (folders.path(name, *FOLDERS) for name in (lhm, sapiens))
        loaded = load_lhm(*paths, CHOICES[dtype], own, Managed)
        notes.show(f"LHM: {loaded.network}, {len(loaded.points)} gaussians.", f"Sapiens: {loaded.body}.")
        return io.NodeOutput(loaded)

    @classmethod
    def fingerprint_inputs(cls, lhm, sapiens, points=SPREAD, dtype="fp32"):
        chosen = [folders.path(name, *FOLDERS) for name in (lhm, sapiens, points) if folders.exists(name, *FOLDERS)]
        return [dtype, points, *(f"{path}:{path.stat().st_mtime_ns}" for path in chosen)]


class CraftersPrepareCharacter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersPrepareCharacter",
            display_name="Prepare Character",
            category=CATEGORY,
            search_aliases=["lhm", "crop person", "remove background", "cut out"],
            description="Cuts the person out of a photo and frames body and head as LHM was trained. Best is a whole "
            "person from the front, arms a little away from the body.",
            inputs=[
                io.Image.Input("image", tooltip="One photo of one person."),
                PoseKeypoint.Input("keypoints", tooltip="From Extract Pose, of this photo; finds the head."),
                io.Mask.Input("mask", optional=True,
                              tooltip="The person, such as from Segment Video. Without it a plain background is taken "
                              "away; any other one roughly, by colours."),
                io.Combo.Input("mask_shows", options=["person", "background"], default="person", optional=True,
                               tooltip="person: the mask is 1 on the person, as segmentation gives. background: 1 "
                               "around the person, as Load Image gives for a transparent photo."),
                io.Boolean.Input("head", default=True, optional=True,
                                 tooltip="Show the network the head from near. Off makes the avatar from the body "
                                 "alone, for photos without a face."),
            ],
            outputs=[
                Character.Output("character", display_name="character"),
                io.Image.Output("head_image", display_name="head",
                                tooltip="The head; pass it through a face restoration of your choice and into "
                                "Reconstruct Avatar. Black without a head."),
                io.Mask.Output("mask_out", display_name="mask", tooltip="1 on the person, of the photo."),
                io.String.Output("report", display_name="report", tooltip="What of the person is seen."),
            ],
        )

    @classmethod
    def execute(cls, image, keypoints, mask=None, mask_shows="person", head=True):
        from ..media.photo import mask_of
        from ..preprocessors.person.character import HEAD_SIDE, prepare_character
        from ..preprocessors.pose.keypoints import from_openpose

        poses, _ = from_openpose(keypoints)
        character = prepare_character(image, poses, mask_of("person", mask, mask_shows, "mask"), head)
        close = image.new_zeros(1, HEAD_SIDE, HEAD_SIDE, 3) if character.head is None else character.head
        close_up = "with" if head else "without"
        report = f"{character.visible_ratio:.0%} of the body visible, {close_up} the head's close-up."
        report = "\n".join([report, *character.notes])
        return io.NodeOutput(character, close, character.mask[None].float(), report, ui=stills(character.sheet()))


class CraftersReconstructAvatar(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersReconstructAvatar",
            display_name="Reconstruct Avatar",
            category=CATEGORY,
            search_aliases=["lhm", "image to 3d", "gaussian", "splat", "avatar"],
            description="The photo as an avatar of 40 000 gaussians, by LHM, which any motion can move. Rig it with "
            "the same LHM file. What was made is kept in output/crafters/avatars: the same photo with the same weights "
            "is read from there, also after a restart.",
            inputs=[
                LHMModel.Input("lhm", tooltip="From Load LHM."),
                Character.Input("character", tooltip="From Prepare Character."),
                io.Image.Input("head", optional=True,
                               tooltip="The head of Prepare Character after face restoration, square."),
                BodyMotion.Input("shape", optional=True,
                                 tooltip="From Body Motion from Video of this very photo, with SMPL-X and best with "
                                 "Multi-HMR; the person's shape is taken from it. Without it the avatar has the mean "
                                 "shape."),
            ],
            outputs=[Avatar.Output("avatar", display_name="avatar")],
        )

    @classmethod
    def execute(cls, lhm, character, head=None, shape=None):
        from ..models.avatar.files import kept_avatar
        from ..models.avatar.render import render_still

        if character.head is None and head is not None:
            raise ValueError("Prepare Character made no head: switch its `head` on, or disconnect `head` here.")
        if head is not None and (len(head) != 1 or head.shape[1] != head.shape[2]):
            raise ValueError(f"The head must be one square picture, not {[*head.shape]}: use Prepare Character's.")
        betas = None if shape is None else shape.betas.mean(dim=0)
        shown = character.body, character.head if head is None else head, betas, character.visible_ratio
        progress = Progress("Reconstruct Avatar")
        path = folders.output_folder(KEPT) / f"{lhm.key(*shown)}.safetensors"
        avatar = kept_avatar(path, lambda: lhm.reconstruct(*shown, progress))
        return io.NodeOutput(avatar, ui=stills(render_still(avatar)))


class CraftersAvatarFromPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAvatarFromPhoto",
            display_name="Avatar from Photo (projection)",
            category=CATEGORY,
            search_aliases=["image to 3d", "gaussian", "splat", "avatar", "projection"],
            description="A stand-in for LHM that needs no weights: the photo is laid on a body that is fitted to it. "
            "What the photo shows looks like it; the back is the front again, and what is hidden is guessed from what "
            "is next to it. For previews and for trying a graph; Load LHM and Reconstruct Avatar make better ones.",
            is_experimental=True,
            inputs=[
                Character.Input("character", tooltip="From Prepare Character."),
                BodyModel.Input("body", tooltip="From Load Body Model; the same goes into Rig Avatar."),
                BodyMotion.Input("motion", optional=True,
                                 tooltip="How the body stands in this photo, such as from Body Motion from Video with "
                                 "Multi-HMR. Without it the body is fitted to the keypoints."),
                io.Int.Input("gaussians", default=40_000, min=1000, max=500_000, step=1000, optional=True,
                             tooltip="More are sharper and slower to draw; LHM makes 40 000."),
            ],
            outputs=[
                Avatar.Output("avatar", display_name="avatar"),
                io.String.Output("report", display_name="report", tooltip="How well the body fits the keypoints."),
            ],
        )

    @classmethod
    def execute(cls, character, body, motion=None, gaussians=40_000):
        from ..models.avatar.from_photo import project_photo
        from ..models.avatar.render import render_still
        from ..preprocessors.body_motion.estimate import estimate_motion

        photo, report = character.photo, "The body as given."
        if motion is None:
            progress = Progress("Avatar from Photo")
            size = photo.shape[1], photo.shape[0]
            motion, report = estimate_motion(body, [character.pose], size, 30.0, None, on_step=progress)
        avatar = project_photo(photo, character.mask, body, motion, gaussians, character.visible_ratio)
        return io.NodeOutput(avatar, str(report), ui=stills(render_still(avatar)))


class CraftersPreviewAvatar(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersPreviewAvatar",
            display_name="Preview Avatar",
            category=CATEGORY,
            search_aliases=["gaussian", "splat", "turntable", "3d preview", "avatar"],
            description="The avatar turns once around, in its own pose. No rig or body model is needed.",
            inputs=[
                Avatar.Input("avatar", tooltip="Any avatar."),
                io.Int.Input("frames", default=24, min=1, max=360, tooltip="Pictures of one whole turn."),
                io.Int.Input("width", default=384, min=64, max=4096, step=16, tooltip="Width in pixels."),
                io.Int.Input("height", default=512, min=64, max=4096, step=16, tooltip="Height in pixels."),
            ],
            outputs=[io.Image.Output("images", display_name="images", tooltip="For Create Video.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, avatar, frames, width, height):
        from ..models.avatar.render import render_turntable

        images = render_turntable(avatar, frames, width, height, Progress("Preview Avatar"))
        return io.NodeOutput(images, ui=stills(images))


NODES = [
    CraftersLoadLHM,
    CraftersPrepareCharacter,
    CraftersReconstructAvatar,
    CraftersAvatarFromPhoto,
    CraftersPreviewAvatar,
]
