"""Work on threads of one thread each."""

import time

import pytest
import torch
from crafters.models.threads import on_threads


@pytest.fixture(autouse=True)
def two_threads():
    own = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(own)


def test_answers_come_in_order_from_threads_of_one():
    def work(item):
        time.sleep(0.02 * (item % 2 == 0))
        return item, torch.get_num_threads()

    assert list(on_threads(work, range(7), 4)) == [(item, 1) for item in range(7)]


def test_one_thread_is_the_callers():
    assert list(on_threads(lambda item: torch.get_num_threads(), range(2), 1)) == [2, 2]


def test_inference_tensors_may_be_written_to():
    with torch.inference_mode():
        whole = torch.zeros(4)
        for _ in on_threads(lambda item: whole[item].add_(item), range(4), 2):
            pass
    assert whole.tolist() == [0, 1, 2, 3]
    with torch.no_grad():
        assert list(on_threads(lambda item: torch.is_grad_enabled(), range(2), 2)) == [False, False]


def test_an_end_leaves_out_what_has_not_begun():
    begun, taken = [], []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    def work(item):
        begun.append(item)
        if item == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        list(on_threads(work, items(), 2))
    assert len(begun) <= len(taken) <= 7
    begun.clear()
    for _ in on_threads(begun.append, range(100), 2):
        break
    assert len(begun) <= 4
