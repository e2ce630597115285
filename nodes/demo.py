"""Made-up input, so that every graph can be tried without a file; drawn, hence with every condition known exactly."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import to_output
from ..host.progress import Progress
from ..media.frames import to_image
from ..models.staging.gestures import GESTURES
from ..scenes.exercise import EXERCISES
from .types import Avatar, BodyModel, BodyMotion, PoseKeypoint

CATEGORY = "Crafters/Demo"
ANY = "any"


def _image(pictures):
    """IMAGE [F, H, W, 3] of uint8 pictures [(F,) H, W, 3]."""
    pictures = pictures.reshape(-1, *pictures.shape[-3:])
    return to_output(to_image(pictures, len(pictures)))


def _inputs(kinds: tuple[str, ...], what: str, width: int, height: int) -> list:
    return [
        io.Int.Input("seed", default=0, min=0, max=2**31 - 1,
                     tooltip=f"Decides {what}. The same seed always gives the same scene."),
        io.Combo.Input("split", options=["train", "test"], default="test",
                       tooltip="Which half of the people and things to draw from. Networks trained on synthetic scenes "
                       "have seen those of train, and none of those of test."),
        io.Combo.Input("kind", options=[ANY, *kinds], default=ANY,
                       tooltip="What the person does; any leaves it to the seed."),
        io.Int.Input("width", default=width, min=64, max=2048, step=16, tooltip="Of the pictures, in pixels."),
        io.Int.Input("height", default=height, min=64, max=2048, step=16, tooltip="Of the pictures, in pixels."),
        io.Int.Input("frames", default=16, min=1, max=1000, tooltip="Length of the clip."),
        io.Float.Input("fps", default=15.0, min=1.0, max=60.0, step=0.1, optional=True,
                       tooltip="Frames per second, for the speed of the movement."),
    ]


class CraftersDemoScene(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersDemoScene",
            display_name="Demo Scene",
            category=CATEGORY,
            search_aliases=["example", "test input", "sample data", "product", "presenter"],
            description="Draws a made-up person who presents a made-up product, and everything AnchorCrafter is shown: "
            "to try its graph without a file, or to compare what your own preprocessing finds with the truth.",
            inputs=_inputs(GESTURES, "person, product, room and movement", 576, 768),
            outputs=[
                io.Image.Output("frames_out", display_name="frames", tooltip="The clip."),
                io.Image.Output("person", display_name="person", tooltip="Photo of the same person in the same room."),
                io.Image.Output("left", display_name="left", tooltip="The product turned to one side, on black."),
                io.Image.Output("front", display_name="front", tooltip="The product from the front, on black."),
                io.Image.Output("right", display_name="right", tooltip="The product turned to the other side."),
                PoseKeypoint.Output("keypoints", display_name="keypoints", tooltip="The pose in every frame."),
                PoseKeypoint.Output("person_keypoints", display_name="person_keypoints", tooltip="Of the photo."),
                io.Image.Output(
                    "hand_mesh", display_name="hand_mesh", tooltip="Hands without what the product covers."
                ),
                io.Image.Output("object_depth", display_name="object_depth", tooltip="The visible product's depth."),
                io.Mask.Output("product_mask", display_name="product_mask", tooltip="1 where the product is visible."),
                io.Mask.Output("person_mask", display_name="person_mask", tooltip="1 where the person is visible."),
                io.Image.Output("background", display_name="background", tooltip="The room alone, in every frame."),
                io.Float.Output("fps_out", display_name="fps"),
            ],
        )

    @classmethod
    def execute(cls, seed, split, kind, width, height, frames, fps=15.0):
        from ..preprocessors.pose.keypoints import to_openpose
        from ..scenes.scene import make_scene

        kind = GESTURES[seed % len(GESTURES)] if kind == ANY else kind
        scene = make_scene(seed, split, (width, height), frames, fps, kind, Progress("Demo Scene"))
        return io.NodeOutput(
            _image(scene.frames),
            _image(scene.person_photo),
            *(_image(view) for view in scene.product_views),
            to_openpose(scene.poses, width, height),
            to_openpose([scene.person_pose], width, height),
            _image(scene.hand_mesh),
            _image(scene.object_depth),
            to_output(scene.product_mask),
            to_output(scene.person_mask),
            _image(scene.background),
            fps,
        )


class CraftersDemoMotionScene(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersDemoMotionScene",
            display_name="Demo Scene (AniCrafter)",
            category=CATEGORY,
            search_aliases=["example", "test input", "sample data", "avatar", "motion"],
            description="Draws a made-up person who moves in a room under a moving camera, and everything AniCrafter "
            "is shown: to try its graph without a file.",
            inputs=[
                *_inputs(EXERCISES, "person, room, movement and camera", 1024, 768),
                io.Int.Input("gaussians", default=20_000, min=100, max=500_000, step=100, optional=True,
                             tooltip="Of the avatar; more are sharper and slower to draw."),
                io.Float.Input("flaws", default=1.0, min=0.0, max=2.0, step=0.05, optional=True, advanced=True,
                               tooltip="How wrong avatar and motion are: 1 as when they are estimated from a photo and "
                               "a film, 0 exact."),
            ],
            outputs=[
                io.Image.Output("frames_out", display_name="frames", tooltip="The film, as it should come out."),
                io.Image.Output("background", display_name="background", tooltip="The film without the person."),
                io.Image.Output("character", display_name="character", tooltip="Photo of the character on white."),
                BodyMotion.Output("motion", display_name="motion", tooltip="The movement and the camera."),
                BodyModel.Output("body", display_name="body", tooltip="The body that moves: Anny, freely licensed."),
                Avatar.Output("avatar", display_name="avatar", tooltip="The character as gaussians."),
                io.Mask.Output("person_mask", display_name="person_mask", tooltip="1 where the person is visible."),
                io.Float.Output("fps_out", display_name="fps"),
            ],
        )

    @classmethod
    def execute(cls, seed, split, kind, width, height, frames, fps=15.0, gaussians=20_000, flaws=1.0):
        from ..models.body.anny import anny_body
        from ..scenes.anicrafter_data import character_photo
        from ..scenes.avatar import estimated, scene_avatar
        from ..scenes.scene import make_scene

        kind = EXERCISES[seed % len(EXERCISES)] if kind == ANY else kind
        scene = make_scene(seed, split, (width, height), frames, fps, kind, Progress("Demo Scene"))
        avatar, motion = scene_avatar(scene.person, gaussians, seed), scene.motion
        if flaws:
            avatar, motion = estimated(avatar, motion, seed, flaws)
        return io.NodeOutput(
            _image(scene.frames),
            _image(scene.background),
            _image(character_photo(scene.person, height)),
            motion,
            anny_body(),
            avatar,
            to_output(scene.person_mask),
            fps,
        )


class CraftersExampleInputs(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersExampleInputs",
            display_name="Example Inputs",
            category=CATEGORY,
            search_aliases=["load example", "test input", "sample data", "demo files"],
            description="Writes a made-up person, product, character, motion and clips into ComfyUI's input folder, "
            "under the names that the shipped workflows load: each can then be run without choosing a file.",
            inputs=[
                io.Int.Input("seed", default=1, min=0, max=2**31 - 1,
                             tooltip="Decides who and what is drawn. Files that are there stay as they are."),
            ],
            outputs=[io.String.Output("written", display_name="written",
                                      tooltip="Names of the files written, one a line.")],
            is_output_node=True,
            not_idempotent=True,  # the files may be gone since the last run
        )

    @classmethod
    def execute(cls, seed):
        from ..scenes.examples import write_examples

        written = write_examples(folders.input_folder(), seed, Progress("Example Inputs"))
        notes.show(f"{len(written)} files written. Press R, then open a workflow.")
        return io.NodeOutput("\n".join(written))


NODES = [CraftersDemoScene, CraftersDemoMotionScene, CraftersExampleInputs]
