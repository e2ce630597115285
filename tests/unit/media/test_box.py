import numpy as np
import pytest
import torch
from crafters.media.box import around, box_of


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("box", [(3, 1, 6, 5), (0, 0, 10, 8), (9, 7, 10, 8)])
def test_the_box_of_a_mask(kind, box):
    left, top, right, bottom = box
    mask = np.zeros((8, 10), bool)
    mask[top, left], mask[bottom - 1, right - 1] = True, True
    assert box_of(kind(mask)) == box
    part = kind(mask)[around(kind(mask))]
    assert part.shape == (bottom - top, right - left) and int(part.sum()) == int(mask.sum())
    wider = kind(mask)[around(kind(mask), 2)]
    assert wider.shape == (min(bottom + 2, 8) - max(top - 2, 0), min(right + 2, 10) - max(left - 2, 0))
