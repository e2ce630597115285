"""A shot directed without a driving clip: who does what with a product, and where a motion takes place."""

from comfy_api.latest import io

from ..host.memory import to_output
from ..host.progress import Progress
from ..media.frames import to_image
from ..models.staging.gestures import GESTURES
from ..models.staging.product_solid import KINDS
from ..preprocessors.directed.hold import GRIPS, PLACES
from ..preprocessors.directed.present import HANDS
from ..preprocessors.directed.stage import PATHS
from ..preprocessors.pose.follow import follow_person
from ..preprocessors.pose.keypoints import from_openpose, to_openpose
from .previews import STILLS, stills
from .types import Avatar, BodyModel, BodyMotion, HeldProduct, PoseKeypoint, Product, Rig

CATEGORY = "Crafters/Direct"


def _size_inputs():
    def side(name, which):
        return io.Float.Input(name, default=0.0, min=0.0, max=500.0, step=0.5,
                              tooltip=f"The product's real {which} in centimetres; 0 guesses it.")

    return [
        io.Combo.Input("kind", options=list(KINDS),
                       tooltip="The product's shape: it decides the depth, and sizes that are not given."),
        side("width", "width"),
        side("height", "height"),
        side("depth", "depth, front to back,"),
    ]


class CraftersPresentProduct(io.ComfyNode):
    @classmethod
    def define_schema(cls):
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
                *_size_inputs(),
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
            (done.product,),
            fps,
            done.report,
            ui=stills(overview(done, person[:1], STILLS)),
        )


class CraftersHoldProduct(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersHoldProduct",
            display_name="Hold Product",
            category=CATEGORY,
            search_aliases=["hold object", "prop", "in hand", "product", "on a table", "grip"],
            description="Puts a product into a hand of any motion, into both, or onto a table in the scene: fingers "
            "close on it, and Render Avatar and Render Body Mesh draw it where it belongs. Chain several.",
            inputs=[
                BodyMotion.Input("motion", tooltip="From Load Motion, or the motion of an earlier Hold Product."),
                BodyModel.Input("body", tooltip="From Load Body Model: the one that the avatar is rigged by."),
                Product.Input("product", tooltip="From Product Views: the front view gives the outline, all views the "
                              "looks."),
                *_size_inputs(),
                io.Combo.Input("hand", options=list(PLACES), default=PLACES[0],
                               tooltip="The person's own hand, which goes where it went. both: the product is between "
                               "the hands, upright before the chest. table: it stands fixed in the scene."),
                io.Combo.Input("grip", options=list(GRIPS), default=GRIPS[0],
                               tooltip="Whether the hand is at the product's side, or below it, palm up."),
                io.Float.Input("offset", default=0.0, min=-100.0, max=100.0, step=0.5,
                               tooltip="Centimetres from the product's middle to the hand: upwards at its side, to its "
                               "front from below."),
                io.Float.Input("turn", default=0.0, min=-360.0, max=360.0, step=5.0,
                               tooltip="Degrees by which the product is turned about its own height in the hand, or on "
                               "the table; positive turns its front to the picture's left."),
                HeldProduct.Input("held_product", optional=True,
                                  tooltip="What is held already, from an earlier Hold Product or Present Product."),
                io.Float.Input("x", default=0.5, min=0.0, max=1.0, step=0.01, optional=True, advanced=True,
                               tooltip="On a table: where the middle of its foot is seen, from the picture's left, 0, "
                               "to its right, 1."),
                io.Float.Input("y", default=0.9, min=0.0, max=1.0, step=0.01, optional=True, advanced=True,
                               tooltip="On a table: where its foot is seen, from the picture's top, 0, to its bottom, "
                               "1."),
                io.Float.Input("nearer", default=0.3, min=-20.0, max=20.0, step=0.05, optional=True, advanced=True,
                               tooltip="On a table: metres by which it is nearer to the camera than the person in the "
                               "first frame; negative is behind."),
            ],
            outputs=[
                BodyMotion.Output("motion_out", display_name="motion",
                                  tooltip="With fingers closed on the product. Render this one."),
                HeldProduct.Output("held", display_name="held_product",
                                   tooltip="All products so far, for Render Avatar, Render Body Mesh or another Hold "
                                   "Product."),
                io.String.Output("report", display_name="report", tooltip="The product's size, and where it is."),
            ],
        )

    @classmethod
    def execute(cls, motion, body, product, held_product=(), **how):
        from ..preprocessors.directed.hold import hold, overview

        held = hold(body, motion, product, earlier=held_product, **how)
        return io.NodeOutput(*held, ui=stills(overview(body, held, STILLS)))


class CraftersStagePerson(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        def share(name, default, tooltip):
            return io.Float.Input(name, default=default, min=-1.0, max=2.0, step=0.001, tooltip=tooltip)

        def horizon():
            return share("horizon", 0.5, "Where the horizon is, or would be, as a share of the picture's height from "
                         "above: where lines along the ground meet, or the eyes of people as tall as the camera. 0.5: "
                         "the camera looks straight ahead; less: it looks down.")

        def camera_height():
            return io.Float.Input("camera_height", default=1.5, min=0.01, max=1000.0, step=0.01,
                                  tooltip="Metres from the ground up to the camera.")

        def pixels():
            return io.Float.Input("pixels", default=400.0, min=4.0, max=100_000.0, step=1.0,
                                  tooltip="From the lowest point of the feet to the top of the head, as the person "
                                  "stands in the chosen frame.")

        def angle():
            return io.Float.Input("field_of_view", default=60.0, min=5.0, max=150.0, step=1.0,
                                  tooltip="Degrees the camera sees over the picture's longer side. A phone: 65 to 75, "
                                  "zoomed in less.")

        def path():
            return io.Combo.Input("path", options=list(PATHS), default=PATHS[0],
                                  tooltip="standing: the motion begins at that person's place and goes its own way. "
                                  "frame by frame: it goes where that person goes.")

        return io.Schema(
            node_id="CraftersStagePerson",
            display_name="Stage Person",
            category=CATEGORY,
            search_aliases=["place person", "position", "scene", "camera", "ground", "wan animate", "scail", "vace"],
            description="Puts a motion into a picture by what can be seen there: where the feet stand, how tall the "
            "person is, where the horizon is. What is drawn from the motion then is in that place to the pixel.",
            inputs=[
                BodyMotion.Input("motion", tooltip="What the person does: from Load Motion, Body Motion from Video or "
                                 "Present Product."),
                BodyModel.Input("body", tooltip="From Load Body Model: SMPL-X, or Anny. The same draws the mesh."),
                io.Image.Input("background", tooltip="The scene, a picture or a clip without the person. Its size is "
                               "that of the result."),
                io.DynamicCombo.Input("place", tooltip="How the place is told: by a point of the picture, or by who "
                                      "was there in a clip of it.", options=[
                    io.DynamicCombo.Option("at a point", [
                        share("feet_x", 0.5, "The middle between the feet, as a share of the picture's width from the "
                              "left."),
                        share("feet_y", 0.9, "The lowest point of the feet, as a share of the picture's height from "
                              "above. More than 1 is below the picture, for a person that it cuts off."),
                        io.DynamicCombo.Input("size", tooltip="What is known of the person's size; the rest follows.",
                                              options=[
                            io.DynamicCombo.Option("pixels and horizon", [pixels(), horizon()]),
                            io.DynamicCombo.Option("pixels and camera height", [pixels(), camera_height()]),
                            io.DynamicCombo.Option("metres, camera height and horizon", [
                                io.Float.Input("metres", default=0.0, min=0.0, max=100.0, step=0.01,
                                               tooltip="How tall the person really is; 0 takes the body's own height."),
                                camera_height(), horizon(),
                            ]),
                        ]),
                        angle(),
                    ]),
                    io.DynamicCombo.Option("where a clip's person is", [
                        PoseKeypoint.Input("keypoints", tooltip="The pose of that person, from Extract Pose on a clip "
                                           "or photo of the scene."),
                        path(), horizon(), angle(),
                    ]),
                    io.DynamicCombo.Option("where a motion's person is", [
                        BodyMotion.Input("clip_motion", tooltip="That person's motion in a clip of the scene, with its "
                                         "camera: from Body Motion from Video."),
                        path(), horizon(),
                    ]),
                ]),
                io.DynamicCombo.Input("facing", tooltip="Which way the person faces in the chosen frame; the path "
                                      "turns with them.", options=[
                    io.DynamicCombo.Option("as in the motion", []),
                    io.DynamicCombo.Option("degrees", [
                        io.Float.Input("degrees", default=0.0, min=-360.0, max=360.0, step=1.0,
                                       tooltip="0 faces the camera, 90 the picture's right, 180 away, -90 the left."),
                    ]),
                ]),
                io.Int.Input("frame", default=1, min=1, max=1_000_000, optional=True,
                             tooltip="The motion's frame, counted from 1, in which the person stands there."),
                io.Boolean.Input("on_ground", default=False, optional=True,
                                 tooltip="The lowest point of the body touches the ground in every frame. For motions "
                                 "from a video, whose distance wavers; jumps are lost."),
                io.Float.Input("filmed_pitch", default=0.0, min=-89.0, max=89.0, step=0.5, optional=True, advanced=True,
                               tooltip="Degrees that the camera looked down with which the motion was filmed, if the "
                               "person leans without reason. 0 for motion capture."),
                Avatar.Input("avatar", optional=True,
                             tooltip="Who is drawn: then feet and head are the avatar's, with its shoes and hair, and "
                             "the motion takes its shape."),
                Rig.Input("rig", optional=True, tooltip="From Rig Avatar, for this avatar."),
            ],
            outputs=[
                BodyMotion.Output("motion_out", display_name="motion",
                                  tooltip="Before a camera that sees the background at its size: for Render Avatar, "
                                  "Render Body Mesh and Pose from Motion."),
                io.Int.Output("width", display_name="width", tooltip="Of the background."),
                io.Int.Output("height", display_name="height", tooltip="Of the background."),
                io.String.Output("report", display_name="report",
                                 tooltip="Feet, head and distance in the chosen frame, and the camera."),
            ],
        )

    @classmethod
    def execute(cls, motion, body, background, place, facing, frame=1, on_ground=False, filmed_pitch=0.0, avatar=None,
                rig=None):
        from ..preprocessors.directed.stage import check_still, overview, stage_person

        height, width = background.shape[1:3]
        where = _place(place, body, motion)
        staged = stage_person(motion, body, (width, height), where, facing.get("degrees"), frame, filmed_pitch,
                              on_ground, avatar, rig)
        check_still(background, where)
        pictures = stills(overview(staged, body, background, STILLS))
        return io.NodeOutput(staged.motion, width, height, staged.report, ui=pictures)


def _place(place: dict, body, motion):
    """What the inputs of a choice of `place` say, as a Spot or a Track."""
    from ..preprocessors.directed.stage import Spot, Track, clip_person

    told = {name: value for name, value in place.items() if name not in ("place", "size")}
    if "size" in place:
        return Spot(**told, **{name: value for name, value in place["size"].items() if name != "size"})
    if "keypoints" in place:
        poses, size = from_openpose(told.pop("keypoints"))
        angle, progress = told.pop("field_of_view"), Progress("Stage Person")
        clip = clip_person(body, follow_person(poses), size, motion.fps, angle, progress)
    else:
        clip = told.pop("clip_motion")
    return Track(clip, **told)


NODES = [CraftersPresentProduct, CraftersHoldProduct, CraftersStagePerson]
