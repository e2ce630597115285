"""Conditions kept over sessions, in a folder that remembers what each was made of; `crafters prepare` fills it too."""

import logging

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..host import folders, notes
from ..prepared.conditions import CONDITIONS, VIEWS, clip_names, contents, read_condition, read_fps
from ..prepared.folder import MANIFEST, Prepared
from ..prepared.recipes import connected, open_folder
from ..preprocessors.product.views import on_black
from .previews import stills
from .types import BodyMotion, PoseKeypoint, Product

CATEGORY = "Crafters/Clips"
FOLDER = "crafters/prepared"
# By name, type and words for the input that makes it.
KEPT = {
    "keypoints": (PoseKeypoint, "The clip's pose, from Extract Pose."),
    "product_mask": (io.Mask, "From Segment Video."),
    "object_depth": (io.Image, "From Object Depth."),
    "hand": (io.Image, "From Hand Mesh."),
    "person_mask": (io.Mask, "From Segment Video."),
    "background": (io.Image, "From Remove Person."),
    "motion": (BodyMotion, "From Body Motion from Video."),
}


class CraftersKeepConditions(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersKeepConditions",
            display_name="Keep Conditions",
            category=CATEGORY,
            search_aliases=["save conditions", "cache", "keep", "preprocess"],
            description="Writes what is connected into a folder and passes it on. Later, also after a restart, it is "
            "read from there, and the nodes before do not run, unless one of their settings or files has changed. A "
            "file that you change in the folder is used as you left it, and for its own clip only.",
            inputs=[
                io.String.Input("folder", default=FOLDER, tooltip="Below ComfyUI's output folder."),
                io.String.Input("clip", default="person_product",
                                tooltip="A name for the clip, best <person>_<product>. Another clip under the same "
                                "name takes its place, unless you have changed a file of the first."),
                io.Float.Input("fps", default=15.0, min=1.0, max=240.0, optional=True,
                               tooltip="Frames per second of the clip, for looking at what was kept."),
                *(type_.Input(what, tooltip=tooltip, optional=True, lazy=True)
                  for what, (type_, tooltip) in KEPT.items()),
            ],
            outputs=[
                *(type_.Output(f"{what}_out", display_name=what) for what, (type_, _) in KEPT.items()),
                io.String.Output("report", display_name="report", tooltip="What was made, kept, or your own."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def check_lazy_status(cls, folder, clip, **given):
        prepared = open_folder(folder, clip)
        recipes, _ = connected(cls.hidden.prompt, cls.hidden.unique_id, [*KEPT], prepared, clip)
        return [what for what, recipe in recipes.items()
                if given.get(what) is None and not prepared.holds(CONDITIONS[what].of(clip), recipe)]

    @classmethod
    def execute(cls, folder, clip, fps=15.0, **given):
        prepared = open_folder(folder, clip)
        recipes, sources = connected(cls.hidden.prompt, cls.hidden.unique_id, [*KEPT], prepared, clip)
        outputs, report = {}, {}
        for what in KEPT:
            if what not in recipes:
                outputs[what] = ExecutionBlocker(f"Keep Conditions has nothing connected as {what}: connect it.")
                continue
            condition, recipe = CONDITIONS[what], recipes[what]
            file = condition.of(clip)
            held = prepared.holds(file, recipe)
            report[what] = "your own" if prepared.is_own(file) else "kept" if held else "made"
            if not held:
                condition.put(prepared, clip, recipe, given[what], fps, sources[what])
            # Read also what was just made, so that a later session goes on with the very same.
            outputs[what] = condition.read(prepared.path(file))
        pictures = [outputs[what] for what in recipes if KEPT[what][0] is io.Image]
        shown = {"ui": stills(pictures[-1])} if pictures else {}
        told = [f"{what}: {state}" for what, state in report.items()]
        if own := [what for what, state in report.items() if state == "your own"]:
            logging.getLogger(__name__).warning("Used as you left it in %s: %s.", prepared.folder, ", ".join(own))
        notes.show(*told)
        return io.NodeOutput(*outputs.values(), "\n".join(told), **shown)

    @classmethod
    def fingerprint_inputs(cls, folder, clip, **_):
        return contents(open_folder(folder, clip), clip, own=True)


class CraftersLoadAnchorConditions(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadAnchorConditions",
            display_name="Load Conditions (AnchorCrafter)",
            category=CATEGORY,
            search_aliases=["load conditions", "cache", "prepared clip"],
            description="What Keep Conditions or `crafters prepare` wrote of a clip: everything AnchorCrafter's graph "
            "takes but the person photo.",
            inputs=[_clip_input()],
            outputs=[
                PoseKeypoint.Output("keypoints", display_name="keypoints", tooltip="For Place Pose on Person."),
                io.Image.Output("hand", display_name="hand", tooltip="For Place Condition Video."),
                io.Image.Output("object_depth", display_name="object_depth", tooltip="For Place Condition Video."),
                io.Mask.Output("product_mask", display_name="product_mask"),
                Product.Output("product", display_name="product", tooltip="For Encode Product."),
                io.Float.Output("fps", display_name="fps"),
            ],
        )

    @classmethod
    def execute(cls, clip):
        whats = ("keypoints", "hand", "object_depth", "product_mask")
        return io.NodeOutput(*_load(clip, whats), _product(clip), _fps(clip, ("hand", "object_depth")))

    @classmethod
    def fingerprint_inputs(cls, clip):
        return contents(*_chosen(clip))


class CraftersLoadAniConditions(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadAniConditions",
            display_name="Load Conditions (AniCrafter)",
            category=CATEGORY,
            search_aliases=["load conditions", "cache", "prepared clip"],
            description="What Keep Conditions or `crafters prepare` wrote of a clip: motion and background for "
            "AniCrafter's graph.",
            inputs=[_clip_input()],
            outputs=[
                BodyMotion.Output("motion", display_name="motion"),
                io.Image.Output("background", display_name="background", tooltip="The clip without its person."),
                io.Mask.Output("person_mask", display_name="person_mask"),
                PoseKeypoint.Output("keypoints", display_name="keypoints"),
                io.Float.Output("fps", display_name="fps"),
            ],
        )

    @classmethod
    def execute(cls, clip):
        whats = ("motion", "background", "person_mask", "keypoints")
        return io.NodeOutput(*_load(clip, whats), _fps(clip, ("background", "person_mask")))

    @classmethod
    def fingerprint_inputs(cls, clip):
        return contents(*_chosen(clip))


def _clip_input():
    found = [f"{folder}/{clip}" for folder in folders.output_folders(MANIFEST)
             for clip in clip_names(Prepared(folders.output_folder(folder)))]
    return io.Combo.Input("clip", options=found, tooltip="Folder below ComfyUI's output folder, and clip.")


def _chosen(choice: str) -> tuple[Prepared, str]:
    folder, _, clip = choice.rpartition("/")
    return open_folder(folder, clip), clip


def _load(choice: str, whats: tuple[str, ...]) -> list:
    return [_there(read_condition(*_chosen(choice), what), what, choice) for what in whats]


def _product(choice: str):
    views = [read_condition(*_chosen(choice), view) for view in VIEWS]
    return _there(None if any(view is None for view in views) else on_black(views), "product views", choice)


def _fps(choice: str, whats: tuple[str, ...]):
    prepared, clip = _chosen(choice)
    paths = (prepared.path(CONDITIONS[what].of(clip)) for what in whats)
    return _there(next((read_fps(path) for path in paths if path.is_file()), None), "video", choice)


def _there(value, what: str, choice: str):
    """The value; where there is none, what stops the nodes behind with a sentence."""
    told = f"{choice} has no {what.replace('_', ' ')}: make it with Keep Conditions or `crafters prepare`."
    return ExecutionBlocker(told) if value is None else value


NODES = [CraftersKeepConditions, CraftersLoadAnchorConditions, CraftersLoadAniConditions]
