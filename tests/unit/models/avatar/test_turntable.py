from dataclasses import replace

import pytest
import torch
from crafters.models.avatar.gaussians import Avatar
from crafters.models.avatar.turntable import render_turntable


@pytest.fixture
def marked():
    """A bar of gaussians upwards, red at its front, with a green arm at its left (+x)."""
    bar = torch.stack([torch.zeros(41), torch.linspace(-1, 1, 41), torch.zeros(41)], 1)
    front, arm = bar + torch.tensor([0, 0, 0.15]), torch.tensor([[0.4, 0.5, 0.0]])
    xyz = torch.cat([bar, front, arm])
    rgb = torch.tensor([[0.1, 0.1, 0.8]] * 41 + [[0.9, 0.1, 0.1]] * 41 + [[0.1, 0.8, 0.1]])
    n = len(xyz)
    return Avatar(
        torch.zeros(n, 3), xyz, rgb, torch.full((n, 1), 0.99), torch.full((n, 3), 0.03),
        torch.tensor([[1.0, 0, 0, 0]]).expand(n, 4), torch.eye(4).expand(55, 4, 4), torch.zeros(10),
    )


def place(image, channel):
    """Where a colour is seen: x, y in 0…1; None where it is not."""
    other = [c for c in range(3) if c != channel]
    seen = image[..., channel] - image[..., other].amax(-1) > 0.2
    return seen.nonzero().float().mean(0).flip(0) / torch.tensor(image.shape[1::-1]) if seen.any() else None


def test_it_turns_once_around(marked):
    steps = []
    images = render_turntable(marked, 4, 48, 64, lambda *step: steps.append(step))
    assert images.shape == (4, 64, 48, 3) and steps[-1] == (4, 4)
    front, quarter, back, _ = images
    assert place(front, 1)[0] > 0.6 and place(front, 1)[1] < 0.45  # its left is at the picture's right, up is up
    assert place(front, 2) is None and place(front, 0) is not None  # red hides blue
    assert place(back, 2) is not None and place(back, 0) is None and place(back, 1)[0] < 0.4
    assert place(quarter, 0)[0] > place(quarter, 2)[0]  # the front has turned to the picture's right
    assert images[:, 0].min() > 0.9  # on white, with room around


def test_gaussians_turn_with_it(marked):
    flat = replace(marked, scale=torch.tensor([[0.2, 0.03, 0.01]]).expand(len(marked), 3))
    front, side = render_turntable(flat, 4, 48, 64)[:2]
    assert (front < 0.9).any(-1).any(0).sum() > 1.5 * (side < 0.9).any(-1).any(0).sum()
