import torch
from crafters.preprocessors.condition_sheet import condition_sheet


def test_a_fourth_channel_is_opacity_on_black():
    person, clip, views = torch.full((1, 8, 12, 4), 0.8), torch.zeros(2, 8, 12, 4), torch.ones(3, 4, 4, 4)
    person[..., 3], clip[..., :3] = 1, 1  # the clip's hidden colour is white
    clip[:, :4, :, 3] = 1
    views[..., 3] = 0
    sheet = condition_sheet(person, clip, hand=clip, views=views)
    assert sheet.shape == (2, 8, 12, 3)
    assert (sheet[:, :4] > 0.9).all() and torch.allclose(sheet[:, 4, :], torch.tensor(0.4))
    assert not sheet[:, 5:, :9].any()
