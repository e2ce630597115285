"""What do the full-size networks need on one GPU? Seconds, peak memory, and the share of its arithmetic they attain.

    python benchmarks/gpu.py --out /tmp/gpu                 # all parts, about three minutes
    python benchmarks/gpu.py --out /tmp/gpu --parts anchor  # these parts alone
    python benchmarks/gpu.py --tiny                         # small networks, on a CPU too: does everything run?

The networks have their published sizes and random weights, and are called as the nodes call them. What is measured
comes at once, as a row of a table (OUT.md) and as a line of JSON (OUT.jsonl); what fails, or has no time left, costs
one line. Operations are those of convolutions, matrix products and attention, as torch.utils.flop_counter counts them
in the calls themselves. Peak memory is torch's, of everything on the GPU, weights included.
"""

import argparse
import gc
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from crafters.host.memory import compute_device
from gpu_networks import anchor, ceilings, embedders, wan, wan_vae
from gpu_scenes import animation, gsplat, inpainting, pictures, start_gsplat_build
from torch.utils.flop_counter import FlopCounterMode

# In the order of their worth: what is measured, and after how many seconds nothing more of it is begun.
PARTS = {
    "ceilings": (ceilings, 15),
    "anchor": (anchor, 35),
    "wan": (wan, 75),
    "pictures": (pictures, 10),
    "inpainting": (inpainting, 30),
    "animation": (animation, 15),
    "gsplat": (gsplat, 15),
    "vae": (wan_vae, 40),
    "embedders": (embedders, 30),
}
HEADER = "| what | seconds | peak GiB (before) | TFLOP | TFLOP/s | attained | |\n|---|---|---|---|---|---|---|"


class Run:
    """Measures, and writes down what it measured.

    tiny: small networks are wanted. attainable: FLOP/s of a large bf16 matrix product, once that is measured.
    gsplat_build: the process that compiles gsplat, if there is one.
    """

    def __init__(self, tiny: bool, out: Path | None, seconds: float):
        self.tiny, self.out = tiny, out
        self.device = compute_device()
        self.attainable = math.nan
        self.gsplat_build = None
        self.until = time.monotonic() + seconds

    def say(self, text: str) -> None:
        print(text, flush=True)
        self._append(".md", text)

    def count(self, work: Callable[[], Any]) -> float:
        """The FLOPs of `work`, which warms up by it."""
        self._check_time()
        with FlopCounterMode(display=False) as counter:
            work()
        self._wait()
        return counter.get_total_flops()

    def measure(
        self,
        what: str,
        work: Callable[[], Any],
        parts: int = 1,
        flops: float | None = None,
        cold: bool = False,
        note: Callable[[float, Any], str] = lambda seconds, answer: "",
    ) -> float:
        """Seconds of one of the `parts` (steps, frames) of `work`; they, its FLOPs and the peak memory are noted.

        flops: of the whole `work`, 0 to leave them out; None counts them while `work` runs once to warm up. cold: there
        is no time for that; they are counted while it is timed. note: a remark, from the seconds and the answer.
        """
        if flops is None and not cold:
            flops = self.count(work)
        self._check_time()
        self._wait()
        before = self._memory("memory_allocated")
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        counter = FlopCounterMode(display=False) if flops is None else nullcontext()
        with counter:
            start = time.perf_counter()
            answer = work()
            self._wait()
            seconds = (time.perf_counter() - start) / parts
        flops = (counter.get_total_flops() if flops is None else flops) / parts
        self.note(what, seconds, flops, before, self._memory("max_memory_allocated"), note(seconds, answer))
        return seconds

    def note(self, what: str, seconds: float, flops: float, before: float, peak: float, note: str = "") -> None:
        """flops: 0 where none were counted; before, peak: GiB."""
        rate = flops / seconds
        cells = [what, f"{seconds:.4g}", f"{peak:.1f} ({before:.1f})", *("–" * 3), note]
        if flops:
            cells[3:6] = f"{flops / 1e12:.3g}", f"{rate / 1e12:.3g}", f"{rate / self.attainable:.0%}"
        self.say(f"| {' | '.join(cells)} |".replace("nan%", "–").replace("nan (nan)", "–"))
        values = {"what": what, "seconds": seconds, "flops": flops, "before_gib": before, "peak_gib": peak}
        self._append(".jsonl", json.dumps({**values, "attainable": self.attainable, "note": note}))

    @contextmanager
    def section(self, name: str, seconds: float = math.inf) -> Iterator[None]:
        """What fails in here, or begins after so many seconds, costs one line; GPU memory is freed behind it."""
        outer, start = self.until, time.monotonic()
        self.until = min(self.until, start + seconds)
        try:
            yield
        except Exception as error:
            text = str(error).partition("\n")[0][:300]
            self.say(f"| {name}: {type(error).__name__}: {text} | | | | | | |")
        self.until = outer
        gc.collect()
        with suppress(RuntimeError):  # after some failures a GPU answers nothing but errors
            torch.cuda.empty_cache()

    def _check_time(self) -> None:
        if time.monotonic() > self.until:
            raise TimeoutError("left out, no time")

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _memory(self, figure: str) -> float:
        return getattr(torch.cuda, figure)() / 2**30 if self.device.type == "cuda" else math.nan

    def _append(self, suffix: str, text: str) -> None:
        if self.out:
            with self.out.with_suffix(suffix).open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the results are added: OUT.md and OUT.jsonl")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="in this order")
    parser.add_argument("--seconds", type=float, default=150, help="after which nothing new is begun")
    parser.add_argument("--tiny", action="store_true", help="small networks and pictures")
    args = parser.parse_args()
    logging.getLogger("diffusers").setLevel(logging.ERROR)  # warns of numbers that ought to stay in float32
    run = Run(args.tiny, args.out, args.seconds)
    name = torch.cuda.get_device_name() if run.device.type == "cuda" else "CPU"
    run.say(f"{name}, torch {torch.__version__}\n\n{HEADER}")
    if "gsplat" in args.parts:
        run.gsplat_build = start_gsplat_build()
    for part in args.parts:
        start = time.monotonic()
        function, seconds = PARTS[part]
        with run.section(part, seconds):
            function(run)
        print(f"({part}: {time.monotonic() - start:.1f} s)", flush=True)
    if run.gsplat_build:
        run.gsplat_build.terminate()


if __name__ == "__main__":
    main()
