import pytest
import torch
from crafters.models.clip_vision import ClipVision
from crafters.models.loaded import Loaded
from helpers.small_models import CLIP


@pytest.fixture(scope="module")
def network():
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(2)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)).eval().requires_grad_(False)


def test_clip_embeds_images(network):
    clip, images = ClipVision(Loaded(network)), torch.rand(2, 224, 224, 3)
    output = clip.encode_image(images)
    assert output.image_embeds.shape == (2, 32) and output["image_embeds"] is output.image_embeds
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    expected = network(((images - mean) / std).movedim(-1, 1), output_hidden_states=True)
    torch.testing.assert_close(output.image_embeds, expected.image_embeds)
    torch.testing.assert_close(output.penultimate_hidden_states, expected.hidden_states[1])  # of two layers


def test_clip_crop(network):
    clip, image = ClipVision(Loaded(network)), torch.rand(1, 224, 320, 3)
    middle = clip.encode_image(image[:, :, 48:272], crop=False).image_embeds
    torch.testing.assert_close(clip.encode_image(image, crop=True).image_embeds, middle)
    assert not torch.allclose(clip.encode_image(image, crop=False).image_embeds, middle)
    # Another size is brought to the network's own.
    assert clip.encode_image(torch.rand(1, 100, 300, 4), crop=False).image_embeds.shape == (1, 32)
