import numpy as np
import torch
from crafters.host.memory import to_output


def test_results_are_float32_whatever_they_were_made_in():
    picture = torch.rand(2, 3, 4, 3)
    assert to_output(picture) is picture
    assert torch.equal(to_output(picture.half()), picture.half().float())
    mask = np.eye(5, dtype=bool)[None].repeat(2, 0)
    for of in (mask, torch.from_numpy(mask), torch.zeros(1, 4, 4, dtype=torch.bool)):
        result = to_output(of)
        assert result.dtype == torch.float32 and torch.equal(result, torch.as_tensor(of).float())
