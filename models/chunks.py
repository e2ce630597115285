"""Work in chunks that shrink when memory runs out."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


class Chunker:
    """Runs over `total` items `size` at a time; after an out-of-memory the size is halved, for good.

    One chunker is kept for a whole job, so that a size found too large is not tried again; `what` names the items in
    the one message that says so. When a single item does not fit, the out-of-memory error goes on to the caller.
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
            except torch.cuda.OutOfMemoryError:
                if self.size == 1:
                    raise
                self.size = (min(self.size, chunk.stop - done) + 1) // 2
                logging.warning("Out of memory: going on with %d %s at a time.", self.size, self.what)
                torch.cuda.empty_cache()
                continue
            done = chunk.stop
        return results
