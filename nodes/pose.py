"""Pose: found by DWPose, placed on the person, drawn."""

from comfy_api.latest import io

from ..host import folders, notes
from ..host.memory import to_output
from ..host.progress import Progress
from ..media.frames import to_image
from ..preprocessors.pose.extract import extract_poses
from ..preprocessors.pose.follow import follow_person
from ..preprocessors.pose.keypoints import from_openpose, to_openpose
from ..preprocessors.pose.placement import FITS, VISIBLE_JOINTS
from .choices import files, model
from .previews import stills
from .types import BodyModel, BodyMotion, Placement, PoseDetector, PoseKeypoint

CATEGORY = "Crafters/Pose"


def _onnx_files(mark: str) -> list[str]:
    """ONNX files, the likeliest for the widget first."""
    return folders.likeliest_first(mark, folders.OWN, suffixes={".onnx"})


class CraftersLoadDWPose(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersLoadDWPose",
            display_name="Load DWPose",
            category=CATEGORY,
            search_aliases=["openpose", "dwpose", "pose detector", "skeleton", "onnx"],
            description="Opens DWPose's two ONNX networks from the folder models/crafters.",
            inputs=[
                io.Combo.Input("detector", options=_onnx_files("yolo"),
                               tooltip="Person detector: yolox_l.onnx. Finds the people's boxes."),
                io.Combo.Input("pose", options=_onnx_files("dw-ll"),
                               tooltip="Whole-body pose network: dw-ll_ucoco_384.onnx. Finds 133 points per person."),
                io.Combo.Input("provider", options=["auto", "cpu"], default="auto", optional=True, advanced=True,
                               tooltip="auto runs on the GPU where the installed onnxruntime can; cpu never does. The "
                               "result is the same, a CPU takes seconds per frame."),
            ],
            outputs=[
                PoseDetector.Output("detector_out", display_name="detector"),
                io.String.Output("provider_out", display_name="provider", tooltip="What it really runs on."),
            ],
        )

    validate_inputs = files(detector=model(folders.OWN), pose=model(folders.OWN))

    @classmethod
    def execute(cls, detector, pose, provider="auto"):
        from ..preprocessors.pose.dwpose import DWPose

        dwpose = DWPose(folders.path(detector, folders.OWN), folders.path(pose, folders.OWN), provider)
        notes.show(f"Runs on {dwpose.provider}.")
        return io.NodeOutput(dwpose, dwpose.provider)


class CraftersExtractPose(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersExtractPose",
            display_name="Extract Pose",
            category=CATEGORY,
            search_aliases=["openpose", "dwpose", "skeleton", "keypoints", "pose estimation"],
            description="Finds body, face and hands of one person, chosen once for the whole clip, in every frame.",
            inputs=[
                PoseDetector.Input("detector", tooltip="From Load DWPose."),
                io.Image.Input("images", tooltip="Frames, or the person photo."),
                io.Int.Input("person", default=0, min=0, max=20, optional=True,
                             tooltip="Which person, the same through the clip: 0 the largest, 1 the next largest, and "
                             "so on."),
                io.String.Input("click", default="", optional=True,
                                tooltip="In place of the number: x,y in pixels on the person, in the first frame in "
                                "which somebody is there."),
                io.Int.Input("detect_every", default=1, min=1, max=30, optional=True, advanced=True,
                             tooltip="Look for people in every n-th frame, and between where they just were: 5 saves "
                             "most of the person detector's time. It looks again at once at cuts, where people "
                             "overlap and when somebody leaves their place."),
            ],
            outputs=[
                PoseKeypoint.Output("keypoints", display_name="keypoints",
                                    tooltip="OpenPose JSON with each point's confidence."),
                PoseKeypoint.Output("keypoints_seen", display_name="keypoints_seen",
                                    tooltip="The same with score 1 where a point is seen and 0 where not: for other "
                                    "packs, such as controlnet_aux, which drop what scores less."),
            ],
        )

    @classmethod
    def execute(cls, detector, images, person=0, click="", detect_every=1):
        from ..preprocessors.segment.prompts import read_points

        points = read_points(click)
        if len(points) > 1:
            raise ValueError(f"Extract Pose follows one person, but {len(points)} points were given as its click.")
        clicked, progress = points[0] if points else None, Progress("Extract Pose")
        poses = extract_poses(detector, images, person, progress, clicked, detect_every)
        size = images.shape[2], images.shape[1]
        return io.NodeOutput(to_openpose(poses, *size), to_openpose([pose.seen() for pose in poses], *size))


class CraftersPlacePose(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersPlacePose",
            display_name="Place Pose on Person",
            category=CATEGORY,
            search_aliases=["align pose", "retarget", "pose alignment", "mimicmotion"],
            description="Scales and shifts the driving motion so that it fits the person of the photo. The same "
            "placement moves the hand-mesh and depth videos along.",
            inputs=[
                PoseKeypoint.Input("driving", tooltip="Pose of the driving clip. A frame without a person is allowed."),
                PoseKeypoint.Input("reference", tooltip="Pose of the fitted person photo."),
                io.Combo.Input("fit", options=list(FITS), default=VISIBLE_JOINTS, optional=True,
                               tooltip="visible joints: the size of what both show counts, as it does for half bodies "
                               "and close-ups. published: heights alone, also of joints that the clip only guesses."),
            ],
            outputs=[
                PoseKeypoint.Output("keypoints", display_name="keypoints", tooltip="The motion on the photo's canvas."),
                Placement.Output("placement", display_name="placement", tooltip="For Place Condition Video."),
            ],
        )

    @classmethod
    def execute(cls, driving, reference, fit=VISIBLE_JOINTS):
        from ..preprocessors.pose.placement import fit_placement, place_pose

        poses, size = from_openpose(driving)
        photo, photo_size = from_openpose(reference)
        poses, photo = follow_person(poses), follow_person(photo)
        placement = fit_placement(poses, photo[0], size, photo_size, fit)
        placed = [place_pose(pose, placement) for pose in poses]
        return io.NodeOutput(to_openpose(placed, *photo_size), placement)


class CraftersDrawPose(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersDrawPose",
            display_name="Draw Pose",
            category=CATEGORY,
            search_aliases=["openpose", "dwpose", "skeleton", "stick figure", "render pose", "mimicmotion"],
            description="Draws keypoints as AnchorCrafter and MimicMotion learned to read them: colour fades with "
            "confidence. A frame without a person is black.",
            inputs=[
                PoseKeypoint.Input("keypoints", tooltip="Pose to draw, at its canvas size in pixels."),
                io.Boolean.Input("antialias", default=False, optional=True, advanced=True,
                                 tooltip="Keeps thin lines whole on pictures far smaller than the published 576×1024. "
                                 "Off is what the released models learned."),
                io.Boolean.Input("faces", default=True, optional=True, advanced=True,
                                 tooltip="Draw the face's points too, as AnchorCrafter and MimicMotion learned. Off "
                                 "for Wan-Animate, which sees the face in a video of its own (Face Clip)."),
            ],
            outputs=[io.Image.Output("image", display_name="image")],
        )

    @classmethod
    def execute(cls, keypoints, antialias=False, faces=True):
        from ..preprocessors.pose.draw_pose import pose_pictures

        poses, size = from_openpose(keypoints)
        drawn = pose_pictures(poses, *size, antialias, Progress("Draw Pose"), faces)
        return io.NodeOutput(to_output(to_image(drawn, len(poses))))


class CraftersPlaceVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersPlaceVideo",
            display_name="Place Condition Video",
            category=CATEGORY,
            search_aliases=["align video", "transform", "warp"],
            description="Moves a condition video of the driving clip (hand mesh, object depth) to where the pose was "
            "placed on the person.",
            inputs=[
                io.Image.Input("images", tooltip="Condition frames that show the same picture as the driving clip."),
                Placement.Input("placement", tooltip="From Place Pose on Person."),
            ],
            outputs=[io.Image.Output("placed", display_name="images")],
        )

    @classmethod
    def execute(cls, images, placement):
        from ..preprocessors.pose.placement import place_video

        return io.NodeOutput(place_video(images[..., :3], placement, Progress("Place Condition Video")))


class CraftersPoseFromMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersPoseFromMotion",
            display_name="Pose from Motion",
            category=CATEGORY,
            search_aliases=["openpose", "dwpose", "skeleton", "keypoints", "mocap", "amass", "smplx"],
            description="The keypoints of a body that moves, so that motion capture drives MimicMotion, AnchorCrafter "
            "and every other model that follows a pose. What is hidden or outside the picture scores low.",
            inputs=[
                BodyMotion.Input("motion", tooltip="From Load Motion, Body Motion from Video or Present Product."),
                BodyModel.Input("body", tooltip="From Load Body Model: SMPL-X, or Anny."),
                io.Int.Input("width", default=0, min=0, max=8192, optional=True,
                             tooltip="Of the picture, in pixels; 0 takes the motion's own."),
                io.Int.Input("height", default=0, min=0, max=8192, optional=True,
                             tooltip="Of the picture, in pixels; 0 takes the motion's own."),
            ],
            outputs=[
                PoseKeypoint.Output("keypoints", display_name="keypoints",
                                    tooltip="Body, face and both hands in every frame; nobody where the motion has a "
                                    "gap."),
            ],
        )

    @classmethod
    def execute(cls, motion, body, width=0, height=0):
        from ..preprocessors.pose.from_body import motion_poses

        poses, size = motion_poses(body, motion, width, height, Progress("Pose from Motion"))
        return io.NodeOutput(to_openpose(poses, *size))


class CraftersFaceClip(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CraftersFaceClip",
            display_name="Face Clip",
            category=CATEGORY,
            search_aliases=["crop face", "face video", "wan animate", "expression", "lip sync"],
            description="The face of a clip alone, 512×512 in every frame, steady: the face video of ComfyUI's own "
            "WanAnimateToVideo, which takes expression and speech from it. In frames without a face its place is kept.",
            inputs=[
                io.Image.Input("images", tooltip="The clip in which the face is seen."),
                PoseKeypoint.Input("keypoints", tooltip="Its pose, from Extract Pose."),
            ],
            outputs=[
                io.Image.Output("face", display_name="images", tooltip="face_video of WanAnimateToVideo."),
            ],
        )

    @classmethod
    def execute(cls, images, keypoints):
        from ..preprocessors.person.face import face_clip

        face = to_output(face_clip(images, one_person(keypoints, len(images)), Progress("Face Clip")))
        return io.NodeOutput(face, ui=stills(face))


def one_person(keypoints: list, count: int) -> list:
    """The poses of one person, the same through `count` frames. Raises ValueError for another number."""
    poses, _ = from_openpose(keypoints)
    if len(poses) != count:
        raise ValueError(f"There are {count} frames but poses for {len(poses)}: extract the pose from the same clip.")
    return follow_person(poses)


NODES = [
    CraftersLoadDWPose,
    CraftersExtractPose,
    CraftersPlacePose,
    CraftersDrawPose,
    CraftersPlaceVideo,
    CraftersPoseFromMotion,
    CraftersFaceClip,
]
