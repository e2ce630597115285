import pytest
import torch
from crafters.models.anicrafter.conditions import assemble
from crafters.models.anicrafter.steady import steadied

FRAMES, HEIGHT, WIDTH = 8, 32, 48
TINTS = torch.linspace(-0.05, 0.08, FRAMES)[:, None] * torch.tensor([1.0, 0.5, -0.5])  # what windows did to colours


@pytest.fixture
def scene():
    """A room with a person at its left, the blend being what is wanted."""
    random = torch.Generator().manual_seed(0)
    blend = 0.3 + 0.4 * torch.rand(FRAMES, HEIGHT, WIDTH, 3, generator=random)
    free = torch.ones(FRAMES, HEIGHT, WIDTH)
    free[:, 8:30, 4:16] = 0
    return assemble(torch.ones(1, HEIGHT, WIDTH, 3), blend, torch.zeros_like(blend), free)


def test_a_colour_that_drifts_is_brought_back_person_and_all(scene):
    wanted = scene.blend[1:].clone()
    wanted[:, 8:30, 4:16] = torch.tensor([0.7, 0.4, 0.3])  # the network painted the person anew
    made = wanted + TINTS[:, None, None]
    steps = []
    steady = steadied(made, scene, lambda *step: steps.append(step))
    torch.testing.assert_close(steady, wanted, atol=1e-5, rtol=0)
    assert steps == [(done, FRAMES) for done in range(1, FRAMES + 1)]
    assert (made[-1] - wanted[-1]).abs().max() > 0.05  # it is no change in place


def test_the_person_does_not_count(scene):
    made = scene.blend[1:].clone()
    made[:, 8:30, 4:16] = 1.0
    torch.testing.assert_close(steadied(made, scene), made, atol=1e-6, rtol=0)


def test_a_frame_without_background_goes_on_as_the_one_before(scene):
    free = scene.free.clone()
    free[4] = 0  # driving frame 3
    made = (scene.blend[1:] + 0.1).clamp(0, 1)
    steady = steadied(made, assemble(scene.blend[:1], scene.blend[1:], scene.mesh[1:], free[1:]))
    torch.testing.assert_close(steady[3], scene.blend[4], atol=1e-5, rtol=0)


def test_fewer_frames_than_the_scene_has_are_fine_and_others_are_told(scene):
    assert len(steadied(scene.blend[1:4], scene)) == 3
    larger = torch.zeros(FRAMES, 2 * HEIGHT, 2 * WIDTH, 3)
    for frames in (larger, torch.zeros(FRAMES + 1, HEIGHT, WIDTH, 3)):
        with pytest.raises(ValueError, match="but the scene 8 of 48×32: connect the scene that it was made of"):
            steadied(frames, scene)
