"""Coming batches, made by threads while the network works, of numbers that depend on seed and step alone."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import default_collate

from .settings import Settings

AHEAD = 2  # batches made in advance
_SAMPLE, _ORDER = 0, 1  # keep the two kinds of random numbers apart


def batches(task, settings: Settings, step: int, rank: int, ranks: int) -> Iterator[list[dict[str, torch.Tensor]]]:
    """The share of process `rank` of `ranks` in each step from `step` on, in `accumulate` pieces.

    Samples are counted over the whole run and over all processes: the n-th one draws from a generator keyed by (seed,
    n), and its index comes from a permutation per pass over the data. So an interrupted run, or one on another number
    of processes, meets the same samples.
    """

    @lru_cache(2)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng([settings.seed, _ORDER, epoch]).permutation(len(task))

    def make(number: int, frames: int) -> dict[str, torch.Tensor]:
        epoch, place = divmod(number, len(task))
        return task.sample(int(order(epoch)[place]), np.random.default_rng([settings.seed, _SAMPLE, number]), frames)

    def submit(step: int) -> list[list[Future]]:
        stage, before = settings.stage(step)
        share = stage.batch // ranks
        first, size = before + rank * share, share // stage.accumulate
        starts = range(first, first + share, size)
        return [[pool.submit(make, number, stage.frames) for number in range(n, n + size)] for n in starts]

    pool = ThreadPoolExecutor(settings.workers)
    coming: deque[list[list[Future]]] = deque()
    try:
        for current in range(step, settings.steps):
            while len(coming) <= AHEAD and current + len(coming) < settings.steps:
                coming.append(submit(current + len(coming)))
            yield [default_collate([sample.result() for sample in piece]) for piece in coming.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)
