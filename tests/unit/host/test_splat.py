from types import SimpleNamespace

import pytest
import torch
from crafters.host.splat import from_splat
from crafters.models.avatar.ply import SH_0


def splat(batch=1, count=5, counts=None, **changes):
    """As ComfyUI has it, red where the gaussians are seen from everywhere."""
    harmonics = torch.zeros(batch, count, 4, 3)
    harmonics[:, :, 0] = (torch.tensor([1.0, 0, 0]) - 0.5) / SH_0
    parts = {
        "positions": torch.rand(batch, count, 3), "scales": torch.rand(batch, count, 3),
        "rotations": torch.tensor([1.0, 0, 0, 0]).expand(batch, count, 4), "opacities": torch.rand(batch, count, 1),
        "sh": harmonics, "counts": counts,
    }
    return SimpleNamespace(**parts | changes)


def test_the_first_of_a_batch_is_read_at_its_own_length(caplog):
    given = splat(batch=2, counts=torch.tensor([3, 5]))
    posed = from_splat(given)
    assert "holds 2 splats; the first is taken" in caplog.text
    assert [tuple(part.shape) for part in posed] == [(3, 3), (3, 4), (3, 3), (3, 1), (3, 3)]
    torch.testing.assert_close(posed.xyz, given.positions[0, :3])
    torch.testing.assert_close(posed.rgb, torch.tensor([[1.0, 0, 0]]).expand(3, 3))


def test_what_is_no_splat_is_refused():
    with pytest.raises(ValueError, match="The splat is empty"):
        from_splat(splat(count=0))
    for wrong in ({"positions": torch.full((1, 5, 3), torch.nan)}, {"rotations": torch.zeros(1, 5, 4)}):
        with pytest.raises(ValueError, match="no numbers"):
            from_splat(splat(**wrong))
