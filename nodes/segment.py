"""Masks of a clip: what to look for, what looks for it, and the result."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import DTYPE_CHOICES, Managed, network_dtype, to_output
from ..host.progress import Progress
from ..preprocessors.pose.follow import follow_person
from ..preprocessors.pose.keypoints import from_openpose
from ..preprocessors.segment.prompts import FINDERS, Prompt, painted, read_box, read_points
from .choices import files, model, of_type
from .previews import stills
from .types import PoseKeypoint, Segmenter, SegmentPrompts

CATEGORY = "Crafters/Masks"
PROMPTED = "what the prompt shows"


class CraftersLoadSegmenter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        from ..preprocessors.segment.sam import KINDS

        return io.Schema(
            node_id="CraftersLoadSegmenter",
            display_name="Load SAM",
            category=CATEGORY,
            search_aliases=["sam", "sam2", "sam3", "edgetam", "segment anything", "segmentation"],
            description="SAM 2, SAM 2.1, SAM 3 or EdgeTAM for Segment Video, from a folder in models/crafters that "
            "holds config.json and model.safetensors, such as facebook/sam2.1-hiera-small.",
            inputs=[
                io.Combo.Input("name", options=of_type(folders.folder_names(folders.OWN), (folders.OWN,), KINDS),
                               tooltip="The folder as it is on the hub. Small is quick; large has the best edges."),
                io.Combo.Input("dtype", options=DTYPE_CHOICES, default="fp32", optional=True, advanced=True,
                               tooltip="Number type of its weights. fp32 is exact; fp16 and bf16 halve the memory."),
            ],
            outputs=[Segmenter.Output("segmenter", display_name="segmenter")],
        )

    validate_inputs = files(name=model(folders.OWN))

    @classmethod
    def execute(cls, name, dtype="fp32"):
        from ..preprocessors.segment.sam import SAM, load_sam

        loaded = Managed(load_sam(folders.path(name, folders.OWN), network_dtype(dtype)))
        notes.show(f"SAM: {loaded}.")
        return io.NodeOutput(SAM(loaded))


class CraftersSegmentPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersSegmentPrompt",
            display_name="Segment Prompt",
            category=CATEGORY,
            search_aliases=["sam", "sam2", "points", "bounding box", "click", "segmentation"],
            description="Says on one frame what to segment: points, a box, or a painted mask. Chain several for more "
            "objects, or to correct the same object on a later frame.",
            inputs=[
                io.Int.Input("frame", default=0, min=0, max=1_000_000,
                             tooltip="The frame it speaks of, counted from 0 in the frames given to Segment Video."),
                io.String.Input("inside", default="",
                                tooltip="Points on the object, x,y in pixels: 320,240 350,260. Coordinates from point "
                                "editors of other packs are understood too."),
                io.String.Input("outside", default="",
                                tooltip="Points that do not belong to it, such as a finger in front of it."),
                io.String.Input("box", default="", tooltip="A box around it: left,top,right,bottom in pixels."),
                io.Int.Input("object", default=1, min=1, max=64, optional=True, advanced=True,
                             tooltip="Which of several objects. The same number as in another prompt corrects it."),
                io.Mask.Input("mask", optional=True,
                              tooltip="Its mask on that frame, in place of points and box, at the size of the frames."),
                SegmentPrompts.Input("prompts", optional=True, tooltip="Prompts to add this one to."),
            ],
            outputs=[SegmentPrompts.Output("prompts_out", display_name="prompts")],
        )

    @classmethod
    def execute(cls, frame, inside, outside, box, object=1, mask=None, prompts=()):
        mask = None if mask is None else painted(mask)
        prompt = Prompt(frame, read_points(inside), read_points(outside), read_box(box), mask, object)
        return io.NodeOutput((*prompts, prompt))


class CraftersSegmentVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersSegmentVideo",
            display_name="Segment Video",
            category=CATEGORY,
            search_aliases=["sam", "sam2", "sam3", "mask", "track", "segmentation", "rotoscope", "matte"],
            description="Follows a person or a thing through a clip and gives its visible pixels in every frame. "
            "With SAM (Load SAM) edges are good and it comes back after it was hidden; without, colours and motion are "
            "followed: a rough mask for things that stand out. What the hands hold is found by its colours over the "
            "whole clip; where it hardly stands out, the report says so: then give a point or, better, a box.",
            inputs=[
                io.Image.Input("images", tooltip="The frames of the clip."),
                io.Combo.Input("find", options=[PROMPTED, *FINDERS], default=PROMPTED,
                               tooltip="person and what the hands hold are found by the keypoints; prompts for object "
                               "1 then correct it."),
                io.Int.Input("grow", default=0, min=-64, max=64, optional=True,
                             tooltip="Pixels to widen the finished mask by, or narrow it. 0 for object depth; a few "
                             "pixels for removing a person."),
                SegmentPrompts.Input("prompts", optional=True, tooltip="From Segment Prompt."),
                PoseKeypoint.Input("keypoints", optional=True,
                                   tooltip="The clip's pose, from Extract Pose. With it a click on what the hands hold "
                                   "finds that over the whole clip."),
                Segmenter.Input("segmenter", optional=True,
                                tooltip="From Load SAM. Without it colours and motion are followed."),
            ],
            outputs=[
                io.Mask.Output("mask", display_name="mask", tooltip="All objects together, 1 where they are seen."),
                io.Mask.Output("masks", display_name="masks", is_output_list=True,
                               tooltip="Each object by itself, by number."),
                io.Image.Output("overlay", display_name="overlay", tooltip="The mask over the clip, to look at."),
                io.String.Output("report", display_name="report",
                                 tooltip="What is in doubt, was missing or cleaned, and where."),
            ],
        )

    @classmethod
    def execute(cls, images, find, grow=0, prompts=(), keypoints=None, segmenter=None):
        from ..preprocessors.segment.flow import FlowTracker
        from ..preprocessors.segment.video import all_objects, segment_video, tinted

        poses = None if keypoints is None else follow_person(from_openpose(keypoints)[0])
        by_pose = None if find == PROMPTED else find
        tracker, progress = segmenter or FlowTracker(), Progress("Segment Video")
        masks, reports = segment_video(tracker, images, prompts, poses, by_pose, grow, progress)
        together = all_objects(masks)
        overlay = tinted(images, together)
        told = "\n".join(f"Object {number}: {report}" for number, report in reports.items())
        singles = [to_output(mask) for mask in masks.values()]
        whole = singles[0] if len(singles) == 1 else to_output(together)
        return io.NodeOutput(whole, singles, to_output(overlay), told, ui=stills(overlay))


NODES = [CraftersLoadSegmenter, CraftersSegmentPrompt, CraftersSegmentVideo]
