"""Many small pieces of work at once, each on one thread: frames that are drawn by many small operations."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


def on_threads(work: Callable[[Any], Any], items: Iterable, most: int) -> Iterator:
    """work(item) for every item, in order; up to `most` at once, and no more than torch has threads.

    torch computes on one thread in each. Its own threads share out every operation and wait for the last of them,
    busily: where the cores have other work besides, each small operation takes as long as the system lets others run.
    Items are taken as they are needed. Grad and inference mode are the caller's. An end before the last item, such as
    a cancel, leaves out what has not begun.
    """
    own = torch.get_num_threads()
    threads = min(own, most)
    if threads == 1:
        yield from map(work, items)
        return
    inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def run(item: Any) -> Any:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            return work(item)

    pool = ThreadPoolExecutor(threads, "drawing", torch.set_num_threads, (1,))
    torch.set_num_threads(1)  # what makes the items computes beside them
    try:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(run, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(own)
