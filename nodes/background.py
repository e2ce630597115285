"""Background: the clip without its person."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import DTYPE_CHOICES, Managed, network_dtype, to_output
from ..host.progress import Progress
from ..preprocessors.background.hole import LEVELS
from .choices import files, model
from .previews import stills
from .types import Painter

CATEGORY = "Crafters/Background"
PRESETS = ["fast", "published"]
SHOWN = "picture", "pose"


def _weights(mark: str) -> list[str]:
    """Weight files of the pack's own folder, the likeliest for the widget first."""
    return folders.likeliest_first(mark, folders.OWN)


class CraftersLoadProPainter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadProPainter",
            display_name="Load ProPainter",
            category=CATEGORY,
            search_aliases=["propainter", "inpaint", "video inpainting", "object removal"],
            description="ProPainter's three networks, from the folder models/crafters. Its licence allows "
            "non-commercial use only; Remove Person also works without it.",
            inputs=[
                io.Combo.Input("raft", options=_weights("raft"),
                               tooltip="raft-things.pth: how pixels move from frame to frame."),
                io.Combo.Input("flow_completion", options=_weights("flow"),
                               tooltip="recurrent_flow_completion.pth: how what is hidden moves."),
                io.Combo.Input("generator", options=_weights("propainter"),
                               tooltip="ProPainter.pth: paints what no frame shows."),
                io.Combo.Input("dtype", options=DTYPE_CHOICES, default="auto", optional=True, advanced=True,
                               tooltip="Number type of the last two; RAFT is always fp32. auto: fp16 on GPUs, fp32 on "
                               "a CPU."),
            ],
            outputs=[Painter.Output("painter", display_name="painter")],
        )

    validate_inputs = files(raft=model(folders.OWN), flow_completion=model(folders.OWN), generator=model(folders.OWN))

    @classmethod
    def execute(cls, raft, flow_completion, generator, dtype="auto"):
        from ..models.propainter.system import ProPainter

        paths = [folders.path(name, folders.OWN) for name in (raft, flow_completion, generator)]
        loaded = Managed(ProPainter.from_files(*paths, network_dtype(dtype)))
        notes.show(f"ProPainter: {loaded}.")
        return io.NodeOutput(loaded)


class CraftersCutHole(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersCutHole",
            display_name="Cut Hole",
            category=CATEGORY,
            search_aliases=["inpaint", "mask out", "erase person"],
            description="The clip with the person greyed out, as ComfyUI's own WanVaceToVideo takes it, or blacked out "
            "in squares, for WanAnimateToVideo; or with a pose, a mesh or an avatar in the person's place. What is "
            "made of it goes into Remove Person as filled, with the same dilation.",
            inputs=[
                io.Image.Input("images", tooltip="The clip."),
                io.Mask.Input("mask", tooltip="The person in every frame, or one mask for all of them."),
                io.Int.Input("dilation", default=16, min=0, max=128, optional=True,
                             tooltip="By how many pixels the mask is grown, at the size worked at."),
                io.Float.Input("scale", default=0.5, min=0.1, max=1.0, step=0.05, optional=True, advanced=True,
                               tooltip="Of the clip's size, what is worked at."),
                io.Combo.Input("fill", options=[*LEVELS, *SHOWN], default="grey", optional=True,
                               tooltip="What the hole shows: grey as VACE learned, black as Wan-Animate did, or what "
                               "is connected of that name. VACE follows a pose there and finishes an avatar."),
                io.Int.Input("blocks", default=0, min=0, max=256, step=8, optional=True,
                             tooltip="Widen the hole to whole squares of so many pixels, after dilation: Wan-Animate "
                             "learned such masks, which do not tell the outline. 0 keeps the outline."),
                io.Image.Input("picture", optional=True, lazy=True,
                               tooltip="An avatar or a body mesh, in every frame; made only if fill says picture."),
                io.Image.Input("pose", optional=True, lazy=True,
                               tooltip="From Draw Pose, in every frame; made only if fill says pose."),
                io.Int.Input("window", default=0, min=0, max=10_000, optional=True,
                             tooltip="The most frames that the model makes at once: length is no more. 0 makes all."),
            ],
            outputs=[
                io.Image.Output("cut", display_name="images",
                                tooltip="control_video of WanVaceToVideo, background_video of WanAnimateToVideo, or "
                                "pose_video of WanSCAILToVideo."),
                io.Mask.Output("hole", display_name="mask",
                               tooltip="control_masks of WanVaceToVideo, character_mask of WanAnimateToVideo."),
                io.Int.Output("width", display_name="width"),
                io.Int.Output("height", display_name="height"),
                io.Int.Output("length", display_name="length", tooltip="A number of frames that Wan can make."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, fill="grey", **linked):
        # An input that is connected but not made yet comes as None; one that is not connected does not come.
        return [fill] if fill in SHOWN and fill in linked and linked[fill] is None else []

    @classmethod
    def execute(cls, images, mask, dilation=16, scale=0.5, fill="grey", blocks=0, picture=None, pose=None, window=0):
        from ..preprocessors.background.remove import cut_hole

        shown = (LEVELS | dict(zip(SHOWN, (picture, pose), strict=True)))[fill]
        if shown is None:
            raise ValueError(f"Cut Hole is to show the {fill}, but none is connected: connect one, or choose grey.")
        cut, hole = (to_output(part) for part in cut_hole(images, mask, dilation, scale, shown, blocks))
        count, height, width = hole.shape
        length = min(count, (window - 1) // 4 * 4 + 1) if window else count
        return io.NodeOutput(cut, hole, width, height, length, ui=stills(cut))


class CraftersRemovePerson(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersRemovePerson",
            display_name="Remove Person",
            category=CATEGORY,
            search_aliases=["inpaint", "video inpainting", "propainter", "erase", "object removal", "clean background"],
            description="Fills the masked part of every frame with what is behind it. With ProPainter it is painted; "
            "without weights it is taken from other frames as the camera moved, and smooth where no frame shows it.",
            inputs=[
                io.Image.Input("images", tooltip="The clip."),
                io.Mask.Input("mask", tooltip="The person in every frame, or one mask for all of them."),
                Painter.Input("painter", optional=True,
                              tooltip="From Load ProPainter. Unconnected: no weights are used."),
                io.Int.Input("dilation", default=16, min=0, max=128, optional=True,
                             tooltip="By how many pixels the mask is grown, at the size worked at; 16 as published."),
                io.Combo.Input("preset", options=PRESETS, default="fast", optional=True,
                               tooltip="How many frames ProPainter looks at. published: as AniCrafter does, some "
                               "eleven times slower; fast: ProPainter's own default."),
                io.Float.Input("scale", default=0.5, min=0.1, max=1.0, step=0.05, optional=True, advanced=True,
                               tooltip="Of the clip's size, what is worked at; 0.5 as published. At most 1280 pixels "
                               "long. Only the hole is put back, at full size."),
                io.Int.Input("subvideo", default=80, min=10, max=400, optional=True, advanced=True,
                             tooltip="How many frames ProPainter holds at a time. Less needs less memory."),
                io.Image.Input("filled", optional=True,
                               tooltip="The clip of Cut Hole after other nodes have filled it, such as Wan VACE: only "
                               "its hole is taken. painter and scale do not matter then."),
            ],
            outputs=[
                io.Image.Output("background", display_name="images"),
                io.String.Output("method", display_name="method", tooltip="How the holes were filled."),
            ],
        )

    @classmethod
    def execute(cls, images, mask, painter=None, dilation=16, preset="fast", scale=0.5, subvideo=80, filled=None):
        from dataclasses import replace

        from ..preprocessors.background.propainter import ANICRAFTER, PROPAINTER
        from ..preprocessors.background.remove import remove_person

        settings = replace(ANICRAFTER if preset == "published" else PROPAINTER, subvideo=subvideo)
        method = f"ProPainter, {preset}" if painter else "from other frames along the motion, without weights"
        method = method if filled is None else "given"
        progress = Progress("Remove Person")
        result = to_output(remove_person(images, mask, painter, dilation, scale, settings, progress, filled))
        return io.NodeOutput(result, method, ui=stills(result))


NODES = [CraftersLoadProPainter, CraftersCutHole, CraftersRemovePerson]
