"""The product: views on black, and what DINOv2 sees in them (multi-view object encoding)."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import DTYPE_CHOICES, Managed, network_dtype, to_output
from ..media.photo import mask_of
from ..preprocessors.product.views import product_views
from .choices import files, holding, model, of_type
from .previews import stills
from .types import DINOv2Model, Product, ProductTokens

CATEGORY = "Crafters/Product"
PHOTOS = 16  # further ones, each by itself
DINOV2_FOLDERS = ("clip_vision", folders.OWN)


class CraftersProductViews(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        def photo(name, which, **options):
            return io.Image.Input(name, tooltip=f"{which} Plain or transparent backgrounds become black.", **options)

        def mask(name):
            which = name.removesuffix("_mask")
            return io.Mask.Input(name, optional=True,
                                 tooltip=f"Mask of `{which}`; what it shows is set by masks_show.")

        def several(name, one, tooltip):
            template = io.Autogrow.TemplatePrefix(one, one.id, min=0, max=PHOTOS)
            return io.Autogrow.Input(name, template, optional=True, tooltip=tooltip)

        return io.Schema(
            node_id="CraftersProductViews",
            display_name="Product Views",
            category=CATEGORY,
            search_aliases=["product", "object", "multi-view", "advert", "try-on"],
            description="Cuts the product out of its photos: three views on black, the frontal one in the middle.",
            inputs=[
                photo("front", "The product from the front."),
                photo("left", "Turned to one side, about 45°. Without it the other side stands in.", optional=True),
                photo("right", "Turned to the other side, about 45°.", optional=True),
                photo("more", "A batch of further photos; the most different ones fill missing sides.", optional=True),
                *(mask(name) for name in ("front_mask", "left_mask", "right_mask", "more_mask")),
                io.Combo.Input("masks_show", options=["background", "product"], default="background", optional=True,
                               tooltip="background: masks are 1 around the product, as Load Image gives for a "
                               "transparent photo. product: masks are 1 on the product, as segmentation gives."),
                several("photos", io.Image.Input("photo"),
                        "Further photos, each of its own size; a free socket follows the last. The most different "
                        "ones fill missing sides, as those of `more` do."),
                several("masks", io.Mask.Input("mask"), "Masks of `photos`: mask0 is photo0's, and so on."),
            ],
            outputs=[
                Product.Output("product", display_name="product"),
                io.Image.Output("views", display_name="views", tooltip="What the model will see: left, front, right."),
            ],
        )

    @classmethod
    def execute(cls, front, left=None, right=None, more=None, front_mask=None, left_mask=None, right_mask=None,
                more_mask=None, masks_show="background", photos=None, masks=None):
        def first(image, mask, which):
            if image is None:
                return None, None
            mask = mask_of("product", mask, masks_show, which)
            return image[0, ..., :3].cpu(), None if mask is None else mask[0].cpu()

        arguments, masks = {}, dict(masks or {})
        sides = {"front": (front, front_mask), "left": (left, left_mask), "right": (right, right_mask)}
        for name, pair in sides.items():
            arguments[name], arguments[f"{name}_mask"] = first(*pair, f"{name}_mask")
        further, further_masks = [], []
        if more is not None:
            further += more[..., :3].cpu()
            mask = mask_of("product", more_mask, masks_show, "more_mask")
            further_masks += [None] * len(more) if mask is None else mask.cpu()
        for name, photo in (photos or {}).items():
            which = name.replace("photo", "mask")
            image, mask = first(photo, masks.pop(which, None), which)
            further.append(image)
            further_masks.append(mask)
        if masks:
            raise ValueError(f"{' and '.join(masks)} has no photo of its number: connect that, or take the mask away.")
        arguments |= {"more": further, "more_masks": further_masks}
        product = product_views(**arguments)
        return io.NodeOutput(product, to_output(product.views), ui=stills(product.views))


def _dinov2() -> list[str]:
    single = holding(folders.names(*DINOV2_FOLDERS), DINOV2_FOLDERS, "embeddings.patch_embeddings.projection.weight")
    return of_type(folders.folder_names(*DINOV2_FOLDERS), DINOV2_FOLDERS, {"dinov2"}) + single


class CraftersLoadDINOv2(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadDINOv2",
            display_name="Load DINOv2",
            category=CATEGORY,
            search_aliases=["dino", "dinov2", "image encoder", "product"],
            description="The image network that reads the product photos: facebook/dinov2-large, as a folder or a "
            "single file in models/clip_vision or models/crafters.",
            inputs=[
                io.Combo.Input("name", options=_dinov2(),
                               tooltip="Folder (config.json and model.safetensors) or file. AnchorCrafter's released "
                               "weights need DINOv2-large."),
                io.Combo.Input("dtype", options=DTYPE_CHOICES, default="auto", optional=True, advanced=True,
                               tooltip="Number type of its weights; auto chooses by hardware. fp32 is exact and twice "
                               "as large."),
            ],
            outputs=[DINOv2Model.Output("dinov2", display_name="dinov2")],
        )

    validate_inputs = files(name=model(*DINOV2_FOLDERS))

    @classmethod
    def execute(cls, name, dtype="auto"):
        from ..models.anchorcrafter.encoders import DINOv2, load_dinov2

        loaded = Managed(load_dinov2(folders.path(name, *DINOV2_FOLDERS), network_dtype(dtype)))
        notes.show(f"DINOv2: {loaded}.")
        return io.NodeOutput(DINOv2(loaded))


class CraftersEncodeProduct(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersEncodeProduct",
            display_name="Encode Product",
            category=CATEGORY,
            search_aliases=["dino", "dinov2", "product", "object embedding"],
            description="Reads the three views with DINOv2.",
            inputs=[
                Product.Input("product", tooltip="From Product Views."),
                DINOv2Model.Input("dinov2", tooltip="From Load DINOv2."),
            ],
            outputs=[ProductTokens.Output("tokens", display_name="tokens")],
        )

    @classmethod
    def execute(cls, product, dinov2):
        from ..models.anchorcrafter.conditions import ProductTokens as Tokens

        return io.NodeOutput(Tokens(product.views, dinov2.tokens(product.views)))


NODES = [CraftersProductViews, CraftersLoadDINOv2, CraftersEncodeProduct]
