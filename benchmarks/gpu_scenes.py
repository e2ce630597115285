"""What `gpu.py` measures beside the video networks: pictures and motion of avatars, and inpainting."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import torch
from animate import frames_per_second, random_motion
from crafters.host.memory import Managed
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from crafters.models.checkpoint import DTYPES
from crafters.models.drawing.rasterize import rasterize
from crafters.models.propainter.flow_completion import FlowCompletion
from crafters.models.propainter.generator import Generator
from crafters.models.propainter.layers import DeformableAlignment
from crafters.models.propainter.raft import RAFT
from crafters.models.propainter.system import ProPainter
from crafters.preprocessors.background.propainter import Inpainting
from crafters.scenes.avatar import scene_avatar
from crafters.scenes.person import make_person
from gpu_networks import sizes
from rasterize import camera, gaussians


def pictures(run, backend: str = "torch") -> None:
    """Avatars drawn."""
    size = sizes(run)
    what, values = gaussians()
    values = [value.to(run.device)[: size.gaussians] for value in values]
    times = 10
    for width, height in size.pictures:
        view = camera((width, height))
        picture = rasterize(*values, view, backend)
        off = [(a - b).abs() for a, b in zip(picture, rasterize(*values, view), strict=True)]
        difference = "" if backend == "torch" else f"; rgb differs by {off[0].mean():.1e}, at most {off[0].max():.3f}"
        run.measure(
            f"{what} of {len(values[0])} gaussians drawn, {width}×{height}, {backend}",
            lambda view=view: [rasterize(*values, view, backend) for _ in range(times)],
            times,
            0,
            note=lambda seconds, _, difference=difference: f"{1 / seconds:.0f} frames/s{difference}",
        )


def gsplat(run) -> None:
    """Avatars drawn by gsplat, when it has compiled itself."""
    if run.gsplat_build is None:
        raise ImportError("gsplat and CUDA are needed")
    if run.gsplat_build.wait(60):
        raise ImportError("gsplat was not built, as it says above")
    pictures(run, "gsplat")


def start_gsplat_build() -> subprocess.Popen | None:
    """gsplat compiles itself when it is first used, for a minute or more, which can pass in the background.

    It reads MAX_JOBS, CUDA_HOME and TORCH_CUDA_ARCH_LIST; with another environment it would compile once more.
    """
    if not (torch.cuda.is_available() and find_spec("gsplat")):
        return None
    code = "from gsplat.cuda._backend import _C; raise SystemExit(_C is None)"
    return subprocess.Popen([sys.executable, "-c", code])


def inpainting(run) -> None:
    """ProPainter, as Remove Person runs it by default."""
    size = sizes(run)
    name = "fp32" if run.device.type == "cpu" else "fp16"
    dtype = DTYPES[name]
    with run.device:
        networks = RAFT(), FlowCompletion().to(dtype), Generator().to(dtype)
    for network in networks:
        for layer in network.modules():
            if isinstance(layer, DeformableAlignment):  # whose weights are made without numbers
                torch.nn.init.normal_(layer.weight, std=0.02)
                torch.nn.init.zeros_(layer.bias)
    painter = Managed(ProPainter(*networks))
    for width, height in size.clips:
        random = np.random.default_rng(0)
        frames = random.integers(0, 256, (size.clip_frames, height, width, 3), np.uint8)
        y, x = np.mgrid[:height, :width]
        middles = np.linspace(0.3, 0.7, size.clip_frames)[:, None, None] * width
        # As large as a person who fills most of the height.
        masks = ((x - middles) / (0.1 * width)) ** 2 + ((y - height / 2) / (0.4 * height)) ** 2 < 1
        Inpainting(painter, frames[:6], masks[:6]).run()  # warms up
        run.measure(
            f"ProPainter, a frame of {len(frames)}, {width}×{height}, {name}",
            lambda frames=frames, masks=masks: Inpainting(painter, frames, masks).run(),
            len(frames),
            0,
        )


def animation(run) -> None:
    """Avatars moved."""
    size = sizes(run)
    avatar = scene_avatar(make_person(0, "train"), size.gaussians)
    rig = rig_from_body(anny_body(), avatar.points, avatar.neutral_transforms)
    motion = random_motion(size.motion)
    for device in (run.device, torch.device("cpu")):
        frames_per_second(avatar, rig, motion, device, 12)
        where = device.type.upper() + f", {torch.get_num_threads()} threads" * (device.type == "cpu")
        run.measure(
            f"{size.gaussians} gaussians moved, a frame of {size.motion}, {where}",
            lambda device=device: frames_per_second(avatar, rig, motion, device, size.motion),
            size.motion,
            0,
            note=lambda seconds, _: f"{1 / seconds:.0f} frames/s",
        )
