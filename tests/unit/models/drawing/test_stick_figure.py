import pytest
import torch
from crafters.models.body.layout import PARENTS
from crafters.models.drawing.stick_figure import _REST, stick_figures
from helpers.made_up import waving

LEFT_IS_BLUE, RIGHT_IS_ORANGE = torch.tensor([90, 170, 255]) / 255, torch.tensor([255, 150, 70]) / 255


def middle(image, colour):
    """Mean (x, y) of the pixels of a colour, in shares of the picture."""
    y, x = ((image - colour).abs().amax(-1) < 0.02).nonzero().T.double().unbind()
    return x.mean().item() / image.shape[1], y.mean().item() / image.shape[0]


def test_some_frames_from_the_first_to_the_last():
    motion = waving(9, 160, 96)
    figures = stick_figures(motion)
    assert figures.shape == (4, 230, 384, 3) and 0 <= figures.min() and figures.max() <= 1
    assert torch.equal(figures[0], stick_figures(motion.looped(1))[0])
    assert not torch.equal(figures[0], figures[2])
    assert len(stick_figures(waving(2, 96, 160))) == 2 and stick_figures(waving(2, 96, 160)).shape[1:3] == (384, 230)


def test_sides_places_and_the_raised_hand():
    motion = waving(9, 160, 96)
    (waves,) = stick_figures(motion, 1)
    left, right = middle(waves, LEFT_IS_BLUE), middle(waves, RIGHT_IS_ORANGE)
    assert right[0] < 0.5 < left[0]  # as in a photo
    assert right[1] < left[1] - 0.02
    moved = stick_figures(motion.moved(x=0.5), 1)[0]
    assert middle(moved, LEFT_IS_BLUE)[0] > left[0] + 0.1


def test_a_person_beside_or_behind_the_camera_draws_nothing():
    motion = waving(2, 160, 96)
    assert not stick_figures(motion.moved(x=50)).any()
    assert not stick_figures(motion.moved(z=-9)).any()


@pytest.mark.slow
def test_the_joints_are_annys():
    from crafters.models.body.anny import anny_body

    joints = anny_body().skeleton.joints[: len(_REST)]
    assert (joints - torch.tensor(_REST)).abs().max() < 1e-3
    assert max(PARENTS[: len(_REST)]) < len(_REST)
