"""Measuring a generated clip against the true one."""

import sys

from comfy_api.latest import io, ui

from ..host import folders
from ..host.memory import Managed, to_output
from ..host.progress import Progress
from ..media.frames import Levels, levels
from ..metrics import CLEAN, METRICS
from .types import PoseKeypoint

CATEGORY = "Crafters/Evaluate"


class CraftersEvaluateClips(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersEvaluateClips",
            display_name="Evaluate Clips",
            category=CATEGORY,
            search_aliases=["metrics", "fid", "fvd", "psnr", "ssim", "lpips", "compare videos"],
            description="Measures a generated clip against the true one with the metrics of AnchorCrafter's paper and "
            "others. What lacks its weights, masks or poses is named below the table, and the rest is measured.",
            inputs=[
                io.Image.Input("truth", tooltip="The true frames, showing the same picture as the generated ones."),
                io.Image.Input("result", tooltip="The generated frames, as many; another size is resized to the true "
                               "one's if the shape is the same."),
                io.Mask.Input("truth_mask", optional=True, tooltip="The product in the true frames. For Obj-IoU, "
                              "Obj-CLIP, and PSNR and SSIM inside and outside it."),
                io.Mask.Input("result_mask", optional=True, tooltip="The product in the generated frames. For Obj-IoU "
                              "and Obj-CLIP."),
                PoseKeypoint.Input("truth_pose", optional=True, tooltip="Poses of the true frames, from Extract Pose. "
                                   "For the landmark distances of hands and body."),
                PoseKeypoint.Input("result_pose", optional=True, tooltip="Poses of the generated frames. For the "
                                   "landmark distances, and Face-Cos."),
                io.Image.Input("person", optional=True, tooltip="The reference photo of the person. For Face-Cos."),
                PoseKeypoint.Input("person_pose", optional=True, tooltip="Pose of the reference photo. For Face-Cos."),
                io.ClipVision.Input("clip_vision", optional=True, tooltip="A CLIP for Obj-CLIP and background "
                                    "consistency in place of the folder clip_vision/clip-vit-base-patch32. The numbers "
                                    "are then not comparable with the paper's."),
                io.String.Input("metrics", default="", optional=True, tooltip="Which metrics, separated by commas; "
                                f"empty for all. There are {', '.join(METRICS)}."),
                io.Int.Input("threshold", default=CLEAN, min=0, max=254, optional=True, advanced=True,
                             tooltip="Grey level above which a mask surely shows the product. The published rule, "
                             "every level above 0, is always reported too."),
            ],
            outputs=[
                io.String.Output("table", display_name="table", tooltip="The results as a Markdown table."),
                io.String.Output("json", display_name="json", tooltip="All numbers, those of each frame too."),
                io.Image.Output("plot", display_name="plot", tooltip="The metrics over the frames."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, truth, result, truth_mask=None, result_mask=None, truth_pose=None, result_pose=None, person=None,
                person_pose=None, clip_vision=None, metrics="", threshold=CLEAN):
        from ..metrics.evaluate import evaluate
        from ..metrics.networks import Networks
        from ..metrics.pair import Pair
        from ..metrics.plot import plot

        pair = Pair(
            Levels(truth[..., :3]),
            Levels(result[..., :3]),
            None if truth_mask is None else Levels(truth_mask),
            None if result_mask is None else Levels(result_mask),
            _poses(truth_pose),
            _poses(result_pose),
            None if person is None else levels(person[0, ..., :3]),
            None if person_pose is None else _poses(person_pose)[0],
        )
        chosen = [name.strip() for name in metrics.split(",") if name.strip()]
        networks = Networks(folders.path, Managed, clip_vision)
        report = evaluate({"clip": lambda: pair}, networks, chosen, threshold, Progress("Evaluate Clips"))
        table, picture = report.markdown(), to_output(plot(report))[None] / 255
        _show_below(getattr(cls.hidden, "unique_id", None), table)
        shown = {**ui.PreviewText(table).as_dict(), **ui.PreviewImage(picture, cls=cls).as_dict()}
        return io.NodeOutput(table, report.json(), picture, ui=shown)


def _poses(keypoints):
    """The largest person of the clip."""
    from ..preprocessors.pose.follow import follow_person
    from ..preprocessors.pose.keypoints import from_openpose

    return None if keypoints is None else follow_person(from_openpose(keypoints)[0])


def _show_below(node_id: str | None, text: str) -> None:
    """Only the node Preview Any shows a `ui` text; what a node says while it runs is shown below any."""
    server = sys.modules.get("server")
    if server and node_id:
        server.PromptServer.instance.send_progress_text(text, node_id)


NODES = [CraftersEvaluateClips]
