"""A sequence computed block by block when asked for, and forgotten behind: memory does not grow with its length."""

from collections.abc import Callable, Iterable

import torch


class Stream:
    """Items 0 … total-1, each a tuple of tensors stacked along dimension 0.

    `compute(start, stop)` answers the tuple for one block, whose first dimension is stop - start. A block is computed
    when one of its items is first asked for, and kept until `forget`.
    """

    def __init__(self, total: int, block: int, compute: Callable[[int, int], tuple[torch.Tensor, ...]]):
        self.total, self.block = total, block
        self._compute = compute
        self._blocks: dict[int, tuple[torch.Tensor, ...]] = {}

    def take(self, indices: Iterable[int]) -> tuple[torch.Tensor, ...]:
        """The items, stacked in the order asked for; at least one."""
        items = [tuple(part[i % self.block] for part in self._of(i // self.block)) for i in indices]
        return tuple(torch.stack(parts) for parts in zip(*items, strict=True))

    def forget(self, before: int) -> None:
        """Free the blocks that end before item `before`, which will not be asked for again."""
        for number in [n for n in self._blocks if (n + 1) * self.block <= before]:
            del self._blocks[number]

    def _of(self, number: int) -> tuple[torch.Tensor, ...]:
        if number not in self._blocks:
            start = number * self.block
            self._blocks[number] = self._compute(start, min(start + self.block, self.total))
        return self._blocks[number]
