import numpy as np
import torch
from crafters.models.normalise import IMAGENET, normalise
from crafters.preprocessors.hand_mesh.crop import MARGIN, hand_crop

CPU_ONLY = "Hands are cut out by OpenCV."


def check(case):
    assert case.config["rescale_factor"] == MARGIN
    image, stride = case.inputs["image_bgr"].flip(-1).numpy(), case.config["crop_stride"]
    right = torch.tensor(case.config["is_right"])
    found = [
        hand_crop(image, np.array(box, dtype=np.float64), bool(side))
        for box, side in zip(case.config["boxes_xyxy"], right, strict=True)
    ]
    pixels = normalise(torch.stack([torch.from_numpy(crop.pixels).permute(2, 0, 1) for crop in found]) / 255, IMAGENET)
    case.expect("crop_normalised_subsampled", pixels[..., ::stride, ::stride])
    case.expect("crop_mean_per_channel", torch.from_numpy(np.stack([naive_mean(crop.pixels) for crop in found])))
    case.expect("box_center", torch.tensor(np.stack([crop.centre for crop in found])))
    case.expect("box_size", torch.tensor([crop.side for crop in found]))
    case.expect("right", right.float())
    case.expect("img_size", torch.tensor(image.shape[1::-1]).expand(len(found), 2).float())


def naive_mean(pixels):
    """The channels' means as the reference added them up: in float32, one pixel after the other, which costs 1e-3."""
    channels = np.transpose(pixels, (2, 0, 1)).astype(np.float32)
    for channel, mean, std in zip(channels, *IMAGENET, strict=True):
        channel[:] = (channel - 255 * mean) / (255 * std)
    return channels.mean((1, 2))
