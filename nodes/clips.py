"""Frames in: clips at the wanted rate and size, and the person photo."""

from comfy_api.latest import io

from ..host.progress import Progress
from ..media import clip
from ..media.frames import cut_to_multiple, join_windows
from ..preprocessors.person import size as person

CATEGORY = "Crafters/Clips"


class CraftersClipFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersClipFrames",
            display_name="Clip Frames",
            category=CATEGORY,
            search_aliases=["load video", "video frames", "trim video", "skip frames", "resample fps"],
            description="Reads only the needed frames of a video, at the needed size, so that a long clip fits into "
            "memory: upright, HDR as on an ordinary screen, transparent parts black, uneven frame times in an even "
            "beat. Use the same settings for the driving clip and for its condition videos.",
            inputs=[
                io.Video.Input("video", tooltip="The clip, from Load Video."),
                io.Int.Input("first_frame", default=0, min=0, max=1_000_000,
                             tooltip="First frame to take, counted from 0. Later starts skip what comes before."),
                io.Int.Input("every", default=2, min=1, max=100,
                             tooltip="Take every n-th frame. 2 turns a 30 fps clip into the 15 fps AnchorCrafter "
                             "learned from; larger values make the motion quicker and the video shorter."),
                io.Int.Input("frames", default=0, min=0, max=100_000,
                             tooltip="How many frames to take; 0 takes all. Sampling time grows with it."),
                io.Int.Input("long_side", default=1024, min=0, max=8192, step=2, optional=True,
                             tooltip="Longest side in pixels; larger clips are reduced to it. 0 keeps the size. "
                             "More than the size of the result only costs memory."),
                io.Float.Input("at_fps", default=0.0, min=0.0, max=240.0, optional=True,
                               tooltip="For condition videos: connect the driving clip's fps, and a video of another "
                               "rate runs alongside it, frame for frame. 0 keeps the clip's own rate."),
                io.Int.Input("multiple", default=1, min=1, max=64, optional=True, advanced=True,
                             tooltip="Cut what is over at the edges, so that both sides are multiples of so many "
                             "pixels: 16 for Wan, 32 for SCAIL-2. 1 cuts nothing."),
            ],
            outputs=[
                io.Image.Output("frames_out", display_name="frames"),
                io.Float.Output("fps", display_name="fps", tooltip="Frames per second of what was taken."),
                io.Mask.Output("mask", display_name="mask",
                               tooltip="1 where the picture is, 0 where it is transparent; 1 all over in most videos."),
            ],
        )

    @classmethod
    def execute(cls, video, first_frame, every, frames, long_side=1024, at_fps=0.0, multiple=1):
        progress = Progress("Clip Frames")
        images, fps, opacity = clip.read_video(video, first_frame, every, frames, long_side, progress, at_fps)
        return io.NodeOutput(cut_to_multiple(images, multiple), fps, cut_to_multiple(opacity, multiple))


class CraftersFitPerson(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersFitPerson",
            display_name="Fit Person Photo",
            category=CATEGORY,
            search_aliases=["resize image", "crop", "portrait", "presenter"],
            description="Resizes and crops the person photo to 9:16, to 16:9 for a landscape photo, or to what is "
            "nearest to its own shape between. Its size is the size of the video.",
            inputs=[
                io.Image.Input("image", tooltip="Photo of the person; head and torso should be seen."),
                io.Int.Input("short_side", default=576, min=64, max=2048, step=64,
                             tooltip="Shorter side of a 9:16 or 16:9 video in pixels; 576 gives 576×1024, what the "
                             "model learned. Other shapes have as many pixels in all. Smaller is quicker and coarser."),
                io.Combo.Input("shape", options=list(person.SHAPES), default="nearest", optional=True,
                               tooltip="nearest: 9:16 or 16:9 where that cuts off little, else near the photo's own "
                               "shape, such as 768×768, and never the head. published: 9:16 or 16:9, cut evenly."),
            ],
            outputs=[
                io.Image.Output("image_out", display_name="image"),
                io.Int.Output("width", display_name="width"),
                io.Int.Output("height", display_name="height"),
            ],
        )

    @classmethod
    def execute(cls, image, short_side, shape="nearest"):
        fitted = person.fit_person(image, short_side, shape)
        return io.NodeOutput(fitted, fitted.shape[2], fitted.shape[1])


class CraftersJoinWindows(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersJoinWindows",
            display_name="Join Windows",
            category=CATEGORY,
            search_aliases=["long video", "extend video", "continue", "chunk", "batch images", "concatenate"],
            description="Puts the frames of the next window behind those so far, for models that make a long video in "
            "windows which each go on from the last (WanAnimateToVideo, WanSCAILToVideo). Where the frames so far "
            "reach the end, the next window is not even made. Chain it for more windows.",
            inputs=[
                io.Image.Input("frames", tooltip="The video so far."),
                io.Image.Input("next", lazy=True,
                               tooltip="The next window, decoded. Nothing that only it needs runs unless it is used."),
                io.Int.Input("overlap", default=5, min=0, max=10_000, lazy=True,
                             tooltip="With so many frames the next window repeats the end of the last: SCAIL-2's "
                             "previous_frame_count, or what WanAnimateToVideo gives as trim_image."),
                io.Int.Input("length", default=0, min=0, max=1_000_000,
                             tooltip="Frames of the whole video, at which it is cut: those of the motion. 0 takes "
                             "all."),
            ],
            outputs=[io.Image.Output("frames_out", display_name="frames")],
        )

    @classmethod
    def check_lazy_status(cls, frames, length, next=None, overlap=None):
        made = {"next": next, "overlap": overlap}
        return [] if 0 < length <= len(frames) else [name for name, value in made.items() if value is None]

    @classmethod
    def execute(cls, frames, length, next=None, overlap=None):
        return io.NodeOutput(join_windows(frames, next, overlap, length))


NODES = [CraftersClipFrames, CraftersFitPerson, CraftersJoinWindows]
