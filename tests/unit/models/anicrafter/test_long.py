"""Clips longer than a window, by the pack's own engine: no seams, and no memory that grows with the clip."""

import pytest
import torch
from crafters.models.anicrafter.transformer import load_transformer
from crafters.models.anicrafter.wan import WanCondition, denoise, latent_windows
from crafters.models.loaded import Loaded
from helpers.long_clip import jumps, ramp
from helpers.small_wan import random_state, wan_shapes
from safetensors.torch import save_file

FRAMES = 31  # latent ones: 121 of the video


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    path = tmp_path_factory.mktemp("wan") / "wan.safetensors"
    save_file(random_state(wan_shapes(dim=128, layers=2, ffn=64, text=32, image=16, freq=32)), path)
    return Loaded(load_transformer(path, torch.float32))


def run(wan, frames=FRAMES, **options):
    condition, noise = ramp(frames, width=128, clip=16, text=32)
    return denoise(wan, condition, noise, **{"steps": 6, "published_rounding": False, **options})


def test_windows_leave_no_seam(wan):
    whole, cut, blended = (run(wan, window=w, overlap=o) for w, o in ((121, 0), (41, 0), (41, 16)))
    assert jumps(whole) < 1.05
    assert jumps(cut) > 1.4  # what a seam looks like here
    assert jumps(blended) < 1.05
    assert (blended - whole)[:, :, 1:].abs().mean() < 0.1 * whole.abs().mean()


def test_one_window_is_the_whole_clip(wan):
    assert torch.equal(run(wan, 5, window=17), run(wan, 5, window=400, overlap=399))


def test_windows_without_overlap_equal_slices(wan):
    """One step, so that nothing is mixed: each part as if it were a clip of its own, the still in front."""
    condition, noise = ramp(9, width=128, clip=16, text=32)
    together = denoise(wan, condition, noise, 1, published_rounding=False, window=17, overlap=0)
    for frames in ([0, 1, 2, 3, 4], [0, 5, 6, 7, 8]):
        part = WanCondition(
            condition.tokens[:, :, frames], condition.concat[:, :, frames], condition.clip, condition.positive,
            condition.negative,
        )
        alone = denoise(wan, part, noise[:, :, frames], 1, published_rounding=False)
        torch.testing.assert_close(together[:, :, frames[1:]], alone[:, :, 1:], atol=1e-5, rtol=1e-5)


def test_the_network_sees_no_more_of_a_longer_clip(wan):
    def largest(frames):
        sizes = set()
        hooks = [m.register_forward_hook(lambda m, i, out: sizes.add(out.numel() if torch.is_tensor(out) else 0))
                 for m in wan.module.modules()]
        run(wan, frames, steps=1, window=41, overlap=16)
        for hook in hooks:
            hook.remove()
        return max(sizes)

    assert largest(11) == largest(31) == largest(101)


@pytest.mark.parametrize(("frames", "window", "overlap"), [(31, 41, 16), (100, 81, 16), (22, 81, 0), (12, 41, 36)])
def test_shares_of_every_frame_add_up(frames, window, overlap):
    total = torch.zeros(frames)
    windows = latent_windows(frames, window, overlap)
    for index, share in windows:
        assert index[0] == 0 and len(index) == (window - 1) // 4 + 1
        assert index[1:] == list(range(index[1], index[1] + len(index) - 1))
        total[index] += share.flatten()
    torch.testing.assert_close(total, torch.ones(frames))
    for (a, _), (b, _) in zip(windows, windows[1:], strict=False):
        assert len(set(a[1:]) & set(b[1:])) >= overlap // 4


def test_progress_counts_windows_and_a_window_that_cannot_move_on_is_refused(wan):
    calls = []
    run(wan, 9, steps=2, guidance=1.0, window=17, overlap=0, on_call=lambda *at: calls.append(at))
    assert calls == [(i, 4) for i in range(1, 5)]
    with pytest.raises(ValueError, match="17 frames cannot overlap by 16"):
        run(wan, 9, window=17, overlap=16)
