"""Avatars as ComfyUI's own splats, which its nodes load, edit and show, and back."""

from comfy_api.latest import io

from ..host.progress import Progress
from .previews import stills
from .types import Avatar, BodyModel, BodyMotion, Rig

CATEGORY = "Crafters/Avatar"


class CraftersAvatarToSplat(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAvatarToSplat",
            display_name="Avatar to Splat",
            category=CATEGORY,
            search_aliases=["gaussian", "splat", "gaussian splatting", "3dgs", "3d viewer", "preview 3d", "export"],
            description="The avatar as a splat of ComfyUI's own: as it stands, or in one frame of a motion. Show it by "
            "Create 3D File (from Splat) and Preview Splat, draw it by Render Splat, or edit and merge it.",
            inputs=[
                Avatar.Input("avatar", tooltip="Any avatar."),
                Rig.Input("rig", optional=True, tooltip="From Rig Avatar, for this avatar; only with a motion."),
                BodyMotion.Input("motion", optional=True,
                                 tooltip="The splat stands as in one of its frames, before its camera, which is at the "
                                 "origin. Without one it stands as in the avatar's file."),
                io.Int.Input("frame", default=1, min=1, max=1_000_000, optional=True,
                             tooltip="Which frame of the motion's film, counted from 1."),
            ],
            outputs=[io.Splat.Output("splat", display_name="splat")],
        )

    @classmethod
    def execute(cls, avatar, rig=None, motion=None, frame=1):
        from ..host.splat import to_splat
        from ..models.avatar.animate import as_stored, in_motion

        if motion is None:
            return io.NodeOutput(to_splat(as_stored(avatar)))
        if rig is None:
            raise ValueError("Avatar to Splat needs the rig too, to move the avatar: connect Rig Avatar.")
        return io.NodeOutput(to_splat(in_motion(avatar, rig, motion, frame - 1)))


class CraftersAvatarFromSplat(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersAvatarFromSplat",
            display_name="Avatar from Splat",
            category=CATEGORY,
            search_aliases=["gaussian", "splat", "gaussian splatting", "3dgs", "ply", "spz", "ksplat", "rigging",
                            "triposplat", "lhm"],
            description="A splat of a standing person becomes an avatar that any motion moves: a body is fitted to it, "
            "of any size and direction. It must show one whole person and nothing else, upright, the arms anywhere "
            "from straight out to hanging. Splats come from Get Splat (of a file), TripoSplat or any other node.",
            inputs=[
                io.Splat.Input("splat", tooltip="From Get Splat, which reads .ply, .splat, .ksplat and .spz, or from a "
                               "node that makes splats; the first of a batch is taken."),
                BodyModel.Input("body", tooltip="From Load Body Model; the same goes into Rig Avatar."),
                io.Boolean.Input("back_to_front", default=False, optional=True,
                                 tooltip="Which side is the front is told by feet and face. Turn this on if the "
                                 "picture shows the back."),
            ],
            outputs=[
                Avatar.Output("avatar", display_name="avatar"),
                io.String.Output("report", display_name="report", tooltip="How well the body fits the splat."),
            ],
        )

    @classmethod
    def execute(cls, splat, body, back_to_front=False):
        from ..host import notes
        from ..host.splat import from_splat
        from ..models.avatar.from_splat import avatar_from_splat
        from ..models.avatar.render import render_still

        progress = Progress("Avatar from Splat")
        avatar, report = avatar_from_splat(from_splat(splat), body, back_to_front, progress)
        notes.show(report)
        return io.NodeOutput(avatar, report, ui=stills(render_still(avatar)))


NODES = [CraftersAvatarToSplat, CraftersAvatarFromSplat]
