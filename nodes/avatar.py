"""The avatar: its file, the body that moves it, its motion, and its picture."""

import logging
from dataclasses import replace
from pathlib import Path

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import compute_device, to_output
from ..host.progress import Progress
from ..models.avatar.poses import AS_STORED, POSES
from ..models.avatar.standing import unposed
from ..models.body.load import BUILT_IN, load_body_model
from .choices import files, model
from .previews import stills
from .types import Avatar, BodyModel, BodyMotion, HeldProduct, Rig

_log = logging.getLogger(__name__)
CATEGORY = "Crafters/Avatar"
AVATAR_SUFFIXES = (".safetensors", ".pth", ".ply")


def _size_inputs():
    return [
        io.Int.Input("width", default=1280, min=64, max=8192, step=16,
                     tooltip="Width of the picture in pixels; the motion's camera is scaled to it."),
        io.Int.Input("height", default=720, min=64, max=8192, step=16,
                     tooltip="Height in pixels. Width and height must have the shape the motion was filmed in."),
    ]


def _held_input():
    return HeldProduct.Input("held_product", optional=True,
                             tooltip="From Hold Product or Present Product, with that node's motion.")


class CraftersLoadAvatar(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadAvatar",
            display_name="Load Avatar",
            category=CATEGORY,
            search_aliases=["gaussian", "splat", "gaussian splatting", "3dgs", "ply", "lhm"],
            description="A character as 3-D gaussians, from ComfyUI's input folder: LHM's *_gaussian.pth, this pack's "
            ".safetensors, or a .ply of gaussians, such as LHM++'s.",
            inputs=[
                io.Combo.Input("avatar", options=folders.input_names(AVATAR_SUFFIXES), upload=io.UploadType.model,
                               extra_dict={"accept": ",".join(AVATAR_SUFFIXES)},
                               tooltip="The avatar's file. For a .ply from elsewhere, Rig Avatar must be told its "
                               "pose."),
            ],
            outputs=[Avatar.Output("avatar_out", display_name="avatar")],
        )

    validate_inputs = files(avatar=folders.input_path)

    @classmethod
    def execute(cls, avatar):
        from ..models.avatar.files import load_avatar
        from ..models.avatar.render import render_still

        loaded = load_avatar(folders.input_path(avatar))
        pose = "" if loaded.posed else " The file does not say their pose: choose it in Rig Avatar."
        notes.show(f"{len(loaded)} gaussians.{pose}")
        return io.NodeOutput(loaded, ui=stills(render_still(loaded)))

    @classmethod
    def fingerprint_inputs(cls, avatar):
        return _stamp(avatar)


class CraftersSaveAvatar(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersSaveAvatar",
            display_name="Save Avatar",
            category=CATEGORY,
            search_aliases=["gaussian", "splat", "gaussian splatting", "3dgs", "ply", "export"],
            description="Writes the avatar into ComfyUI's output folder.",
            inputs=[
                Avatar.Input("avatar", tooltip="The avatar to write."),
                io.String.Input("filename_prefix", default="crafters/avatar",
                                tooltip="Folder and beginning of the name, below the output folder."),
                io.Combo.Input("format", options=["safetensors", "pth", "ply"], default="safetensors",
                               tooltip="safetensors and pth keep every number; pth is what LHM writes and AniCrafter "
                               "reads; ply opens in viewers of gaussian splats."),
            ],
            outputs=[io.String.Output("path", display_name="path")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, avatar, filename_prefix, format):
        from ..models.avatar.files import save_avatar
        from ..models.avatar.render import render_still

        path = folders.output_path(filename_prefix, f".{format}")
        save_avatar(avatar, path)
        return io.NodeOutput(str(path), ui=stills(render_still(avatar)))


class CraftersLoadBodyModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadBodyModel",
            display_name="Load Body Model",
            category=CATEGORY,
            search_aliases=["smplx", "smpl-x", "smpl", "anny", "human body"],
            description="The body that moves avatars. SMPL-X is what LHM's avatars are made on; its licence must be "
            "accepted at smpl-x.is.tue.mpg.de: put SMPLX_NEUTRAL.npz into models/crafters/smplx, it is never "
            "downloaded for you. Anny is freely licensed and always there; its joints lie a little elsewhere.",
            inputs=[
                io.Combo.Input("body", options=_body_models(), tooltip="SMPLX_NEUTRAL.npz, or Anny."),
            ],
            outputs=[BodyModel.Output("body_out", display_name="body")],
        )

    validate_inputs = files(body=model(folders.OWN))

    @classmethod
    def execute(cls, body):
        from ..models.avatar.render import render_body_still

        loaded = load_body_model(body if body in BUILT_IN else folders.path(body, folders.OWN))
        return io.NodeOutput(loaded, ui=stills(render_body_still(loaded)))


def _body_models() -> list[str]:
    return [*folders.likeliest_first("smplx", folders.OWN, suffixes={".npz"}), *BUILT_IN]


class CraftersRigAvatar(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersRigAvatar",
            display_name="Rig Avatar",
            category=CATEGORY,
            search_aliases=["gaussian", "splat", "rigging", "skinning", "skeleton", "smplx"],
            description="Ties every gaussian of the avatar to the joints of a body: from SMPL-X, or from the LHM model "
            "that made the avatar, which holds the ties itself.",
            inputs=[
                Avatar.Input("avatar", tooltip="The avatar to move."),
                BodyModel.Input("body", optional=True, tooltip="From Load Body Model. Not needed with an LHM model."),
                io.Combo.Input("lhm", options=["none", *folders.names(folders.OWN, suffixes={".safetensors"})],
                               default="none", optional=True,
                               tooltip="LHM's model.safetensors in models/crafters; exact for avatars it made."),
                io.Combo.Input("constraint", options=["none", *folders.names(folders.OWN, suffixes={".npz"})],
                               default="none", optional=True, advanced=True,
                               tooltip="LHM's human_prior_constrain.npz, with a body: gaussians it marks keep their "
                               "direction. none lets all turn with the body."),
                io.Combo.Input("pose", options=list(POSES), default=AS_STORED, optional=True, advanced=True,
                               tooltip="The pose in which the avatar stands in its file. LHM's and this pack's files "
                               "say it; of a .ply from elsewhere choose it: neutral is LHM's (arms out, legs spread), "
                               "T (arms out) is LHM++'s, A (arms half down)."),
            ],
            outputs=[Rig.Output("rig", display_name="rig")],
        )

    validate_inputs = files(lhm=model(folders.OWN), constraint=model(folders.OWN))

    @classmethod
    def execute(cls, avatar, body=None, lhm="none", constraint="none", pose=AS_STORED):
        from ..models.avatar.rig import read_constraint, rig_from_body, rig_from_lhm

        if lhm != "none":
            rig = rig_from_lhm(folders.path(lhm, folders.OWN))
            return io.NodeOutput(replace(rig, neutral_transforms=unposed(avatar, rig.skeleton, pose)))
        if body is None:
            raise ValueError("Rig Avatar needs a body (Load Body Model) or an LHM model: connect or choose one.")
        mask = None if constraint == "none" else read_constraint(folders.path(constraint, folders.OWN))
        neutral, progress = unposed(avatar, body.skeleton, pose), Progress("Rig Avatar")
        return io.NodeOutput(rig_from_body(body, avatar.points, neutral, mask, progress))


class CraftersLoadMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadMotion",
            display_name="Load Motion",
            category=CATEGORY,
            search_aliases=["smplx", "smpl-x", "amass", "mocap", "motion capture", "npz"],
            description="A body's motion: a folder of SMPL-X JSONs, or an AMASS .npz, in ComfyUI's input folder.",
            inputs=[
                io.Combo.Input("motion", options=folders.input_folders(".json") + folders.input_names({".npz"}),
                               upload=io.UploadType.model, extra_dict={"accept": ".npz", "folder": ".json"},
                               tooltip="Folder or file. JSONs belong to the frame whose number is in their name, "
                               "counted from 1 as published, or from 0 where there is a frame 0: who enters at frame "
                               "13 is drawn from frame 13 on."),
                io.Float.Input("fps", default=30.0, min=1.0, max=240.0, step=0.01,
                               tooltip="Frames per second of the JSONs' video, which they do not say. AMASS says its "
                               "own."),
                io.Boolean.Input("fill_gaps", default=True, optional=True,
                                 tooltip="Interpolate frames that have no JSON, in gaps of up to a second; for longer "
                                 "the person is away. Off: a gap is an error."),
                io.Int.Input("width", default=1280, min=64, max=8192, step=16, optional=True,
                             tooltip="Picture width for AMASS, which has no camera, in pixels."),
                io.Int.Input("height", default=720, min=64, max=8192, step=16, optional=True,
                             tooltip="Picture height for AMASS, in pixels."),
                io.Float.Input("film_fps", default=0.0, min=0.0, max=240.0, step=0.01, optional=True,
                               tooltip="Frames per second of the film that the motion is for, from Clip Frames: a "
                               "motion of another rate is retimed to it. 0 leaves it."),
                io.Int.Input("first_frame", default=0, min=0, max=1_000_000, optional=True,
                             tooltip="How many of the motion's frames to skip, where the film was cut at its "
                             "beginning: the same as in Clip Frames."),
            ],
            outputs=[
                BodyMotion.Output("motion_out", display_name="motion"),
                io.String.Output("report", display_name="report", tooltip="Frames found, size, rate, gaps."),
            ],
        )

    validate_inputs = files(motion=folders.input_path)

    @classmethod
    def execute(cls, motion, fps, fill_gaps=True, width=1280, height=720, film_fps=0.0, first_frame=0):
        from ..models.body.motion_files import read_motion
        from ..models.drawing.stick_figure import stick_figures

        read = read_motion(folders.input_path(motion), fps, (width, height))
        missing = [frame + 1 for frame in read.missing]
        gaps = f"missing: {', '.join(map(str, missing))}" if missing else "none missing"
        if missing and not fill_gaps:
            raise ValueError(f"{motion} has gaps ({gaps}): turn fill_gaps on, or complete it.")
        report = (
            f"{len(read)} frames ({read.frames[0] + 1} to {read.frames[-1] + 1}, {gaps}), "
            f"{read.size[0]}×{read.size[1]}, {read.fps:g} fps"
        )
        whole = (read.filled() if missing else read).since(first_frame)
        if film_fps:
            whole = whole.for_film(film_fps)
        elif read.fps != fps:
            _log.warning(
                f"{motion} has {read.fps:g} frames a second of its own, not {fps:g}: connect the film's to film_fps, "
                "or the person may move too slowly or too fast in it."
            )
        if whole.frames[0]:
            _log.warning(
                f"The motion begins at frame {whole.frames[0] + 1} of the film: nobody is drawn before. If the film "
                "was cut there, say so with first_frame."
            )
        return io.NodeOutput(whole, report, ui=stills(stick_figures(whole)))

    @classmethod
    def fingerprint_inputs(cls, motion, **_):
        return _stamp(motion)


class CraftersEditMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        def shift(name, axis):
            return io.Float.Input(name, default=0.0, min=-20.0, max=20.0, step=0.01, optional=True,
                                  tooltip=f"Move the person by so many metres, positive {axis}.")

        return io.Schema(
            node_id="CraftersEditMotion",
            display_name="Edit Motion",
            category=CATEGORY,
            search_aliases=["smplx", "mocap", "move", "turn", "loop", "retime"],
            description="Moves, turns, scales, retimes and loops a motion, in that order.",
            inputs=[
                BodyMotion.Input("motion", tooltip="From Load Motion."),
                shift("x", "to the right"),
                shift("y", "down"),
                shift("z", "away from the camera"),
                io.Float.Input("turn", default=0.0, min=-360.0, max=360.0, step=1.0, optional=True,
                               tooltip="Turn about the vertical axis, degrees; positive turns a person who faces the "
                               "camera to the picture's right."),
                io.Float.Input("scale", default=1.0, min=0.05, max=20.0, step=0.01, optional=True,
                               tooltip="How many times as large the person appears; larger comes nearer."),
                io.Float.Input("fps", default=0.0, min=0.0, max=240.0, step=0.01, optional=True,
                               tooltip="New frames per second at the same speed; 0 keeps it."),
                io.Int.Input("frames", default=0, min=0, max=100_000, optional=True,
                             tooltip="How many frames the film has: the motion is cut, or repeated until its end. "
                             "0 keeps it."),
                io.Boolean.Input("back_and_forth", default=True, optional=True,
                                 tooltip="Repeat forwards and backwards, which never jumps."),
            ],
            outputs=[BodyMotion.Output("motion_out", display_name="motion")],
        )

    @classmethod
    def execute(cls, motion, x=0.0, y=0.0, z=0.0, turn=0.0, scale=1.0, fps=0.0, frames=0, back_and_forth=True):
        from ..models.drawing.stick_figure import stick_figures

        motion = motion.moved(x, y, z, turn).scaled(scale)
        motion = motion.retimed(fps) if fps else motion
        motion = motion.looped(frames, back_and_forth) if frames else motion
        return io.NodeOutput(motion, ui=stills(stick_figures(motion)))


class CraftersSaveMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersSaveMotion",
            display_name="Save Motion",
            category=CATEGORY,
            search_aliases=["smplx", "mocap", "export", "npz"],
            description="Writes a motion into ComfyUI's output folder.",
            inputs=[
                BodyMotion.Input("motion", tooltip="The motion to write."),
                io.String.Input("filename_prefix", default="crafters/motion",
                                tooltip="Folder and beginning of the name, below the output folder."),
                io.Combo.Input("format", options=["json", "npz"], default="json",
                               tooltip="json: a folder with a file per frame, as AniCrafter reads; npz: one AMASS "
                               "file."),
            ],
            outputs=[io.String.Output("path", display_name="path")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, motion, filename_prefix, format):
        from ..models.body.motion_files import save_motion

        path = folders.output_path(filename_prefix, "" if format == "json" else ".npz")
        save_motion(motion, path)
        return io.NodeOutput(str(path))


class CraftersRenderAvatar(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersRenderAvatar",
            display_name="Render Avatar",
            category=CATEGORY,
            search_aliases=["gaussian", "splat", "gaussian splatting", "3dgs", "animate"],
            description="Draws the moving avatar, frame by frame, by gaussian splatting in plain torch; nothing in the "
            "frames before it comes.",
            inputs=[
                Avatar.Input("avatar", tooltip="From Load Avatar."),
                Rig.Input("rig", tooltip="From Rig Avatar, for this avatar."),
                BodyMotion.Input("motion", tooltip="From Load Motion or Edit Motion."),
                *_size_inputs(),
                io.Combo.Input("backend", options=["auto", "torch", "warp", "gsplat"], default="auto", optional=True,
                               advanced=True,
                               tooltip="torch is exact and runs everywhere. warp (comes with anny) draws the same "
                               "picture sooner. gsplat (installed, and CUDA) differs by hundredths at edges. auto "
                               "takes warp on a CPU where it runs, else torch."),
                io.Boolean.Input("with_depth", default=True, optional=True, advanced=True,
                                 tooltip="Off saves the depth's memory, a third of a clip, where nothing takes it: it "
                                 "is 0 then."),
                _held_input(),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="On black, already multiplied by alpha."),
                io.Mask.Output("alpha", display_name="alpha"),
                io.Mask.Output("depth", display_name="depth", tooltip="Metres from the camera, 0 where nothing is."),
            ],
        )

    @classmethod
    def execute(cls, avatar, rig, motion, width, height, backend="auto", with_depth=True, held_product=()):
        from ..models.avatar.render import render_avatar

        progress, size = Progress("Render Avatar"), (width, height)
        how = compute_device(), backend, progress, progress.show
        clip = render_avatar(avatar, rig, motion, *size, *how, with_depth=with_depth, products=held_product)
        return io.NodeOutput(*(to_output(x) for x in clip), ui=stills(clip.image))


class CraftersRenderBodyMesh(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersRenderBodyMesh",
            display_name="Render Body Mesh",
            category=CATEGORY,
            search_aliases=["smplx", "smpl-x", "body mesh", "normals", "mesh video"],
            description="Draws the performer's grey body, which tells AniCrafter where the character belongs, and its "
            "exact mask.",
            inputs=[
                BodyModel.Input("body", tooltip="From Load Body Model."),
                BodyMotion.Input("motion", tooltip="The motion that the avatar makes."),
                *_size_inputs(),
                _held_input(),
            ],
            outputs=[
                io.Image.Output("image", display_name="image"),
                io.Mask.Output("mask", display_name="mask", tooltip="1 on the body and on what it holds."),
            ],
        )

    @classmethod
    def execute(cls, body, motion, width, height, held_product=()):
        from ..models.avatar.render import render_body

        progress = Progress("Render Body Mesh")
        clip = render_body(body, motion, width, height, progress, progress.show, products=held_product)
        return io.NodeOutput(*(to_output(x) for x in clip), ui=stills(clip[0]))


def _stamp(name: str) -> str:
    """Changes when the user's file or folder does."""
    try:
        path: Path = folders.input_path(name)
    except FileNotFoundError:
        return name
    parts = [path, *sorted(path.glob("*"))] if path.is_dir() else [path]
    return f"{name}:{max(part.stat().st_mtime_ns for part in parts)}:{len(parts)}"


NODES = [
    CraftersLoadAvatar,
    CraftersSaveAvatar,
    CraftersLoadBodyModel,
    CraftersRigAvatar,
    CraftersLoadMotion,
    CraftersEditMotion,
    CraftersSaveMotion,
    CraftersRenderAvatar,
    CraftersRenderBodyMesh,
]
