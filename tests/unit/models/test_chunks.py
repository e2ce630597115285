import logging

import pytest
import torch
from crafters.models.chunks import Chunker, out_of_memory

NO_ROOM = [
    torch.cuda.OutOfMemoryError("no room"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to …"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB, other allocations: 1 GB)."),
    MemoryError(),
]


def fits(limit, seen, error=NO_ROOM[0]):
    def run(part):
        seen.append((part.start, part.stop))
        if part.stop - part.start > limit:
            raise error
        return list(range(part.start, part.stop))

    return run


def flat(lists):
    return [x for part in lists for x in part]


@pytest.mark.parametrize(("total", "size"), [(10, 4), (8, 4), (3, 8), (1, 1), (5, 0), (0, 3)])
def test_in_order_and_once_each(total, size):
    seen = []
    assert flat(Chunker(size, "frames")(total, fits(99, seen))) == list(range(total))
    assert all(stop - start <= max(1, size) for start, stop in seen)


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
@pytest.mark.parametrize("error", NO_ROOM, ids=lambda error: str(error)[:12])
def test_halves_until_it_fits(limit, error):
    seen = []
    assert flat(Chunker(8, "frames")(20, fits(limit, seen, error))) == list(range(20))


def test_main_memory_that_cannot_be_had_is_known_as_torch_says_it():
    def run(part):
        torch.empty(part.stop - part.start, 1 << 45)  # 128 TiB each

    with pytest.raises(RuntimeError) as error:
        Chunker(2, "frames")(2, run)
    assert out_of_memory(error.value)


def test_one_warning_and_the_size_is_remembered(caplog):
    chunks, seen = Chunker(8, "passes"), []
    with caplog.at_level(logging.WARNING):
        chunks(16, fits(4, seen))
        chunks(16, fits(4, seen))
    assert seen == [(0, 8), *[(i, i + 4) for i in range(0, 16, 4)], *[(i, i + 4) for i in range(0, 16, 4)]]
    assert [record.getMessage() for record in caplog.records] == ["Out of memory: going on with 4 passes at a time."]


def test_a_short_last_chunk_halves_what_it_had():
    chunks, seen = Chunker(8, "frames"), []

    def run(part):
        seen.append(part.stop - part.start)
        if part.start == 8 and part.stop > 9:
            raise torch.cuda.OutOfMemoryError("no room")

    chunks(10, run)
    assert seen == [8, 2, 1, 1]


def test_a_single_item_that_does_not_fit():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Chunker(4, "frames")(4, fits(0, []))


def test_other_errors_pass():
    def run(part):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        Chunker(4, "frames")(4, run)


@pytest.mark.parametrize("limit", [1, 3, 99])
def test_joined_is_what_the_chunks_make_together(limit):
    rows = torch.rand(20, 3)

    def run(part):
        if part.stop - part.start > limit:
            raise NO_ROOM[0]
        return rows[part] * 2

    assert torch.equal(Chunker(8, "frames").joined(20, run), rows * 2)
