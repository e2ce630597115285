"""A photo's person told what to do with a product: conditions without a driving clip."""

from comfy_api.latest import io

from ..host.memory import to_output
from ..host.progress import Progress
from ..media.frames import to_image
from ..models.staging.gestures import GESTURES
from ..models.staging.product_solid import KINDS
from ..preprocessors.directed.present import HANDS
from ..preprocessors.pose.follow import follow_person
from ..preprocessors.pose.keypoints import from_openpose, to_openpose
from .previews import STILLS, stills
from .types import BodyModel, BodyMotion, HeldProduct, PoseKeypoint, Product

CATEGORY = "Crafters/Direct"


class CraftersPresentProduct(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        def side(name, which):
            return io.Float.Input(name, default=0.0, min=0.0, max=500.0, step=0.5,
                                  tooltip=f"The product's real {which} in centimetres; 0 guesses it.")

        return io.Schema(
            node_id="CraftersPresentProduct",
            display_name="Present Product",
            category=CATEGORY,
            search_aliases=["no driving clip", "gesture", "presenter", "product", "hold object", "direct", "script"],
            description="Tells the person of a photo what to do with a product, in place of a driving clip: pose, hand "
            "mesh and object depth come out in the photo's own place and size, with nothing to place.",
            inputs=[
                io.Image.Input("person", tooltip="The fitted person photo; its size is the video's."),
                PoseKeypoint.Input("keypoints", tooltip="Its pose, from Extract Pose."),
                BodyModel.Input("body", tooltip="From Load Body Model: SMPL-X, or Anny."),
                Product.Input("product", tooltip="From Product Views: the front view gives the outline."),
                io.String.Input("gestures", default="raise, turn, offer",
                                tooltip=f"Of {', '.join(GESTURES)}: one, several that share the time, or several with "
                                "their times in seconds, such as raise 0-2, turn 2-4, offer 4-6. Between gestures the "
                                "product is held still."),
                io.Combo.Input("hand", options=list(HANDS), default=HANDS[0],
                               tooltip="The person's own hand that holds the product. To point at it, the other must "
                               "be free."),
                io.Combo.Input("kind", options=list(KINDS),
                               tooltip="The product's shape: it decides the depth, and sizes that are not given."),
                side("width", "width"),
                side("height", "height"),
                side("depth", "depth, front to back,"),
                io.Float.Input("seconds", default=4.0, min=0.5, max=120.0, step=0.1, tooltip="Length of the video."),
                io.Float.Input("fps", default=15.0, min=1.0, max=60.0, step=0.1,
                               tooltip="Frames per second. AnchorCrafter learned 15."),
                io.Int.Input("seed", default=0, min=0, max=2**31 - 1, control_after_generate=True,
                             tooltip="Decides grip and small movements."),
                io.Float.Input("field_of_view", default=0.0, min=0.0, max=150.0, step=1.0, optional=True,
                               advanced=True,
                               tooltip="Degrees the camera sees over the photo's longer side. A phone: 65 to 75, "
                               "zoomed in less; 0 takes 60, less for a close-up."),
            ],
            outputs=[
                PoseKeypoint.Output("keypoints_out", display_name="keypoints",
                                    tooltip="The pose in every frame, for Draw Pose."),
                io.Image.Output("hand_mesh", display_name="hand_mesh",
                                tooltip="Hands without what the product covers, for Anchor Condition."),
                io.Image.Output("object_depth", display_name="object_depth",
                                tooltip="The visible product's depth, for Anchor Condition."),
                io.Mask.Output("product_mask", display_name="product_mask",
                               tooltip="1 where the product is visible."),
                BodyMotion.Output("motion", display_name="motion",
                                  tooltip="The body's motion before the photo's camera."),
                HeldProduct.Output("held", display_name="held_product",
                                   tooltip="The product as a solid, and its place in every frame."),
                io.Float.Output("fps_out", display_name="fps"),
                io.String.Output("report", display_name="report",
                                 tooltip="Gestures with their times, the product's size, how well the body fits."),
            ],
        )

    @classmethod
    def execute(cls, person, keypoints, body, product, fps, **script):
        from ..preprocessors.directed.present import direct, overview

        height, width = person.shape[1:3]
        pose = follow_person(from_openpose(keypoints)[0])[0]
        done = direct(body, pose, (width, height), product, fps=fps, on_step=Progress("Present Product"), **script)
        poses, hand_mesh, object_depth, mask = done.conditions
        return io.NodeOutput(
            to_openpose(poses, width, height),
            to_output(to_image(hand_mesh, len(hand_mesh))),
            to_output(to_image(object_depth, len(object_depth))),
            to_output(mask),
            done.motion,
            done.product,
            fps,
            done.report,
            ui=stills(overview(done, person[:1], STILLS)),
        )


NODES = [CraftersPresentProduct]
