"""Frames of animation per second: all frames in parts against a plain loop that prepares every frame anew.

    python benchmarks/animate.py [--gaussians 40000] [--frames 300] [--device cpu] [--write]

The plain loop does per frame what the published code does: a whole body forward for 55 rest joints, the canonical
gaussians unposed and shaped, then the frame's own skinning.
"""

import argparse
import resource
import time

import torch
from crafters.models.avatar.animate import Animator, Posed, animate
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from crafters.models.body.motion import BodyMotion
from crafters.scenes.avatar import scene_avatar
from crafters.scenes.person import make_person
from results import RESULTS


def random_motion(frames: int) -> BodyMotion:
    generator = torch.Generator().manual_seed(0)

    def rows(*values: float) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64).expand(frames, len(values))

    pose = 0.3 * torch.randn(frames, 55, 3, dtype=torch.float64, generator=generator)
    camera = rows(1108.5, 1108.5), rows(640, 360), (1280, 720)
    return BodyMotion(pose, rows(0, 0.4, 3), rows(*[0.0] * 10), *camera, tuple(range(frames)), 25.0)


def finished(posed: Posed) -> None:
    posed.rotation[-1, -1].cpu()  # waits for the device


def frames_per_second(avatar, rig, motion: BodyMotion, device: torch.device, count: int, clock=time.perf_counter):
    """Of the first `count` frames, or some more."""
    start = clock()
    for part, posed in animate(avatar, rig, motion, device):
        finished(posed)
        if part.stop >= count:
            break
    return part.stop / (clock() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gaussians", type=int, default=40_000)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true", help="append the line to benchmarks/RESULTS.md")
    arguments = parser.parse_args()

    body = anny_body()
    avatar = scene_avatar(make_person(0, "train"), arguments.gaussians)
    # One thread is timed by the processor, as the machine may have other work besides.
    alone = arguments.device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    start = clock()
    rig = rig_from_body(body, avatar.points, avatar.neutral_transforms)
    rig_seconds = clock() - start
    motion = random_motion(arguments.frames)
    device = torch.device(arguments.device)

    def together(count: int) -> float:
        return frames_per_second(avatar, rig, motion, device, count, clock)

    def one_by_one(count: int) -> float:
        start = clock()
        for i in range(count):
            frame = slice(i, i + 1)
            body.vertices(torch.zeros(1, 55, 3), avatar.betas[None], torch.zeros(1, 3))
            finished(Animator(avatar, rig, device)(motion.pose[frame], motion.trans[frame]))
        return count / (clock() - start)

    together(12), one_by_one(2)  # warm up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    together(arguments.frames)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    # Taking turns, the best of several: other work on the machine hits both alike.
    rounds = [(together(min(30, arguments.frames)), one_by_one(6)) for _ in range(6)]
    fast, slow = (max(rates) for rates in zip(*rounds, strict=True))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    line = (
        f"animation, {arguments.gaussians} gaussians × {arguments.frames} frames, {name}: {fast:.0f} frames/s, plain "
        f"loop {slow:.1f} frames/s, ratio {fast / slow:.1f}; {memory:.0f} MB more at its peak than after the first "
        f"frames; rig found in {rig_seconds:.1f} s"
    )
    print(line)
    if arguments.write:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(f"- {line} (`benchmarks/animate.py`)\n")


if __name__ == "__main__":
    main()
