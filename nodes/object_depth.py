"""The object-depth condition of a clip, a stand-in's proportions, and product views from a clip."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import DTYPE_CHOICES, Managed, network_dtype, to_output
from ..host.progress import Progress
from ..media.frames import to_image
from .choices import files, model, of_type
from .previews import stills
from .product import CATEGORY
from .types import DepthNetwork, Product


class CraftersLoadDepth(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        from ..preprocessors.product.object_depth import KINDS

        return io.Schema(
            node_id="CraftersLoadDepth",
            display_name="Load Depth Network",
            category=CATEGORY,
            search_aliases=["depth anything", "depth", "midas", "depth estimation"],
            description="Depth Anything V2 or DPT for Object Depth, from a folder in models/crafters that holds "
            "config.json and model.safetensors, such as depth-anything/Depth-Anything-V2-Small-hf.",
            inputs=[
                io.Combo.Input("name", options=of_type(folders.folder_names(folders.OWN), (folders.OWN,), KINDS),
                               tooltip="The folder as on the hub."),
                io.Combo.Input("dtype", options=DTYPE_CHOICES, default="fp32", optional=True, advanced=True,
                               tooltip="Number type of its weights. fp32 is exact; fp16 and bf16 halve the memory."),
            ],
            outputs=[DepthNetwork.Output("network", display_name="network")],
        )

    validate_inputs = files(name=model(folders.OWN))

    @classmethod
    def execute(cls, name, dtype="fp32"):
        from ..preprocessors.product import object_depth

        loaded = Managed(object_depth.load_depth(folders.path(name, folders.OWN), network_dtype(dtype)))
        notes.show(f"Depth network: {loaded}.")
        return io.NodeOutput(object_depth.DepthNetwork(loaded))


class CraftersObjectDepth(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersObjectDepth",
            display_name="Object Depth",
            category=CATEGORY,
            search_aliases=["depth anything", "depth map", "product depth"],
            description="AnchorCrafter's object-depth video: the visible product in colours of its depth, black "
            "elsewhere. Without a network the product's outline gets a smooth relief.",
            inputs=[
                io.Image.Input("images", tooltip="Frames of the driving clip, whole: they set the range of the depth."),
                io.Mask.Input("mask", tooltip="The product's visible pixels in every frame, from Segment Video; "
                              "fingers in front of it are not part of it."),
                DepthNetwork.Input("network", optional=True,
                                   tooltip="From Load Depth Network. Without it the depth is a relief made from the "
                                   "mask, which is what little the model needs."),
            ],
            outputs=[io.Image.Output("depth", display_name="depth", tooltip="For Place Condition Video.")],
        )

    @classmethod
    def execute(cls, images, mask, network=None):
        from ..preprocessors.product.object_depth import object_depth_pictures

        coloured = object_depth_pictures(images, mask, network, Progress("Object Depth"))
        depth = to_output(to_image(coloured, len(images)))
        return io.NodeOutput(depth, ui=stills(depth))


class CraftersFitStandIn(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersFitStandIn",
            display_name="Fit Stand-in",
            category=CATEGORY,
            search_aliases=["stand-in", "product depth", "fit object"],
            description="When the clip shows another object than the product, of like shape: stretches its depth and "
            "mask to the product's proportions, about its middle.",
            inputs=[
                io.Image.Input("depth", tooltip="From Object Depth, of the stand-in."),
                io.Mask.Input("mask", tooltip="The stand-in's mask, as given to Object Depth."),
                Product.Input("product", tooltip="From Product Views: the real product, whose front view decides."),
                io.Float.Input("scale", default=1.0, min=0.2, max=5.0, step=0.01,
                               tooltip="1 covers as much of the picture as the stand-in; larger if the product is."),
                io.Float.Input("shift_x", default=0.0, min=-2.0, max=2.0, step=0.01, optional=True,
                               tooltip="Moves it right, in widths of the stand-in."),
                io.Float.Input("shift_y", default=0.0, min=-2.0, max=2.0, step=0.01, optional=True,
                               tooltip="Moves it down, in heights of the stand-in."),
            ],
            outputs=[
                io.Image.Output("fitted", display_name="depth"),
                io.Mask.Output("fitted_mask", display_name="mask", tooltip="For the hand mesh, which it cuts."),
            ],
        )

    @classmethod
    def execute(cls, depth, mask, product, scale, shift_x=0.0, shift_y=0.0):
        from ..preprocessors.product.stand_in import fit_stand_in, proportions

        aspect, progress = proportions(product.masks[1:2]), Progress("Fit Stand-in")
        fitted, shape = fit_stand_in(depth[..., :3], mask, aspect, scale, (shift_x, shift_y), progress)
        return io.NodeOutput(to_output(fitted), to_output(shape), ui=stills(fitted))


class CraftersProductViewsFromClip(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersProductViewsFromClip",
            display_name="Product Views from Clip",
            category=CATEGORY,
            search_aliases=["product", "object", "multi-view", "cut out"],
            description="Picks three frames of a clip in which the product is turned, large, sharp and whole, and cuts "
            "it out: three views on black, the frontal one in the middle.",
            inputs=[
                io.Image.Input("images", tooltip="A clip in which the product is turned, or the driving clip itself. "
                               "Hands leave holes: a turn on a table is best."),
                io.Mask.Input("mask", tooltip="The product in every frame, from Segment Video."),
                io.Int.Input("front", default=-1, min=-1, max=1_000_000, optional=True,
                             tooltip="The frame that shows the front; -1 takes the largest and sharpest."),
            ],
            outputs=[
                Product.Output("product", display_name="product"),
                io.Image.Output("views", display_name="views", tooltip="What the model will see: left, front, right."),
                io.String.Output("chosen", display_name="frames", tooltip="The chosen frames: left, front, right."),
            ],
        )

    @classmethod
    def execute(cls, images, mask, front=-1):
        from ..preprocessors.product.from_clip import views_from_clip
        from ..preprocessors.product.views import ProductViews

        views, masks, frames = views_from_clip(images, mask, front, Progress("Product Views from Clip"))
        product, views = ProductViews(views, masks), to_output(views)
        return io.NodeOutput(product, views, ", ".join(map(str, frames)), ui=stills(views))


NODES = [CraftersLoadDepth, CraftersObjectDepth, CraftersFitStandIn, CraftersProductViewsFromClip]
