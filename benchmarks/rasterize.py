"""How fast are avatars drawn? 40 000 gaussians at three sizes, against the plain restatement and, on CUDA, gsplat.

    python benchmarks/rasterize.py [--threads N] [--device cpu] [--write]

The real avatar is drawn where CRAFTERS_DATA has it, else a random one of the same size and density.
"""

import argparse
import importlib.util
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from crafters.models.avatar.files import load_avatar
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.rasterize import rasterize

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from helpers.plain_rasterize import plain_rasterize  # noqa: E402
from results import RESULTS  # noqa: E402

SIZES = (640, 360), (1280, 720), (3840, 2160)
SMALL = (160, 90)  # for the plain one


def gaussians() -> tuple[str, list[torch.Tensor]]:
    """xyz, rgb, opacity, scale, rotation, turned to the camera and 2.4 m away."""
    path = Path(os.environ.get("CRAFTERS_DATA", "")) / "anicrafter" / "000000_gaussian.pth"
    if path.is_file():
        avatar, what = load_avatar(path), "the published avatar"
        w, x, y, z = avatar.rotation.unbind(-1)
        xyz = avatar.xyz() * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0, -0.4, 2.4])
        return what, [xyz, avatar.rgb, avatar.opacity, avatar.scale, torch.stack([-x, w, -z, y], -1)]
    random = np.random.default_rng(0)
    skin = random.normal(size=(40000, 3))
    xyz = skin / np.linalg.norm(skin, axis=1, keepdims=True) * (0.3, 0.85, 0.2) + (0, 0, 2.4)
    rotation = random.normal(size=(40000, 4))
    rotation /= np.linalg.norm(rotation, axis=1, keepdims=True)
    scale = np.exp(random.normal(-4.8, 0.7, (40000, 3))).clip(max=0.05)
    values = xyz, random.random((40000, 3)), random.beta(3, 1, (40000, 1)), scale, rotation
    return "a random avatar", [torch.from_numpy(value.astype(np.float32)) for value in values]


def camera(size: tuple[int, int]) -> Camera:
    width, height = size
    return Camera((1.2 * height, 1.2 * height), (width / 2, height / 2), size)


def clock() -> float:
    """Seconds; of the processor where one thread of it does all, as the machine may have other work besides."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds(draw, repeat: int) -> float:
    """The least of `repeat` runs, after one that is not counted: other work on the machine only adds."""
    taken = []
    for _ in range(repeat + 1):
        start = clock()
        draw()
        taken.append(clock() - start)
    return min(taken[1:])


def peak_memory() -> float:
    """GB of the whole process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="append to RESULTS.md")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    what, values = gaussians()
    there = [value.to(args.device) for value in values]

    lines = ["| picture | backend | s/frame | frames/s | peak GB of the process |", "|---|---|---|---|---|"]
    backends = ["torch", "warp"] + ["gsplat"] * bool(there[0].is_cuda and importlib.util.find_spec("gsplat"))
    for backend in backends:
        for size in SIZES:
            each = seconds(lambda size=size, backend=backend: rasterize(*there, camera(size), backend), args.repeat)
            lines.append(f"| {size[0]}×{size[1]} | {backend} | {each:.3f} | {1 / each:.2f} | {peak_memory():.2f} |")
            print(lines[-1], flush=True)
    fast = seconds(lambda: rasterize(*there, camera(SMALL), "torch"), args.repeat)
    start = clock()
    expected, _ = plain_rasterize(*(value.numpy() for value in values), camera(SMALL))
    slow = clock() - start
    error = np.abs(torch.cat(rasterize(*there, camera(SMALL), "torch")[:2]).cpu().numpy() - expected[:4]).max()
    ratio = (
        f"At {SMALL[0]}×{SMALL[1]} one gaussian at a time takes {slow:.2f} s, torch {fast:.3f} s, {slow / fast:.0f} "
        f"times less, for the same picture to {error:.1e}."
    )
    head = f"{what}, {len(values[0])} gaussians, {args.device}, {args.threads} threads, torch {torch.__version__}"
    text = "\n".join([f"## Rasteriser: {head}", "", *lines, "", ratio, ""])
    print(f"\n{text}")
    if args.write:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")


if __name__ == "__main__":
    main()
