"""What a network holds beside its weights, at full size and in fp16, without computing anything.

    python benchmarks/peak.py [--window 11] [--largest 8] [--time] [--write]

Every tensor that an operation makes on torch's meta device is counted until it is freed; attention counts as the fused
kernels of GPUs do, which hold no scores. "diffusers" is the same UNet with diffusers' own layers. --time: what working
in pieces costs, of one feed-forward and one temporal self-attention of the largest level, computed on this machine.
"""

import argparse
import time
import weakref
from collections.abc import Callable

import torch
from cost import HEIGHT, WIDTH, anchor
from crafters.models.anchorcrafter import frugal
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from diffusers.models.attention import TemporalBasicTransformerBlock
from full_size import SVD_VAE
from results import RESULTS, note
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

GIB = 2**30
LATENT = HEIGHT // 8, WIDTH // 8


class Peak(TorchDispatchMode):
    """While it lasts: bytes, the most bytes that were alive at once, and largest, those tensors (bytes, shape, by)."""

    def __init__(self):
        super().__init__()
        self.now = self.bytes = 0
        self._alive: dict[int, tuple[int, tuple, str]] = {}
        self.largest: list[tuple[int, tuple, str]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        old = {x.untyped_storage()._cdata for x in tree_iter((args, kwargs)) if isinstance(x, torch.Tensor)}
        for tensor in tree_iter(made):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self._alive.keys() | old:
                self._count(tensor, str(func))
        return made

    def _count(self, tensor: torch.Tensor, by: str) -> None:
        storage = tensor.untyped_storage()
        self._alive[storage._cdata] = storage.nbytes(), tuple(tensor.shape), by
        weakref.finalize(storage, self._free, storage._cdata)
        self.now += storage.nbytes()
        if self.now > self.bytes:
            self.bytes, self.largest = self.now, sorted(self._alive.values(), key=lambda entry: -entry[0])

    def _free(self, key: int) -> None:
        self.now -= self._alive.pop(key)[0]


class _FusedAttention(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.nn.functional.scaled_dot_product_attention:
            q, _, v = args[:3]
            return q.new_empty(len(q), q.shape[2], q.shape[1], v.shape[-1]).transpose(1, 2)
        return func(*args, **(kwargs or {}))


def peak(call: Callable[[], object]) -> Peak:
    with torch.no_grad(), Peak() as counted, _FusedAttention():
        call()
    return counted


def half(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.float16, device="meta")


def unet_call(window: int, plain: bool) -> Callable[[], object]:
    net, sample = anchor().half().unet, half(1, window, 12, *LATENT)
    if not plain:
        maps = half(1, window, 320, *LATENT)
        return lambda: net.predict(sample, torch.tensor(1.0), half(1, 20, 1024), half(1, 3), maps)
    with torch.device("meta"):
        plain = UNetSpatioTemporalConditionModel.from_config(net.config).to("meta").half()
    return lambda: plain(sample, torch.tensor(1.0), half(1, 20, 1024), half(1, 3))


def weights(network: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.itemsize for parameter in network.parameters())


@torch.no_grad()
def seconds(window: int) -> dict[str, tuple[float, float]]:
    """Whole and in pieces, of the largest level's feed-forward and temporal self-attention, random and in float32.

    Processor time, the least of five runs in turns, as others may be at work here too.
    """
    block = TemporalBasicTransformerBlock(320, 320, 5, 64, 1024)
    block.ff.__class__ = frugal.PiecewiseFeedForward
    block.attn1.set_processor(frugal.SelfAttention())
    tokens, pieces = torch.randn(LATENT[0] * LATENT[1], window, 320), (1 << 40, frugal.PIECE)
    times = {}
    for name, layer in (("feed-forward", block.ff), ("temporal self-attention", block.attn1)):
        runs = []
        for frugal.PIECE in pieces * 5:
            start = time.process_time()
            layer(tokens)
            runs.append(time.process_time() - start)
        times[name] = min(runs[::2]), min(runs[1::2])
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", type=int, default=11)
    parser.add_argument("--largest", type=int, default=8, help="so many tensors that are alive at each peak are named")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--write", action="store_true", help=f"add the table to {RESULTS.name}")
    args = parser.parse_args()
    with torch.device("meta"):
        vaes = [AutoencoderKLTemporalDecoder(**SVD_VAE).to("meta").half() for _ in range(2)]
    frugal.save_memory(vaes[1])
    window = f"UNet, window of {args.window}"
    calls = {
        f"{window}, diffusers": (unet_call(args.window, True), anchor()),
        window: (unet_call(args.window, False), anchor()),
        **{f"VAE, 8 frames decoded{name}": (lambda vae=vae: vae.decode(half(8, 4, *LATENT), num_frames=8), vae)
           for name, vae in zip((", diffusers", ""), vaes, strict=True)},
    }
    rows = []
    for name, (call, network) in calls.items():
        counted = peak(call)
        held = counted.bytes + weights(network)
        rows.append(f"| {name} | {counted.bytes / GIB:.2f} | {weights(network) / GIB:.2f} | {held / GIB:.2f} |")
        print(rows[-1])
        for size, shape, by in counted.largest[: args.largest]:
            print(f"    {size / 2**20:7.1f} MiB {shape} {by}")
    heading = (
        f"\n## Peak memory at {WIDTH}×{HEIGHT} in fp16, counted (`benchmarks/peak.py`)\n\n"
        "| call | activations, GiB | weights, GiB | both |\n|---|---|---|---|\n"
    )
    if args.time:
        rows += ["", *(f"- {name}: whole {whole:.2f} CPU seconds, in pieces {pieces:.2f}, ratio {pieces / whole:.2f}"
                       for name, (whole, pieces) in seconds(args.window).items())]
        print(*rows[-2:], sep="\n")
    if args.write:
        note(heading, *rows)


if __name__ == "__main__":
    main()
