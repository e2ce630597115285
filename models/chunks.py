"""Work in chunks that shrink when memory runs out."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")
SAID = ("out of memory", "can't allocate memory", "not enough memory")  # by CUDA, ROCm, MPS; by the CPU's allocators

OutOfMemoryError = torch.cuda.OutOfMemoryError  # the one that ComfyUI makes room on, whatever the device
OUT_OF_MEMORY = (
    "Out of memory, with the smallest pieces that there are: choose a smaller size or fewer frames, bf16 or fp16, or "
    "end other programs."
)


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that the memory of a device, or main memory, is used up."""
    if isinstance(error, OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SAID)


def release_memory() -> None:
    """Give back what torch keeps for later, so that the next, smaller piece finds it."""
    torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


class Chunker:
    """Runs over `total` items `size` at a time; after an out-of-memory the size is halved, for good.

    One chunker is kept for a whole job, so that a size found too large is not tried again; `what` names the items in
    the one message that says so. When a single item does not fit, the error that says so goes on to the caller.
    """

    def __init__(self, size: int, what: str):
        self.size = max(1, size)
        self.what = what

    def __call__(self, total: int, run: Callable[[slice], T]) -> list[T]:
        results, done = [], 0
        while done < total:
            chunk = slice(done, min(done + self.size, total))
            try:
                results.append(run(chunk))
            except (RuntimeError, MemoryError) as error:
                if self.size == 1 or not out_of_memory(error):
                    raise
                self.size = (min(self.size, chunk.stop - done) + 1) // 2
                logging.getLogger(__name__).warning(
                    "Out of memory: going on with %d %s at a time.", self.size, self.what
                )
                release_memory()
                continue
            done = chunk.stop
        return results

    def joined(self, total: int, run: Callable[[slice], torch.Tensor]) -> torch.Tensor:
        """`torch.cat` of what `run` answers, each with as many rows as its chunk; none is held beside the whole."""
        whole = None

        def put(chunk: slice) -> None:
            nonlocal whole
            part = run(chunk)
            if whole is None:
                whole = part.new_empty((total, *part.shape[1:]))
            whole[chunk] = part

        self(total, put)
        return whole
