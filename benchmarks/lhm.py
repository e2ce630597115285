"""How long does LHM take, and how much memory? Its full-size networks, randomly filled, on a photo.

    python benchmarks/lhm.py PHOTO [--layers 5] [--points 40000] [--dtype bf16] [--write]

Prints seconds (of processor time on a CPU) of each network, and the peak memory of all.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from crafters.models.avatar.lhm.encoders import BodyEncoder, HeadEncoder
from crafters.models.avatar.lhm.network import Network
from crafters.models.avatar.lhm.precision import CHOICES, matrices_to
from embedders import resident
from PIL import Image
from results import RESULTS, note
from torch import nn

DIM, HEADS, TOKEN_DIM, GS_LAYERS = 1024, 16, 1536, (512, 512)


def fill(network: nn.Module, device: str) -> nn.Module:
    """Small numbers, the same again and again: drawing billions of them takes longer than computing with them."""
    network = network.to_empty(device=device).eval().requires_grad_(False)
    noise = 0.02 * torch.randn(2**20, device=device)
    for parameter in network.parameters():
        for part in parameter.view(-1).split(len(noise)):
            part.copy_(noise[: len(part)])
    return network


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--layers", type=int, default=5, help="5: LHM-500M; 15: LHM-1B")
    parser.add_argument("--points", type=int, default=40000)
    parser.add_argument("--dtype", choices=list(CHOICES), default="bf16")
    parser.add_argument("--write", action="store_true", help=f"append the row to {RESULTS.name}")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.monotonic if device == "cuda" else time.process_time  # a CPU may have other work besides
    with torch.device("meta"):
        head, body = HeadEncoder(), matrices_to(BodyEncoder(), torch.bfloat16)
        network = Network(args.layers, DIM, HEADS, TOKEN_DIM, GS_LAYERS)
        matrices_to(network.transformer, CHOICES[args.dtype])
    photo = torch.from_numpy(np.array(Image.open(args.photo).convert("RGB"))).movedim(-1, 0)[None].to(device) / 255
    seconds = {}

    def timed(name, compute):
        start = clock()
        result = compute()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds[name] = clock() - start
        print(f"{name}: {seconds[name]:.1f} s", flush=True)
        return result

    head, network, body = (fill(part, device) for part in (head, network, body))
    head_features = timed("head", lambda: head(photo))
    points = torch.rand(args.points, 3, device=device) - 0.5
    upper = points[:, 1] > 0
    tokens = torch.randn(1, 4096, TOKEN_DIM, device=device)
    found = timed("network", lambda: network(tokens, head_features, points, upper))
    body_tokens = timed("body", lambda: body(photo))
    assert body_tokens.shape == tokens.shape and all(x.isfinite().all() for x in (*found, body_tokens))
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else resident()[1]
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    times = " | ".join(f"{seconds[name]:.1f}" for name in ("head", "body", "network"))
    row = f"| {args.layers} | {args.points} | {args.dtype} | {times} | {peak:.2f} | {where} |"
    print(row)
    if args.write:
        heading = (
            "\n## LHM at full size, random weights (`benchmarks/lhm.py`)\n\n"
            "| layers | points | transformer | s head | s body | s network | peak GiB | device |\n"
            "|---|---|---|---|---|---|---|---|\n"
        )
        note(heading, row)


if __name__ == "__main__":
    main()
