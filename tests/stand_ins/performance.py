"""AniCrafter's demo input: a made-up avatar waves in a room that the camera pans over."""

from pathlib import Path

import numpy as np
import torch
from crafters.media.clip import write_video
from crafters.models.avatar.animate import Animator
from crafters.models.avatar.files import save_avatar
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.load import load_body_model
from crafters.models.body.motion import BodyMotion
from crafters.models.body.motion_files import save_motion
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.rasterize import rasterize
from crafters.scenes.paint import Canvas
from PIL import Image

from .doll import paint_room
from .synthetic_avatar import synthetic_avatar
from .synthetic_body import write_synthetic_body

WALL = (214, 222, 214)
PAN = 0.25  # of the picture's width, over the clip
DISTANCE, FOCAL = 3.8, 1.7  # m from the camera to the person; focal length in picture heights: a person fills 0.8
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW, HEAD, SPINE = 16, 17, 18, 19, 15, 3


def waving(frames: int, width: int, height: int, fps: float = 15.0) -> BodyMotion:
    """Both arms down, then the right hand raised and waving; the body sways, the head turns."""
    time = torch.linspace(0, 1, frames, dtype=torch.float64)
    raised = torch.sin(torch.pi * time.clamp(0, 0.5)) ** 2
    wave = torch.sin(6 * torch.pi * time) * raised
    pose = torch.zeros(frames, 55, 3, dtype=torch.float64)
    pose[:, 0, 0] = torch.pi  # SMPL-X's y is up, the camera's is down
    pose[:, SPINE, 1] = 0.12 * torch.sin(2 * torch.pi * time)
    pose[:, HEAD, 1] = 0.3 * torch.sin(2 * torch.pi * time)
    pose[:, LEFT_SHOULDER, 2] = -1.2
    pose[:, RIGHT_SHOULDER, 2] = 1.2 - 1.5 * raised
    pose[:, RIGHT_ELBOW, 2] = -1.1 * raised + 0.4 * wave
    trans = torch.stack([0.1 * torch.sin(2 * torch.pi * time), 0 * time + 0.36, 0 * time + DISTANCE], 1)
    focal = torch.full((frames, 2), FOCAL * height, dtype=torch.float64)
    principal = torch.tensor([width / 2, height / 2], dtype=torch.float64).expand(frames, 2)
    betas = torch.zeros(frames, 10, dtype=torch.float64)
    return BodyMotion(pose, trans, betas, focal, principal, (width, height), tuple(range(frames)), fps)


def make_performance(
    folder: str | Path, models: str | Path, frames: int = 8, width: int = 160, height: int = 96, gaussians: int = 4000
) -> dict[str, Path]:
    """Write the input into `folder`, and the body model's file into ComfyUI's `models`; their paths by name.

    `avatar`: actor_gaussian.pth; `motion`: motion.npz; `background`: background.mp4 of as many frames; `character`:
    character.png, the avatar on white; `body`: SMPLX_NEUTRAL.npz.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = {"avatar": "actor_gaussian.pth", "motion": "motion.npz", "background": "background.mp4"}
    paths = {use: folder / name for use, name in {**names, "character": "character.png"}.items()}
    paths["body"] = write_synthetic_body(Path(models) / "crafters" / "smplx")
    body = load_body_model(paths["body"])
    avatar = synthetic_avatar(body, gaussians)
    save_avatar(avatar, paths["avatar"])
    motion = waving(frames, width, height)
    save_motion(motion, paths["motion"])

    room = Canvas(round(width * (1 + PAN)) + 1, height)
    paint_room(room, WALL)
    room = room.image()
    starts = np.round(np.linspace(0, width * PAN, frames)).astype(int)
    write_video(paths["background"], [np.ascontiguousarray(room[:, x : x + width]) for x in starts], motion.fps)

    still = waving(2, 384, 640)
    animator = Animator(avatar, rig_from_body(body, avatar.points, avatar.neutral_transforms))
    posed = animator(still.pose[:1], still.trans[:1])
    camera = Camera(tuple(still.focal[0].tolist()), tuple(still.principal[0].tolist()), still.size)
    render = rasterize(posed.xyz[0], posed.rgb, posed.opacity, posed.scale, posed.rotation[0], camera)
    photo = (render.rgb + 1 - render.alpha).clamp(0, 1).movedim(0, -1)
    Image.fromarray((photo * 255).round().byte().numpy()).save(paths["character"])
    return paths
