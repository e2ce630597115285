import pytest
import torch
from crafters.models.anicrafter.conditions import Scene, compose_scene
from crafters.models.anicrafter.embedders import TILE, Embedders, embed
from crafters.models.loaded import Loaded
from helpers.small_wan import anicrafter_shapes, random_state


def make_scene(frames, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    blend, mesh = (torch.rand(frames, height, width, 3, generator=generator) for _ in range(2))
    return Scene(blend, mesh, (torch.rand(frames, height, width, generator=generator) > 0.3).float())


def make_embedders(dim=8, dtype=torch.float32):
    embedders = Embedders(dim)
    embedders.load_state_dict(random_state(anicrafter_shapes(dim, 0)))
    return Loaded(embedders.to(dtype))


@torch.no_grad()
def whole(embedders, scene):
    """Both stacks on the whole clip, the first frame four times, with the convolutions' own padding."""
    tokens = 0
    for stack, clip in ((embedders.blend_embedding, scene.blend), (embedders.smplx_embedding, scene.mesh)):
        x = torch.cat([scene.free[..., None], clip * 2 - 1], -1).movedim(-1, 0)[None]
        tokens = tokens + stack(torch.cat([x[:, :, :1]] * 3 + [x], 2).to(next(stack.parameters()).dtype)).float()
    return tokens


def test_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in Embedders(5120).state_dict().items()}
    assert own == {name: tuple(shape) for name, shape in anicrafter_shapes(5120, 0).items()}
    assert sum(torch.Size(shape).numel() for shape in own.values()) == 2 * 369_184


def test_a_scene_that_copies_no_clip_gives_the_same_tokens():
    blend, mesh, mask = (getattr(make_scene(8, 32, 48), name) for name in ("blend", "mesh", "free"))
    scene, _ = compose_scene(blend[:1], blend, mask, blend, mesh, mask)
    whole_scene = Scene(scene.blend, scene.mesh[:], scene.free[:])
    embedders = make_embedders()
    assert torch.equal(*(embed(embedders, shown, (1, 1, 2)) for shown in (scene, whole_scene)))


@pytest.mark.slow
@pytest.mark.parametrize("tile", [(1, 1, 1), (2, 3, 1), (3, 2, 5), TILE])
@pytest.mark.parametrize("size", [(13, 48, 80), (5, 32, 16), (1, 16, 48)])
def test_tiled_equals_whole(size, tile):
    model, scene, calls = make_embedders(), make_scene(*size), []
    tokens = embed(model, scene, tile, torch.float32, on_step=lambda done, total: calls.append((done, total)))
    expected = whole(model.module, scene)
    assert tokens.shape == (1, 8, (size[0] - 1) // 4 + 1, size[1] // 16, size[2] // 16)
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)
    assert calls == [(i + 1, len(calls)) for i in range(len(calls))]


def test_bf16_is_close():
    scene = make_scene(9, 64, 48)
    tokens = embed(make_embedders(dtype=torch.bfloat16), scene, (2, 2, 2))
    assert tokens.dtype == torch.bfloat16
    expected = whole(make_embedders().module, scene)
    assert (tokens.float() - expected).abs().max() < 0.02 * expected.abs().max()


def test_a_step_may_cancel():
    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(make_embedders(), make_scene(5, 32, 32), on_step=cancel)
