"""From a condition to latents as VAEs take them, and from those to frames."""

from types import SimpleNamespace

import pytest
import torch
from crafters.models.anchorcrafter.generate import decode, generate_latents
from crafters.models.anchorcrafter.sampling import initial_noise, sample
from crafters.models.loaded import Loaded
from helpers.plain_anchor import FEW_VIEW_TOKENS, condition_of, random_clip, small_system


def test_latents_are_unscaled_and_of_the_seed():
    system = small_system(FEW_VIEW_TOKENS)
    model, condition = Loaded(system), condition_of(system, random_clip(system.config, 4, 64, 64))
    settings = {"steps": 1, "guidance": (1.0, 1.0), "window": 3}
    latents = generate_latents(model, condition, 7, **settings)
    assert latents.shape == (4, 4, 8, 8)
    expected = sample(model, condition, initial_noise(condition, 3, 7), **settings)
    torch.testing.assert_close(latents * 0.18215, expected[0])
    assert not torch.allclose(latents, generate_latents(model, condition, 8, **settings))
    assert not torch.allclose(latents, generate_latents(model, condition, 7, shared_noise=0.5, **settings))


def test_noise_that_frames_share():
    """Of the variance of each frame, which stays 1; none shared is the published noise to the bit."""
    condition = SimpleNamespace(frames=20, image_latent=torch.empty(1, 4, 64, 64))
    own = initial_noise(condition, 8, 3)
    assert torch.equal(initial_noise(condition, 8, 3, 0.0), own)
    for shared in (0.3, 1.0):
        noise = initial_noise(condition, 8, 3, shared)[0].flatten(1)
        assert noise.shape == (8, 4 * 64 * 64) and (noise.std(1) - 1).abs().max() < 0.03
        alike = torch.corrcoef(noise)[~torch.eye(8, dtype=torch.bool)]
        assert (alike - shared).abs().max() < 0.05
        assert not torch.equal(noise, initial_noise(condition, 8, 4, shared)[0].flatten(1))
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="shared_noise is"):
            initial_noise(condition, 8, 3, wrong)


class CountingVAE:
    """Frames that say which latent they came from; holds `limit` frames at most."""

    def __init__(self, limit=99):
        self.limit, self.sizes = limit, []

    def decode(self, latents):
        if len(latents) > self.limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        self.sizes.append(len(latents))
        return latents.mean((1, 2, 3)).view(-1, 1, 1, 1).expand(-1, 16, 16, 3)


LATENTS = torch.arange(11.0).view(11, 1, 1, 1).expand(11, 4, 2, 2)


@pytest.mark.parametrize(("chunk", "sizes"), [(8, [8, 3]), (4, [4, 4, 3]), (1, [1] * 11), (50, [11])])
def test_decode_in_chunks(chunk, sizes):
    vae, steps = CountingVAE(), []
    frames = decode(LATENTS, vae, chunk, on_step=lambda done, total: steps.append((done, total)))
    assert vae.sizes == sizes
    assert frames.shape == (10, 16, 16, 3) and frames[:, 0, 0, 0].tolist() == list(range(1, 11))
    assert steps[-1] == (11, 11) and len(steps) == len(sizes)


def test_decode_halves_when_memory_runs_out(caplog):
    vae = CountingVAE(limit=3)
    frames = decode(LATENTS, vae, 8)
    assert vae.sizes == [2, 2, 2, 2, 2, 1]
    assert frames[:, 0, 0, 0].tolist() == list(range(1, 11))
    assert [record.getMessage() for record in caplog.records] == [
        f"Out of memory: going on with {size} frames at a time." for size in (4, 2)
    ]


def test_numbers_that_are_none_end_in_a_sentence():
    """Not in a black video: damaged latents, a VAE that overflows."""
    latents = torch.zeros(3, 4, 2, 2)
    with pytest.raises(ValueError, match="sampler's latents are not finite"):
        decode(latents.index_fill(1, torch.tensor([2]), torch.inf), CountingVAE())
    with pytest.raises(ValueError, match="VAE's pictures are not finite"):
        decode(latents, type("Overflows", (), {"decode": lambda self, part: part * torch.nan})())


def test_decode_passes_cancel_on():
    def on_step(done, total):
        raise InterruptedError

    vae = CountingVAE()
    with pytest.raises(InterruptedError):
        decode(LATENTS, vae, 4, on_step)
    assert vae.sizes == [4]
