import pytest
from crafters.models.windows import linear_windows, ring_windows, triangle
from helpers.plain_anchor import plain_line, plain_ring

RINGS = [(frames, window) for frames in (2, 3, 4, 10, 11, 12, 21, 22, 40, 73) for window in (2, 3, 5, 11, 16, 72)]


@pytest.mark.parametrize(("frames", "window"), RINGS)
def test_ring_walks_as_published(frames, window):
    for step in (0, 1, 2, 7, 29):
        windows = ring_windows(frames, window, step)
        assert windows == plain_ring(frames, window, step)
        assert {frame for w in windows for frame in w} == set(range(frames))
        for w in windows:
            assert w[0] == 0 and len(w) == min(window, frames) == len(set(w))


def test_ring_literally():
    # 9 ring frames, three at a time; the next step starts four frames on.
    assert ring_windows(10, 4, 0) == [[0, 1, 2, 3], [0, 4, 5, 6], [0, 7, 8, 9]]
    assert ring_windows(10, 4, 1) == [[0, 5, 6, 7], [0, 8, 9, 1], [0, 2, 3, 4]]
    # 7 ring frames do not divide by three: the last window laps the first.
    assert ring_windows(8, 4, 0) == [[0, 1, 2, 3], [0, 4, 5, 6], [0, 7, 1, 2]]


def test_ring_shorter_than_a_window():
    assert ring_windows(3, 11, 0) == [[0, 1, 2]]
    assert ring_windows(2, 11, 5) == [[0, 1]]


@pytest.mark.parametrize("frames", [2, 3, 8, 16, 17, 72, 73, 139, 200])
@pytest.mark.parametrize(("window", "overlap"), [(72, 6), (16, 6), (8, 1), (8, 7), (2, 1)])
def test_line_as_published(frames, window, overlap):
    windows = linear_windows(frames, window, overlap)
    assert windows == plain_line(frames, window, overlap)
    assert windows[-1][-1] == frames - 1
    assert {frame for w in windows for frame in w} == set(range(frames))
    assert all(w[0] == 0 and len(w) == min(window, frames) == len(set(w)) for w in windows)


def test_line_literally():
    # 0-based starts 0, 3, 6 of ten frames; the last one already ends with the clip.
    assert linear_windows(10, 4, 1) == [[0, 1, 2, 3], [0, 4, 5, 6], [0, 7, 8, 9]]
    # Eleven frames: one more, aligned to the end.
    assert linear_windows(11, 4, 1)[-2:] == [[0, 7, 8, 9], [0, 8, 9, 10]]


def test_line_shorter_than_its_overlap():
    assert linear_windows(4, 72, 6) == [[0, 1, 2, 3]]


def test_triangle():
    assert triangle(4) == [0.25, 0.75, 0.75, 0.25]
    assert triangle(5) == pytest.approx([0.2, 0.6, 1.0, 0.6, 0.2])
    assert triangle(1) == [1.0]
    assert all(weight > 0 for weight in triangle(72))
