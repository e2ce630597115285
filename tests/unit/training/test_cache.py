"""What frozen encoders answered: made once, read as it was, and made again where it is damaged."""

import threading

import numpy as np
import pytest
from crafters.training.cache import Cache

ARRAYS = {"a": np.arange(12, dtype=np.float16).reshape(3, 4), "b": np.arange(5, dtype=np.uint8), "c": np.float32(0.5)}


def test_made_once_and_read_as_it_was(tmp_path):
    cache = Cache(tmp_path)
    for make in (lambda: ARRAYS, pytest.fail):
        kept = cache.get("x", make)
        assert kept.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert np.array_equal(kept[name], array) and kept[name].dtype == array.dtype
    assert cache.get("x", pytest.fail, ["b"]).keys() == {"b"}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_file_is_made_again(tmp_path, share):
    cache = Cache(tmp_path)
    cache.get("x", lambda: ARRAYS)
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[: int(len(whole) * share)])
    assert np.array_equal(cache.get("x", lambda: ARRAYS)["a"], ARRAYS["a"])
    assert np.array_equal(cache.get("x", pytest.fail)["a"], ARRAYS["a"])


def test_threads_that_ask_for_the_same_wait_for_it(tmp_path):
    cache, made, kept = Cache(tmp_path), [], []
    start = threading.Barrier(4)

    def make():
        made.append(1)
        return ARRAYS

    def ask():
        start.wait()
        kept.append(cache.get("x", make)["b"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1] and all(np.array_equal(array, ARRAYS["b"]) for array in kept) and len(kept) == 4
