"""AnchorCrafter's sampling against a plain loop: time, peak memory, and that both give the same latents.

The plain loop (tests/helpers/plain_anchor.py) is the published one restated: condition maps made anew for every
window of every step, cross-attention on a context repeated for every frame and pixel. Ours includes making its maps,
once.

    python benchmarks/anchor_sampling.py            # a small network on the CPU, two sizes, about 2 minutes
    python benchmarks/anchor_sampling.py --full     # the full-size network at 576×1024 on a GPU
    python benchmarks/anchor_sampling.py --write    # and note the result in benchmarks/RESULTS.md
"""

import argparse
import datetime
import math
import os
import platform
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import torch

HERE = Path(__file__).parent
STATUS = Path("/proc/self/status")
sys.path.append(str(HERE.parent / "tests"))

from crafters.models.anchorcrafter.sampling import sample  # noqa: E402
from crafters.models.anchorcrafter.system import AnchorConfig, AnchorCrafter  # noqa: E402
from crafters.models.loaded import Loaded  # noqa: E402
from helpers.plain_anchor import condition_of, plain_sample, random_clip  # noqa: E402
from results import note  # noqa: E402

# A fifth of the released width, half its depth; the context, which the loops treat differently, has its released size.
SMALL = AnchorConfig(
    block_out_channels=(64, 128, 256, 256), num_attention_heads=(1, 2, 4, 4), layers_per_block=1, view_tokens=10
)
FULL = AnchorConfig()
GUIDANCE = (3.0, 4.0)
ABOUT = (
    "\n## AnchorCrafter's sampling loop against a plain one (`benchmarks/anchor_sampling.py`)\n\n"
    "A ratio below 1 is ours being better. Memory is the peak beyond network and clip; ours keeps the "
    "condition maps of the whole clip, the plain loop makes them anew for every window.\n\n"
)
HEADER = (
    "| date | device | network | clip | ours, s | plain, s | time ratio | ours, MiB | plain, MiB | memory ratio "
    "| latents differ by |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
)


class Job:
    """One network and one clip, to be sampled either way."""

    def __init__(self, options: argparse.Namespace, size: str):
        self.options, self.device = options, torch.device(options.device)
        height, width = map(int, size.split("x"))
        config = FULL if options.full else SMALL
        torch.manual_seed(0)
        with self.device:
            self.system = AnchorCrafter(config)
            for net in (self.system.pose_net, self.system.track_net):  # not zero as before training
                torch.nn.init.normal_(net.final_proj.weight, std=0.1)
        dtype = torch.float16 if options.full else torch.float32
        self.model = Loaded(self.system.to(dtype))
        clip = random_clip(config, options.frames, height, width)
        self.clip = type(clip)(*(getattr(clip, field.name).to(self.device, dtype) for field in fields(clip)))
        self.settings = {"steps": options.steps, "guidance": GUIDANCE, "window": options.window}
        shape = (1, min(options.window, options.frames), *clip.image_latent.shape[1:])
        self.noise = torch.randn(shape, generator=torch.Generator().manual_seed(42)).to(self.device)

    def ours(self) -> torch.Tensor:
        condition = condition_of(self.system, self.clip)
        condition = replace(condition, maps=condition.maps.cpu())
        return sample(self.model, condition, self.noise, rows=1, **self.settings)

    def plain(self) -> torch.Tensor:
        return plain_sample(self.system, self.clip, self.noise, **self.settings)

    def timed(self, way: str) -> tuple[float, torch.Tensor]:
        start = time.perf_counter()
        latents = getattr(self, way)().cpu()  # waits for the GPU
        return time.perf_counter() - start, latents

    def peak(self, way: str) -> int:
        """Bytes at the peak beyond what lay there before: network and clip."""
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            getattr(self, way)()
            return torch.cuda.max_memory_allocated() - before
        before = status("VmRSS")
        getattr(self, way)()
        return status("VmHWM") - before


def status(name: str) -> int:
    """A figure of this process in bytes: VmRSS, resident memory, or VmHWM, its peak."""
    return int(STATUS.read_text().split(f"{name}:")[1].split()[0]) * 1024


def peak_of(job: Job, way: str, size: str) -> float:
    """On a CPU the peak of a process is known only once, so each way gets a process of its own (Linux; else nan)."""
    if job.device.type == "cuda":
        return job.peak(way)
    if not STATUS.is_file():
        return math.nan
    command = [sys.executable, __file__, "--memory-of", way, "--sizes", size]
    for name in ("frames", "window", "steps", "device", "threads"):
        command += [f"--{name}", str(getattr(job.options, name))]
    if job.options.full:
        command.append("--full")
    # Blocks from 64 KiB go back to the system when freed: the peak is of what is in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def compare(options: argparse.Namespace, size: str) -> str:
    """One row of the table."""
    job = Job(options, size)
    times = {"ours": [], "plain": []}
    for _ in range(options.repeats):
        latents = {}
        for way in times:
            seconds, latents[way] = job.timed(way)
            times[way].append(seconds)
    difference = (latents["ours"] - latents["plain"]).abs().max().item()
    if not difference < (0.5 if options.full else 2e-3):  # of noise of 700; half precision on a GPU
        raise SystemExit(f"{size}: the two loops differ by {difference}.")
    ours, plain = (min(times[way]) for way in times)
    low, high = (peak_of(job, way, size) / 2**20 for way in times)
    device = f"CPU {platform.machine()}, threads: {torch.get_num_threads()}"
    if job.device.type == "cuda":
        device = torch.cuda.get_device_name()
    cells = [
        datetime.date.today(),
        device,
        f"{sum(p.numel() for p in job.system.parameters()) / 1e6:.0f} M, {str(job.model.dtype).removeprefix('torch.')}",
        f"{options.frames} frames {size}, window {options.window}, steps {options.steps}",
        f"{ours:.2f}",
        f"{plain:.2f}",
        f"{ours / plain:.2f}",
        f"{low:.0f}",
        f"{high:.0f}",
        f"{low / high:.2f}",
        f"{difference:.0e}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the full-size network in half precision, 576×1024")
    parser.add_argument("--sizes", nargs="+", metavar="HEIGHTxWIDTH", help="default: 128x192 256x384; full: 1024x576")
    parser.add_argument("--frames", type=int, default=25, help="the reference frame included")
    parser.add_argument("--window", type=int, default=11)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2, help="of each loop in turn; the fastest counts")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; more wait for each other on a busy one")
    parser.add_argument("--device", help="default: cpu; full: cuda")
    parser.add_argument("--write", action="store_true", help="append the table to benchmarks/RESULTS.md")
    parser.add_argument("--memory-of", choices=["ours", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.device = options.device or ("cuda" if options.full else "cpu")
    torch.set_num_threads(options.threads)
    sizes = options.sizes or (["1024x576"] if options.full else ["128x192", "256x384"])
    if options.memory_of:
        print(Job(options, sizes[0]).peak(options.memory_of))
        return
    print(HEADER, end="")
    rows = []
    for size in sizes:
        rows.append(compare(options, size))
        print(rows[-1], flush=True)
    if options.write:
        note(ABOUT + HEADER, *rows)


if __name__ == "__main__":
    main()
