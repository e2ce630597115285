"""`crafters animate`: AniCrafter from files to a video, without ComfyUI; started by torchrun, on several GPUs."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..host.folders import OWN
from ..host.folders import path as find_model
from ..models.avatar.poses import AS_STORED, POSES
from ..models.body.load import BUILT_IN, load_body_model
from .numbers import number

if TYPE_CHECKING:
    import torch

    from ..models.anicrafter.conditions import Scene


def register(commands) -> None:
    """Add `animate` to the sub-commands of `crafters`."""
    animate = commands.add_parser(
        "animate",
        help="AniCrafter from files to a video, without ComfyUI",
        description="An avatar, a motion and a filmed scene become a video, by the pack's own engine and with the "
        "published settings. Weights are paths, or names in ComfyUI's model folders. With several GPUs: torchrun "
        "--nproc-per-node 2 -m crafters animate …; their number must divide the model's attention heads (40).",
    )
    inputs = animate.add_argument_group("input")
    inputs.add_argument("--avatar", type=Path, required=True, help="avatar file: .pth, .safetensors or .ply")
    inputs.add_argument(
        "--avatar-pose", choices=POSES, default=AS_STORED, help="of a .ply from elsewhere, which does not say it"
    )
    inputs.add_argument("--motion", type=Path, required=True, help="folder of SMPL-X JSONs, or AMASS .npz")
    inputs.add_argument("--background", type=Path, required=True, help="video of the scene without its person")
    inputs.add_argument(
        "--character", type=Path, required=True, help="photo of the character; what is transparent becomes white"
    )
    inputs.add_argument("--size", type=_size, default=(1280, 720), metavar="WxH", help="of the video; default 1280x720")
    inputs.add_argument(
        "--frames", type=int, default=0,
        help="use so many of the film; a motion that ends before then goes back and forth; default: all, without the "
        "person where the motion has ended",
    )
    inputs.add_argument(
        "--first-frame", type=int, default=0, metavar="N",
        help="skip so many frames of the motion, where the film was cut at its beginning; default: %(default)s",
    )
    weights = animate.add_argument_group("weights")
    weights.add_argument(
        "--body", default="smplx/SMPLX_NEUTRAL.npz", help=f"or {', '.join(BUILT_IN)}; default: %(default)s"
    )
    weights.add_argument("--lhm", help="LHM's model.safetensors, the exact rig of avatars that it made")
    weights.add_argument(
        "--constraint", help="LHM's human_prior_constrain.npz: which gaussians keep their direction; not with --lhm"
    )
    weights.add_argument(
        "--anicrafter", nargs="+", default=["anicrafter.safetensors"], metavar="FILE",
        help="made by `crafters convert anicrafter` (default: %(default)s), or both shards",
    )
    weights.add_argument("--wan", default="wan2.1_i2v_720p_14B_fp16.safetensors", help="default: %(default)s")
    weights.add_argument("--vae", default="wan_2.1_vae.safetensors", help="default: %(default)s")
    weights.add_argument("--clip-vision", default="clip_vision_h.safetensors", help="default: %(default)s")
    weights.add_argument("--prompt", default="anicrafter_prompt.safetensors", help="of `crafters cache-prompt`")
    weights.add_argument("--dtype", choices=["auto", "fp32", "bf16"], default="auto", help="auto: bf16 on a GPU")
    sampling = animate.add_argument_group("sampling")
    sampling.add_argument("--steps", type=int, default=50, help="default: %(default)s")
    sampling.add_argument("--cfg", type=number, default=1.5, help="guidance; 1 halves the time; default: %(default)s")
    sampling.add_argument("--shift", type=number, default=5.0, help="default: %(default)s")
    sampling.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    sampling.add_argument("--window", type=int, default=81, help="frames seen at once; default: %(default)s")
    sampling.add_argument("--overlap", type=int, default=16, help="frames that windows share; default: %(default)s")
    animate.add_argument("--out", type=Path, default=Path("animated.mp4"), help="default: %(default)s")
    animate.set_defaults(command=_animate)


def _size(text: str) -> tuple[int, int]:
    from ..models.anicrafter.conditions import GRID

    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()) or int(width) % GRID or int(height) % GRID:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT with multiples of {GRID}, such as 1280x720")
    return int(width), int(height)


def _animate(args: argparse.Namespace) -> int:
    try:
        with _process_group() as first:
            video, fps = _make(args, first)
            if first:
                _write(video, args.out, fps)
                print(args.out)
    except (ValueError, OSError) as error:
        if int(os.environ.get("RANK", 0)) == 0:
            print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


@contextmanager
def _process_group() -> Iterator[bool]:
    """Join the other processes that torchrun started, each with a GPU of its own; whether this one is the first."""
    import torch

    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield True
        return
    gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if gpus:
        if local >= gpus:
            raise ValueError(f"This machine has {gpus} GPUs, each for one process: torchrun --nproc-per-node {gpus}.")
        torch.cuda.set_device(local)
    torch.distributed.init_process_group("nccl" if gpus else "gloo")
    try:
        yield torch.distributed.get_rank() == 0
    finally:
        torch.distributed.destroy_process_group()


def _make(args: argparse.Namespace, first: bool) -> tuple[torch.Tensor, float]:
    """IMAGE of the video and its frames per second. Every process of a group does the same but for the sampling."""
    from ..host.memory import Managed, vae_dtype
    from ..host.progress import Progress
    from ..models.anicrafter.checkpoint import AniCrafter
    from ..models.anicrafter.generate import WanFiles, generate
    from ..models.anicrafter.steady import steadied

    # What is missing is said before anything is computed.
    wan = WanFiles(
        _find(args.wan, "diffusion_models", "diffusers"),
        _find(args.vae, "vae", "diffusers"),
        _find(args.clip_vision, "clip_vision", "diffusers"),
        _find(args.prompt, OWN),
    )
    weights = AniCrafter.from_files(_find(name, OWN, "loras", "diffusion_models") for name in args.anicrafter)
    scene, frames, fps = _scene(args, first, args.first_frame, args.avatar_pose)
    video = generate(
        scene,
        weights,
        wan,
        Managed,
        vae_dtype(args.dtype),
        args.seed,
        args.steps,
        args.cfg,
        args.shift,
        args.window,
        args.overlap,
        Progress("Sampling") if first else None,
    )[:frames]
    if len(scene.free) > args.window:  # in one window nothing drifts apart
        video = steadied(video, scene)
    return video, fps


def _scene(args: argparse.Namespace, first: bool, skip: int = 0, pose: str = AS_STORED) -> tuple[Scene, int, float]:
    """The scene, padded to a length that Wan can make; how many of its frames are wanted; frames per second.

    skip: frames of the motion before the film begins; pose: of the avatar in its file.
    """
    from ..host.memory import compute_device
    from ..host.progress import Progress
    from ..media.clip import read_clip
    from ..media.frames import as_image
    from ..media.photo import read_photo
    from ..models.anicrafter.conditions import check_background, compose_scene, fit_reference
    from ..models.avatar.files import load_avatar
    from ..models.avatar.render import render_avatar, render_body
    from ..models.avatar.rig import read_constraint, rig_from_body, rig_from_lhm
    from ..models.avatar.standing import unposed
    from ..models.body.motion_files import read_motion

    width, height = args.size
    avatar = load_avatar(args.avatar)
    body = load_body_model(args.body if args.body in BUILT_IN else _find(args.body, OWN))
    photo, mask = read_photo(args.character)
    reference = fit_reference(photo, height, width, mask)
    background, fps = read_clip(args.background, frames=args.frames, keep=as_image)
    check_background(background, width, height)
    motion = read_motion(args.motion, fps, args.size)
    motion = motion.filled() if motion.missing else motion
    motion = motion.since(skip).for_film(fps)
    say = logging.getLogger(__name__).warning if first else lambda *_: None
    if args.frames:
        ends = motion.frames[-1] + 1
        if ends < args.frames:
            say("The motion ends at frame %d: it goes back and forth from there on. Without --frames it ends.", ends)
        motion = motion.looped(args.frames)
    frames, film = motion.frames[-1] + 1, len(background)
    if frames > film:
        raise ValueError(
            f"The motion has {frames} frames, the background {film}: say with --frames how many to use, at most as "
            "many as the background has."
        )
    if motion.frames[0] or frames < film:
        span = motion.frames[0] + 1, frames, film
        say("The motion goes from frame %d to %d of the film's %d: nobody is in the others.", *span)
    if args.lhm:
        rig = rig_from_lhm(_find(args.lhm, OWN))
        rig = replace(rig, neutral_transforms=unposed(avatar, rig.skeleton, pose))
    else:
        constraint = read_constraint(_find(args.constraint, OWN)) if args.constraint else None
        rig = rig_from_body(body, avatar.points, unposed(avatar, body.skeleton, pose), constraint)
    drawn = [Progress(label) if first else None for label in ("Avatar", "Body mesh")]
    shown = render_avatar(avatar, rig, motion, width, height, compute_device(), on_step=drawn[0], length=film)
    mesh, on_body = render_body(body, motion, width, height, drawn[1], length=film)
    scene, _ = compose_scene(reference, shown.image, shown.alpha, background, mesh, on_body, "pad")
    return scene, film, fps


def _find(name: str, *kinds: str) -> Path:
    """A path as it is given, or a model's name in ComfyUI's folders."""
    return Path(name) if Path(name).exists() else find_model(name, *kinds)


def _write(video: torch.Tensor, path: Path, fps: float) -> None:
    from ..media.clip import write_video

    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, (video * 255).byte().numpy(), fps)
