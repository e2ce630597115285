"""Damages a file in every way and reads it: `python -m trust.damage SEED COUNT LOADER …` (see `loaders`).

Prints one JSON line per damage: the loader, the damage, what was told, and what is wrong with that, if anything.
"""

import contextlib
import io
import json
import logging
import random
import resource
import signal
import sys
import tempfile
import warnings
from pathlib import Path

from trust.loaders import LOADERS

SECONDS = 20  # for one file
PAGES = ("<!doctype html><html><title>Sign in</title></html>", "version https://git-lfs.github.com/spec/v1\noid sha")
ODD = (None, True, "", "x" * 5000, -1, 0, 3, 1.5, 10**12, 10**400, float("nan"), float("inf"), -1e30, [], {}, [[]],
       ["a"], [1] * 5000, {"a": {"b": 1}}, "../../etc/passwd", "gelu\n")


def damaged(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """What was done to a file's bytes, and the outcome."""
    place, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    # Most of a weight file is numbers, which may be any: its ends say what it is.
    edge = rng.randrange(min(2000, len(content)))
    edge = rng.choice([edge, len(content) - 1 - edge])
    kinds = {
        "cut": lambda: content[:place],
        "cut inside": lambda: content[:place] + content[end:],
        "flipped": lambda: content[:edge] + bytes([content[edge] ^ rng.randrange(1, 256)]) + content[edge + 1 :],
        "all ones": lambda: content[:edge] + b"\xff" * rng.choice([1, 2, 4, 8]) + content[edge + 8 :],
        "zeros": lambda: content[:edge] + bytes(min(64, len(content))) + content[edge + 64 :],
        "put in": lambda: content[:edge] + rng.randbytes(rng.randrange(1, 40)) + content[edge:],
        "twice": lambda: content[:end] + content[place:],
        "strewn": lambda: bytes(b ^ (rng.random() < 0.01) * rng.randrange(256) for b in content[:9999]),
        "page": lambda: rng.choice(PAGES).encode() * 20,
        "noise": lambda: rng.randbytes(rng.randrange(1, 3000)),
        "front lost": lambda: content[rng.randrange(1, 200) :],
    }
    kind = rng.choice([*kinds])
    return kind, kinds[kind]()


def misled(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """As `damaged`, for JSON: one entry, at any depth, is odd, lost or of another name."""
    data = json.loads(content)
    places = []

    def walk(value: object) -> None:
        keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            places.append((value, key))
            walk(value[key])

    walk(data)
    holder, key = rng.choice(places)
    kind = rng.choice(["odd"] * 6 + ["lost", "other name", "deep", "bytes", "whole"])
    if kind == "bytes":
        return damaged(content, rng)
    if kind == "whole":
        return kind, json.dumps(rng.choice(ODD)).encode()
    if kind == "deep":
        return kind, content.rstrip()[:-1] + b',"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    if kind == "odd":
        holder[key] = rng.choice(ODD)
    else:
        value = holder.pop(key)
        if kind == "other name" and isinstance(holder, dict):
            holder[f"{key}_"] = value
    return f"{kind} {key}", json.dumps(data).encode()


def refitted(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """As `damaged`, for safetensors: the file is whole, one of its tensors or what its header says is another's."""
    import torch
    from safetensors.torch import load, save

    if rng.random() < 0.5:
        return damaged(content, rng)
    state = load(content)
    name = rng.choice(sorted(state))
    tensor = state.pop(name)
    kinds = {
        "lost": lambda: None,
        "renamed": lambda: (name + "_", tensor),
        "a number": lambda: (name, tensor.flatten()[:1].clone().view(())),
        "a row": lambda: (name, tensor.flatten()),
        "empty": lambda: (name, tensor.flatten()[:0].clone()),
        "deeper": lambda: (name, tensor[None].clone()),
        "without sides": lambda: (name, tensor.new_empty([0] * tensor.ndim)),
        "other numbers": lambda: (name, tensor.to(rng.choice([torch.int64, torch.bool, torch.float64]))),
        "no numbers": lambda: (name, tensor * float("nan")),
        "transposed": lambda: (name, tensor.mT.contiguous() if tensor.ndim > 1 else tensor),
    }
    kind = rng.choice([*kinds])
    changed = kinds[kind]()
    return f"{kind} {name}", save(state | dict([changed] if changed else []))


def _refused(error: BaseException, path: Path) -> str | None:
    """What is wrong with how a file was refused; None if nothing is."""
    told = str(error)
    if not isinstance(error, ValueError) or not type(error).__module__.startswith("crafters."):
        return f"{type(error).__module__}.{type(error).__name__}: {told[:300]}"
    if "\n" in told or len(told) > 300 or not told.endswith("."):
        return f"{len(told)} letters: {told[:400]}"
    if not any(part in told for part in path.parts[-3:]):
        return f"the file is not named: {told}"
    return f"torch's advice: {told}" if "weights_only" in told else None


def _memory() -> int:
    """The most that this process held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(seed: int, count: int, names: list[str]) -> None:
    import crafters.cli  # noqa: F401
    import torch  # noqa: F401 - what is imported is no file's memory

    warnings.simplefilter("ignore")
    logging.disable()
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("it never ends")))
    for name in names:
        loader = LOADERS[name]
        with tempfile.TemporaryDirectory() as folder:
            path = loader.make(Path(folder))
            whole = path.read_bytes()
            with contextlib.redirect_stderr(io.StringIO()):
                loader.load(path)  # must be fine, and imports what it needs
            spoil = {".json": misled, ".safetensors": refitted}.get(path.suffix, damaged)
            for number in range(count):
                rng = random.Random(f"{seed} {name} {number}")
                kind, content = spoil(whole, rng)
                path.write_bytes(content)
                before, fault, told = _memory(), None, "read"
                signal.alarm(SECONDS)
                try:
                    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                        loader.load(path)
                except BaseException as error:  # also what is no Exception is a fault
                    fault, told = _refused(error, path), str(error)[:300]
                finally:
                    signal.alarm(0)
                grown = _memory() - before
                if grown > 300:
                    fault = f"it took {grown} MiB"
                row = {"loader": name, "number": number, "damage": kind, "fault": fault, "told": told}
                sys.stdout.write(json.dumps(row) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
