"""Hands and body of the person in a clip, as meshes and as a motion."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import Managed, to_output
from ..host.progress import Progress
from ..media.frames import to_image
from .choices import files, model
from .pose import one_person
from .previews import stills
from .types import BodyModel, BodyMotion, HaMeRModel, MultiHMRModel, PoseKeypoint

CATEGORY = "Crafters/Motion Capture"


def _weights(mark: str, suffixes: set[str]) -> list[str]:
    """Files of the pack's folder, the likeliest first."""
    return folders.likeliest_first(mark, folders.OWN, suffixes=suffixes)


def _angle_input(least, more=""):
    return io.Float.Input("field_of_view", default=60.0, min=least, max=150.0, step=1.0,
                          tooltip="Degrees the camera sees over the picture's longer side. A phone: 65 to 75, zoomed "
                          f"in less; 60 is what the published system takes for all{more}.")


class CraftersLoadHaMeR(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadHaMeR",
            display_name="Load HaMeR",
            category=CATEGORY,
            search_aliases=["hamer", "mano", "hand", "hand mesh"],
            description="The network that AnchorCrafter's hand meshes were made with, and MANO, the hand it moves. "
            "MANO's licence must be accepted at mano.is.tue.mpg.de: put MANO_RIGHT.pkl into models/crafters/mano, it "
            "is never downloaded for you. Hand Mesh works without both.",
            inputs=[
                io.Combo.Input("hamer", options=_weights("hamer", {".ckpt", ".safetensors"}),
                               tooltip="hamer.ckpt."),
                io.Combo.Input("mano", options=_weights("mano_right", {".pkl"}), tooltip="MANO_RIGHT.pkl."),
            ],
            outputs=[HaMeRModel.Output("hamer_out", display_name="hamer")],
        )

    validate_inputs = files(hamer=model(folders.OWN), mano=model(folders.OWN))

    @classmethod
    def execute(cls, hamer, mano):
        from ..models.hmr.hamer import load_hamer
        from ..models.hmr.mano import load_mano

        hand = load_mano(folders.path(mano, folders.OWN))
        loaded = Managed(load_hamer(folders.path(hamer, folders.OWN)))
        notes.show(f"HaMeR: {loaded}.")
        return io.NodeOutput((loaded, hand))


class CraftersHandMesh(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersHandMesh",
            display_name="Hand Mesh",
            category=CATEGORY,
            search_aliases=["hamer", "mano", "hand", "hands", "3d hand"],
            description="Draws the person's hands as light-blue meshes, without what the product covers, which is "
            "AnchorCrafter's hand condition. Without HaMeR, the freely licensed Anny's hands are laid onto "
            "the keypoints.",
            inputs=[
                io.Image.Input("images", tooltip="The driving clip."),
                PoseKeypoint.Input("keypoints", tooltip="Its pose, from Extract Pose."),
                io.Mask.Input("product", optional=True,
                              tooltip="The product's visible pixels, 1 mask or as many as frames."),
                HaMeRModel.Input("hamer", optional=True, tooltip="From Load HaMeR; closer to the published pictures."),
                io.Float.Input("fps", default=30.0, min=1.0, max=240.0, tooltip="Frames per second of the clip."),
                _angle_input(5.0),
            ],
            outputs=[
                io.Image.Output("image", display_name="images", tooltip="For Place Condition Video."),
                io.String.Output("report", display_name="report", tooltip="In how many frames each hand is drawn."),
            ],
        )

    @classmethod
    def execute(cls, images, keypoints, product=None, hamer=None, fps=30.0, field_of_view=60.0):
        from ..preprocessors.hand_mesh.hands import fit_hands, hand_pictures, masks_at

        height, width = images.shape[1:3]
        poses = one_person(keypoints, len(images))
        progress = Progress("Hand Mesh")
        if hamer is None:
            meshes = fit_hands(poses, (width, height), fps, field_of_view, progress)
        else:
            from ..preprocessors.hand_mesh.recover import recover_hands

            meshes = recover_hands(*hamer, images, poses, fps, progress)
        product = None if product is None else masks_at(product, len(images), width, height)
        drawn = to_output(to_image(hand_pictures(meshes, product, Progress("Hand Mesh, drawing")), len(images)))
        return io.NodeOutput(drawn, str(meshes), ui=stills(drawn))


class CraftersLoadMultiHMR(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadMultiHMR",
            display_name="Load Multi-HMR",
            category=CATEGORY,
            search_aliases=["multi-hmr", "smplx", "smpl-x", "body pose", "human mesh recovery"],
            description="The network AniCrafter finds bodies with (non-commercial licence). Body Motion from Video "
            "works without it.",
            inputs=[
                io.Combo.Input("multihmr", options=_weights("multihmr", {".pt", ".safetensors"}),
                               tooltip="multiHMR_896_L.pt."),
            ],
            outputs=[MultiHMRModel.Output("multihmr_out", display_name="multihmr")],
        )

    validate_inputs = files(multihmr=model(folders.OWN))

    @classmethod
    def execute(cls, multihmr):
        from ..models.hmr.multihmr import load_multihmr

        loaded = Managed(load_multihmr(folders.path(multihmr, folders.OWN)))
        notes.show(f"Multi-HMR: {loaded}.")
        return io.NodeOutput(loaded)


class CraftersBodyMotionFromVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersBodyMotionFromVideo",
            display_name="Body Motion from Video",
            category=CATEGORY,
            search_aliases=["motion capture", "mocap", "smplx", "smpl-x", "human mesh recovery", "multi-hmr"],
            description="How the person in a clip moves, as a motion for avatars: a body is bent until its joints lie "
            "on the clip's keypoints, over all frames at once.",
            inputs=[
                io.Image.Input("images", tooltip="The clip."),
                PoseKeypoint.Input("keypoints", tooltip="Its pose, from Extract Pose."),
                BodyModel.Input("body", tooltip="From Load Body Model: SMPL-X, or Anny."),
                MultiHMRModel.Input("multihmr", optional=True,
                                    tooltip="From Load Multi-HMR; tells apart what looks alike from one side."),
                io.Float.Input("fps", default=30.0, min=1.0, max=240.0, tooltip="Frames per second of the clip."),
                _angle_input(0.0, "; 0 tries several"),
            ],
            outputs=[
                BodyMotion.Output("motion", display_name="motion"),
                io.String.Output("report", display_name="report",
                                 tooltip="Frames filled in, how well the points are met, how much the body trembles."),
            ],
        )

    @classmethod
    def execute(cls, images, keypoints, body, multihmr=None, fps=30.0, field_of_view=60.0):
        from ..models.avatar.render import render_body
        from ..preprocessors.body_motion.estimate import estimate_motion

        height, width = images.shape[1:3]
        poses = one_person(keypoints, len(images))
        progress = Progress("Body Motion from Video")
        motion, report = estimate_motion(
            body, poses, (width, height), fps, field_of_view or None, multihmr, images, progress
        )
        first = render_body(body, motion.still(), width, height)[0]
        return io.NodeOutput(motion, str(report), ui=stills(first))


NODES = [CraftersLoadHaMeR, CraftersHandMesh, CraftersLoadMultiHMR, CraftersBodyMotionFromVideo]
